//! Which connection reaches which meter.
//!
//! Connections say when they open, whom they hear and when they end; whoever has something to ask
//! finds the way here. Everything is a short look under a lock: receiving never waits for it.

mod owed;
mod units;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use meter_protocols::brultech::Owed;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use self::owed::Debtor;
use super::exchange::{Connection, Exchange};
use super::identity::Identity;
use super::settings::LinkSettings;
use crate::adapters::fleet::LinkId;

/// Knows all live connections and where each meter was heard; cheap to clone.
#[derive(Debug, Clone)]
pub struct Switchboard(Arc<Board>);

#[derive(Debug)]
struct Board {
    links: Vec<LinkSettings>,
    begun: Instant,
    places: Mutex<Places>,
    /// Changes whenever a meter has come to a connection, or a connection has ended.
    moved: watch::Sender<u64>,
    /// A connection was opened on a link that is polled.
    opened: Notify,
}

#[derive(Debug, Default)]
struct Places {
    next: u64,
    /// By number, so the newest is the last.
    connections: BTreeMap<u64, Place>,
    meters: HashMap<Arc<str>, Known>,
    /// Who was ever heard on a link that is one and the same line each time it is opened.
    lines: HashMap<LinkId, Vec<Identity>>,
    unpolled: Vec<Arc<Connection>>,
    /// Answers that may still come late, by any connection to whoever owes them.
    owed: HashMap<Debtor, Owed>,
}

#[derive(Debug)]
struct Place {
    connection: Arc<Connection>,
    meters: Vec<Identity>,
    packets: usize,
}

#[derive(Debug)]
struct Known {
    identity: Identity,
    /// Live connections it was heard on, the one where it was heard last at the end.
    connections: Vec<u64>,
    /// Its connections end after each packet.
    fleeting: bool,
    /// The command byte of an ECM, once it is known.
    unit: Option<u8>,
}

impl Switchboard {
    /// A switchboard for these links; a [`LinkId`] is a place in the list.
    pub fn new(links: Vec<LinkSettings>) -> Switchboard {
        let (moved, _) = watch::channel(0);
        let (places, begun) = (Mutex::default(), Instant::now());
        Switchboard(Arc::new(Board { links, begun, places, moved, opened: Notify::new() }))
    }

    /// The moment that the times of all lines count from.
    pub(super) fn begun(&self) -> Instant {
        self.0.begun
    }

    /// What is configured of a link.
    pub(super) fn link(&self, link: LinkId) -> &LinkSettings {
        static NONE: LinkSettings = LinkSettings::NONE;
        self.0.links.get(link.0).unwrap_or(&NONE)
    }

    /// A connection was opened.
    pub(super) fn open(&self, link: LinkId) -> (Arc<Connection>, mpsc::Receiver<Exchange>) {
        let mut places = self.0.places.lock();
        let number = places.next;
        places.next += 1;
        let (connection, exchanges) = Connection::new(number, link);
        let connection = Arc::new(connection);
        let place = Place { connection: Arc::clone(&connection), meters: Vec::new(), packets: 0 };
        places.connections.insert(number, place);
        if self.link(link).poll.is_some() {
            places.unpolled.push(Arc::clone(&connection));
            self.0.opened.notify_one();
        }
        (connection, exchanges)
    }

    /// A connection has ended.
    pub(super) fn close(&self, connection: &Connection) {
        let mut places = self.0.places.lock();
        if let Some(place) = places.connections.remove(&connection.number) {
            let fleeting = place.packets <= place.meters.len();
            for meter in place.meters {
                if let Some(known) = places.meters.get_mut(&meter.serial) {
                    known.connections.retain(|number| *number != connection.number);
                    known.fleeting = fleeting;
                }
            }
        }
        places.unpolled.retain(|other| other.number != connection.number);
        drop(places);
        connection.ended.cancel();
        self.0.moved.send_modify(|count| *count += 1);
    }

