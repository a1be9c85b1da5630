//! Home Assistant's side: every discovery message against its rules, every template against the
//! real payload, and what it would have of it over restarts, migrations and deletions.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../gateway/meters.rs"]
mod meters;
#[allow(dead_code)]
#[path = "../external/support.rs"]
mod mosquitto;
#[allow(dead_code)]
#[path = "../gateway/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../gateway/record.rs"]
mod record;
#[allow(dead_code)]
#[path = "../gateway/subscriber.rs"]
mod subscriber;
#[allow(dead_code)]
#[path = "../gateway/support.rs"]
mod support;

mod assistant;
mod rules;

mod controls;
mod demo;
mod life;
mod migration;
mod refusals;
mod traps;
