//! What a telegram says: the house at a moment, in the form of each country and version.

use std::sync::Arc;

use jiff::tz::Offset;
use meter_protocols::dsmr::{Object, Telegram, TicFrame, is_summer_time};

use super::Standard;
use crate::simulator::house::{EPOCH, House};

/// One meter with its port.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    n: u32,
    standard: Standard,
    house: Arc<House>,
}

/// What the meter has counted and measures, in whole Wh and W.
struct Now {
    at: i64,
    taken: u64,
    given: u64,
    power_taken: u64,
    power_given: u64,
}

impl Port {
    pub(crate) fn new(n: u32, standard: Standard, house: Arc<House>) -> Port {
        Port { n, standard, house }
    }

    /// What the meter is called in the frames of encrypted telegrams: its maker and a number.
    pub(super) fn title(&self) -> [u8; 8] {
        let [a, b, c, d] = self.n.to_be_bytes();
        [b'S', b'I', b'M', 0, a, b, c, d]
    }

    /// The telegram at this time, in Unix seconds.
    pub(crate) fn telegram(&self, at: i64) -> Vec<u8> {
        let level = self.house.grid(at as f64);
        let now = Now {
            at,
            taken: level.taken / 3600,
            given: level.given / 3600,
            power_taken: level.watts.max(0.0).round() as u64,
            power_given: (-level.watts).max(0.0).round() as u64,
        };
        let mut bytes = Vec::new();
        if self.standard == Standard::Tic {
            self.tic(&now).encode(&mut bytes);
            return bytes;
        }
        let lines = match self.standard {
            Standard::Dsmr22 => self.dsmr22(&now),
            Standard::Dsmr4 => self.dsmr4(&now),
            Standard::Belgium => self.belgium(&now),
            Standard::Luxembourg | Standard::Sweden => self.totals(&now),
            Standard::Dsmr5 | Standard::Tic => self.dsmr5(&now),
        };
        let identification = match self.standard {
            Standard::Dsmr22 => "SIM5-2-2".to_owned(),
            Standard::Belgium => format!("SIM5\\2539{:05}_B", self.n),
            Standard::Luxembourg => format!("SIM5\\2539{:05}_L", self.n),
            // It has no number but this one.
            Standard::Sweden => format!("SIM5\\2539{:05}_S", self.n),
            _ => "SIM5-DEMO".to_owned(),
        };
        let checksum = (self.standard != Standard::Dsmr22).then_some(0);
        let objects = lines.iter().filter_map(|line| object(line)).collect();
        Telegram { identification, objects, checksum }.encode(&mut bytes);
        bytes
    }

    fn dsmr22(&self, now: &Now) -> Vec<String> {
        let (day, night) = tariffs(now.taken);
        let (day_given, night_given) = tariffs(now.given);
        let hour = now.at - now.at.rem_euclid(3600);
        vec![
            format!("0-0:96.1.1({})", hex(&self.number('E'))),
            format!("1-0:1.8.1({}*kWh)", kilo(day, 5)),
            format!("1-0:1.8.2({}*kWh)", kilo(night, 5)),
            format!("1-0:2.8.1({}*kWh)", kilo(day_given, 5)),
            format!("1-0:2.8.2({}*kWh)", kilo(night_given, 5)),
            "0-0:96.14.0(0001)".to_owned(),
            format!("1-0:1.7.0({:07.2}*kW)", now.power_taken as f64 / 1000.0),
            format!("1-0:2.7.0({:07.2}*kW)", now.power_given as f64 / 1000.0),
            "0-1:24.1.0(3)".to_owned(),
            format!("0-1:96.1.0({})", hex(&self.number('G'))),
            format!(
                "0-1:24.3.0({})(00)(60)(1)(0-1:24.2.1)(m3)({})",
                local(hour).trim_end_matches(['S', 'W']),
                kilo(gas_litres(hour), 5)
            ),
        ]
    }

    fn dsmr4(&self, now: &Now) -> Vec<String> {
        let hour = now.at - now.at.rem_euclid(3600);
        let mut lines = vec!["1-3:0.2.8(42)".to_owned(), clock(now.at)];
        lines.extend(self.common(now));
        lines.extend(phases(now, 1, false));
        lines.extend(self.attached(1, 3, 'G', "24.2.1", hour, gas_litres(hour)));
        lines
    }

