//! Flukso's history blocks as lines of JSON, with the field names of the captures.

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use meter_protocols::flukso::tmpo::{Block, BlockError, Point, unpack_first};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::model::{Milli, SensorId};
use crate::topic::Topic;

/// Decodes TMPO blocks from `input`: each becomes one line of JSON on `out`; bytes that were passed
/// over and blocks that are malformed become a line on `err`, with their offset.
///
/// The input is packed blocks one after the other, each with its topic and a blank before it if
/// `mosquitto_sub -v` wrote them, or the text of one block. Who a block belongs to is told by that
/// topic, by the path of the file (`…/<sid>/<rid>/<level>/<begin>.gz`), or by its own section.
///
/// # Errors
/// When reading or writing fails. Bad input is no error.
pub fn tmpo(
    input: impl Read,
    path: Option<&Path>,
    out: impl Write,
    mut err: impl Write,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    input.take(LARGEST_INPUT).read_to_end(&mut bytes)?;
    let mut out = BufWriter::new(out);
    let owner = path.and_then(of_path);
    if bytes.starts_with(b"{") {
        match Block::parse(bytes.trim_ascii_end()) {
            Ok(block) => write_line(&mut out, &block, owner)?,
            Err(error) => writeln!(err, "a block at offset 0 is malformed: {error}")?,
        }
        return out.flush();
    }
    let mut at = 0;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let begin = rest.windows(2).position(|pair| pair == MAGIC).unwrap_or(rest.len());
        let (before, block) = rest.split_at(begin);
        let told = of_topic(before);
        if told.is_none() && !before.trim_ascii().is_empty() {
            writeln!(err, "{} B at offset {at} passed over: no gzip data", before.len())?;
        }
        at += begin;
        if block.is_empty() {
            break;
        }
        match read(block) {
            Ok((block, length)) => {
                write_line(&mut out, &block, told.or(owner))?;
                at += length;
            }
            Err((error, length)) => {
                writeln!(err, "a block at offset {at} is malformed: {error}")?;
                at += length;
            }
        }
    }
    out.flush()
}

/// A block and its packed length. What cannot even be unpacked costs its first two bytes only.
fn read(bytes: &[u8]) -> Result<(Block, usize), (BlockError, usize)> {
    let (text, rest) = unpack_first(bytes).map_err(|error| (error, MAGIC.len()))?;
    let length = bytes.len() - rest.len();
    let block = Block::parse(&text).map_err(|error| (error, length))?;
    Ok((block, length))
}

/// Whom a block belongs to, and its place.
#[derive(Clone, Copy)]
struct Owner {
    sensor: SensorId,
    rid: u32,
    level: u8,
    begin: i64,
}

fn of_path(path: &Path) -> Option<Owner> {
    let steps: Vec<&str> = path.iter().filter_map(|step| step.to_str()).collect();
    let [.., sensor, rid, level, file] = steps[..] else { return None };
    Some(Owner {
        sensor: sensor.parse().ok()?,
        rid: rid.parse().ok()?,
        level: level.parse().ok()?,
        begin: file.strip_suffix(".gz").unwrap_or(file).parse().ok()?,
    })
}

/// What stands before a payload: the line end of the one before, the topic, a blank.
fn of_topic(before: &[u8]) -> Option<Owner> {
    let text = std::str::from_utf8(before).ok()?.trim_start_matches('\n').strip_suffix(' ')?;
    match text.parse().ok()? {
        Topic::Tmpo { sensor, rid, level, begin } => Some(Owner { sensor, rid, level, begin }),
        _ => None,
    }
}

/// The line of a block.
#[derive(Serialize)]
struct BlockLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lvl: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bid: Option<i64>,
    points: usize,
    head: Box<RawValue>,
    tail: Box<RawValue>,
    sha256: String,
    series: Vec<Box<RawValue>>,
}

/// What a block's own section says of its sensor.
#[derive(serde::Deserialize)]
struct Section {
    id: Option<String>,
    rid: Option<u32>,
}

