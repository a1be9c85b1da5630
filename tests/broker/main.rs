//! The broker through its real doors: sockets, foreign MQTT clients, and the gateway's link.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod clients;
mod delivery;
mod disk;
mod kill;
mod limits;
mod malformed;
mod sessions;
mod support;
