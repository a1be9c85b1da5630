//! What is to leave a line: in which order, in which pieces, and when.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use meter_protocols::brultech::Packet;
use tokio::time::Instant;

use super::super::manners::Manners;

/// Packets and answers on their way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// What is to leave, by time and then by order.
    scheduled: BTreeMap<(Instant, u64), Item>,
    order: u64,
    /// The item that is leaving.
    pieces: VecDeque<Piece>,
    /// Answers to chunks that have not left.
    pub(super) acks_owed: usize,
    /// The line's own pieces: so many bytes, and the pause after each.
    chunks: Option<(usize, Duration)>,
}

/// Bytes that leave together.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) bytes: Vec<u8>,
    /// The station whose packet it is, and what it says where it is binary.
    pub(super) packet: Option<(usize, Option<Packet>)>,
    /// Counts as an answer to a chunk.
    pub(super) ack: bool,
    /// Pieces of so many bytes, with a pause after each.
    pub(super) chunks: Option<(usize, Duration)>,
}

/// A part of an item. The last has what is to be noted once it has left.
#[derive(Debug)]
pub(super) struct Piece {
    at: Instant,
    pub(super) bytes: Vec<u8>,
    pub(super) packet: Option<(usize, Option<Packet>)>,
    ack: bool,
}

impl Outgoing {
    pub(super) fn new(manners: &Manners) -> Outgoing {
        Outgoing {
            scheduled: BTreeMap::new(),
            order: 0,
            pieces: VecDeque::new(),
            acks_owed: 0,
            chunks: manners.chunks.map(|size| (size, manners.pause)),
        }
    }

    /// A line that is slower than what is to leave loses what comes last.
    pub(super) fn schedule(&mut self, at: Instant, item: Item) {
        if self.scheduled.len() >= WAITING {
            self.acks_owed -= usize::from(item.ack);
        } else if !item.bytes.is_empty() {
            self.order += 1;
            self.scheduled.insert((at, self.order), item);
        }
    }

    /// When the next bytes are to leave.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.pieces.front() {
            Some(piece) => Some(piece.at),
            None => self.scheduled.keys().next().map(|(at, _)| *at),
        }
    }

    /// Whether a packet is leaving, or is to leave.
    pub(super) fn has_packet(&self) -> bool {
        !self.pieces.is_empty() || self.scheduled.values().any(|item| item.packet.is_some())
    }

    /// What leaves now, if anything does.
    pub(super) fn next(&mut self, now: Instant) -> Option<Piece> {
        if self.pieces.is_empty() {
            let (key, _) = self.scheduled.first_key_value()?;
            if key.0 > now {
                return None;
            }
            let (_, item) = self.scheduled.pop_first()?;
            self.cut(item, now);
        }
        if self.pieces.front()?.at > now {
            return None;
        }
        let piece = self.pieces.pop_front()?;
        self.acks_owed -= usize::from(piece.ack);
        Some(piece)
    }

    fn cut(&mut self, item: Item, now: Instant) {
        let smaller =
            |(size, _): &(usize, Duration)| self.chunks.is_none_or(|(own, _)| *size < own);
        let (size, pause) =
            item.chunks.filter(smaller).or(self.chunks).unwrap_or((usize::MAX, Duration::ZERO));
        let mut at = now;
        for bytes in item.bytes.chunks(size.max(1)) {
            self.pieces.push_back(Piece { at, bytes: bytes.to_vec(), packet: None, ack: false });
            at += pause;
        }
        if let Some(last) = self.pieces.back_mut() {
            last.packet = item.packet;
            last.ack = item.ack;
        }
    }
}

/// How many packets and answers wait to leave.
const WAITING: usize = 1000;
