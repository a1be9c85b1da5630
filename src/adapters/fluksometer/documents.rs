//! What a Fluksometer says of itself, as it said it.

use serde::{Deserialize, Serialize};

use meter_protocols::flukso::topic::Document;

/// The documents of one device, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Documents {
    /// `config/sensor`, without which there is no device.
    pub(super) sensor: String,
    /// `config/flx`, where it has one.
    pub(super) flx: Option<String>,
    /// `config/kube`, where it has one.
    pub(super) kube: Option<String>,
    /// `test/tap`, where it has one.
    pub(super) tap: Option<String>,
}

/// What is on disk of a Fluksometer: documents are retained by brokers, but one of them may have been
/// made safe there, and readings may come first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The link it was heard on.
    pub(super) link: String,
    /// Its documents.
    pub(super) documents: Documents,
}

impl Documents {
    /// Takes a document; whether that made a difference.
    pub(super) fn put(&mut self, document: Document, text: &str) -> bool {
        let place = match document {
            Document::Sensor => {
                let changed = self.sensor != text;
                text.clone_into(&mut self.sensor);
                return changed;
            }
            Document::Flx => &mut self.flx,
            Document::Kube => &mut self.kube,
        };
        replace(place, text)
    }

    /// Takes `test/tap`; whether that made a difference.
    pub(super) fn put_tap(&mut self, text: &str) -> bool {
        replace(&mut self.tap, text)
    }

    /// Whether a gateway has written it, this one or another: nothing of that device is taken for a
    /// Fluksometer's.
    pub(super) fn is_by_a_gateway(&self) -> bool {
        self.tap.as_deref().is_some_and(is_tap_of_a_gateway) || is_marked(&self.sensor)
    }
}

fn replace(place: &mut Option<String>, text: &str) -> bool {
    let changed = place.as_deref() != Some(text);
    *place = Some(text.to_owned());
    changed
}

/// Whether `test/tap` is that of a meter which a gateway publishes.
pub(super) fn is_tap_of_a_gateway(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("# firmware: ") && line.contains(" by meterbridge "))
}

/// Whether `config/sensor` was made safe by a gateway.
pub(super) fn is_marked(text: &str) -> bool {
    text.contains(MARK)
}

/// The last section of a `config/sensor` that a gateway has written. Without `enable`, so readers pass
/// over it.
pub(super) const MARK_KEY: &str = "meterbridge";
const MARK: &str = "\"meterbridge\":{";
