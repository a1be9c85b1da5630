//! Whole lists of settings as JSON, with the names of the shared captures. The set-up password of a
//! GEM is in no field of them, and so in no JSON.

use meter_protocols::brultech::{
    ChannelOptions, Compensation, EcmSettings, GemSettings, GemValues, Phase, TemperatureUnit,
};
use serde_json::{Map, Value, json};

use super::formats;

/// A GEM's settings.
pub(super) fn gem(settings: &GemSettings) -> Value {
    let options = &settings.channel_options;
    let of_all = |read: fn(ChannelOptions) -> Value| options.iter().map(|o| read(*o)).collect();
    let mut json = Map::new();
    let mut add = |key: &str, value: Value| {
        json.insert(key.to_owned(), value);
    };
    add("values", json!(settings.values));
    // `ALL` and a line end, two digits and a comma for each value, of which the last has a line end.
    add("bytes", json!(settings.values * 3 + 6));
    add("channel_options", options.iter().map(|options| json!(options.0)).collect());
    add("phase", of_all(phase));
    add("compensation", of_all(compensation));
    add("double", of_all(|options| json!(options.double())));
    add("net_metering", of_all(|options| json!(options.net_metering())));
    add("polarity_toggled", of_all(|options| json!(options.polarity_toggled())));
    add("ct_types", json!(settings.ct_types.to_vec()));
    add("ct_ranges", json!(settings.ct_ranges.to_vec()));
    add("pt", json!(settings.pt));
    add("packet_format", json!(settings.packet_format));
    add("packet_format_name", json!(formats::name(settings.packet_format)));
    add("secondary_format", json!(settings.secondary_format));
    add("interval", json!(settings.interval));
    add("max_channels", json!(settings.max_channels));
    add("temperature_inputs", json!(settings.temperature_inputs.map(|mask| inputs(mask, 8))));
    add("pulse_inputs", json!(settings.pulse_inputs.map(|mask| inputs(mask, 4))));
    add("chunk_size", json!(settings.chunk_size));
    add("chunk_pause", json!(settings.chunk_pause));
    add("flags", json!(settings.flags));
    let unit = settings.temperature_unit();
    add("fahrenheit", json!(unit.map(|unit| unit == TemperatureUnit::Fahrenheit)));
    Value::Object(json)
}

/// An ECM's settings.
pub(super) fn ecm(settings: &EcmSettings) -> Value {
    json!({
        "serial": settings.serial(),
        "unit_id": settings.unit_id,
        "serial_raw": settings.serial_number,
        "ct": settings.ct,
        "pt": settings.pt,
        "interval": settings.interval,
        "log_interval": settings.log_interval,
        "firmware": ecm_firmware(settings),
        "trigger_watts": settings.trigger_watts,
        "option_mask": settings.option_mask,
        "checksum": settings.checksum,
    })
}

/// An ECM's firmware version.
pub(super) fn ecm_firmware(settings: &EcmSettings) -> Value {
    json!(f64::from(settings.firmware) / 1000.0)
}

/// Everything a GEM measures at this moment.
pub(super) fn values(values: &GemValues) -> Value {
    json!({
        "watts": values.watts,
        "temperatures": values.temperatures,
        "pulses": values.pulses,
        "volts": values.volts,
    })
}

/// The phase of a channel: `"A"`, `"B"` or `"C"`.
pub(super) fn phase(options: ChannelOptions) -> Value {
    match options.phase() {
        Some(Phase::A) => json!("A"),
        Some(Phase::B) => json!("B"),
        Some(Phase::C) => json!("C"),
        None => Value::Null,
    }
}

/// The compensation of a channel as the vendor counts it: 0, 1 (4°) or 2 (8°).
pub(super) fn compensation(options: ChannelOptions) -> Value {
    match options.compensation() {
        Some(Compensation::None) => json!(0),
        Some(Compensation::Degrees4) => json!(1),
        Some(Compensation::Degrees8) => json!(2),
        None => Value::Null,
    }
}

/// Which inputs are on, input 1 in bit 0.
pub(super) fn inputs(mask: u8, count: u8) -> Vec<bool> {
    (0..count).map(|bit| mask & 1 << bit != 0).collect()
}
