//! Decoding undoes encoding, for any values in any format.

use meter_protocols::brultech::{
    ENERGY_MODULUS, Format, Frame, PULSE_MODULUS, Packet, SECONDS_MODULUS,
};
use proptest::array::{uniform4, uniform5, uniform6, uniform8};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{CAPTURES, capture, decode_whole};

/// Any packet of any format, with zeros where the format has no field. Headers and footers occur in
/// its data, also as whole false heads.
pub(crate) fn any_packet() -> impl Strategy<Value = Packet> {
    let energy = || prop_oneof![0..ENERGY_MODULUS, Just(0x05_FF_FE_FF_FE), Just(0xFE_FF_FE_FF_05)];
    let identity = (select(&Format::ALL[..]), any::<u8>(), any::<u16>());
    let counters = (vec(energy(), 48), vec(energy(), 48), 0..SECONDS_MODULUS);
    let small =
        (any::<u16>(), vec(any::<u16>(), 48), uniform4(0..PULSE_MODULUS), uniform8(any::<u16>()));
    let rest =
        (uniform5(any::<u32>()), any::<u16>(), any::<u8>(), any::<u8>(), uniform6(0..100_u8));
    (identity, counters, small, rest).prop_map(|(identity, counters, small, rest)| {
        let (format, unit_id, serial_number) = identity;
        let n = format.channels();
        let mut packet = Packet::new(format);
        (packet.unit_id, packet.serial_number) = (unit_id, serial_number);
        packet.absolute_watt_seconds[..n].copy_from_slice(&counters.0[..n]);
        if format.has_polarized() {
            packet.polarized_watt_seconds[..n].copy_from_slice(&counters.1[..n]);
        }
        packet.seconds = counters.2 as u32;
        packet.voltage = small.0;
        packet.current[..n].copy_from_slice(&small.1[..n]);
        if format.is_ecm() {
            packet.flag = rest.2;
            if format == Format::Ecm1240 {
                (packet.aux_watt_seconds, packet.aux5_volts) = (rest.0, rest.1);
            }
        } else {
            packet.pulses = small.2.map(|pulses| pulses as u32);
            packet.temperatures = small.3;
            packet.reserved = rest.3;
            if format == Format::Bin48NetTime {
                packet.device_time = rest.4;
            }
        }
        packet
    })
}

/// The packet's bytes; its checksum is set to what they have.
pub(crate) fn encoded(packet: &mut Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes);
    packet.checksum = *bytes.last().expect("a packet has bytes");
    bytes
}

proptest! {
    #[test]
    fn decode_undoes_encode(mut packet in any_packet()) {
        let bytes = encoded(&mut packet);
        prop_assert_eq!(bytes.len(), packet.format.length());
        let events = decode_whole(&bytes);
        prop_assert_eq!(events, [Ok(Frame::Packet(packet))]);
    }
}

/// The encoder is held against the real devices as well, and not only against our own reading.
#[test]
fn encoding_a_capture_gives_its_bytes() {
    for (format, bytes) in CAPTURES {
        let Some(Ok(Frame::Packet(packet))) = decode_whole(bytes).pop() else {
            panic!("{format} is a packet");
        };
        let mut out = Vec::new();
        packet.encode(&mut out);
        if format.is_ecm() {
            // The four reserved bytes are not kept, and the checksum counts them.
            assert_eq!(out[..25], bytes[..25]);
            assert_eq!(out[29..64], bytes[29..64]);
        } else {
            assert_eq!(out, bytes, "{format}");
        }
    }
}

#[test]
fn counters_wrap_where_the_meters_do() {
    let mut packet = Packet::new(Format::Bin48Net);
    packet.absolute_watt_seconds[0] = ENERGY_MODULUS + 5;
    packet.pulses[3] = PULSE_MODULUS as u32 + 6;
    packet.seconds = SECONDS_MODULUS as u32 + 7;
    let Some(Ok(Frame::Packet(read))) = decode_whole(&encoded(&mut packet)).pop() else {
        panic!("it is a packet");
    };
    assert_eq!((read.absolute()[0], read.pulses[3], read.seconds), (5, 6, 7));
}

/// A clock that shows nonsense costs the time and not the packet (another program's parser stalls
/// for good on it).
#[test]
fn an_impossible_date_still_decodes() {
    let mut bytes = capture(Format::Bin48NetTime).to_vec();
    bytes[616..622].fill(0xFF);
    let end = bytes.len() - 1;
    bytes[end] = bytes[..end].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    bytes.extend(capture(Format::Bin32Net));
    let events = decode_whole(&bytes);
    let [Ok(Frame::Packet(first)), Ok(Frame::Packet(second))] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!((first.format, first.device_time()), (Format::Bin48NetTime, None));
    assert_eq!(first.seconds, 841_707);
    assert_eq!(second.format, Format::Bin32Net);
}
