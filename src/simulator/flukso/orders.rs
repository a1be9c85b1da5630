//! What a running meter has to do beside its readings: blocks that were asked for, made one at a
//! time off the threads that send.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::blocks::{self, Block};
use super::live::{Live, Message};
use super::manners::{FluksoManners, broken};
use super::meter::Fluksometer;
use crate::simulator::watched::Watched;

/// Blocks that are to be sent.
#[derive(Debug)]
pub(super) struct Orders {
    meter: Arc<Fluksometer>,
    manners: FluksoManners,
    waiting: VecDeque<(Block, Option<String>)>,
    making: Option<JoinHandle<Option<Message>>>,
    made: u64,
}

impl Orders {
    pub(super) fn new(meter: &Watched<Live>, manners: &FluksoManners) -> Orders {
        Orders {
            meter: meter.look(|live| Arc::clone(&live.meter)),
            manners: manners.clone(),
            waiting: VecDeque::new(),
            making: None,
            made: 0,
        }
    }

    /// The messages that are due; blocks that are due are made later.
    pub(super) fn tick(&mut self, meter: &Watched<Live>) -> Vec<Message> {
        let now = self.manners.now();
        let (messages, blocks) = meter.update(|live| live.tick(now));
        self.waiting.extend(blocks.into_iter().map(|block| (block, None)));
        messages
    }

    /// Takes in a message that may ask for blocks.
    pub(super) fn take(&mut self, meter: &Watched<Live>, topic: &str, payload: &[u8], old: bool) {
        if self.manners.silent {
            return;
        }
        if self.waiting.len() > MOST {
            tracing::warn!(topic, "a request for blocks is passed over: too many are asked for");
            return;
        }
        let asked = meter.update(|live| live.asked(topic, payload, old));
        self.waiting.extend(asked.blocks.into_iter().map(|block| (block, asked.answer.clone())));
    }

    /// The next block; `None`: there is nothing in it. Waits for ever when none is asked for. Safe to
    /// cancel.
    pub(super) async fn next(&mut self) -> Option<Message> {
        if self.making.is_none() {
            let Some((block, answer)) = self.waiting.pop_front() else {
                return std::future::pending().await;
            };
            let meter = Arc::clone(&self.meter);
            self.made += 1;
            let fault = (self.manners.broken_blocks && self.made.is_multiple_of(3))
                .then_some(self.made / 3);
            let make = move || message(&meter, block, answer, fault);
            self.making = Some(tokio::task::spawn_blocking(make));
        }
        let making = self.making.as_mut()?;
        let made = making.await;
        self.making = None;
        made.ok().flatten()
    }
}

/// A block as it is published; with a `fault` in one of three ways not as it should be.
fn message(
    meter: &Fluksometer,
    block: Block,
    answer: Option<String>,
    fault: Option<u64>,
) -> Option<Message> {
    let text = blocks::text(meter, block)?;
    let payload = match fault {
        None => blocks::packed(&text),
        Some(turn) => broken(&text, turn),
    };
    let sensor = &meter.sensors[block.sensor];
    let (id, rid, window) = (&sensor.id, sensor.rid, block.window);
    let acknowledged = answer.is_some();
    let own = || format!("/sensor/{id}/tmpo/{rid}/{}/{}/gz", window.level, window.bid);
    let topic = answer.unwrap_or_else(own);
    Some(Message { topic, payload, retain: false, acknowledged })
}

/// Tells of each second at its beginning.
#[derive(Debug)]
pub(super) struct Clock {
    next: Instant,
}

impl Clock {
    /// The first second is told of at once.
    pub(super) fn new() -> Clock {
        Clock { next: Instant::now() }
    }

    /// Waits for the next second. Safe to cancel.
    pub(super) async fn second(&mut self) {
        sleep_until(self.next).await;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let of_second = Duration::from_nanos(u64::from(since.subsec_nanos()));
        self.next = Instant::now() + (Duration::from_secs(1) - of_second);
    }
}

/// Blocks that may wait: a year of an FLM03 is less.
const MOST: usize = 100_000;
