//! Any text at all: it is read or refused, and nothing else happens.

use std::path::Path;

use meterbridge::config;
use proptest::prelude::*;

use crate::{given, meter};

/// The shipped file with its examples, as something to spoil.
fn everything() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.yaml");
    std::fs::read_to_string(file).unwrap().replace("#| ", "").replace("meters: []\n", "\n")
}

fn is_read_or_refused(text: &str) {
    let there = given(text);
    match config::load(&there.source) {
        Ok(loaded) => assert!(!loaded.listing().is_empty()),
        Err(errors) => {
            for line in errors.lines() {
                assert!(!line.trim().is_empty() && !line.contains('\n'), "{line:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\\n\\t\\PC]{0,200}") {
        is_read_or_refused(&text);
    }

    #[test]
    fn a_spoilt_file_is_read_or_refused(
        cuts in proptest::collection::vec((0usize..8000, 0usize..30, "[-:{}\\[\\],\"'#&*!|>% a0\\n]{0,3}"), 1..6),
    ) {
        let mut text: Vec<char> = everything().chars().collect();
        for (at, length, instead) in cuts {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, instead.chars());
        }
        is_read_or_refused(&text.into_iter().collect::<String>());
    }

    #[test]
    fn any_flag_and_variable_is_read_or_refused(key in "[a-z0-9_.\\[\\]]{0,20}", value in "\\PC{0,20}") {
        let there = given(&meter(""))
            .set(&format!("{key}={value}"))
            .set(&format!("meters.0.{key}={value}"))
            .set(&format!("broker.{key}={value}"))
            .env(&format!("METERBRIDGE__WEB__{}", key.to_uppercase().replace('.', "__")), &value);
        let _ = config::load(&there.source);
    }
}
