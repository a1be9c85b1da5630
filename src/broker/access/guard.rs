//! Slows down those who guess passwords, and nobody else.
//!
//! Three things are remembered of failed logins, each with a pause of its own:
//!
//! * **one name from one address**: after three failures one attempt in 1 s, 2 s, 4 s … 64 s;
//! * **one address**, whatever the names: after ten, one attempt a second;
//! * **one name**, from wherever: after ten, each attempt waits a little longer, up to two seconds.
//!
//! So a device with an old password slows down itself, and neither another user behind the same
//! address nor the same user elsewhere is locked out. Attempts of one name and address are tested
//! one after the other, so that opening many connections at once gains nothing. Who would have to
//! wait long is refused at once, without a test. A quarter of an hour without failures is forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What is remembered of failed logins.
#[derive(Debug, Default)]
pub(super) struct Guard {
    lanes: Mutex<HashMap<u64, Lane>>,
    /// Names are remembered by their hash: they may be long, and a password typed in the wrong place.
    hasher: RandomState,
}

/// The failures of one name from one address, of one address, or of one name.
#[derive(Debug)]
struct Lane {
    failures: u32,
    /// When the next attempt may be made.
    next: Instant,
    last_failure: Instant,
    turn: Arc<Semaphore>,
}

/// Leave to test a password once. Who came for the same name and address waits until it is dropped.
#[derive(Debug)]
pub(super) struct Attempt {
    pair: u64,
    address: u64,
    name: u64,
    /// Nothing has failed lately for this name and address.
    pub(super) clean: bool,
    _turn: OwnedSemaphorePermit,
}

/// The pause would be too long to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyFailures;

/// How a lane's pause grows.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Pair,
    Address,
    Name,
}

impl Guard {
    /// Waits for the turn of this name and address, and for the pauses that failures have earned.
    ///
    /// # Errors
    /// `TooManyFailures` if that would take longer than `PATIENCE`.
    pub(super) async fn attempt(
        &self,
        address: IpAddr,
        name: &str,
    ) -> Result<Attempt, TooManyFailures> {
        let address = group(address);
        let pair = self.key(Kind::Pair, (address, name));
        let turn = self.turn(pair);
        let waiting = tokio::time::timeout(PATIENCE, turn.acquire_owned()).await;
        let Ok(Ok(turn)) = waiting else { return Err(TooManyFailures) };
        let address = self.key(Kind::Address, address);
        let name = self.key(Kind::Name, name);
        let clean = self.failures(pair) == 0;
        self.pause(pair)?.await;
        Ok(Attempt { pair, address, name, clean, _turn: turn })
    }

