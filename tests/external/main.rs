//! The gateway with a broker elsewhere: real mosquitto processes, restarted, cut off and unwilling.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod awkward;
mod bridge;
mod faults;
mod gateway;
mod outages;
mod support;