fn write_line(out: &mut impl Write, block: &Block, owner: Option<Owner>) -> io::Result<()> {
    let own: Option<Section> = serde_json::from_str(block.config()).ok();
    let (id, rid) = own.map_or((None, None), |section| (section.id, section.rid));
    let mut hash = Sha256::new();
    for point in block.points() {
        hash.update(format!("{},{}\n", point.at, Milli(point.milli)));
    }
    let line = BlockLine {
        sid: owner.map(|owner| owner.sensor.to_string()).or(id),
        rid: owner.map(|owner| owner.rid).or(rid),
        lvl: owner.map(|owner| owner.level),
        bid: owner.map(|owner| owner.begin),
        points: block.points().len(),
        head: pair(block.head())?,
        tail: pair(block.tail())?,
        sha256: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        series: block.points().iter().map(|point| pair(*point)).collect::<io::Result<_>>()?,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// `[time,value]`, the value with all its decimals and none more.
fn pair(point: Point) -> io::Result<Box<RawValue>> {
    Ok(RawValue::from_string(format!("[{},{}]", point.at, Milli(point.milli)))?)
}

const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The most that is read, bytes.
const LARGEST_INPUT: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn captures() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/protocols/tests/captures/flukso"))
    }

    fn decode(input: &[u8], path: Option<&Path>) -> (Vec<Value>, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        tmpo(input, path, &mut out, &mut err).unwrap();
        let lines = String::from_utf8(out).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines, String::from_utf8(err).unwrap())
    }

    #[test]
    fn captures_give_the_json_beside_them() {
        let expected = std::fs::read(captures().join("tmpo-samples/expected.json")).unwrap();
        let expected: Vec<Value> = serde_json::from_slice(&expected).unwrap();
        let (mut joined, mut stream) = (Vec::new(), Vec::new());
        for entry in &expected {
            let (sid, rid) = (entry["sid"].as_str().unwrap(), &entry["rid"]);
            let name = format!("{sid}/{rid}/{}/{}", entry["lvl"], entry["bid"]);
            let path = captures().join(format!("tmpo-samples/{name}.gz"));
            let bytes = std::fs::read(&path).unwrap();
            let (lines, errors) = decode(&bytes, Some(&path));
            assert_eq!((lines, errors), (vec![entry.clone()], String::new()));
            joined.extend_from_slice(&bytes);
            let topic = format!("/sensor/{sid}/tmpo/{rid}/{}/{}/gz ", entry["lvl"], entry["bid"]);
            stream.extend([topic.as_bytes(), &bytes, b"\n"].concat());
        }
        let (lines, errors) = decode(&joined, None);
        assert_eq!((lines.len(), errors), (16, String::new()));
        assert_eq!(lines[3]["series"], expected[3]["series"]);
        assert_eq!(decode(&stream, None), (expected, String::new()));
    }

    #[test]
    fn what_is_malformed_costs_itself_only() {
        let good = Block::new(r#"{"id":"x","rid":3}"#, vec![Point { at: 7, milli: -500 }]).unwrap();
        let folder = captures().join("tmpo-samples-malformed/527a737e3b5959d25ad4bb9ff4e32b36");
        let bad = std::fs::read(folder.join("0/16/1404043264.gz")).unwrap();
        let gzip = good.gzip();
        let cut = &gzip[..gzip.len() - 9];
        let (lines, errors) = decode(&[b"junk", &gzip[..], &bad, cut, &gzip].concat(), None);
        assert_eq!(lines.len(), 2, "{errors}");
        assert_eq!(lines[0]["series"], serde_json::json!([[7, -0.5]]));
        assert_eq!((&lines[1]["sid"], &lines[1]["rid"]), (&"x".into(), &3.into()));
        assert!(errors.starts_with("4 B at offset 0 passed over"), "{errors}");
        assert!(errors.contains("73 entries in t but 88 in v"), "{errors}");
        let (lines, _) = decode(format!("{}\n", good.text()).as_bytes(), None);
        assert_eq!(lines.len(), 1);
    }
}
