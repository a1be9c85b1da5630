//! The keys under `journal:`: how readings are kept for those who must not lose one.

use serde::{Deserialize, Serialize};

use super::size::ByteSize;
use crate::journal::{Commit, Settings};

/// What waits on disk for histories and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// When a set of readings is safe.
    pub sync: Commit,
    /// What may wait at most.
    pub size: ByteSize,
}

impl Default for Journal {
    fn default() -> Self {
        let Settings { commit, size } = Settings::default();
        Self { sync: commit, size: ByteSize(size) }
    }
}

impl Journal {
    /// The same, as the journal wants it.
    pub fn settings(&self) -> Settings {
        Settings { commit: self.sync, size: self.size.0 }
    }
}
