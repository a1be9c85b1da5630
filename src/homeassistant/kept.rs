//! What of discovery outlives the process: what is out, what it says, and what the user deleted.

use std::collections::{BTreeMap, BTreeSet};

use super::document::Document;

/// A document as text: it is looked at seldom, and as text it takes a tenth of the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    text: Box<str>,
    /// What people call the device.
    pub name: Box<str>,
    /// How many entities it has.
    pub entities: usize,
    /// Whether some entities are to go.
    pub removes: bool,
}

impl Stored {
    /// The document as text. `None` if it could not be written, which no document can.
    pub fn of(document: &Document) -> Option<Stored> {
        let name = document.dev.get("name").and_then(serde_json::Value::as_str);
        Some(Stored {
            text: serde_json::to_string(document).ok()?.into(),
            name: name.unwrap_or_default().into(),
            entities: document.components.len(),
            removes: !document.removed.is_empty(),
        })
    }

    /// Takes back what `text` gave.
    ///
    /// # Errors
    /// When it is no document.
    pub fn read(text: &str) -> Result<Stored, serde_json::Error> {
        let document: Document = serde_json::from_str(text)?;
        Stored::of(&document).ok_or_else(|| serde::de::Error::custom("not to be written"))
    }

    /// The document.
    pub fn document(&self) -> Option<Document> {
        serde_json::from_str(&self.text).ok()
    }

    /// For the disk.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// Each device by its id, as it was announced last.
    pub documents: BTreeMap<String, Stored>,
    /// The topics that hold something of ours.
    pub topics: BTreeMap<String, Out>,
    /// What the user deleted from Home Assistant: a device, or one component of it.
    pub deleted: BTreeSet<(String, Option<String>)>,
}

/// What a topic holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Out {
    /// The device.
    pub device: String,
    /// The component; `None` where the topic is that of the whole device.
    pub component: Option<String>,
    /// It says no more than that its entities move to another topic.
    pub migrating: bool,
}

/// One change of what is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A device is announced so from now on, or not known any more.
    Document(String, Option<Stored>),
    /// A topic holds this, or nothing.
    Topic(String, Option<Out>),
    /// The user deleted this, or it is offered again.
    Deleted(String, Option<String>, bool),
}