    fn dsmr5(&self, now: &Now) -> Vec<String> {
        let five = now.at - now.at.rem_euclid(300);
        let mut lines = vec!["1-3:0.2.8(50)".to_owned(), clock(now.at)];
        lines.extend(self.common(now));
        lines.extend(phases(now, 3, true));
        lines.extend(self.attached(1, 3, 'G', "24.2.1", five, gas_litres(five)));
        lines.extend(self.attached(2, 7, 'W', "24.2.1", five, water_litres(five)));
        lines
    }

    fn belgium(&self, now: &Now) -> Vec<String> {
        let five = now.at - now.at.rem_euclid(300);
        let mut lines = vec!["0-0:96.1.4(50217)".to_owned(), clock(now.at)];
        lines.extend(self.common(now));
        lines.push(format!("1-0:1.4.0({}*kW)", kilo(now.power_taken, 2)));
        lines.extend(phases(now, 1, true));
        let attached = self.attached(1, 3, 'G', "24.2.3", five, gas_litres(five));
        lines.extend(attached.into_iter().map(|line| line.replace("0-1:96.1.0", "0-1:96.1.1")));
        lines
    }

    /// Where the meter itself sums its tariffs up.
    fn totals(&self, now: &Now) -> Vec<String> {
        let mut lines = vec![clock(now.at)];
        if self.standard == Standard::Luxembourg {
            lines.insert(0, "1-3:0.2.8(42)".to_owned());
            lines.push(format!("0-0:42.0.0({})", hex(&self.number('L'))));
        }
        lines.push(format!("1-0:1.8.0({}*kWh)", kilo(now.taken, 8)));
        lines.push(format!("1-0:2.8.0({}*kWh)", kilo(now.given, 8)));
        lines.push(format!("1-0:1.7.0({}*kW)", kilo(now.power_taken, 4)));
        lines.push(format!("1-0:2.7.0({}*kW)", kilo(now.power_given, 4)));
        lines.extend(phases(now, 3, true));
        lines
    }

    fn tic(&self, now: &Now) -> TicFrame {
        let (peak, off_peak) = tariffs(now.taken);
        let power = now.power_taken;
        let groups = [
            ("ADCO", format!("99{:010}", self.n)),
            ("OPTARIF", "HC..".to_owned()),
            ("ISOUSC", "45".to_owned()),
            ("HCHC", format!("{:09}", off_peak % 1_000_000_000)),
            ("HCHP", format!("{:09}", peak % 1_000_000_000)),
            ("PTEC", "HP..".to_owned()),
            ("IINST", format!("{:03}", power / VOLTS)),
            ("PAPP", format!("{power:05}")),
        ];
        let groups = groups.into_iter().map(|(label, value)| (label.to_owned(), value)).collect();
        TicFrame { groups }
    }

    /// Number, energies and powers.
    fn common(&self, now: &Now) -> Vec<String> {
        let (day, night) = tariffs(now.taken);
        let (day_given, night_given) = tariffs(now.given);
        vec![
            format!("0-0:96.1.1({})", hex(&self.number('E'))),
            format!("1-0:1.8.1({}*kWh)", kilo(day, 6)),
            format!("1-0:1.8.2({}*kWh)", kilo(night, 6)),
            format!("1-0:2.8.1({}*kWh)", kilo(day_given, 6)),
            format!("1-0:2.8.2({}*kWh)", kilo(night_given, 6)),
            "0-0:96.14.0(0002)".to_owned(),
            format!("1-0:1.7.0({}*kW)", kilo(now.power_taken, 2)),
            format!("1-0:2.7.0({}*kW)", kilo(now.power_given, 2)),
        ]
    }

    fn attached(
        &self,
        channel: u8,
        kind: u8,
        letter: char,
        register: &str,
        at: i64,
        litres: u64,
    ) -> [String; 3] {
        [
            format!("0-{channel}:24.1.0({kind:03})"),
            format!("0-{channel}:96.1.0({})", hex(&self.number(letter))),
            format!("0-{channel}:{register}({})({}*m3)", local(at), kilo(litres, 5)),
        ]
    }

