//! What a session is told of its link.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::settings::Roster;
use crate::adapters::fleet::LinkId;
use crate::bus::Waveforms;
use crate::metrics::Metrics;

/// The link, and what the session needs of the gateway.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where the device is heard.
    pub(crate) link: LinkId,
    /// The other end, as the log calls it.
    pub(crate) peer: String,
    /// The line is a serial one: samples come by `Serial`, and no end of a connection stops them.
    pub(crate) serial_line: bool,
    /// The device has dialled the gateway.
    pub(crate) listens: bool,
    /// Which entry the device has.
    pub(crate) roster: Roster,
    /// Where samples go.
    pub(crate) waveforms: Waveforms,
    /// The gateway's numbers.
    pub(crate) metrics: Metrics,
    /// What was said already, of all connections.
    pub(crate) told: Told,
}

/// What the log has been told once and need not hear again, whatever connection it is about. Clones are
/// the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<HashSet<String>>>);

impl Told {
    /// Whether this is said for the first time.
    pub(crate) fn first(&self, what: String) -> bool {
        let mut told = self.0.lock();
        told.len() < MOST && told.insert(what)
    }
}

/// Devices that make names up must not fill memory.
const MOST: usize = 4096;
