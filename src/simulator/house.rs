//! One day in a house with solar panels, minute by minute, which repeats for ever.
//!
//! Because the day repeats, what any channel has counted since the beginning is had without
//! adding up: days times the day's energy, plus the part of today.

/// Circuits of the house beside grid and solar.
pub(super) const CIRCUITS: usize = 30;
const MINUTES: usize = 24 * 60;
/// Counting began on 2026-01-01.
pub(super) const EPOCH: u64 = 1_767_225_600;

/// The power of every circuit over the day.
#[derive(Debug)]
pub struct House {
    grid_taken: Day,
    grid_given: Day,
    solar: Day,
    circuits: Vec<Day>,
}

/// Power in watts by the minute, and the watt-seconds since midnight at its beginning.
#[derive(Debug)]
struct Day {
    watts: Vec<f64>,
    counted: Vec<f64>,
    total: f64,
}

/// What a channel has counted and what it draws now.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Level {
    /// Watt-seconds taken since the beginning.
    pub taken: u64,
    /// Watt-seconds given back since the beginning.
    pub given: u64,
    /// Watts now, negative when given back.
    pub watts: f64,
}

impl House {
    /// A house; the same seed gives the same one.
    pub fn new(seed: u64) -> House {
        let mut random = fastrand::Rng::with_seed(seed);
        let circuits: Vec<Vec<f64>> =
            (0..CIRCUITS).map(|circuit| circuit_day(circuit, &mut random)).collect();
        let solar = solar_day(&mut random);
        let net: Vec<f64> = (0..MINUTES)
            .map(|minute| circuits.iter().map(|day| day[minute]).sum::<f64>() - solar[minute])
            .collect();
        House {
            grid_taken: Day::new(net.iter().map(|watts| watts.max(0.0)).collect()),
            grid_given: Day::new(net.iter().map(|watts| (-watts).max(0.0)).collect()),
            solar: Day::new(solar),
            circuits: circuits.into_iter().map(Day::new).collect(),
        }
    }

    /// The connection to the grid at `seconds` (since 1970).
    pub fn grid(&self, seconds: f64) -> Level {
        let (taken, given) = (&self.grid_taken, &self.grid_given);
        Level {
            taken: taken.counted(seconds),
            given: given.counted(seconds),
            watts: taken.watts(seconds) - given.watts(seconds),
        }
    }

    /// The solar panels: what they yield counts as given back.
    pub fn solar(&self, seconds: f64) -> Level {
        let watts = -self.solar.watts(seconds);
        Level { taken: 0, given: self.solar.counted(seconds), watts }
    }

    /// A circuit, counted from 0.
    pub fn circuit(&self, circuit: usize, seconds: f64) -> Level {
        self.circuits.get(circuit).map_or_else(Level::default, |day| Level {
            taken: day.counted(seconds),
            given: 0,
            watts: day.watts(seconds),
        })
    }
}

impl Day {
    fn new(watts: Vec<f64>) -> Day {
        let mut total = 0.0;
        let mut counted = Vec::with_capacity(watts.len());
        for watt in &watts {
            counted.push(total);
            total += watt * 60.0;
        }
        Day { watts, counted, total }
    }

    fn counted(&self, seconds: f64) -> u64 {
        let since = (seconds - EPOCH as f64).max(0.0);
        let (days, of_day) = ((since / 86_400.0).floor(), since.rem_euclid(86_400.0));
        let minute = minute(of_day);
        let today = self.counted[minute] + self.watts[minute] * (of_day - minute as f64 * 60.0);
        (days * self.total + today) as u64
    }

    fn watts(&self, seconds: f64) -> f64 {
        self.watts[minute(seconds.rem_euclid(86_400.0))]
    }
}

fn minute(seconds_of_day: f64) -> usize {
    ((seconds_of_day / 60.0) as usize).min(MINUTES - 1)
}

/// A circuit draws little most of the time and much for a while, mostly while people are awake.
fn circuit_day(circuit: usize, random: &mut fastrand::Rng) -> Vec<f64> {
    let standby = random.f64() * 15.0;
    let mut day = vec![standby; MINUTES];
    if circuit == 0 {
        // A fridge: on for a third of the time.
        let begin = random.usize(..45);
        for minute in (0..MINUTES).filter(|minute| (minute + begin) % 45 < 15) {
            day[minute] += 90.0;
        }
    }
    let uses = random.usize(1..6);
    for _ in 0..uses {
        let awake = 6 * 60 + random.usize(..17 * 60);
        let (length, watts) = (random.usize(5..90), 40.0 + random.f64().powi(3) * 2500.0);
        for power in day.iter_mut().skip(awake).take(length) {
            *power += watts * (0.9 + random.f64() * 0.2);
        }
    }
    day
}

/// Half a sine from six to six, with clouds.
fn solar_day(random: &mut fastrand::Rng) -> Vec<f64> {
    let mut cloud: f64 = 1.0;
    (0..MINUTES)
        .map(|minute| {
            let sun = ((minute as f64 / 60.0 - 6.0) / 12.0 * std::f64::consts::PI).sin().max(0.0);
            let sun = if (6 * 60..18 * 60).contains(&minute) { sun } else { 0.0 };
            cloud = (cloud + (random.f64() - 0.45) * 0.2).clamp(0.3, 1.0);
            6500.0 * sun * cloud
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_never_fall_and_agree_with_the_power() {
        let house = House::new(7);
        let begin = EPOCH as f64 + 400.0 * 86_400.0;
        let mut before = house.grid(begin);
        for step in 1..=2880 {
            let now = begin + f64::from(step) * 60.0;
            let level = house.grid(now);
            assert!(level.taken >= before.taken && level.given >= before.given);
            let net = (level.taken - before.taken) as f64 - (level.given - before.given) as f64;
            assert!((net / 60.0 - before.watts).abs() < 0.1, "{net} {before:?}");
            before = level;
        }
    }

    #[test]
    fn the_sun_gives_more_than_the_house_takes_for_a_while() {
        let house = House::new(1);
        let noon = EPOCH as f64 + 12.5 * 3600.0;
        assert!(house.solar(noon).watts < -1000.0);
        assert!(house.grid(EPOCH as f64 + 86_400.0).given > 0);
    }
}
