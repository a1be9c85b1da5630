//! Connections of a meter, and the lines that come over them. One that owes the rest of a line has the
//! meter for itself.

use std::net::SocketAddr;

use super::commands::Asker;
use super::device::{Connection, Out, Role, SmartDevice};
use super::sampling::{Sampling, Sink};
use super::say::{Level, json_line};

impl SmartDevice {
    /// Somebody has connected, or the meter has; `false`: there is no room.
    pub(super) fn connected(
        &mut self,
        id: u64,
        role: Role,
        peer: Option<SocketAddr>,
        now: f64,
    ) -> bool {
        let taken = self.connections.values().filter(|other| other.role == Role::Commands).count();
        if role == Role::Commands && taken >= SLOTS {
            self.refused += 1;
            return false;
        }
        if let (Role::Commands, Some(peer)) = (role, peer) {
            let text = format!("Client with IP {} connected on port {}", peer.ip(), peer.port());
            self.log(Level::Info, &text, now);
        }
        let connection = Connection {
            role,
            peer: peer.map(|peer| peer.ip()),
            level: Level::Info,
            input: Vec::new(),
            patience: None,
        };
        self.connections.insert(id, connection);
        if role == Role::Commands && !self.manners.silent {
            self.out.push_back(Out::Bytes(id, json_line(&self.dictionary(now))));
        }
        true
    }

    pub(super) fn closed(&mut self, id: u64, now: f64) {
        self.connections.remove(&id);
        if self.last_client == Some(id) {
            self.last_client = None;
        }
        let is_sink = |sampling: &Sampling| match sampling.request.sink {
            Sink::Connection(sink) | Sink::Reader(sink) | Sink::Datagrams(_, sink) => sink == id,
            Sink::Mqtt => false,
        };
        if self.sampling.as_ref().is_some_and(is_sink) {
            self.log(Level::Error, "TCP disconnected while streaming", now);
            self.end_sampling(now, false);
        }
    }

    pub(super) fn received(&mut self, id: u64, bytes: &[u8], now: f64) {
        if let Some(connection) = self.connections.get_mut(&id)
            && connection.role != Role::Reader
            && connection.input.len() < INPUT
        {
            connection.input.extend_from_slice(bytes);
        }
        self.read_lines(now);
    }

    /// Runs what has been said, as far as nobody owes the rest of a line.
    pub(super) fn read_lines(&mut self, now: f64) {
        while let Some((id, line)) = self.next_line(now) {
            let words = line.trim_end();
            self.hear(words.to_owned());
            if !words.is_empty() {
                self.last_client = Some(id);
                self.obey(&line, Asker::Connection(id), now);
            }
            if self.restarts() {
                return;
            }
        }
    }

    fn next_line(&mut self, now: f64) -> Option<(u64, String)> {
        let most = if self.kind.is_smart() { 599 } else { 499 };
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        // Whoever has begun a line has the meter for himself.
        let first = ids.iter().find(|id| self.connections[id].patience.is_some());
        for id in first.map_or(ids.clone(), |id| vec![*id]) {
            let connection = self.connections.get_mut(&id)?;
            if connection.input.is_empty() {
                continue;
            }
            let end = connection.input.iter().position(|byte| *byte == b'\n');
            let until = *connection.patience.get_or_insert(now + PATIENCE);
            let length = match end {
                Some(end) => end + 1,
                None if until <= now => connection.input.len(),
                None => return None,
            };
            connection.patience = None;
            let mut line: Vec<u8> = connection.input.drain(..length).collect();
            line.truncate(most);
            let line = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            return Some((id, line));
        }
        None
    }

    /// Whether its whole loop waits for the rest of a line.
    pub(super) fn is_blocked(&self) -> bool {
        self.connections.values().any(|connection| connection.patience.is_some())
    }
}

/// Connections for commands, the outgoing one among them.
const SLOTS: usize = 3;
/// How long the rest of a line is waited for, seconds.
const PATIENCE: f64 = 10.0;
/// Bytes of a connection that wait to be read.
const INPUT: usize = 65_536;
