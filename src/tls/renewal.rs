//! Certificates are renewed while the listener runs: the files are looked at again and again.
//!
//! Looked at, and not watched: a watch misses what a network drive or a container's mount does not
//! tell, and three small files are quickly read.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::time::Instant;

use super::files::Material;
use super::{Loaded, TlsErrors, TlsFiles, judge};

/// What a listener shows its clients: the newest files that were good.
#[derive(Debug)]
pub struct Credentials {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
    looks: Mutex<Looks>,
}

/// What the files looked like, by their fingerprints.
#[derive(Debug)]
struct Looks {
    /// When they were judged last, good or not.
    judged: [u8; 32],
    /// At the last look, if that was different.
    changing: Option<[u8; 32]>,
}

impl Credentials {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn load(files: TlsFiles) -> Result<Self, TlsErrors> {
        let material = Material::read(&files);
        let loaded = judge(&files, &material)?;
        tell_concerns(&loaded);
        let looks = Mutex::new(Looks { judged: material.fingerprint(), changing: None });
        Ok(Self { files, loaded: Mutex::new(loaded), looks })
    }

    /// For the next connection; those that are open keep what they began with.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.loaded.lock().config)
    }

    /// Looks at the files `every` so often and takes in new ones; never ends. Files that are not
    /// good are told once, and what was good before stays in use. A file that changed is judged
    /// when it looks the same twice, since certificate and key are not written in one moment.
    pub async fn keep_fresh(&self, every: Duration) {
        let mut told = Instant::now();
        loop {
            tokio::time::sleep(every).await;
            if told.elapsed() >= REMINDER {
                told = Instant::now();
                tell_concerns(&self.loaded.lock().clone());
            }
            let files = self.files.clone();
            // A drive that hangs must not hold up a worker.
            let read = tokio::task::spawn_blocking(move || Material::read(&files));
            if let Ok(material) = read.await {
                self.look(&material);
            }
        }
    }

    fn look(&self, material: &Material) {
        let seen = material.fingerprint();
        let mut looks = self.looks.lock();
        if seen == looks.judged {
            looks.changing = None;
        } else if looks.changing != Some(seen) {
            looks.changing = Some(seen);
        } else {
            *looks = Looks { judged: seen, changing: None };
            drop(looks);
            self.take_in(material);
        }
    }

    fn take_in(&self, material: &Material) {
        match judge(&self.files, material) {
            Ok(loaded) => {
                let expires = loaded.expires().map(tracing::field::display);
                let certificate = self.files.certificate.display();
                tracing::info!(%certificate, expires, "tls certificate renewed");
                tell_concerns(&loaded);
                *self.loaded.lock() = loaded;
            }
            Err(error) => {
                tracing::error!(%error, "the changed tls files are not used, those before stay in use");
            }
        }
    }
}

fn tell_concerns(loaded: &Loaded) {
    for concern in loaded.concerns(Timestamp::now()) {
        tracing::warn!("tls certificate {} {}", concern.path.display(), concern.message);
    }
}

const REMINDER: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(dir: &Path, certificate: &str, key: &str) {
        std::fs::write(dir.join("c"), certificate).unwrap();
        std::fs::write(dir.join("k"), key).unwrap();
    }

    #[test]
    fn files_that_are_not_good_or_not_whole_yet_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let pem = |name: &str| {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let (first, second) = (pem("first"), pem("second"));
        write(dir.path(), &first.0, &first.1);
        let path = |name: &str| dir.path().join(name);
        let files = TlsFiles { certificate: path("c"), key: path("k"), client_ca: None };
        let credentials = Credentials::load(files.clone()).unwrap();
        let before = credentials.current();
        let look = || {
            credentials.look(&Material::read(&files));
            Arc::ptr_eq(&credentials.current(), &before)
        };
        for (certificate, key) in [
            (&first.0, &second.1),
            (&second.0[..100].to_owned(), &second.1),
            (&"nonsense".to_owned(), &String::new()),
        ] {
            write(dir.path(), certificate, key);
            for _ in 0..3 {
                assert!(look(), "{certificate}");
            }
        }
        std::fs::remove_file(path("k")).unwrap();
        assert!(look() && look());
        write(dir.path(), &second.0, &second.1);
        assert!(look(), "not at the first look");
        assert!(!look(), "at the second");
    }
}
