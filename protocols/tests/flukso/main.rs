//! Fluksometers: recorded sessions of both generations in, readings and sensors out.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod captures;