    /// Number of the meter, or of one that is attached to it.
    fn number(&self, letter: char) -> String {
        format!("{letter}0099{:011}", self.n)
    }
}

/// Voltage, current and power of so many phases, which share what flows evenly.
fn phases(now: &Now, count: u64, voltage: bool) -> Vec<String> {
    let (taken, given) = (now.power_taken / count, now.power_given / count);
    let one = |n: u64| {
        let c = 20 * n;
        let volts = VOLTS * 10 + n;
        let amperes = (taken + given) * 10 / VOLTS;
        let mut lines = vec![
            format!("1-0:{}.7.0({:03}.{}*A)", c + 11, amperes / 10, amperes % 10),
            format!("1-0:{}.7.0({}*kW)", c + 1, kilo(taken, 2)),
            format!("1-0:{}.7.0({}*kW)", c + 2, kilo(given, 2)),
        ];
        if voltage {
            lines.push(format!("1-0:{}.7.0({:03}.{}*V)", c + 12, volts / 10, volts % 10));
        }
        lines
    };
    (1..=count).flat_map(one).collect()
}

fn object(line: &str) -> Option<Object> {
    let (code, values) = line.split_once('(')?;
    let values = values.strip_suffix(')')?.split(")(").map(str::to_owned).collect();
    Some(Object { code: code.parse().ok()?, values })
}

/// Two parts of a total, neither of which ever falls.
fn tariffs(total: u64) -> (u64, u64) {
    let night = total / 5 * 2;
    (total - night, night)
}

/// Thousandths with so many digits before the point.
fn kilo(value: u64, digits: usize) -> String {
    format!("{:0digits$}.{:03}", value / 1000, value % 1000)
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect()
}

fn clock(at: i64) -> String {
    format!("0-0:1.0.0({})", local(at))
}

/// `YYMMDDhhmmss` and `S` or `W`.
fn local(at: i64) -> String {
    let (hours, mark) = if is_summer_time(at) { (2, 'S') } else { (1, 'W') };
    let time = jiff::Timestamp::from_second(at).unwrap_or_default();
    format!("{}{mark}", Offset::constant(hours).to_datetime(time).strftime("%y%m%d%H%M%S"))
}

/// Six cubic metres a day.
fn gas_litres(at: i64) -> u64 {
    since_the_beginning(at) * 6000 / 86_400
}

/// 360 litres a day.
fn water_litres(at: i64) -> u64 {
    since_the_beginning(at) * 360 / 86_400
}

fn since_the_beginning(at: i64) -> u64 {
    u64::try_from(at).unwrap_or(0).saturating_sub(EPOCH)
}

const VOLTS: u64 = 230;

#[cfg(test)]
mod tests {
    use meter_protocols::dsmr::{Decoder, Frame};

    use super::*;
    use crate::adapters::p1::Measured;

    #[test]
    fn every_standard_is_read_as_it_is_meant() {
        let house = Arc::new(House::new(1));
        for standard in [
            Standard::Dsmr22,
            Standard::Dsmr4,
            Standard::Dsmr5,
            Standard::Belgium,
            Standard::Luxembourg,
            Standard::Sweden,
            Standard::Tic,
        ] {
            let port = Port::new(7, standard, Arc::clone(&house));
            for at in [EPOCH as i64 + 100_000, EPOCH as i64 + 20_000_000] {
                let mut decoder = Decoder::new();
                decoder.push(&port.telegram(at));
                let frame: Frame = decoder.next_frame().unwrap().unwrap();
                let measured = Measured::of(&frame).unwrap();
                let level = house.grid(at as f64);
                let energy = measured.import.unwrap().0;
                assert_eq!(energy, (level.taken / 3600 * 1000) as i64, "{standard:?}");
                assert!(
                    measured.serial.contains("0007") || standard == Standard::Dsmr22,
                    "{measured:?}"
                );
                for attached in &measured.mbus {
                    let read = attached.at.clone().unwrap().unwrap().seconds();
                    assert!((at - 3600..=at).contains(&read), "{standard:?} {attached:?}");
                }
            }
        }
    }
}
