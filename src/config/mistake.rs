//! What is wrong with a configuration, said so that a person can act on it.

use std::fmt;
use std::path::PathBuf;

use super::Web;
use super::document::Position;
use super::path::KeyPath;

/// Every mistake of a configuration, one a line, in the order of the file.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors {
    mistakes: Vec<Mistake>,
    /// The search ended early.
    full: bool,
    /// The section `web:` as far as it could be read.
    web: Web,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where to look.
    pub(super) place: Place,
    /// The key; at the top for what concerns the file as a whole.
    pub(super) key: KeyPath,
    /// What is wrong and what would be right.
    pub(super) message: String,
}

/// Where a mistake was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In the file, at this line and column if it has one.
    File(PathBuf, Option<Position>),
    /// In this environment variable.
    Environment(String),
    /// In `--set` of this key.
    Flag(String),
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    found: Vec<Mistake>,
    warnings: Vec<Mistake>,
    /// How many of them were there before the cross-checks.
    before_checks: usize,
    unreadable: bool,
}

impl Mistakes {
    pub(super) fn add(&mut self, mistake: Mistake) {
        self.found.push(mistake);
    }

    /// A mistake that leaves nothing to look at: what is missing then is no further mistake.
    pub(super) fn add_unreadable(&mut self, mistake: Mistake) {
        self.unreadable = true;
        self.found.push(mistake);
    }

    /// Something that is right and that a person should know.
    pub(super) fn add_warning(&mut self, warning: Mistake) {
        self.warnings.push(warning);
    }

    /// True when the file could not be read at all.
    pub(super) fn unreadable(&self) -> bool {
        self.unreadable
    }

    /// From here on mistakes are those of the cross-checks.
    pub(super) fn begin_checks(&mut self) {
        self.before_checks = self.found.len();
    }

    /// Whether the values at `path`, above or below it could not be read, so that what a
    /// cross-check finds there would only follow from that.
    pub(super) fn known(&self, path: &KeyPath) -> bool {
        self.found.iter().take(self.before_checks).any(|known| {
            let key = &known.key;
            !key.is_top() && (path.within(key) || key.within(path))
        })
    }

    /// Whether a mistake below `path` is known.
    pub(super) fn known_below(&self, path: &KeyPath) -> bool {
        self.found.iter().any(|known| known.key.within(path))
    }

    pub(super) fn full(&self) -> bool {
        self.found.len() >= MOST
    }

    /// The warnings, each as its line, where there are no mistakes.
    pub(super) fn into_result(self, web: &Web) -> Result<Vec<String>, ConfigErrors> {
        let full = self.full();
        let mut mistakes = self.found;
        if mistakes.is_empty() {
            return Ok(self.warnings.iter().map(|one| printable(&one.to_string())).collect());
        }
        mistakes
            .sort_by(|a, b| (&a.place, &a.key, &a.message).cmp(&(&b.place, &b.key, &b.message)));
        mistakes.dedup();
        Err(ConfigErrors { mistakes, full, web: web.clone() })
    }
}

impl ConfigErrors {
    /// Each mistake as its line.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let more = self.full.then(|| format!("the first {MOST} mistakes; there are more"));
        self.mistakes.iter().map(|mistake| printable(&mistake.to_string())).chain(more)
    }

    /// Where the web server would be: what could be read of its section, else the defaults.
    pub fn web(&self) -> &Web {
        &self.web
    }

    /// How many there are, at least one.
    pub fn count(&self) -> usize {
        self.mistakes.len()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.lines().enumerate() {
            let before = if at > 0 {
                "
"
            } else {
                ""
            };
            write!(f, "{before}{line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_top() {
            write!(f, "{}: {}", self.place, self.message)
        } else {
            write!(f, "{}: {}: {}", self.place, self.key, self.message)
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, None) => write!(f, "{}", file.display()),
            Self::File(file, Some(at)) => {
                write!(f, "{}:{}:{}", file.display(), at.line, at.column)
            }
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(key) => write!(f, "--set {key}"),
        }
    }
}

/// The text on one line, without the control characters a value may have brought along.
fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// A file with more mistakes than this is the wrong file.
const MOST: usize = 200;
