//! The broker through its real doors: sockets, foreign MQTT clients, and the gateway's link.

mod clients;
mod delivery;
mod limits;
mod malformed;
mod sessions;
mod support;