    /// A packet of this meter came by a connection.
    pub(super) fn heard(&self, connection: &Connection, identity: &Identity) {
        let mut places = self.0.places.lock();
        let places = &mut *places;
        let known = places.meters.entry(Arc::clone(&identity.serial)).or_insert_with(|| Known {
            identity: identity.clone(),
            connections: Vec::new(),
            fleeting: false,
            unit: None,
        });
        known.identity = identity.clone();
        if let Some(place) = places.connections.get_mut(&connection.number) {
            place.packets += 1;
            // A connection may be dead without anybody knowing, so the last one heard is the best.
            if known.connections.last() != Some(&connection.number) {
                known.connections.retain(|number| *number != connection.number);
                known.connections.push(connection.number);
            }
            if place.meters.contains(identity) {
                known.fleeting = false;
                return;
            }
            place.meters.push(identity.clone());
        }
        if self.link(connection.link).one_line {
            let line = places.lines.entry(connection.link).or_default();
            if !line.contains(identity) {
                line.push(identity.clone());
            }
        }
        self.0.moved.send_modify(|count| *count += 1);
    }

    /// Whether something can be said to a meter, also when it says nothing by itself.
    pub fn reaches(&self, serial: &str) -> bool {
        self.way_to(serial).is_some()
    }

    /// The meter with this serial number, if it was heard, or is expected on a line.
    pub(super) fn meter(&self, serial: &str) -> Option<Identity> {
        let known = self.0.places.lock().meters.get(serial).map(|known| known.identity.clone());
        known.or_else(|| {
            let expected = self.0.links.iter().any(|link| link.expects(serial));
            Identity::by_serial(serial).filter(|_| expected)
        })
    }

    /// The live connection a meter was heard on last, or else is expected on, and whether its
    /// connections end after each packet.
    pub(super) fn way_to(&self, serial: &str) -> Option<(Arc<Connection>, bool)> {
        let places = self.0.places.lock();
        let Some(known) = places.meters.get(serial) else {
            let expected = |place: &&Place| self.link(place.connection.link).expects(serial);
            let place = places.connections.values().rev().find(expected)?;
            return Some((Arc::clone(&place.connection), false));
        };
        let number = known.connections.last()?;
        let place = places.connections.get(number)?;
        Some((Arc::clone(&place.connection), known.fleeting))
    }

    /// Whether the meter's connections end after each packet.
    pub(super) fn is_fleeting(&self, serial: &str) -> bool {
        self.0.places.lock().meters.get(serial).is_some_and(|known| known.fleeting)
    }

    /// Who was heard on the line behind a connection.
    pub(super) fn heard_on(&self, connection: &Connection) -> Vec<Identity> {
        let places = self.0.places.lock();
        match places.lines.get(&connection.link) {
            Some(line) => line.clone(),
            None => places
                .connections
                .get(&connection.number)
                .map(|place| place.meters.clone())
                .unwrap_or_default(),
        }
    }

    /// Whether more than one meter is known on the line behind a connection.
    pub(super) fn is_shared(&self, connection: &Connection) -> bool {
        let link = self.link(connection.link);
        let heard = self.heard_on(connection);
        let mut serials: Vec<&str> = heard.iter().map(|meter| &*meter.serial).collect();
        if link.one_line {
            serials.extend(link.serials.iter().map(String::as_str));
        }
        serials.sort_unstable();
        serials.dedup();
        serials.len().max(link.units.len()) > 1
    }

    /// Tells of each change: a meter has come to a connection, a connection has ended.
    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.0.moved.subscribe()
    }

    /// Waits for connections on polled links that nobody polls yet.
    pub(super) async fn unpolled(&self) -> Vec<Arc<Connection>> {
        loop {
            let opened = self.0.opened.notified();
            let unpolled = std::mem::take(&mut self.0.places.lock().unpolled);
            if !unpolled.is_empty() {
                return unpolled;
            }
            opened.await;
        }
    }

    /// Every connection on a polled link is to be polled anew.
    pub(super) fn begin_polling(&self) {
        let mut places = self.0.places.lock();
        let polled = |place: &&Place| self.link(place.connection.link).poll.is_some();
        let all = places.connections.values().filter(polled);
        places.unpolled = all.map(|place| Arc::clone(&place.connection)).collect();
    }
}

impl LinkSettings {
    const NONE: LinkSettings = LinkSettings {
        one_line: false,
        poll: None,
        units: Vec::new(),
        serials: Vec::new(),
        fahrenheit: Vec::new(),
    };

    /// Whether an entry says that this meter is on this line.
    fn expects(&self, serial: &str) -> bool {
        self.one_line && self.serials.iter().any(|expected| expected == serial)
    }
}
