//! The broker through its real doors: sockets, foreign MQTT clients, and the gateway's link.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod access;
mod certificates;
mod clients;
mod conformance;
mod delivery;
mod disk;
mod gateway;
mod kill;
mod limits;
mod malformed;
mod many;
mod pressure;
mod reasons;
mod sessions;
mod support;
mod tls;
mod triggers;
mod websocket;
