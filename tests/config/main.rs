//! The configuration through its doors: files, environment and flags in, values or mistakes out.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod access;
mod layers;
mod mistakes;
mod noise;
mod shipped;

use std::path::PathBuf;

use meterbridge::config::{self, Config, Source};
use tempfile::TempDir;

/// A directory with a `config.yaml`.
struct Given {
    dir: TempDir,
    source: Source,
}

fn given(text: &str) -> Given {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, text).unwrap();
    Given { dir, source: Source { file: Some(file), ..Source::default() } }
}

impl Given {
    fn env(mut self, name: &str, value: &str) -> Self {
        self.source.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn set(mut self, flag: &str) -> Self {
        self.source.set.push(flag.to_owned());
        self
    }

    /// The files that values name are not there and need not be.
    fn without_files(mut self) -> Self {
        self.source.without_files = true;
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> Config {
        self.loaded().config
    }

    fn loaded(&self) -> config::Loaded {
        config::load(&self.source).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The mistakes, without the directory.
    fn mistakes(&self) -> Vec<String> {
        let dir = format!("{}/", self.dir.path().display());
        match config::load(&self.source) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.lines().map(|line| line.replace(&dir, "")).collect(),
        }
    }
}

/// A file with one good meter, and lines to add to it.
fn meter(lines: &str) -> String {
    format!(
        "meters:\n  - name: house\n    kind: brultech\n    link: {{listen: 127.0.0.1:8083}}\n{lines}"
    )
}

/// Of "password".
const HASH: &str = "$argon2id$v=19$m=1024,t=1,p=1$MdowDE1AQ654nywP1gpqFA$8N9dhGzK7Ju15LvnGzQz9swWB9jYnOqGO0eZkm5fLeY";
