//! The files of the listener with TLS.

use jiff::Timestamp;

use super::Check;
use crate::config::broker::Mode;
use crate::tls;

impl Check<'_> {
    pub(super) fn tls(&mut self) {
        let broker = &self.config.broker;
        let Some(tls) = broker.tls.as_ref().filter(|_| broker.mode == Mode::Embedded) else {
            return;
        };
        let files = tls.files();
        let certificate = (&files.certificate, "certificate", "the server's certificate");
        let key = (&files.key, "key", "its private key");
        let mut missing = false;
        for (path, key, what) in [certificate, key] {
            if path.as_os_str().is_empty() {
                missing = true;
                let message = format!("is missing: write the PEM file that holds {what}");
                self.report(&format!("broker.tls.{key}"), message);
            }
        }
        if missing || self.without_files {
            return;
        }
        match tls::load(&files) {
            Err(errors) => {
                for error in errors.0 {
                    self.report(&format!("broker.tls.{}", error.part.key()), error.to_string());
                }
            }
            Ok(loaded) => {
                for concern in loaded.concerns(Timestamp::now()) {
                    let message = format!("{} {}", concern.path.display(), concern.message);
                    self.warn(&format!("broker.tls.{}", concern.part.key()), message);
                }
            }
        }
    }
}
