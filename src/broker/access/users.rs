//! The users: those of the configuration, and those of a password file that is read again when it
//! changes. Tests passwords, off the threads that serve connections.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::password::{HashError, PasswordHash};
use super::password_file::{PasswordFile, PasswordFileError};
use crate::broker::stats::Throttle;

/// A user of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name the client gives.
    pub name: String,
    /// Of its password.
    pub password_hash: PasswordHash,
}

/// Everybody who may log in.
#[derive(Debug)]
pub(super) struct Users {
    configured: HashMap<Arc<str>, Arc<PasswordHash>>,
    file: Option<PathBuf>,
    watch: Mutex<Watch>,
    present: RwLock<Arc<Table>>,
    proofs: Mutex<HashMap<Arc<str>, Proof>>,
    /// Makes the proofs worthless outside of this process.
    secret: [u8; 32],
    /// Bounds the memory and the threads that logins take at a time.
    places: Arc<Semaphore>,
    notice: Throttle,
}

/// The users as of now.
#[derive(Debug)]
struct Table {
    users: HashMap<Arc<str>, Arc<PasswordHash>>,
    /// Tested in the place of an unknown user's, so that a wrong name costs what a wrong password does.
    decoy: PasswordHash,
}

/// When and as what the password file was last seen.
#[derive(Debug, Default)]
struct Watch {
    looked: Option<Instant>,
    seen: Option<Seen>,
}

/// What changes with a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    inode: u64,
    length: u64,
    modified: SystemTime,
    /// Changed so shortly before it was read that the clock of the file system may not tell of
    /// another change.
    fresh: bool,
}

/// That a user has shown this password: a digest that nothing can be learned from elsewhere.
#[derive(Debug)]
struct Proof {
    of: Arc<PasswordHash>,
    digest: [u8; 32],
}

impl Users {
    /// Reads the password file, if there is one. A user that is in both counts as configured.
    pub(super) fn load(users: Vec<User>, file: Option<PathBuf>) -> Result<Self, UsersError> {
        let configured: HashMap<Arc<str>, Arc<PasswordHash>> = users
            .into_iter()
            .map(|user| (Arc::from(user.name), Arc::new(user.password_hash)))
            .collect();
        let mut watch = Watch::default();
        let mut table = HashMap::new();
        if let Some(path) = &file {
            // Looked at before it is read: a change in between is found the next time.
            watch = Watch { looked: Some(Instant::now()), seen: Seen::of(path) };
            table = read_users(path)?;
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|_| HashError::NoRandomness)?;
        let present = RwLock::new(Arc::new(Table::new(table, &configured)));
        let places = Arc::new(Semaphore::new(HASHES_AT_A_TIME));
        let (watch, proofs, notice) = (Mutex::new(watch), Mutex::default(), Throttle::default());
        Ok(Self { configured, file, watch, present, proofs, secret, places, notice })
    }

