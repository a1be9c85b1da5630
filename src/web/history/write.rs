//! A history as JSON and as CSV.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::ToSchema;

use super::ask::Ask;
use super::steps::Step;
use crate::command::directory::Directory;
use crate::model::{Milli, Recorded, SensorId, Unit};
use crate::web::Histories;

/// The history of a sensor.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HistoryView {
    #[serde(flatten)]
    facts: Facts,
    /// Whose days are meant.
    timezone: String,
    /// Local time with its offset.
    from: String,
    /// Local time with its offset; the first moment that is not meant.
    to: String,
    /// The steps; not with `resolution=raw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    buckets: Option<Vec<BucketView>>,
    /// With `resolution=raw`: Unix seconds and value, in `unit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Vec<f64>>>)]
    readings: Option<Vec<(i64, f64)>>,
}

/// What a sensor is, as its meter said last. All but its id is null where nobody knows any more.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Facts {
    /// Sensor id.
    sensor: String,
    /// The meter's name.
    meter: Option<String>,
    /// The channel's name.
    name: Option<String>,
    /// What is measured.
    quantity: Option<&'static str>,
    /// The unit of `energy`, or of a reading.
    unit: Option<&'static str>,
    /// The unit of `mean` and `peak`.
    rate_unit: Option<&'static str>,
    /// From the counter's units per hour to `rate_unit`.
    #[serde(skip)]
    factor: f64,
    /// Whether a total is recorded, and not what was at the moment.
    #[serde(skip)]
    counts: bool,
}

/// One step.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BucketView {
    /// Its begin, local time with its offset; its end is the next one's begin.
    start: String,
    /// Its begin, Unix seconds.
    ts: i64,
    /// What was counted, in `unit` (energy in Wh, gas and water in L); null where that is not known,
    /// and for what is not counted.
    energy: Option<f64>,
    /// The mean over the seconds that are known, in `rate_unit`.
    mean: Option<f64>,
    /// The highest value, in `rate_unit`.
    peak: Option<f64>,
    /// For how many of its seconds this is known.
    known: u64,
}

impl Facts {
    /// What the meters say of it; `None` when none has it.
    /// The last time they were heard, if need be.
    pub(super) fn of(
        directory: &Directory,
        histories: &Histories,
        sensor: SensorId,
    ) -> Option<Facts> {
        let heard = directory.sensor(sensor);
        let heard = heard.map(|(heard, place)| (Arc::clone(&heard.device), place));
        let (meter, place) = heard.or_else(|| histories.meter_of(sensor))?;
        let sensor = meter.sensors.get(place)?;
        let counts = sensor.recorded() == Some(Recorded::Counter);
        let (factor, rate) = match (counts, sensor.counter, sensor.gauge) {
            (false, _, gauge) => (1.0, gauge),
            (true, Some(Unit::WattHour), _) => (1.0, Some(Unit::Watt)),
            (true, Some(Unit::VarHour), _) => (1.0, Some(Unit::Var)),
            (true, Some(Unit::Litre), Some(Unit::LitrePerDay)) => (24.0, Some(Unit::LitrePerDay)),
            (true, Some(Unit::Litre), _) => (HOUR, Some(Unit::LitrePerSecond)),
            (true, Some(Unit::Gram), _) => (HOUR, Some(Unit::GramPerSecond)),
            (true, _, _) => (HOUR, Some(Unit::PerSecond)),
        };
        let unit = if counts { sensor.counter } else { sensor.gauge };
        Some(Facts {
            sensor: sensor.id.to_string(),
            meter: Some(meter.name.to_string()),
            name: Some(sensor.name.to_string()),
            quantity: Some(sensor.quantity.as_str()),
            unit: unit.map(Unit::as_str),
            rate_unit: rate.map(Unit::as_str),
            factor,
            counts,
        })
    }

    /// Nothing says what it is.
    pub(super) fn unknown(sensor: SensorId) -> Facts {
        Facts {
            sensor: sensor.to_string(),
            meter: None,
            name: None,
            quantity: None,
            unit: None,
            rate_unit: None,
            factor: 1.0,
            counts: true,
        }
    }

    pub(super) fn json(self, ask: &Ask, bounds: &[i64], steps: &[Step]) -> String {
        let views = bounds.iter().zip(steps);
        let views = views.map(|(start, step)| self.view(*start, step, &ask.zone)).collect();
        self.wrap(ask, Some(views), None)
    }

    pub(super) fn raw(self, ask: &Ask, readings: &[(i64, Milli)]) -> String {
        let readings = readings.iter().map(|(at, value)| (*at, value.to_f64())).collect();
        self.wrap(ask, None, Some(readings))
    }

    /// Numbers in the units that the first line names.
    pub(super) fn csv(self, ask: &Ask, bounds: &[i64], steps: &[Step]) -> String {
        let mut text = format!(
            "start,ts,energy [{}],mean [{}],peak [{1}],known [s]\r\n",
            self.unit.unwrap_or_default(),
            self.rate_unit.unwrap_or_default()
        );
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        for (start, step) in bounds.iter().zip(steps) {
            let view = self.view(*start, step, &ask.zone);
            let (energy, mean, peak) = (number(view.energy), number(view.mean), number(view.peak));
            let BucketView { start, ts, known, .. } = view;
            // Writing to a String cannot fail.
            let _ = write!(text, "{start},{ts},{energy},{mean},{peak},{known}\r\n");
        }
        text
    }

    fn view(&self, start: i64, step: &Step, zone: &TimeZone) -> BucketView {
        let rate = |value: Option<f64>| value.map(|value| thousandths(value * self.factor));
        BucketView {
            start: local(start, zone),
            ts: start,
            energy: step.change.filter(|_| self.counts).map(Milli::to_f64),
            mean: rate(step.mean()),
            peak: rate(step.peak),
            known: step.known,
        }
    }

    fn wrap(
        self,
        ask: &Ask,
        buckets: Option<Vec<BucketView>>,
        readings: Option<Vec<(i64, f64)>>,
    ) -> String {
        let view = HistoryView {
            facts: self,
            timezone: ask.zone.iana_name().unwrap_or("local").to_owned(),
            from: local(ask.from, &ask.zone),
            to: local(ask.to, &ask.zone),
            buckets,
            readings,
        };
        // Plain data always has a JSON form.
        serde_json::to_string(&view).unwrap_or_default()
    }
}

/// Lines `ts,value`.
pub(super) fn raw_csv(readings: &[(i64, Milli)]) -> String {
    let mut text = String::from("ts,value\r\n");
    for (at, value) in readings {
        let _ = write!(text, "{at},{value}\r\n");
    }
    text
}

/// No more digits than readings have.
fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// From something an hour to the same a second.
const HOUR: f64 = 1.0 / 3600.0;

/// RFC 3339: `2026-11-21T00:00:00+01:00`.
fn local(seconds: i64, zone: &TimeZone) -> String {
    let moment = Timestamp::from_second(seconds).unwrap_or_default();
    let offset = zone.to_offset(moment);
    moment.display_with_offset(offset).to_string()
}
