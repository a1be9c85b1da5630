//! The status page in a browser: headless Chromium, told what to do over WebDriver.
//!
//! `PAGE_SCREENSHOTS=DIR` keeps a picture of what each test has seen at its end.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod browser;
mod status;

#[path = "../gateway/meters.rs"]
#[allow(dead_code)]
mod meters;
#[path = "../gateway/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../gateway/record.rs"]
#[allow(dead_code)]
mod record;
#[path = "../gateway/subscriber.rs"]
#[allow(dead_code)]
mod subscriber;
#[path = "../gateway/support.rs"]
#[allow(dead_code)]
mod support;
