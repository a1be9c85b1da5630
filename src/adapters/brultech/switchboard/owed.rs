//! Answers that may still come late. A bridge can deliver by the next connection what was asked on
//! the last, so they are kept for whoever owes them and not for the connection.

use std::sync::Arc;

use meter_protocols::brultech::Owed;

use super::super::exchange::Connection;
use super::{Places, Switchboard};
use crate::adapters::fleet::LinkId;

/// Who owes answers: a line that is the same each time it is opened, or else the meters that were
/// heard on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Debtor {
    Line(LinkId),
    Meter(Arc<str>),
}

impl Switchboard {
    /// What may still be answered late by whoever is known to be behind a connection.
    pub(in super::super) fn owed(&self, connection: &Connection) -> Owed {
        let places = self.0.places.lock();
        let mut all = Owed::default();
        for debtor in self.debtors(&places, connection) {
            if let Some(owed) = places.owed.get(&debtor) {
                all.join(owed);
            }
        }
        all
    }

    /// An exchange has ended; this is what may still come after it.
    pub(in super::super) fn set_owed(&self, connection: &Connection, owed: Owed) {
        let mut places = self.0.places.lock();
        for debtor in self.debtors(&places, connection) {
            if owed.is_nothing() {
                places.owed.remove(&debtor);
            } else {
                places.owed.insert(debtor, owed.clone());
            }
        }
    }

    fn debtors(&self, places: &Places, connection: &Connection) -> Vec<Debtor> {
        if self.link(connection.link).one_line {
            return vec![Debtor::Line(connection.link)];
        }
        let meters = places.connections.get(&connection.number).map(|place| &place.meters);
        let serials = meters.into_iter().flatten().map(|meter| Arc::clone(&meter.serial));
        serials.map(Debtor::Meter).collect()
    }
}
