//! Fluksometers, FLM02 and FLM03: what they publish over MQTT, and what they keep.
//!
//! | module | has |
//! |---|---|
//! | [`topic`] | the topics |
//! | [`payload`] | readings, of both generations |
//! | [`document`] | the configuration documents: sensors, ports, radio nodes |
//! | [`tmpo`] | history blocks: the text, its gzip form, merging |

pub mod document;
mod id;
pub mod payload;
pub mod tmpo;
pub mod topic;

pub use id::{Id, NotAnId};
