//! The adapters that own what is known of meters, one for each make, and which of them a change is for.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::request::Status;
use super::{BUSY, NOT_ON_DISK, STOPPING};
use crate::command::directory::{Directory, Meter};
use crate::model::Make;
use crate::registry::change::{Asked, Change, ChangeError, ChangesIn, Done};

/// Where the adapter of each make takes changes.
#[derive(Debug)]
pub struct Owners {
    owners: Vec<(Make, ChangesIn)>,
    directory: Arc<Directory>,
}

/// Why a change was not made.
enum Failure {
    /// The adapter says so.
    Refused(ChangeError),
    /// It could not be asked, or the disk did not take it.
    Lost(&'static str),
}

impl Owners {
    /// The adapters, the one whose serial numbers are told apart most easily first.
    pub fn new(owners: Vec<(Make, ChangesIn)>, directory: Arc<Directory>) -> Owners {
        Owners { owners, directory }
    }

    /// Has a change made by whom it concerns, and waits until it is on disk.
    pub(super) async fn change(
        &self,
        change: Change,
    ) -> Result<Map<String, Value>, (Status, String)> {
        let outcome = match &change {
            Change::Permit(_) | Change::Strangers => self.ask_all(&change).await,
            Change::Rename { from, to } => match self.name_of_another_make(from, to) {
                Some(refusal) => Err(Failure::Refused(refusal)),
                None => self.ask_whom_it_concerns(&change).await,
            },
            Change::Adopt { serial, .. } => {
                // What was never heard of is of the first make: the serial numbers of the others may be
                // any text, so that a mistake in writing would be let in as a meter.
                let heard = self.who_turned_away(serial).await.or_else(|| self.make_of(serial));
                let first = self.owners.first().map_or(Make::Brultech, |(make, _)| *make);
                self.ask_owner(heard.unwrap_or(first), &change).await
            }
            Change::Configure { .. } | Change::Remove { .. } | Change::Replace { .. } => {
                self.ask_whom_it_concerns(&change).await
            }
        };
        outcome.map_err(|failure| match failure {
            Failure::Refused(error @ ChangeError::Unknown(_)) => {
                (Status::NoSuchMeter, error.to_string())
            }
            Failure::Refused(error @ ChangeError::Invalid(_)) => {
                (Status::Refused, error.to_string())
            }
            Failure::Lost(words) => (Status::Unavailable, words.to_owned()),
        })
    }

    /// What each adapter says; lists are put together.
    async fn ask_all(&self, change: &Change) -> Result<Map<String, Value>, Failure> {
        let mut all = Map::new();
        for (_, owner) in &self.owners {
            for (key, value) in ask(owner, change.clone()).await? {
                match (all.get_mut(&key), value) {
                    (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
                    (Some(_), _) => {}
                    (None, value) => drop(all.insert(key, value)),
                }
            }
        }
        Ok(all)
    }

    /// Asks one after the other until one knows the meter.
    async fn ask_whom_it_concerns(&self, change: &Change) -> Result<Map<String, Value>, Failure> {
        let mut first = None;
        for (_, owner) in &self.owners {
            match ask(owner, change.clone()).await {
                Err(Failure::Refused(error @ ChangeError::Unknown(_))) => {
                    first.get_or_insert(error);
                }
                outcome => return outcome,
            }
        }
        Err(first.map_or(Failure::Lost(STOPPING), Failure::Refused))
    }

    async fn ask_owner(&self, make: Make, change: &Change) -> Result<Map<String, Value>, Failure> {
        match self.owners.iter().find(|(one, _)| *one == make) {
            Some((_, owner)) => ask(owner, change.clone()).await,
            None => Err(Failure::Lost(STOPPING)),
        }
    }

    /// The make of a meter that was heard and not let in.
    async fn who_turned_away(&self, serial: &str) -> Option<Make> {
        for (make, owner) in &self.owners {
            let told = ask(owner, Change::Strangers).await.ok()?;
            let strangers = told.get("not_let_in").and_then(Value::as_array);
            let is_it = |one: &Value| one.get("serial").and_then(Value::as_str) == Some(serial);
            if strangers.is_some_and(|strangers| strangers.iter().any(is_it)) {
                return Some(*make);
            }
        }
        None
    }

    /// Each adapter sees to it that names are unique among its own meters; this is for the others.
    fn name_of_another_make(&self, from: &str, to: &str) -> Option<ChangeError> {
        let holder = self.directory.find(to)?;
        let is_other = self.make_of(from).is_some_and(|make| make != holder.make());
        is_other.then(|| {
            let serial = holder.serial().map_or("of another make", |serial| &**serial);
            ChangeError::Invalid(format!(
                "\"{to}\" is the name of meter {serial}; names must be unique"
            ))
        })
    }

    /// The make of the meter with this name, serial number or id.
    fn make_of(&self, who: &str) -> Option<Make> {
        let by_name = self.directory.find(who);
        let is_it = |meter: &Meter| {
            let id = match meter {
                Meter::Heard(heard) => Some(heard.device.id),
                Meter::Expected(_) => None,
            };
            meter.serial().is_some_and(|serial| **serial == *who)
                || id.is_some_and(|id| id.to_string() == who)
        };
        by_name.or_else(|| self.directory.all().into_iter().find(is_it)).map(|meter| meter.make())
    }
}

/// Asks one adapter and waits for the disk.
async fn ask(owner: &ChangesIn, change: Change) -> Result<Map<String, Value>, Failure> {
    let (reply, answer) = oneshot::channel();
    owner.try_send(Asked { change, reply }).map_err(|_| Failure::Lost(BUSY))?;
    let done = match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => return Err(Failure::Lost(STOPPING)),
        Err(_) => return Err(Failure::Lost(BUSY)),
    };
    let Done { data, kept } = done.map_err(Failure::Refused)?;
    match tokio::time::timeout(PATIENCE, kept).await {
        Ok(Ok(true)) => Ok(data),
        _ => Err(Failure::Lost(NOT_ON_DISK)),
    }
}

/// How long the adapter, and then the disk, may take.
const PATIENCE: Duration = Duration::from_secs(10);
