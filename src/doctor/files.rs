//! Files that the configuration names: certificates, keys, passwords. That they can be read and fit
//! together is a matter of the configuration's check.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Report;
use crate::config::Config;
use crate::config::broker::Mode;
use crate::process::Ownership;
use crate::tls::{self, Part};

pub(super) fn examine(config: &Config, report: &mut Report) {
    let broker = &config.broker;
    if broker.mode != Mode::Embedded {
        return;
    }
    if let Some(tls) = &broker.tls {
        certificates(&tls.files(), report);
        private("broker.tls.key", &tls.key, report);
    }
    if let Some(path) = &broker.password_file {
        private("broker.password_file", path, report);
    }
}

fn certificates(files: &tls::TlsFiles, report: &mut Report) {
    let Ok(loaded) = tls::load(files) else { return };
    let now = Timestamp::now();
    let concerns = loaded.concerns(now);
    for concern in &concerns {
        let subject = format!("broker.tls.{} {}", concern.part.key(), concern.path.display());
        let ended =
            concern.part == Part::Certificate && loaded.expires().is_some_and(|end| end < now);
        let advice = "put the renewed file in its place; the running gateway takes it in by itself";
        if ended {
            report.problem(subject, concern.message.clone(), advice);
        } else {
            report.note(subject, concern.message.clone(), advice);
        }
    }
    if let Some(end) = loaded.expires().filter(|_| concerns.is_empty()) {
        let subject = format!("broker.tls.certificate {}", files.certificate.display());
        report.fine(subject, format!("valid until {}", end.to_zoned(TimeZone::UTC).date()));
    }
}

/// What only the gateway's user should read.
fn private(key: &str, path: &Path, report: &mut Report) {
    let Ok(ownership) = Ownership::of(path) else { return };
    let subject = format!("{key} {}", path.display());
    if ownership.mode & 0o004 == 0 {
        report.fine(subject, format!("private (mode {:o})", ownership.mode));
    } else {
        let words = format!("every user of this machine can read it (mode {:o})", ownership.mode);
        report.note(subject, words, format!("chmod o-rwx {}", path.display()));
    }
}
