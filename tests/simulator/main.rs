//! Simulated SmartMeters and PowerMeters alone, seen by a client that follows the description of
//! the wire: replies are those of recorded dialogs, and a stream has the figures of the loads.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod client;
mod decoded;
mod dialogs;
mod lines;
mod mqtt;
mod streams;
mod troubles;