    /// Whether `name` is a user, as far as known; for words in the log only.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.present.read().users.contains_key(name)
    }

    /// Takes in what has changed in the password file. Looks once a second at most.
    pub(super) async fn refresh(self: &Arc<Self>) {
        if self.file.is_none() || !self.watch.lock().is_due() {
            return;
        }
        let users = Arc::clone(self);
        // A panic there is a fault of ours that leaves the users as they were.
        let _ = tokio::task::spawn_blocking(move || users.read_again()).await;
    }

    /// Whether `name` has shown this password before, without the cost of a test. Says nothing
    /// when the answer is no.
    pub(super) fn is_proven(&self, name: &str, password: &[u8]) -> bool {
        let digest = self.digest(name, password);
        let table = Arc::clone(&self.present.read());
        let proofs = self.proofs.lock();
        match (table.users.get(name), proofs.get(name)) {
            (Some(hash), Some(proof)) => Arc::ptr_eq(hash, &proof.of) && proof.digest == digest,
            _ => false,
        }
    }

    /// Tests a password, and takes as long for a name that nobody has.
    pub(super) async fn is_right(self: &Arc<Self>, name: &str, password: &[u8]) -> bool {
        // Never closed, so the place is there sooner or later.
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return false };
        let (users, name, password) =
            (Arc::clone(self), Arc::<str>::from(name), Box::<[u8]>::from(password));
        let test = tokio::task::spawn_blocking(move || {
            let _place = place;
            users.test(&name, &password)
        });
        test.await.unwrap_or(false)
    }

    fn test(&self, name: &Arc<str>, password: &[u8]) -> bool {
        let table = Arc::clone(&self.present.read());
        let Some(hash) = table.users.get(name) else {
            return table.decoy.is_of(password);
        };
        let right = hash.is_of(password);
        if right {
            let proof = Proof { of: Arc::clone(hash), digest: self.digest(name, password) };
            self.proofs.lock().insert(Arc::clone(name), proof);
        } else if hash.cost() < table.decoy.cost() {
            table.decoy.is_of(password);
        }
        right
    }

    fn digest(&self, name: &str, password: &[u8]) -> [u8; 32] {
        let mut inner = Sha256::new();
        inner.update(self.secret);
        inner.update((name.len() as u64).to_be_bytes());
        inner.update(name);
        inner.update(password);
        // Twice, so that nobody who saw one could prolong it.
        Sha256::new().chain_update(self.secret).chain_update(inner.finalize()).finalize().into()
    }

    fn read_again(&self) {
        let Some(path) = &self.file else { return };
        let now = Seen::of(path);
        let before = self.watch.lock().seen;
        if now == before && !now.is_some_and(|seen| seen.fresh) {
            return;
        }
        match read_users(path) {
            Ok(table) => {
                let mut table = Table::new(table, &self.configured);
                table.keep_unchanged(&self.present.read());
                let count = table.users.len();
                *self.present.write() = Arc::new(table);
                self.watch.lock().seen = now;
                if now.map(Seen::settled) != before.map(Seen::settled) {
                    tracing::info!(path = %path.display(), users = count, "password file read again");
                }
            }
            Err(error) => {
                if let Some(held_back) = self.notice.pass() {
                    tracing::warn!(%error, held_back, "the users stay as they were");
                }
            }
        }
    }
}

impl Table {
    fn new(
        from_file: HashMap<Arc<str>, Arc<PasswordHash>>,
        configured: &HashMap<Arc<str>, Arc<PasswordHash>>,
    ) -> Self {
        let mut users = from_file;
        for (name, hash) in configured {
            users.insert(Arc::clone(name), Arc::clone(hash));
        }
        let costliest = users.values().max_by_key(|hash| hash.cost());
        let decoy = costliest.map_or_else(PasswordHash::any_decoy, |hash| hash.decoy());
        Self { users, decoy }
    }

    /// Takes over what is the same as before, so that what was proven of it stays proven.
    fn keep_unchanged(&mut self, before: &Table) {
        for (name, hash) in &mut self.users {
            if let Some(old) = before.users.get(name)
                && old == hash
            {
                *hash = Arc::clone(old);
            }
        }
    }
}

impl Watch {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_AGAIN);
        if due {
            self.looked = Some(now);
        }
        due
    }
}

impl Seen {
    /// `None` when the file cannot be looked at.
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let modified = metadata.modified().ok()?;
        let age = SystemTime::now().duration_since(modified).unwrap_or_default();
        Some(Self { inode: metadata.ino(), length: metadata.len(), modified, fresh: age < FRESH })
    }

    fn settled(self) -> Self {
        Self { fresh: false, ..self }
    }
}

/// Why the users cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum UsersError {
    #[error(transparent)]
    File(#[from] PasswordFileError),
    #[error(transparent)]
    Random(#[from] HashError),
}

/// The users of a file. Lines that cannot be used are said and passed over.
fn read_users(path: &Path) -> Result<HashMap<Arc<str>, Arc<PasswordHash>>, PasswordFileError> {
    let file = PasswordFile::read(path)?;
    for fault in file.faults.iter().take(FAULTS_SAID) {
        tracing::warn!(path = %path.display(), %fault, "password file: line passed over");
    }
    if file.faults.len() > FAULTS_SAID {
        let more = file.faults.len() - FAULTS_SAID;
        tracing::warn!(path = %path.display(), more, "password file: further lines passed over");
    }
    Ok(file.users.into_iter().map(|(name, hash)| (name.into(), Arc::new(hash))).collect())
}

/// Logins that are tested at the same time, each with some 20 MiB and a thread of its own.
const HASHES_AT_A_TIME: usize = 2;
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const FRESH: Duration = Duration::from_secs(2);
const FAULTS_SAID: usize = 10;
