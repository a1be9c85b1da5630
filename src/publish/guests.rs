//! Meters that speak on the gateway's broker under `powermeter/<their own name>/…` themselves, as
//! SmartMeters do: what they say and hear there themselves, the gateway does not say or tell them again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::time::{Duration, Instant};

/// Those that were heard. Clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Guests(Arc<RwLock<HashMap<Arc<str>, Guest>>>);

/// One of them.
#[derive(Debug, Clone, Copy, Default)]
struct Guest {
    /// When it last published its sum.
    summed: Option<Instant>,
}

impl Guests {
    /// A meter of this name is there, and hears what is published to it and to all.
    pub(crate) fn arrive(&self, name: &Arc<str>) {
        if !self.is_there(name) {
            self.0.write().entry(Arc::clone(name)).or_default();
        }
    }

    /// It has published its sum just now.
    pub(crate) fn sum(&self, name: &Arc<str>) {
        let summed = Some(Instant::now());
        self.0.write().insert(Arc::clone(name), Guest { summed });
    }

    /// It is not there any more.
    pub(crate) fn leave(&self, name: &str) {
        self.0.write().remove(name);
    }

    /// Whether a meter of this name is there.
    pub fn is_there(&self, name: &str) -> bool {
        self.0.read().contains_key(name)
    }

    /// Whether it publishes its sum itself at present: not while it samples, for one.
    pub fn sums(&self, name: &str) -> bool {
        let summed = self.0.read().get(name).and_then(|guest| guest.summed);
        summed.is_some_and(|at| at.elapsed() < SUMMED)
    }
}

/// Every five seconds while it is idle; one message may be lost on the way.
const SUMMED: Duration = Duration::from_secs(12);
