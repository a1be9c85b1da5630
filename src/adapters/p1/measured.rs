//! From a telegram or a TIC frame to the gateway's units: a pure function.

use std::sync::Arc;

use meter_protocols::dsmr::{BadTime, Frame, MBus, Measure, Phase, Reading, Telegram, TicFrame};

use crate::model::{Milli, SensorType, Timestamp};

/// What one telegram says, in thousandths of W, Wh, V, A, Hz and L. What it does not say is `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured {
    /// The meter's own number, or what its telegrams begin with where it gives none.
    pub serial: Arc<str>,
    /// Energy taken, Wh.
    pub import: Option<Milli>,
    /// Energy given back, Wh.
    pub export: Option<Milli>,
    /// Power taken, W.
    pub power_import: Option<Milli>,
    /// Power given back, W.
    pub power_export: Option<Milli>,
    /// Frequency of the mains, Hz.
    pub frequency: Option<Milli>,
    /// Current of a meter that does not tell its phases apart, A.
    pub current: Option<Milli>,
    /// The phases.
    pub phases: [MeasuredPhase; 3],
    /// What is attached.
    pub mbus: Vec<MeasuredMBus>,
}

/// One phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MeasuredPhase {
    /// Power taken, W.
    pub power_import: Option<Milli>,
    /// Power given back, W.
    pub power_export: Option<Milli>,
    /// Voltage, V.
    pub voltage: Option<Milli>,
    /// Current, A.
    pub current: Option<Milli>,
}

/// An attached meter.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredMBus {
    /// Its channel, from 1.
    pub channel: u8,
    /// What it measures.
    pub kind: SensorType,
    /// Its own number.
    pub equipment: Option<String>,
    /// When it was read. `None`: it does not say.
    pub at: Option<Result<Timestamp, BadTime>>,
    /// What it had counted then, L or Wh.
    pub total: Milli,
}

impl Measured {
    /// What a frame says; `None` where that is nothing that could be told of a meter.
    pub fn of(frame: &Frame) -> Option<Measured> {
        match frame {
            Frame::Telegram(telegram) => Some(of_telegram(telegram)),
            Frame::Tic(frame) => of_tic(frame),
        }
    }
}

fn of_telegram(telegram: &Telegram) -> Measured {
    let reading = Reading::of(telegram);
    let phases = [0, 1, 2].map(|n| reading.phases.get(n).map(phase).unwrap_or_default());
    let serial = reading.equipment.as_deref().unwrap_or(&telegram.identification);
    Measured {
        serial: serial.trim().into(),
        import: reading.import.milli_watt_hours().map(Milli),
        export: reading.export.milli_watt_hours().map(Milli),
        power_import: watts(reading.power_import.as_ref()),
        power_export: watts(reading.power_export.as_ref()),
        frequency: reading.frequency.and_then(|one| one.milli("Hz")).map(Milli),
        current: None,
        phases,
        mbus: reading.mbus.iter().filter_map(attached).collect(),
    }
}

fn phase(phase: &Phase) -> MeasuredPhase {
    let milli = |measure: &Option<Measure>, unit| measure.as_ref()?.milli(unit).map(Milli);
    MeasuredPhase {
        power_import: watts(phase.power_import.as_ref()),
        power_export: watts(phase.power_export.as_ref()),
        voltage: milli(&phase.voltage, "V"),
        current: milli(&phase.current, "A"),
    }
}

fn attached(mbus: &MBus) -> Option<MeasuredMBus> {
    let value = mbus.value.as_ref()?;
    // Kinds of EN 13757-3. A meter that does not tell its kind is told by its unit.
    let kind = match (mbus.device_type, value.milli_litres()) {
        (Some(3), Some(_)) => SensorType::Gas,
        (Some(6 | 7 | 0x15 | 0x16), Some(_)) => SensorType::Water,
        (None, Some(_)) if mbus.channel == 1 => SensorType::Gas,
        (_, None) => SensorType::Heat,
        _ => return None,
    };
    let total = value.milli_litres().or_else(|| value.milli_watt_hours())?;
    let at = mbus.time.as_ref().map(|time| time.unix_seconds());
    Some(MeasuredMBus {
        channel: mbus.channel,
        kind,
        equipment: mbus.equipment.clone(),
        at: at.map(|at| at.map(|seconds| Timestamp(seconds * 1000))),
        total: Milli(total),
    })
}

/// TIC counts what is taken; its PAPP is apparent power, and is published as power as a Fluksometer does.
fn of_tic(frame: &TicFrame) -> Option<Measured> {
    let whole = |label| Some(Milli(i64::try_from(frame.number(label)?).ok()?.checked_mul(1000)?));
    let phase = |label| MeasuredPhase { current: whole(label), ..MeasuredPhase::default() };
    Some(Measured {
        serial: frame.get("ADCO").filter(|address| !address.is_empty())?.into(),
        import: frame
            .watt_hours()
            .and_then(|wh| i64::try_from(wh).ok()?.checked_mul(1000))
            .map(Milli),
        power_import: whole("PAPP"),
        current: whole("IINST"),
        phases: [phase("IINST1"), phase("IINST2"), phase("IINST3")],
        ..Measured::default()
    })
}

fn watts(measure: Option<&Measure>) -> Option<Milli> {
    measure?.milli_watts().map(Milli)
}
