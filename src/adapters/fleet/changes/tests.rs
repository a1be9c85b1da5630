//! Whatever is asked, heard and edited in whatever order: names stay unique, nobody counts twice, and
//! no total falls.

use std::collections::{HashMap, HashSet};

use meter_protocols::brultech::{Format, Packet};
use proptest::prelude::*;

use super::*;
use crate::adapters::brultech::Meter as Heard;
use crate::adapters::fleet::adapter::{Arrival, Left};
use crate::adapters::fleet::settings::LinkId;
use crate::metrics::Metrics;
use crate::model::{DeviceId, Make, Quantity, SensorId, Timestamp, Value as Measured};
use crate::store::Store;

#[derive(Debug, Clone)]
enum Step {
    Hear(usize, u16),
    Ask(Change),
    /// Start again with one of the configurations.
    Restart(usize),
}

const NAMES: [&str; 6] = ["house", "home", "shed", "main", "gem-01100001", "cellar"];

fn serial(number: usize) -> String {
    format!("011{number:05}")
}

fn configuration(which: usize) -> Vec<MeterSettings> {
    let entry = |name: &str, serial: Option<String>| MeterSettings {
        serial,
        ..MeterSettings::adopted(name.into(), LinkId(0))
    };
    match which {
        0 => vec![entry("house", None)],
        1 => vec![entry("house", Some(serial(0)))],
        2 => vec![entry("home", None), entry("shed", Some(serial(1)))],
        _ => Vec::new(),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let (meter, name) = (0..4_usize, prop::sample::select(&NAMES[..]));
    let who = prop_oneof![meter.clone().prop_map(serial), name.clone().prop_map(str::to_owned)];
    let ask = prop_oneof![
        (who.clone(), name.clone())
            .prop_map(|(from, to)| Change::Rename { from, to: to.to_owned() }),
        (who.clone(), any::<bool>()).prop_map(|(meter, block)| Change::Remove { meter, block }),
        (meter.clone(), prop::option::of(name)).prop_map(|(meter, name)| Change::Adopt {
            serial: serial(meter),
            name: name.map(str::to_owned)
        }),
        (who, meter.clone()).prop_map(|(meter, by)| Change::Replace { meter, serial: serial(by) }),
        any::<bool>().prop_map(Change::Permit),
    ];
    prop_oneof![
        5 => (meter, any::<u16>()).prop_map(|(meter, more)| Step::Hear(meter, more)),
        4 => ask.prop_map(Step::Ask),
        1 => (0..4_usize).prop_map(Step::Restart),
    ]
}

/// The meters of a gateway with its disk, and what was published so far.
struct World {
    meters: Meters<Heard>,
    store: Store,
    configured: usize,
    packets: Vec<Packet>,
    at: i64,
    totals: HashMap<SensorId, i64>,
    devices: HashMap<DeviceId, Vec<SensorId>>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let packet = |number: u16| {
            let mut packet = Packet::new(Format::Bin32Net);
            (packet.unit_id, packet.serial_number) = (11, number);
            packet.absolute_watt_seconds[0] = 1_000_000 * u64::from(number + 1);
            packet
        };
        let mut world = World {
            meters: Meters::new(&[], Left::load(&store, Make::Brultech).unwrap()).0,
            store,
            configured: 0,
            packets: (0..4).map(packet).collect(),
            at: 1_700_000_000_000,
            totals: HashMap::new(),
            devices: HashMap::new(),
            _dir: dir,
        };
        world.restart(0);
        world
    }

    fn take(&mut self, entry: Option<Entry>) {
        let Some(Entry { keep, change, updates }) = entry else { return };
        let mut changes = Changes::default();
        keep.into_iter().for_each(|row| changes.keep_meter(row));
        change.into_iter().for_each(|pending| changes.extend(pending.changes));
        self.store.keep(&changes).unwrap();
        for update in updates {
            match update {
                Update::Readings(set) => self.publish(&set),
                // What is forgotten may begin anew.
                Update::Forgotten { device, .. } => {
                    for sensor in self.devices.remove(&device).unwrap_or_default() {
                        self.totals.remove(&sensor);
                    }
                }
                _ => {}
            }
        }
    }

    fn publish(&mut self, set: &crate::model::ReadingSet) {
        let sensors = set.device.sensors.iter().map(|sensor| sensor.id).collect();
        self.devices.insert(set.device.id, sensors);
        for (sensor, value) in set.iter() {
            if let (Quantity::PPlus, Measured::Counter(total)) = (sensor.quantity, value) {
                let before = self.totals.insert(sensor.id, total.0).unwrap_or_default();
                assert!(before <= total.0, "{} fell: {before} to {}", sensor.channel, total.0);
            }
        }
    }

    fn hear(&mut self, number: usize, more: u16) {
        self.at += 10_000;
        let packet = &mut self.packets[number];
        packet.seconds += 10;
        packet.absolute_watt_seconds[0] += u64::from(more);
        let arrival =
            Arrival { link: LinkId(0), at: Timestamp(self.at), frame: Box::new(packet.clone()) };
        let entry = self.meters.hear(&arrival, &Metrics::default());
        self.take(entry);
    }

    fn ask(&mut self, change: Change) {
        let (reply, _answer) = oneshot::channel();
        let entry = self.meters.answer(Asked { change, reply });
        self.take(entry);
    }

    fn restart(&mut self, configured: usize) {
        let before = self.names();
        let same = configured == self.configured;
        self.configured = configured;
        let left = Left::load(&self.store, Make::Brultech).unwrap();
        let (meters, renamed) = Meters::new(&configuration(configured), left);
        self.meters = meters;
        let entry = self.meters.found(renamed);
        self.take(entry);
        // More may be expected than before: whose name was somebody else's at the last start.
        let after = self.names();
        let stays = |meter: &(Arc<str>, Arc<str>)| !same || after.contains(meter);
        assert!(before.iter().all(stays), "{before:?} before a restart, {after:?} after it");
    }

    fn names(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let known = self.meters.entries.known.iter();
        known.map(|(serial, member)| (Arc::clone(serial), Arc::clone(&member.name))).collect()
    }

    fn check(&self) {
        let names: Vec<_> = self.names().into_iter().map(|(_, name)| name).collect();
        let unique: HashSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        let heard: Vec<_> = self.meters.heard.values().collect();
        let ids: HashSet<_> = heard.iter().map(|one| one.meter.device().id).collect();
        assert_eq!(ids.len(), heard.len(), "nobody counts as another");
        assert_eq!(heard.iter().filter(|one| one.online).count(), self.meters.online);
        for listening in heard {
            let device = listening.meter.device();
            let member = self.meters.entries.known.get(&device.serial);
            assert_eq!(member.map(|member| &member.name), Some(&device.name));
            assert_eq!(self.meters.entries.device_id(&device.serial), device.id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn names_stay_unique_nobody_counts_twice_and_no_total_falls(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Hear(number, more) => world.hear(number, more),
                Step::Ask(change) => world.ask(change),
                Step::Restart(configured) => world.restart(configured),
            }
            world.check();
        }
    }
}
