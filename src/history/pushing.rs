//! What is recorded of a meter, and what becomes of one reading of it.

use std::sync::Arc;

use meter_protocols::flukso::tmpo::{self, Point, span};

use super::cells::Shape;
use super::open::{Open, OpenBlock, Pushed, Source};
use super::tables::{self, Rows};
use crate::model::{Device, Quantity, Recorded, SensorId, Value};
use crate::publish::sensor_section_text;

/// A meter as it was last, and what is recorded of it.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) device: Arc<Device>,
    pub(super) slots: Vec<Option<Slot>>,
}

/// What is recorded of one sensor.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) sensor: SensorId,
    pub(super) rid: u32,
    pub(super) recorded: Recorded,
    config: Arc<str>,
    shape: Shape,
}

impl Meter {
    pub(super) fn new(device: &Arc<Device>) -> Meter {
        let slots = device.sensors.iter().map(|sensor| {
            let recorded = sensor.recorded()?;
            Some(Slot {
                sensor: sensor.id,
                rid: sensor.rid(),
                recorded,
                config: sensor_section_text(sensor).into(),
                shape: Shape {
                    counter: recorded == Recorded::Counter,
                    falls: sensor.quantity == Quantity::Net,
                },
            })
        });
        Meter { slots: slots.collect(), device: Arc::clone(device) }
    }
}

/// When and how a reading came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) seq: u64,
    pub(super) replayed: bool,
    pub(super) now: i64,
    pub(super) grace: i64,
}

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    /// It is in an open block.
    Taken,
    /// It is, and its window was stored before.
    Late,
    /// It is in a stored block since before the restart.
    Regarded,
    /// It is nowhere: not newer than what is there, or of a time that cannot be.
    Dropped,
}

/// Puts a reading where it belongs; `lookup` tells what the stored block of its time has regarded.
pub(super) fn push_one(
    open: &mut Open,
    slot: &Slot,
    point: Point,
    moment: Moment,
    lookup: impl FnOnce() -> rusqlite::Result<Option<u64>>,
) -> rusqlite::Result<Became> {
    let too_old = point.at < moment.now - OLDEST;
    let too_new = point.at > moment.now + NEWEST;
    if point.at <= EARLIEST || (!moment.replayed && (too_old || too_new)) || !holds(point.milli) {
        return Ok(Became::Dropped);
    }
    let source = (slot.sensor, slot.rid);
    if let Some(block) = open.block(source, point.at) {
        return Ok(into_block(block, point, moment));
    }
    let mut block = OpenBlock::new(point, Arc::clone(&slot.config), slot.shape, moment.seq);
    let end = block.begin + span(8);
    block.due = end + moment.grace;
    if moment.replayed || end <= moment.now {
        block.regarded = lookup()?;
        // What comes late mostly does not come alone.
        block.due = block.due.max(moment.now + moment.grace);
    }
    let became = match block.regarded {
        Some(regarded) if moment.seq <= regarded => return Ok(Became::Regarded),
        Some(_) => Became::Late,
        None => Became::Taken,
    };
    open.add(source, block);
    Ok(became)
}

fn into_block(block: &mut OpenBlock, point: Point, moment: Moment) -> Became {
    let late = match block.regarded {
        Some(regarded) if moment.seq <= regarded => return Became::Regarded,
        regarded => regarded.is_some(),
    };
    // A Fluksometer drops what is not newer than the tail of an open block, and so does whoever reads
    // both. What is stored is mended instead: nobody else can.
    let pushed = if late { block.insert(point) } else { block.push(point) };
    match pushed {
        Pushed::Dropped => Became::Dropped,
        Pushed::Taken if late => Became::Late,
        Pushed::Taken => Became::Taken,
    }
}

/// What the stored block that has `at` has regarded, if there is one.
pub(super) fn regarded(
    connection: &rusqlite::Connection,
    rows: &mut Rows,
    (sensor, rid): Source,
    at: i64,
) -> rusqlite::Result<Option<u64>> {
    let Some(row) = rows.find(connection, sensor)? else { return Ok(None) };
    for level in tmpo::LEVELS.into_iter().rev() {
        let listed = tables::at(connection, row, rid, level, tmpo::window(level, at))?;
        if let Some(listed) = listed {
            return Ok(Some(listed.regarded));
        }
    }
    Ok(None)
}

/// Its kind, and the value in thousandths.
pub(super) fn recorded(value: Value) -> (Recorded, i64) {
    match value {
        Value::Counter(value) => (Recorded::Counter, value.0),
        Value::Gauge(value) => (Recorded::Gauge, value.0),
    }
}

/// Whether a block can hold the value, thousandths.
fn holds(milli: i64) -> bool {
    milli.unsigned_abs() < 1 << 62
}

/// A clock that says so has not been set.
const EARLIEST: i64 = 1_234_567_890;
/// Readings older than 15 days, or more than a minute ahead, are not believed.
const OLDEST: i64 = 15 * 86_400;
const NEWEST: i64 = 60;
