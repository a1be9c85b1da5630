//! The settings lists that meters answer with.

mod ecm;
mod gem;

pub use ecm::EcmSettings;
pub use gem::{ChannelOptions, GemSettings};
pub(super) use gem::{nibbles, seconds};
