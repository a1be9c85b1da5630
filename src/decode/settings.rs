//! Settings of Brultech meters as lines of JSON, with the field names of the captures.

use std::io::{self, Write};

use meter_protocols::brultech::{ChannelOptions, EcmSettings, GemSettings, TemperatureUnit};
use serde::Serialize;

/// Writes settings, if that is what the bytes between two frames are.
pub(super) fn write(out: &mut impl Write, between: &[u8]) -> io::Result<bool> {
    // An ECM's settings come behind its acknowledgements.
    let acknowledged = between.iter().take_while(|byte| **byte == 0xFC).count();
    if let Some(settings) = GemSettings::from_reply(between) {
        serde_json::to_writer(&mut *out, &GemSettingsLine::new(&settings, between.len()))?;
    } else if let Some(settings) = EcmSettings::decode(&between[acknowledged..]) {
        serde_json::to_writer(&mut *out, &EcmSettingsLine::new(&settings))?;
    } else {
        return Ok(false);
    }
    out.write_all(b"\n")?;
    Ok(true)
}

/// A GEM's settings.
#[derive(Serialize)]
struct GemSettingsLine {
    values: usize,
    bytes: usize,
    channel_options: Vec<u8>,
    net_metering: Vec<bool>,
    polarity_toggled: Vec<bool>,
    ct_types: Vec<u8>,
    ct_ranges: Vec<u8>,
    pt: [u8; 2],
    packet_format: u8,
    interval: u16,
    max_channels: Option<u8>,
    chunk_size: Option<u16>,
    flags: Option<u8>,
    fahrenheit: Option<bool>,
}

impl GemSettingsLine {
    fn new(settings: &GemSettings, bytes: usize) -> Self {
        let options = settings.channel_options;
        let unit = settings.temperature_unit();
        Self {
            values: settings.values,
            bytes,
            channel_options: options.map(|options| options.0).to_vec(),
            net_metering: options.map(ChannelOptions::net_metering).to_vec(),
            polarity_toggled: options.map(ChannelOptions::polarity_toggled).to_vec(),
            ct_types: settings.ct_types.to_vec(),
            ct_ranges: settings.ct_ranges.to_vec(),
            pt: settings.pt,
            packet_format: settings.packet_format,
            interval: settings.interval,
            max_channels: settings.max_channels,
            chunk_size: settings.chunk_size,
            flags: settings.flags,
            fahrenheit: unit.map(|unit| unit == TemperatureUnit::Fahrenheit),
        }
    }
}

/// An ECM's settings.
#[derive(Serialize)]
struct EcmSettingsLine {
    serial: String,
    unit_id: u8,
    serial_raw: u16,
    ct: [[u8; 2]; 2],
    pt: [u8; 2],
    interval: u8,
    log_interval: u8,
    firmware: f64,
    trigger_watts: u16,
    option_mask: u8,
    checksum: u8,
}

impl EcmSettingsLine {
    fn new(settings: &EcmSettings) -> Self {
        Self {
            serial: settings.serial(),
            unit_id: settings.unit_id,
            serial_raw: settings.serial_number,
            ct: settings.ct,
            pt: settings.pt,
            interval: settings.interval,
            log_interval: settings.log_interval,
            firmware: f64::from(settings.firmware) / 1000.0,
            trigger_watts: settings.trigger_watts,
            option_mask: settings.option_mask,
            checksum: settings.checksum,
        }
    }
}
