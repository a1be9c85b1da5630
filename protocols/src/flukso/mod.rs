//! Fluksometers, FLM02 and FLM03: what they publish over MQTT.
//!
//! | module | has |
//! |---|---|
//! | [`topic`] | the topics |
//! | [`payload`] | readings, of both generations |
//! | [`document`] | the configuration documents: sensors, ports, radio nodes |

pub mod document;
mod id;
pub mod payload;
pub mod topic;

pub use id::{Id, NotAnId};
