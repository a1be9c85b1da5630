//! The settings lists against real ones.

use meter_protocols::brultech::{
    ChannelOptions, Compensation, EcmSettings, GemSettings, Phase, TemperatureUnit,
};
use serde_json::{Value, json};

const GEM: &[u8] = include_bytes!("../captures/brultech/GEM-RQSALL-reply.txt");
const ECM: &[u8] = include_bytes!("../captures/brultech/ECM-1240-settings-reply.bin");

fn gem_values() -> Vec<u8> {
    let text = std::str::from_utf8(GEM).expect("it is text");
    let list = text.strip_prefix("ALL\r\n").expect("it begins so").trim_end();
    list.split(',').map(|value| u8::from_str_radix(value, 16).expect("it is hex")).collect()
}

fn expected(name: &str) -> Value {
    let path = format!("{}/tests/captures/brultech/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("each capture has its JSON");
    serde_json::from_str(&text).expect("the JSON is well formed")
}

#[test]
fn a_gems_list_gives_the_json_beside_it() {
    let settings = GemSettings::decode(&gem_values()).expect("it is long enough");
    let options = settings.channel_options;
    let read = json!({
        "values": settings.values,
        "bytes": GEM.len(),
        "channel_options": options.map(|options| options.0).to_vec(),
        "net_metering": options.map(ChannelOptions::net_metering).to_vec(),
        "polarity_toggled": options.map(ChannelOptions::polarity_toggled).to_vec(),
        "ct_types": settings.ct_types.to_vec(),
        "ct_ranges": settings.ct_ranges.to_vec(),
        "pt": settings.pt,
        "packet_format": settings.packet_format,
        "interval": settings.interval,
        "max_channels": settings.max_channels,
        "chunk_size": settings.chunk_size,
        "flags": settings.flags,
        "fahrenheit": settings.temperature_unit() == Some(TemperatureUnit::Fahrenheit),
    });
    assert_eq!(read, expected("GEM-RQSALL-reply"));
    assert_eq!(GemSettings::from_reply(GEM), Some(settings.clone()));
    assert_eq!(GemSettings::from_reply(&GEM[3..]), None);
    assert_eq!(settings.secondary_format, Some(0));
    assert_eq!(settings.chunk_pause, Some(6000));
    assert_eq!(settings.pulse_inputs, Some(1));
    assert_eq!(settings.temperature_inputs, Some(0));
}

#[test]
fn a_shorter_list_is_read_as_far_as_it_goes() {
    let values = gem_values();
    let older = GemSettings::decode(&values[..374]).expect("older firmware sends as many");
    let whole = GemSettings::decode(&values).expect("it is whole");
    assert_eq!(older, GemSettings { values: 374, secondary_format: None, ..whole });
    let short = GemSettings::decode(&values[..250]).expect("fewer are accepted");
    assert_eq!((short.max_channels, short.chunk_size), (Some(32), None));
    assert_eq!(short.temperature_unit(), None);
    assert!(GemSettings::decode(&values[..125]).is_some_and(|s| s.interval == 5));
    assert_eq!(GemSettings::decode(&values[..124]), None);
    assert_eq!(GemSettings::decode(&[]), None);
}

/// The values at 290 to 297 are set to something that would be recognised.
#[test]
fn a_password_is_not_kept() {
    let mut values = gem_values();
    let plain = GemSettings::decode(&values);
    values[290..298].copy_from_slice(b"\xABsecret\xCD");
    assert_eq!(GemSettings::decode(&values), plain);
}

#[test]
fn an_interval_of_256_s_reads_back_as_0() {
    let mut values = gem_values();
    values[124] = 0;
    assert!(GemSettings::decode(&values).is_some_and(|settings| settings.interval == 256));
}

#[test]
fn channel_options_are_bits() {
    let options = ChannelOptions(0b1101_1001);
    assert_eq!(options.phase(), Some(Phase::B));
    assert_eq!(options.compensation(), Some(Compensation::Degrees8));
    assert!(options.double() && !options.net_metering() && options.polarity_toggled());
    let none = ChannelOptions(0);
    assert_eq!((none.phase(), none.compensation()), (Some(Phase::A), Some(Compensation::None)));
    assert!(!none.double() && none.net_metering() && !none.polarity_toggled());
    assert_eq!(ChannelOptions(0b1111).phase(), None);
    assert_eq!(ChannelOptions(0b1111).compensation(), None);
}

#[test]
fn an_ecms_settings_give_the_json_beside_them() {
    let settings = EcmSettings::decode(ECM).expect("they are whole");
    let read = json!({
        "serial": settings.serial(),
        "unit_id": settings.unit_id,
        "serial_raw": settings.serial_number,
        "ct": settings.ct,
        "pt": settings.pt,
        "interval": settings.interval,
        "log_interval": settings.log_interval,
        "firmware": f64::from(settings.firmware) / 1000.0,
        "trigger_watts": settings.trigger_watts,
        "option_mask": settings.option_mask,
        "checksum": settings.checksum,
    });
    assert_eq!(read, expected("ECM-1240-settings-reply"));
}

#[test]
fn damaged_settings_of_an_ecm_are_refused() {
    for at in 0..EcmSettings::LENGTH {
        let mut bytes = ECM.to_vec();
        bytes[at] ^= 0x10;
        assert_eq!(EcmSettings::decode(&bytes), None, "byte {at}");
    }
    assert_eq!(EcmSettings::decode(&ECM[1..]), None);
    assert_eq!(EcmSettings::decode(&[ECM, &[0]].concat()), None);
}
