//! The cross-checks: what is wrong with values that are each right by themselves.
//!
//! A check looks at the typed [`Config`] and at the merged values (to tell what was given from
//! what is a default). It passes over what could not be read, since that is a mistake already.

mod access;
mod consumers;
pub(super) mod external;
mod fluksometer;
mod history;
mod listeners;
pub(super) mod meter_faults;
mod meters;
mod smartmeter;
mod tls;

use std::time::Duration;

use super::Config;
use super::decode::{self, Removed};
use super::layers::Layers;
use super::mistake::{Mistake, Mistakes, Place};
use super::path::KeyPath;
use super::size::ByteSize;
use super::unsupported;

/// Checks the configuration whole; `without_files`, without reading the files it names.
pub(super) fn check(
    config: &Config,
    layers: &Layers,
    removed: &Removed,
    without_files: bool,
    mistakes: &mut Mistakes,
) {
    let mut check = Check { config, layers, removed, without_files, mistakes };
    for (steps, message) in unsupported::find(layers.values()) {
        check.report_at(KeyPath::of(steps), message);
    }
    check.data_dir();
    check.access();
    check.external();
    check.limits();
    check.web();
    check.journal();
    check.history();
    check.homeassistant();
    check.listeners();
    check.tls();
    check.meters();
}

/// What every check needs.
struct Check<'a> {
    config: &'a Config,
    layers: &'a Layers,
    removed: &'a Removed,
    without_files: bool,
    mistakes: &'a mut Mistakes,
}

impl Check<'_> {
    /// Reports a mistake at a key of [`Config`], written `meters.0.name`.
    fn report(&mut self, key: &str, message: impl Into<String>) {
        let path = self.removed.original(&KeyPath::of(key.split('.')));
        self.report_at(path, message.into());
    }

    /// Tells what works now and should be known, at a key of [`Config`].
    fn warn(&mut self, key: &str, message: String) {
        let path = self.removed.original(&KeyPath::of(key.split('.')));
        let place = decode::place(self.layers, &path);
        self.mistakes.add_warning(Mistake { place, key: path, message });
    }

    fn report_at(&mut self, path: KeyPath, message: String) {
        if self.mistakes.known(&path) || self.mistakes.full() {
            return;
        }
        let place = decode::place(self.layers, &path);
        self.mistakes.add(Mistake { place, key: path, message });
    }

    /// Whether any layer gives a value to a key of [`Config`].
    fn given(&self, key: &str) -> bool {
        let path = self.removed.original(&KeyPath::of(key.split('.')));
        self.layers.value(&path).is_some()
    }

    /// Where else to look, for messages about two places.
    fn elsewhere(&self, key: &str) -> String {
        let path = self.removed.original(&KeyPath::of(key.split('.')));
        match self.layers.place(&path) {
            Some(Place::File(_, Some(at))) if self.given(key) => {
                format!("{path}, line {}", at.line)
            }
            Some(place) if self.given(key) => format!("{path}, {place}"),
            _ => format!("{path}, by default"),
        }
    }

    fn data_dir(&mut self) {
        if self.config.data_dir.as_os_str().is_empty() {
            self.report("data_dir", "is empty: write a directory such as ./data");
        }
    }

    fn limits(&mut self) {
        let limits = &self.config.broker.limits;
        for (key, count) in limits.counts() {
            if count == 0 {
                self.report(
                    &format!("broker.limits.{key}"),
                    "0 would let nothing through: write at least 1",
                );
            }
        }
        // What the MQTT packet format can express.
        if limits.packet_size > LARGEST_PACKET {
            let message = format!(
                "{} is out of range: MQTT packets end at {LARGEST_PACKET}",
                limits.packet_size
            );
            self.report("broker.limits.packet_size", message);
        }
        if limits.keep_alive > LONGEST_KEEP_ALIVE {
            self.report(
                "broker.limits.keep_alive",
                "is out of range: MQTT keep-alives end at 65535s",
            );
        }
        for (key, span) in
            [("keep_alive", limits.keep_alive), ("connect_timeout", limits.connect_timeout)]
        {
            if span < Duration::from_secs(1) {
                self.report(&format!("broker.limits.{key}"), "is too short: write at least 1s");
            }
        }
    }

    fn web(&mut self) {
        let path = &self.config.web.base_path;
        let fits = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
        let tree = path.split('/').all(|step| step != "." && step != "..") && !path.contains("//");
        if !path.starts_with('/') {
            let message = format!("\"{path}\" must start with a slash: write \"/{path}\"");
            self.report("web.base_path", message);
        } else if !path.chars().all(fits) || !tree {
            let message = format!(
                "\"{path}\" is not a path: write one like /energy/, of letters, digits, \"-\", \"_\" and \".\""
            );
            self.report("web.base_path", message);
        }
    }

    fn journal(&mut self) {
        let size = self.config.journal.size;
        if size < SMALLEST_JOURNAL {
            let message = format!("{size} is too small: write at least {SMALLEST_JOURNAL}");
            self.report("journal.size", message);
        }
    }

    fn homeassistant(&mut self) {
        let prefix = &self.config.homeassistant.prefix;
        let wrong = prefix.is_empty()
            || prefix.split('/').any(str::is_empty)
            || prefix.chars().any(|c| matches!(c, '#' | '+') || c.is_control());
        if wrong {
            let message = format!(
                "\"{prefix}\" is not a topic: write one like homeassistant, without \"#\" and \"+\", not starting or ending with \"/\""
            );
            self.report("homeassistant.prefix", message);
        }
    }
}

/// Some minutes of a house.
const SMALLEST_JOURNAL: ByteSize = ByteSize(1_000_000);
const LARGEST_PACKET: usize = 268_435_455;
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(65535);
