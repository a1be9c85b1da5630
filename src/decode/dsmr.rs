//! `meterbridge decode dsmr`: telegrams of P1 ports, and TIC frames.

use std::io::{self, BufWriter, Read, Write};

use meter_protocols::dsmr::{
    Decoder, Frame, Key, MBus, Measure, Phase, Reading, Registers, Telegram, TicFrame,
};
use serde_json::{Map, Number, Value, json};

/// Decodes a stream from `input`: each telegram becomes one line of JSON on `out`, and bytes that were
/// passed over become a line on `err`, with their offset, number, reason and beginning.
///
/// `electricity` and `gas` are what a Fluksometer makes of the telegram: energy taken less energy given
/// back, power with its sign, litres. Everything else has a name of its own; what a telegram does not
/// have is left out. Encrypted telegrams are opened with whichever of `keys` fits.
///
/// # Errors
/// When reading or writing fails. Bad input is no error.
pub fn dsmr(
    mut input: impl Read,
    keys: Vec<Key>,
    out: impl Write,
    mut err: impl Write,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    let mut decoder = Decoder::with_keys(keys);
    let mut piece = vec![0; super::PIECE_LENGTH];
    loop {
        let length = match input.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        match piece.get(..length) {
            Some(bytes) if length > 0 => decoder.push(bytes),
            _ => decoder.idle(),
        }
        while let Some(frame) = decoder.next_frame() {
            match frame {
                Ok(Frame::Telegram(telegram)) => writeln!(out, "{}", of_telegram(&telegram))?,
                Ok(Frame::Tic(frame)) => writeln!(out, "{}", of_tic(&frame))?,
                Err(error) => writeln!(err, "{error}")?,
            }
        }
        out.flush()?;
        if length == 0 {
            return Ok(());
        }
    }
}

fn of_telegram(telegram: &Telegram) -> Value {
    let reading = Reading::of(telegram);
    let (import, export) = (&reading.import, &reading.export);
    let energy = net(import.milli_watt_hours(), export.milli_watt_hours());
    let watts = |measure: &Option<Measure>| measure.as_ref().and_then(Measure::milli_watts);
    let (taken, given) = (watts(&reading.power_import), watts(&reading.power_export));
    let mut line = Object::default();
    line.text("identification", Some(&telegram.identification));
    line.text("version", reading.version.as_deref());
    line.text("equipment", reading.equipment.as_deref());
    if let Some(time) = &reading.time {
        line.text("time", Some(time.as_str()));
        line.put("ts", time.unix_seconds().ok().map(Value::from));
    }
    line.text("tariff", reading.tariff.as_deref());
    let mut electricity = Object::default();
    electricity.milli("counter_Wh", energy);
    electricity.milli("gauge_W", net(taken, given));
    electricity.registers("import", import);
    electricity.registers("export", export);
    electricity.milli("power_import_W", taken);
    electricity.milli("power_export_W", given);
    let reactive = |measure: &Option<Measure>| measure.as_ref().and_then(Measure::milli_watt_hours);
    electricity.milli("reactive_import_varh", reactive(&reading.reactive_import));
    electricity.milli("reactive_export_varh", reactive(&reading.reactive_export));
    electricity.milli("reactive_power_import_var", watts(&reading.reactive_power_import));
    electricity.milli("reactive_power_export_var", watts(&reading.reactive_power_export));
    electricity.milli("frequency_Hz", reading.frequency.as_ref().and_then(|one| one.milli("Hz")));
    electricity.milli("demand_W", watts(&reading.demand));
    if let Some((time, peak)) = &reading.peak {
        electricity.milli("peak_W", peak.milli_watts());
        electricity.text("peak_time", Some(time.as_str()));
    }
    electricity.put("phases", phases(&reading.phases));
    line.put("electricity", electricity.value());
    line.put("gas", gas(&reading.mbus));
    let mbus: Vec<Value> = reading.mbus.iter().map(attached).collect();
    line.put("mbus", (!mbus.is_empty()).then_some(Value::Array(mbus)));
    line.text("crc", telegram.checksum.map(|crc| format!("{crc:04X}")).as_deref());
    line.value().unwrap_or_default()
}

/// The first gas meter, as a Fluksometer tells it.
fn gas(mbus: &[MBus]) -> Option<Value> {
    let is_gas = |one: &&MBus| one.device_type.is_none_or(|kind| kind == 3);
    let one = mbus.iter().filter(is_gas).find(|one| litres(one).is_some())?;
    let mut gas = Object::default();
    gas.milli("counter_L", litres(one));
    gas.put("ts", one.time.as_ref().and_then(|time| time.unix_seconds().ok()).map(Value::from));
    gas.value()
}

fn litres(mbus: &MBus) -> Option<i64> {
    mbus.value.as_ref()?.milli_litres()
}

