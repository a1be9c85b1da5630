//! The name of a place in the configuration: `meters[1].channels.ch1.role`.

use std::fmt;

/// Keys and list indices from the top down. Ordered as a person would list them: `meters[2]`
/// before `meters[10]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Vec<Step>);

/// One step down; a number sorts before a name, and by its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Index(usize),
    Key(String),
}

impl KeyPath {
    /// Reads `meters.1.name`, as on the command line; `meters[1].name` is the same.
    ///
    /// # Errors
    /// When a step is empty.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let dotted = text.replace('[', ".").replace(']', "");
        if dotted.split('.').any(|step| step.trim().is_empty()) {
            return Err(format!(
                "\"{text}\" is not a key: write it like broker.listen or meters.0.name"
            ));
        }
        Ok(Self::of(dotted.split('.')))
    }

    /// The path of these steps.
    pub(super) fn of<T: AsRef<str>>(steps: impl IntoIterator<Item = T>) -> Self {
        steps.into_iter().fold(Self::default(), |path, step| path.child(step.as_ref()))
    }

    /// The path one step further down.
    pub(super) fn child(&self, step: &str) -> Self {
        let mut path = self.clone();
        path.0.push(match step.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => Step::Key(step.to_owned()),
        });
        path
    }

    /// The path of an entry of a list.
    pub(super) fn entry(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Index(index));
        path
    }

    /// The path one step up; `None` at the top.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, above) = self.0.split_last()?;
        Some(Self(above.to_vec()))
    }

    /// Whether `above` is this path or one above it.
    pub(super) fn within(&self, above: &Self) -> bool {
        self.0.starts_with(&above.0)
    }

    /// Each step as text.
    pub(super) fn steps(&self) -> impl DoubleEndedIterator<Item = String> {
        self.0.iter().map(|step| match step {
            Step::Index(index) => index.to_string(),
            Step::Key(key) => key.clone(),
        })
    }

    /// The last step, if it is the index of a list, with the path of the list.
    pub(super) fn as_entry(&self) -> Option<(Self, usize)> {
        match self.0.split_last()? {
            (Step::Index(index), above) => Some((Self(above.to_vec()), *index)),
            _ => None,
        }
    }

    /// True for the top of the configuration.
    pub(super) fn is_top(&self) -> bool {
        self.0.is_empty()
    }

    /// As `--set` takes it: `meters.1.name`.
    pub(super) fn dotted(&self) -> String {
        self.steps().collect::<Vec<_>>().join(".")
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_path() {
        let path = KeyPath::parse("meters[1].channels.ch1").unwrap();
        assert_eq!(path, KeyPath::parse("meters.1.channels.ch1").unwrap());
        assert_eq!(path.to_string(), "meters[1].channels.ch1");
        assert_eq!(path.dotted(), "meters.1.channels.ch1");
        assert!(KeyPath::parse("meters..name").is_err());
        assert!(KeyPath::parse("").is_err());
    }

    #[test]
    fn lists_sort_by_number() {
        let [two, ten] = ["meters.2", "meters.10"].map(|text| KeyPath::parse(text).unwrap());
        assert!(two < ten);
    }
}
