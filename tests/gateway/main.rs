//! A whole gateway through its real doors: bytes of meters in by TCP, an MQTT client and HTTP out.
//!
//! Most tests run the gateway inside the test process, with port 0 everywhere and a directory of
//! its own; those that are about the process itself (signals, exit codes, a sudden end, foreign
//! clients) start the real program. Nothing here sleeps: every wait is for something that is to
//! be seen, and ends in a failure that tells what was seen instead.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod ear;
mod meters;
mod process;
mod readers;
mod record;
mod subscriber;
mod support;

mod api;
mod badinput;
mod blocks;
mod clients;
mod commandline;
mod commands;
mod counters;
mod demo;
mod directions;
mod documents;
mod flukso;
mod fluksometer;
mod glitches;
mod handed_on;
mod histories;
mod history;
mod identity;
mod ingest;
mod journal;
mod links;
mod mistakes;
mod noise;
mod p1;
mod past;
mod rates;
mod registry;
mod sampled;
mod serial;
mod shutdown;
mod simulated;
mod smartmeter;
mod smartmeter_mqtt;
mod talk;
mod text;
mod unheard;
mod web;