fn attached(mbus: &MBus) -> Value {
    let mut one = Object::default();
    one.put("channel", Some(json!(mbus.channel)));
    one.put("type", mbus.device_type.map(Value::from));
    one.text("equipment", mbus.equipment.as_deref());
    if let Some(time) = &mbus.time {
        one.text("time", Some(time.as_str()));
        one.put("ts", time.unix_seconds().ok().map(Value::from));
    }
    one.milli("counter_L", litres(mbus));
    let heat = mbus.value.as_ref().and_then(Measure::milli_watt_hours);
    one.milli("counter_Wh", heat);
    one.value().unwrap_or_default()
}

fn phases(phases: &[Phase; 3]) -> Option<Value> {
    let mut all = Object::default();
    for (key, phase) in ["l1", "l2", "l3"].into_iter().zip(phases) {
        let milli = |measure: &Option<Measure>, unit| measure.as_ref()?.milli(unit);
        let watts = |measure: &Option<Measure>| measure.as_ref().and_then(Measure::milli_watts);
        let mut one = Object::default();
        one.milli("voltage_V", milli(&phase.voltage, "V"));
        one.milli("current_A", milli(&phase.current, "A"));
        one.milli("power_import_W", watts(&phase.power_import));
        one.milli("power_export_W", watts(&phase.power_export));
        one.milli("reactive_power_import_var", watts(&phase.reactive_power_import));
        one.milli("reactive_power_export_var", watts(&phase.reactive_power_export));
        all.put(key, one.value());
    }
    all.value()
}

/// A frame with its labels as keys, and what a Fluksometer makes of it.
fn of_tic(frame: &TicFrame) -> Value {
    let mut line = Object::default();
    line.text("identification", frame.get("ADCO"));
    let mut electricity = Object::default();
    electricity.put("counter_Wh", frame.watt_hours().map(Value::from));
    electricity.put("gauge_W", frame.number("PAPP").map(Value::from));
    line.put("electricity", electricity.value());
    let groups = frame.groups.iter().map(|(label, value)| (label.clone(), json!(value)));
    line.put("tic", Some(Value::Object(groups.collect())));
    line.value().unwrap_or_default()
}

fn net(taken: Option<i64>, given: Option<i64>) -> Option<i64> {
    match (taken, given) {
        (None, None) => None,
        (taken, given) => taken.unwrap_or(0).checked_sub(given.unwrap_or(0)),
    }
}

/// An object of what there is.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, key: &str, value: Option<Value>) {
        self.0.extend(value.map(|value| (key.to_owned(), value)));
    }

    fn text(&mut self, key: &str, text: Option<&str>) {
        self.put(key, text.map(Value::from));
    }

    /// Thousandths, whole where they are.
    fn milli(&mut self, key: &str, thousandths: Option<i64>) {
        self.put(
            key,
            thousandths.map(|thousandths| match thousandths % 1000 {
                0 => Value::from(thousandths / 1000),
                _ => {
                    Number::from_f64(thousandths as f64 / 1000.0).map_or(Value::Null, Value::Number)
                }
            }),
        );
    }

    fn registers(&mut self, key: &str, registers: &Registers) {
        self.milli(&format!("{key}_Wh"), registers.milli_watt_hours());
        for (n, tariff) in (1..).zip(&registers.tariffs) {
            let energy = tariff.as_ref().and_then(Measure::milli_watt_hours);
            self.milli(&format!("{key}_tariff{n}_Wh"), energy);
        }
    }

    fn value(self) -> Option<Value> {
        (!self.0.is_empty()).then_some(Value::Object(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> (Vec<Value>, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        dsmr(bytes, Vec::new(), &mut out, &mut err).unwrap();
        let lines = String::from_utf8(out).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines, String::from_utf8(err).unwrap())
    }

    #[test]
    fn each_capture_gives_its_json() {
        let captures = concat!(env!("CARGO_MANIFEST_DIR"), "/protocols/tests/captures/dsmr");
        let mut seen = 0;
        for entry in std::fs::read_dir(captures).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|end| end != "txt") {
                continue;
            }
            let (lines, skipped) = decoded(&std::fs::read(&path).unwrap());
            let expected = std::fs::read_to_string(path.with_extension("json")).unwrap();
            let expected: Value = serde_json::from_str(&expected).unwrap();
            assert_eq!((lines, &*skipped), (vec![expected], ""), "{}", path.display());
            seen += 1;
        }
        assert_eq!(seen, 8);
    }

    #[test]
    fn what_is_passed_over_is_told_with_its_reason() {
        let captures = concat!(env!("CARGO_MANIFEST_DIR"), "/protocols/tests/captures/dsmr");
        let mut wrong = std::fs::read(format!("{captures}/dsmr40.txt")).unwrap();
        wrong[60] ^= 1;
        wrong.extend(std::fs::read(format!("{captures}/encrypted.bin")).unwrap());
        let (lines, skipped) = decoded(&wrong);
        assert_eq!(lines, Vec::<Value>::new());
        let told: Vec<&str> = skipped.lines().collect();
        assert!(told[0].contains("the checksum is") && told[0].contains("says 3596"), "{skipped}");
        assert!(told[1].contains("is encrypted"), "{skipped}");
    }
}
