//! The layers of the configuration, put on top of each other by figment: file, environment, `--set`.
//!
//! The built-in defaults, below all of them, are the `Default`s of the types. figment's metadata
//! says of each value which layer it came from. An environment variable or a `--set` may name an
//! entry of a list (`meters.0.name`), which figment alone cannot: such a layer is a copy of what
//! lies below with one value replaced, and the copied values keep the origin they had.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::document::{Document, drop_absent};
use super::mistake::{Mistake, Mistakes, Place};
use super::overlay;
use super::path::KeyPath;

/// Where a value came from, for `meterbridge config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The file, at this line.
    File(PathBuf, u64),
    /// This environment variable.
    Environment(String),
    /// `--set`.
    Flag,
}

/// Everything that was given, merged, with where it came from.
pub(super) struct Layers {
    pub(super) file: Option<PathBuf>,
    document: Document,
    figment: Figment,
    /// What figment holds, merged.
    merged: Value,
    /// The text of each value that came from the environment or the command line.
    spellings: BTreeMap<KeyPath, String>,
}

/// One layer.
struct Layer {
    metadata: Metadata,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

impl Layers {
    /// Nothing but the built-in defaults.
    pub(super) fn empty() -> Self {
        Self {
            file: None,
            document: Document::default(),
            figment: Figment::new(),
            merged: Value::from(Dict::new()),
            spellings: BTreeMap::new(),
        }
    }

    /// Puts the file on. A file that cannot be read or is not YAML is a mistake.
    pub(super) fn add_file(&mut self, path: &Path, mistakes: &mut Mistakes) {
        self.file = Some(path.to_owned());
        let read = read_bounded(path).map_err(|error| (None, format!("cannot be read: {error}")));
        let document = read.and_then(|text| {
            Document::read(&text).map_err(|error| (error.position, error.message))
        });
        match document {
            Ok(document) => {
                let metadata = Metadata::from(FILE, path);
                self.put(Layer { metadata, values: document.values.clone() });
                self.document = document;
            }
            Err((position, message)) => mistakes.add_unreadable(Mistake {
                place: Place::File(path.to_owned(), position),
                key: KeyPath::default(),
                message,
            }),
        }
    }

    /// Puts the environment on: each variable that starts with `METERBRIDGE__`.
    pub(super) fn add_environment(&mut self, env: &[(String, String)], mistakes: &mut Mistakes) {
        let mut given: BTreeMap<KeyPath, &str> = BTreeMap::new();
        let mut variables = Vec::new();
        for (variable, text) in env {
            let Some(rest) = variable.strip_prefix(PREFIX) else {
                continue;
            };
            match KeyPath::parse(&rest.to_lowercase().replace("__", ".")) {
                Ok(path) => variables.push((path, variable.as_str(), text.as_str())),
                Err(_) => mistakes.add(Mistake {
                    place: Place::Environment(variable.clone()),
                    key: KeyPath::default(),
                    message: "is not the name of a key: write it like METERBRIDGE__BROKER__LISTEN"
                        .to_owned(),
                }),
            }
        }
        // By path, so that the entries of a list come in their order.
        variables.sort();
        for (path, variable, text) in variables {
            let (path, text) = match secret_file(&path) {
                None => (path, Ok(text.to_owned())),
                Some(inner) => (inner, read_secret(Path::new(text))),
            };
            let text = match (given.insert(path.clone(), variable), text) {
                (Some(other), _) => Err(format!("gives the same key as {other}: keep one of them")),
                (None, text) => text,
            };
            let place = Place::Environment(variable.to_owned());
            let result = text.and_then(|text| self.set(&path, &text, named(ENVIRONMENT, variable)));
            if let Err(message) = result {
                mistakes.add(Mistake { place, key: path, message });
            }
        }
    }

    /// Puts the `--set a.b=value` flags on, in their order.
    pub(super) fn add_flags(&mut self, flags: &[String], mistakes: &mut Mistakes) {
        for flag in flags {
            let Some((key, text)) = flag.split_once('=') else {
                let place = Place::Flag(flag.clone());
                let message = "has no \"=\": write --set broker.listen=127.0.0.1:1883".to_owned();
                mistakes.add(Mistake { place, key: KeyPath::default(), message });
                continue;
            };
            let result =
                KeyPath::parse(key.trim()).map_err(|message| (KeyPath::default(), message));
            let result = result.and_then(|path| {
                self.set(&path, text, named(FLAG, key.trim())).map_err(|message| (path, message))
            });
            if let Err((path, message)) = result {
                mistakes.add(Mistake {
                    place: Place::Flag(key.trim().to_owned()),
                    key: path,
                    message,
                });
            }
        }
    }

