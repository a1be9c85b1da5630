//! The broker elsewhere: whether it can be dialled as described, and what has no effect then.

use super::Check;
use crate::config::broker::{External, Mode};
use crate::config::layers::Layers;
use crate::config::mistake::Mistake;
use crate::config::path::KeyPath;
use crate::config::{Config, decode};

impl Check<'_> {
    pub(super) fn external(&mut self) {
        let broker = &self.config.broker;
        match (&broker.external, broker.mode) {
            (Some(external), _) => self.external_broker(external),
            (None, Mode::External) => {
                let message =
                    "external needs broker.external: {url: mqtt://user@host:1883, password: …}";
                self.report("broker.mode", message);
            }
            (None, Mode::Embedded) => {}
        }
    }

    fn external_broker(&mut self, external: &External) {
        let endpoint = match external.endpoint() {
            Ok(endpoint) => endpoint,
            Err(message) => {
                self.report("broker.external.url", message);
                return self.external_numbers(external);
            }
        };
        if external.password.is_some() && endpoint.user.is_none() {
            let message = "is for nobody: write the user in broker.external.url, as in \
                           mqtt://user@host:1883";
            self.report("broker.external.password", message);
        }
        if external.password.is_some() && endpoint.password.is_some() {
            let message = "is there twice: broker.external.url holds a password as well";
            self.report("broker.external.password", message);
        }
        if let Some(ca) = &external.ca {
            if !endpoint.tls {
                let message = "is for TLS: write mqtts:// in broker.external.url, or leave it out";
                self.report("broker.external.ca", message);
            } else if let Err(error) = std::fs::File::open(ca) {
                let message = format!("{} cannot be read: {error}", ca.display());
                self.report("broker.external.ca", message);
            }
        }
        self.external_numbers(external);
    }

    fn external_numbers(&mut self, external: &External) {
        if ![4, 5].contains(&external.version) {
            let message = format!("{} is out of range: 5, or 4 for MQTT 3.1.1", external.version);
            self.report("broker.external.version", message);
        }
        let id = &external.client_id;
        if id.is_empty() || id.len() > LONGEST_ID || id.chars().any(char::is_control) {
            let message = format!(
                "must be 1 to {LONGEST_ID} characters, and no other client's: the broker keeps the \
                 session under this name"
            );
            self.report("broker.external.client_id", message);
        }
        let counts = [
            ("outbox_messages", external.outbox_messages),
            ("outbox_bytes", external.outbox_bytes),
        ];
        for (key, count) in counts {
            if count == 0 {
                let message = "0 would let nothing through: write at least 1";
                self.report(&format!("broker.external.{key}"), message);
            }
        }
    }
}

/// What is given and has no effect in the mode that is chosen. No mistake: a file may keep both.
pub(in crate::config) fn without_effect(config: &Config, layers: &Layers) -> Vec<Mistake> {
    let (keys, mode) = match config.broker.mode {
        Mode::External => (EMBEDDED_ONLY, "external"),
        Mode::Embedded => (EXTERNAL_ONLY, "embedded"),
    };
    let mut notes = Vec::new();
    for key in keys {
        let path = KeyPath::of(key.split('.'));
        // The shipped file gives every key its default, which asks for nothing.
        if layers.value(&path).is_none() || is_default(config, key) {
            continue;
        }
        let place = decode::place(layers, &path);
        let message = format!("has no effect with broker.mode: {mode}");
        notes.push(Mistake { place, key: path, message });
    }
    notes.sort_by(|one, other| one.place.cmp(&other.place));
    notes
}

fn is_default(config: &Config, key: &str) -> bool {
    let of = |config: &Config| {
        let value = serde_json::to_value(config).ok()?;
        value.pointer(&format!("/{}", key.replace('.', "/"))).cloned()
    };
    of(config) == of(&Config::default())
}

/// Longer ones are cut or refused by some brokers.
const LONGEST_ID: usize = 256;

const EMBEDDED_ONLY: &[&str] = &[
    "broker.listen",
    "broker.tls",
    "broker.websocket",
    "broker.limits.connections",
    "broker.limits.connections_per_address",
    "broker.limits.connect_timeout",
    "broker.limits.keep_alive",
    "broker.limits.retained_messages",
    "broker.limits.retained_bytes",
];
const EXTERNAL_ONLY: &[&str] = &["broker.external"];
