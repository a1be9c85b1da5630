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
    /// The fingerprint of the files that were judged last, good or not.
    judged: Mutex<[u8; 32]>,
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
        let judged = Mutex::new(material.fingerprint());
        Ok(Self { files, loaded: Mutex::new(loaded), judged })
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
        let mut changing = None;
        let mut told = Instant::now();
        loop {
            tokio::time::sleep(every).await;
            if told.elapsed() >= REMINDER {
                told = Instant::now();
                tell_concerns(&self.loaded.lock().clone());
            }
            let files = self.files.clone();
            let read = tokio::task::spawn_blocking(move || Material::read(&files));
            let Ok(material) = read.await else { continue };
            let seen = material.fingerprint();
            if seen == *self.judged.lock() {
                changing = None;
            } else if changing != Some(seen) {
                changing = Some(seen);
            } else {
                changing = None;
                *self.judged.lock() = seen;
                self.take_in(&material);
            }
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
