//! Samples on their way out: readers over TCP, among them ffmpeg, and files on disk.
//!
//! The meter is played by the test, which hands pieces to the gateway's own exchange; sockets, files and
//! programs are real. Nothing here sleeps: every wait is for something that is to be seen.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod ffmpeg;
mod killed;
mod orders;
mod recordings;
mod relay;
mod stage;