    /// The merged values.
    pub(super) fn values(&self) -> &Value {
        &self.merged
    }

    /// The value at a path, if any layer gave one.
    pub(super) fn value(&self, path: &KeyPath) -> Option<&Value> {
        path.steps().try_fold(&self.merged, |value, step| match value {
            Value::Dict(_, section) => section.get(&step),
            Value::Array(_, entries) => entries.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// How a value was spelled, as far as YAML could have changed it.
    pub(super) fn spelling(&self, path: &KeyPath) -> Option<&str> {
        match self.spellings.get(path) {
            Some(text) => Some(text),
            None => self.document.spelling(path),
        }
    }

    /// Where a value came from; [`Origin::Default`] if no layer gave it.
    pub(super) fn origin(&self, path: &KeyPath) -> Origin {
        let Some(value) = self.value(path) else {
            // An entry of a list or set that was given in one piece.
            return match path.parent() {
                Some(above)
                    if matches!(self.value(&above), Some(Value::Array(..) | Value::String(..))) =>
                {
                    self.origin(&above)
                }
                _ => Origin::Default,
            };
        };
        match self.place_of(path, value) {
            Some(Place::File(file, at)) => Origin::File(file, at.map_or(0, |at| at.line)),
            Some(Place::Environment(variable)) => Origin::Environment(variable),
            Some(Place::Flag(_)) => Origin::Flag,
            None => Origin::Default,
        }
    }

    /// Where to look for a mistake at this path: its own place, or that of the section around it.
    pub(super) fn place(&self, path: &KeyPath) -> Option<Place> {
        let mut path = path.clone();
        loop {
            let found = self.value(&path).and_then(|value| self.place_of(&path, value));
            if found.is_some() {
                return found;
            }
            path = path.parent()?;
        }
    }

    fn place_of(&self, path: &KeyPath, value: &Value) -> Option<Place> {
        let in_file = || {
            let position = self.document.position(path)?;
            Some(Place::File(self.file.clone()?, Some(position)))
        };
        // A section belongs to the file as soon as the file has it, whoever else adds to it.
        if matches!(value, Value::Dict(..)) && self.document.position(path).is_some() {
            return in_file();
        }
        let metadata = self.figment.get_metadata(value.tag())?;
        let name = metadata.source.as_ref().and_then(|source| source.custom());
        match (metadata.name.as_ref(), name) {
            (FILE, _) => in_file(),
            (ENVIRONMENT, Some(variable)) => Some(Place::Environment(variable.to_owned())),
            (FLAG, Some(key)) => Some(Place::Flag(key.to_owned())),
            _ => None,
        }
    }

    fn put(&mut self, layer: Layer) {
        self.figment = std::mem::take(&mut self.figment).merge(layer);
        let mut data = self.figment.data().unwrap_or_default();
        let mut values = data.remove(&Profile::Default).unwrap_or_default();
        drop_absent(&mut values);
        self.merged = Value::from(values);
    }

    fn set(&mut self, path: &KeyPath, text: &str, metadata: Metadata) -> Result<(), String> {
        let steps: Vec<String> = path.steps().collect();
        let Value::Dict(_, mut values) = self.merged.clone() else {
            return Ok(());
        };
        overlay::set(&mut values, &steps, overlay::read_value(text))?;
        let top = steps.first().and_then(|key| values.remove_entry(key));
        self.put(Layer { metadata, values: top.into_iter().collect() });
        self.spellings.insert(path.clone(), text.to_owned());
        Ok(())
    }
}

fn named(layer: &'static str, name: &str) -> Metadata {
    Metadata::from(layer, name)
}

/// The key a `…_FILE` variable gives from a file; `None` if the variable is the key itself.
fn secret_file(path: &KeyPath) -> Option<KeyPath> {
    let last = path.steps().next_back()?;
    let key = last.strip_suffix("_file")?;
    // The one key whose own name ends so.
    if path.dotted() == "broker.password_file" || key.is_empty() {
        return None;
    }
    path.parent().map(|above| above.child(key))
}

fn read_secret(path: &Path) -> Result<String, String> {
    let text = read_bounded(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    // Editors and `echo` end a file with a line break that is no part of the secret.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(format!("it is larger than {} MiB", LARGEST_FILE >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("byte {} is not UTF-8: save it as UTF-8 text", error.utf8_error().valid_up_to() + 1)
    })
}

const PREFIX: &str = "METERBRIDGE__";
const LARGEST_FILE: u64 = 4 << 20;

// Names of the layers in figment's metadata.
const FILE: &str = "file";
const ENVIRONMENT: &str = "environment";
const FLAG: &str = "--set";
