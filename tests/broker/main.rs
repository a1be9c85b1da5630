//! The broker through its real doors: sockets, foreign MQTT clients, and the gateway's link.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod clients;
mod conformance;
mod delivery;
mod limits;
mod malformed;
mod pressure;
mod sessions;
mod support;
mod triggers;