    /// Waits for the pauses of address and name; for attempts that cost a test.
    ///
    /// # Errors
    /// `TooManyFailures` if that would take longer than `PATIENCE`.
    pub(super) async fn before_test(&self, attempt: &Attempt) -> Result<(), TooManyFailures> {
        self.pause(attempt.address)?.await;
        let failures = self.failures(attempt.name);
        if failures >= MANY {
            let wait = NAME_STEP.saturating_mul(failures - MANY + 1).min(NAME_LONGEST);
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Notes that the password was wrong.
    pub(super) fn failed(&self, attempt: &Attempt) {
        let now = Instant::now();
        let mut lanes = self.lanes.lock();
        for (key, kind) in [
            (attempt.pair, Kind::Pair),
            (attempt.address, Kind::Address),
            (attempt.name, Kind::Name),
        ] {
            make_room(&mut lanes, now);
            let lane = lanes.entry(key).or_insert_with(|| Lane::new(now));
            lane.failures = lane.failures.saturating_add(1);
            lane.last_failure = now;
            lane.next = lane.next.max(now + kind.pause(lane.failures));
        }
    }

    /// Notes that the password was right.
    pub(super) fn succeeded(&self, attempt: &Attempt) {
        if let Some(lane) = self.lanes.lock().get_mut(&attempt.pair) {
            lane.failures = 0;
            lane.next = Instant::now();
        }
    }

    fn key(&self, kind: Kind, what: impl Hash) -> u64 {
        self.hasher.hash_one((kind as u8, what))
    }

    fn failures(&self, key: u64) -> u32 {
        let now = Instant::now();
        self.lanes
            .lock()
            .get(&key)
            .filter(|lane| !lane.is_over(now))
            .map_or(0, |lane| lane.failures)
    }

    fn turn(&self, key: u64) -> Arc<Semaphore> {
        let now = Instant::now();
        let mut lanes = self.lanes.lock();
        make_room(&mut lanes, now);
        Arc::clone(&lanes.entry(key).or_insert_with(|| Lane::new(now)).turn)
    }

    /// Takes the next free moment of a lane, and answers the wait for it.
    fn pause(&self, key: u64) -> Result<impl Future<Output = ()> + use<>, TooManyFailures> {
        let now = Instant::now();
        let mut until = now;
        if let Some(lane) = self.lanes.lock().get_mut(&key).filter(|lane| lane.next > now) {
            if lane.is_over(now) {
                lane.failures = 0;
            } else if lane.next - now > PATIENCE {
                return Err(TooManyFailures);
            } else {
                until = lane.next;
                // Whoever comes next comes after this one.
                lane.next += SPACING;
            }
        }
        Ok(async move {
            if until > now {
                tokio::time::sleep_until(until).await;
            }
        })
    }
}

impl Lane {
    fn new(now: Instant) -> Self {
        Self { failures: 0, next: now, last_failure: now, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Whether its failures are forgotten.
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.last_failure) >= FORGET
    }

    fn is_idle(&self, now: Instant) -> bool {
        Arc::strong_count(&self.turn) == 1 && (self.failures == 0 || self.is_over(now))
    }
}

impl Kind {
    /// The pause after so many failures.
    fn pause(self, failures: u32) -> Duration {
        match self {
            Self::Pair if failures < FREE => Duration::ZERO,
            Self::Pair => PAIR_FIRST * 2_u32.pow((failures - FREE).min(PAIR_DOUBLINGS)),
            Self::Address if failures < MANY => Duration::ZERO,
            Self::Address => SPACING,
            Self::Name => Duration::ZERO,
        }
    }
}

/// An IPv6 customer has a whole network of addresses, at least a /64.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// Keeps the memory bounded: forgets what may be forgotten, and if that is not enough, the oldest.
fn make_room(lanes: &mut HashMap<u64, Lane>, now: Instant) {
    if lanes.len() < MOST_LANES {
        return;
    }
    lanes.retain(|_, lane| !lane.is_idle(now));
    if lanes.len() >= MOST_LANES {
        let mut times: Vec<Instant> = lanes.values().map(|lane| lane.last_failure).collect();
        let (_, middle, _) = times.select_nth_unstable(MOST_LANES / 2);
        let middle = *middle;
        lanes.retain(|_, lane| lane.last_failure > middle || Arc::strong_count(&lane.turn) > 1);
    }
}

/// Failures of a name from an address that cost nothing.
const FREE: u32 = 3;
/// Failures of an address, or of a name, that cost nothing.
const MANY: u32 = 10;
const PAIR_FIRST: Duration = Duration::from_secs(1);
/// Up to 64 s.
const PAIR_DOUBLINGS: u32 = 6;
const SPACING: Duration = Duration::from_secs(1);
const NAME_STEP: Duration = Duration::from_millis(100);
const NAME_LONGEST: Duration = Duration::from_secs(2);
/// The longest a client is kept waiting.
const PATIENCE: Duration = Duration::from_secs(3);
const FORGET: Duration = Duration::from_secs(15 * 60);
const MOST_LANES: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: [u8; 4] = [192, 0, 2, 1];
    const THERE: [u8; 4] = [192, 0, 2, 2];

    /// Tries once; `Some` with the seconds it had to wait.
    async fn attempt(guard: &Guard, from: [u8; 4], name: &str, right: bool) -> Option<u64> {
        let begin = Instant::now();
        let attempt = guard.attempt(from.into(), name).await.ok()?;
        guard.before_test(&attempt).await.ok()?;
        match right {
            true => guard.succeeded(&attempt),
            false => guard.failed(&attempt),
        }
        Some(begin.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_for_a_name_at_an_address_and_for_nobody_else() {
        let guard = Guard::default();
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(attempt(&guard, HERE, "ha", false).await);
        }
        assert_eq!(waits, [Some(0), Some(0), Some(0), Some(1), Some(2), None]);
        assert_eq!(attempt(&guard, HERE, "ha", true).await, None, "right or not");
        assert_eq!(attempt(&guard, THERE, "ha", true).await, Some(0));
        assert_eq!(attempt(&guard, HERE, "ann", true).await, Some(0));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(attempt(&guard, HERE, "ha", true).await, Some(3));
        assert_eq!(attempt(&guard, HERE, "ha", true).await, Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_tries_many_names_is_slowed_down() {
        let guard = Guard::default();
        for number in 0..10 {
            assert_eq!(attempt(&guard, HERE, &number.to_string(), false).await, Some(0));
        }
        for number in 10..13 {
            assert_eq!(attempt(&guard, HERE, &number.to_string(), false).await, Some(1));
        }
        assert_eq!(attempt(&guard, THERE, "ha", true).await, Some(0));
        tokio::time::advance(FORGET).await;
        assert_eq!(attempt(&guard, HERE, "ha", true).await, Some(0), "forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_many_addresses_try_is_slowed_down_and_not_locked() {
        let guard = Guard::default();
        for last in 0..50 {
            attempt(&guard, [198, 51, 100, last], "ha", false).await;
        }
        assert_eq!(attempt(&guard, HERE, "ha", true).await, Some(2));
        assert_eq!(attempt(&guard, HERE, "ann", true).await, Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_at_once_are_made_one_after_the_other() {
        let guard = Arc::new(Guard::default());
        let mut attempts = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let guard = Arc::clone(&guard);
            attempts.spawn(async move { attempt(&guard, HERE, "ha", false).await });
        }
        let tested = attempts.join_all().await.into_iter().flatten().count();
        assert!((3..=6).contains(&tested), "{tested}");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let guard = Guard::default();
        for number in 0..MOST_LANES as u32 * 2 {
            let from = number.to_be_bytes();
            attempt(&guard, from, &number.to_string(), false).await;
        }
        assert!(guard.lanes.lock().len() <= MOST_LANES);
        assert_eq!(guard.lanes.lock().values().map(|lane| lane.failures).max(), Some(1));
    }

    #[test]
    fn addresses_of_one_customer_are_one() {
        let [one, same, other] = ["2001:db8::1", "2001:db8:0:0:ffff::2", "2001:db8:0:1::1"]
            .map(|text| group(text.parse().unwrap()));
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(group("::ffff:192.0.2.1".parse().unwrap()), IpAddr::from(HERE));
    }
}
