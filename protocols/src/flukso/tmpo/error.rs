//! What can be wrong with a block.

/// Why a block is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It is not packed by gzip.
    #[error("it does not begin with 1f 8b: it is not gzip")]
    NotGzip,
    /// It is larger than any block can be, packed or unpacked.
    #[error("it is larger than {limit} B")]
    TooLarge {
        /// The most there may be.
        limit: usize,
    },
    /// The packing is damaged.
    #[error("it cannot be unpacked: {0}")]
    Damaged(String),
    /// Something follows the one gzip member.
    #[error("{0} B follow the end of the gzip data")]
    Trailing(usize),
    /// The text is not the one of a block.
    #[error("{expected} expected at byte {offset}")]
    Shape {
        /// What should be there.
        expected: &'static str,
        /// Bytes from the begin of the text.
        offset: usize,
    },
    /// What stands in `h` is not right.
    #[error("its head is malformed: {0}")]
    Header(String),
    /// There are not as many values as times.
    #[error("{times} entries in t but {values} in v")]
    Lengths {
        /// In `t`.
        times: usize,
        /// In `v`.
        values: usize,
    },
    /// The times do not rise.
    #[error("the time of entry {entry} does not rise")]
    Time {
        /// The place in `t`, from 0.
        entry: usize,
    },
    /// The readings are further apart than the longest window, or none has a time that can be.
    #[error("its readings reach from {first} to {last}: further than any block")]
    Range {
        /// Unix seconds.
        first: i64,
        /// Unix seconds.
        last: i64,
    },
    /// The times do not end where the head says.
    #[error("its tail is said to be at {told}, and is at {found}")]
    Tail {
        /// Unix seconds, as the head says.
        told: i64,
        /// Unix seconds, as the times say.
        found: i64,
    },
    /// A value is too large to hold.
    #[error("the value of entry {entry} is out of range")]
    Value {
        /// The place in `v`, from 0.
        entry: usize,
    },
}
