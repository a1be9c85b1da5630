//! What Fluksometers say and keep, against captures and against anything.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod properties;
mod samples;
mod sessions;

use std::path::{Path, PathBuf};

/// The folder of the captures.
fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/flukso")
}

fn json(path: &str) -> serde_json::Value {
    let text = std::fs::read(captures().join(path)).expect("the capture is there");
    serde_json::from_slice(&text).expect("the capture is JSON")
}

/// The packed block that an entry of a list names.
fn packed(folder: &str, entry: &serde_json::Value) -> Vec<u8> {
    let (sid, rid) = (entry["sid"].as_str().expect("each entry has a sensor"), &entry["rid"]);
    let path = format!("{folder}/{sid}/{rid}/{}/{}.gz", entry["lvl"], entry["bid"]);
    std::fs::read(captures().join(path)).expect("the block is there")
}
