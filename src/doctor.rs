//! `meterbridge doctor`: what stands between this machine and a gateway that works, and what to do
//! about each thing.
//!
//! It looks and changes nothing: no file is made, no serial port opened, no port listened on. So it
//! may run beside the gateway, whose own ports and devices it knows from others' by the process that
//! has the lock on `data_dir`.

mod clock;
mod data_dir;
mod files;
mod journal;
mod ports;
mod reach;
mod recordings;
mod serial;

use std::fmt;

use crate::config::{Config, ConfigErrors, Loaded};
use crate::process::{self, Holder};
use crate::store::DirectoryLock;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Works, and should be known.
    Note,
    /// Keeps the gateway, or a part of it, from working.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub verdict: Verdict,
    /// What was looked at, mostly a key of the configuration and its value.
    pub subject: String,
    /// What was found.
    pub words: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// Everything that was looked at, in the order of the data path. Its `Display` is what is printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report(pub Vec<Finding>);

/// The gateway that uses the same `data_dir`, if one runs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Running {
    No,
    /// This one.
    Process(Holder),
    /// One that this user may not see.
    Hidden,
}

/// Looks at everything. Takes a few seconds at most.
#[must_use]
pub fn examine(loaded: &Loaded) -> Report {
    let config = &loaded.config;
    let running = Running::at(config);
    let mut report = Report::default();
    configuration(loaded, &mut report);
    data_dir::examine(&config.data_dir, &running, &mut report);
    journal::examine(&config.data_dir, &mut report);
    recordings::examine(config, &mut report);
    ports::examine(config, &running, &mut report);
    serial::examine(config, &running, &mut report);
    reach::examine(config, &running, &mut report);
    files::examine(config, &mut report);
    clock::examine(&config.data_dir, &mut report);
    report
}

/// With a configuration that has mistakes nothing else can be looked at.
#[must_use]
pub fn of_mistakes(errors: &ConfigErrors) -> Report {
    let mut report = Report::default();
    for mistake in errors.lines() {
        report.problem("configuration", mistake, "correct this; then ask the doctor again");
    }
    report
}

fn configuration(loaded: &Loaded, report: &mut Report) {
    let file = loaded.file().map_or("built-in defaults".into(), |file| file.display().to_string());
    report.fine("configuration", format!("{file}: no mistakes"));
    for note in loaded.notes() {
        report.note("configuration", note, "take it out, or correct what it depends on");
    }
    if loaded.config.meters.is_empty() {
        let advice = "write an entry under meters: (config.yaml shows one of each kind)";
        report.note("meters", "none are configured".to_owned(), advice);
    }
}

impl Running {
    fn at(config: &Config) -> Running {
        let mut holders = process::holders_of(&DirectoryLock::file(&config.data_dir));
        match holders.pop() {
            Some(holder) => Running::Process(holder),
            None if DirectoryLock::is_held(&config.data_dir) => Running::Hidden,
            None => Running::No,
        }
    }

    fn is(&self, holder: &Holder) -> bool {
        matches!(self, Running::Process(running) if running.pid == holder.pid)
    }

    /// Whether what nobody is seen to hold may be held by a gateway that is not seen either.
    fn may_be_hidden(&self) -> bool {
        *self == Running::Hidden
    }
}

impl Report {
    /// Whether anything keeps the gateway from working.
    #[must_use]
    pub fn has_problems(&self) -> bool {
        self.count(Verdict::Problem) > 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.0.iter().filter(|finding| finding.verdict == verdict).count()
    }

    fn fine(&mut self, subject: impl Into<String>, words: String) {
        let subject = subject.into();
        self.0.push(Finding { verdict: Verdict::Ok, subject, words, advice: None });
    }

    fn note(&mut self, subject: impl Into<String>, words: String, advice: impl Into<String>) {
        self.add(Verdict::Note, subject, words, advice);
    }

    fn problem(&mut self, subject: impl Into<String>, words: String, advice: impl Into<String>) {
        self.add(Verdict::Problem, subject, words, advice);
    }

    fn add(
        &mut self,
        verdict: Verdict,
        subject: impl Into<String>,
        words: String,
        advice: impl Into<String>,
    ) {
        let (subject, advice) = (subject.into(), Some(advice.into()));
        self.0.push(Finding { verdict, subject, words, advice });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.0 {
            let verdict = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Note => "note",
                Verdict::Problem => "problem",
            };
            writeln!(f, "{verdict:<8} {}: {}", finding.subject, finding.words)?;
            if let Some(advice) = &finding.advice {
                writeln!(f, "{:<8} do: {advice}", "")?;
            }
        }
        let counted = |count: usize, what: &str| match count {
            0 => format!("no {what}s"),
            1 => format!("1 {what}"),
            many => format!("{many} {what}s"),
        };
        let (problems, notes) = (self.count(Verdict::Problem), self.count(Verdict::Note));
        writeln!(f, "{}, {}", counted(problems, "problem"), counted(notes, "note"))
    }
}
