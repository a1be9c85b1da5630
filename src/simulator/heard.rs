//! What a simulator's meters were told, for tests to look at.

use std::collections::VecDeque;

/// Bytes and commands as they came, the last ones of each.
#[derive(Debug, Default)]
pub struct Heard {
    bytes: VecDeque<u8>,
    commands: VecDeque<Vec<u8>>,
    /// Chunks for an ECM that came before the one before was answered.
    pub hasty: u64,
    /// Connections that were opened, by either side.
    pub connections: u64,
}

impl Heard {
    /// Every byte that came, over all connections in the order of their coming.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }

    /// Every command that came whole, also one for another meter or one that nobody knows:
    /// `^^^NMB02345SYSOFF` for a GEM, for an ECM the unit's byte and all chunks.
    pub fn commands(&self) -> Vec<Vec<u8>> {
        self.commands.iter().cloned().collect()
    }

    /// How often exactly this command came.
    pub fn times(&self, command: &[u8]) -> usize {
        self.commands.iter().filter(|heard| *heard == command).count()
    }

    pub(super) fn add_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(BYTES);
        self.bytes.drain(..excess);
    }

    pub(super) fn add_command(&mut self, command: Vec<u8>) {
        if self.commands.len() == COMMANDS {
            self.commands.pop_front();
        }
        self.commands.push_back(command);
    }
}

const BYTES: usize = 1024 * 1024;
const COMMANDS: usize = 20_000;
