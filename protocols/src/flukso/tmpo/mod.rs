//! TMPO: blocks of readings, as Fluksometers store and publish them.
//!
//! A block has the readings of one sensor in one window of 2^`level` seconds, as differences in
//! JSON, packed by gzip. Sixteen blocks of a level make one of the level above. Values are carried
//! in exact thousandths, so every sum is exact.
//!
//! Source: flukso/flm02 (`tmpod`), flukso/tmpo and flukso/tmpo-py, as far as they agree.

mod error;
mod gzip;
mod number;
mod read;
mod write;

pub use error::BlockError;
pub use gzip::{LARGEST_GZIP, LARGEST_TEXT, pack, unpack, unpack_first};
pub use write::write_milli;

/// The levels there are: windows of 256 s, 4096 s, 65536 s and 1048576 s.
pub const LEVELS: [u8; 4] = [8, 12, 16, 20];

/// The length of a window, in seconds. `level`: one of [`LEVELS`].
pub fn span(level: u8) -> i64 {
    1_i64 << level.min(62)
}

/// The begin of the window that has `at`: the block id. Both in Unix seconds.
pub fn window(level: u8, at: i64) -> i64 {
    at - at.rem_euclid(span(level))
}

/// Whether a block of this level can begin there: the level is one of [`LEVELS`], the begin is a
/// multiple of the window's length and not before 1970.
pub fn is_window(level: u8, begin: i64) -> bool {
    LEVELS.contains(&level) && begin >= 0 && begin % span(level) == 0
}

/// One reading: Unix seconds, and the value in thousandths of the sensor's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Unix seconds.
    pub at: i64,
    /// Thousandths.
    pub milli: i64,
}

/// A block: at least one reading, in rising order of time, none twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    config: Box<str>,
    points: Vec<Point>,
}

impl Block {
    /// A block of these readings; `None` when there is none, their times do not rise, they are
    /// further apart than the longest window, or a value is 2^62 thousandths or more.
    ///
    /// `config`: the sensor's section of the configuration document, a JSON object; it is written
    /// as it is.
    pub fn new(config: impl Into<Box<str>>, points: Vec<Point>) -> Option<Block> {
        let (first, last) = (points.first()?, points.last()?);
        let rising = points.windows(2).all(|pair| pair[0].at < pair[1].at);
        let short = last.at.checked_sub(first.at)? < span(20);
        let held = points.iter().all(|point| point.milli.abs() < number::LARGEST);
        (rising && short && held).then(|| Block { config: config.into(), points })
    }

    /// The sensor's section at the time, JSON text.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// The readings.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The readings, by value.
    pub fn into_points(self) -> Vec<Point> {
        self.points
    }

    /// The first reading.
    pub fn head(&self) -> Point {
        self.points.first().copied().unwrap_or(Point { at: 0, milli: 0 })
    }

    /// The last reading.
    pub fn tail(&self) -> Point {
        self.points.last().copied().unwrap_or(Point { at: 0, milli: 0 })
    }

    /// Whether all readings lie in the window of this level that begins at `begin`.
    pub fn fits(&self, level: u8, begin: i64) -> bool {
        self.head().at >= begin && self.tail().at - begin < span(level)
    }

    /// One block of several: the section is the last one's. `None` when there is none, or one does
    /// not begin behind the end of the one before.
    ///
    /// `children`: in the order of time.
    pub fn merge(children: impl IntoIterator<Item = Block>) -> Option<Block> {
        let mut children = children.into_iter();
        let mut whole = children.next()?;
        for child in children {
            if child.head().at <= whole.tail().at {
                return None;
            }
            whole.points.extend_from_slice(&child.points);
            whole.config = child.config;
        }
        Block::new(whole.config, whole.points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Result<Block, BlockError> {
        Block::parse(text.as_bytes())
    }

    #[test]
    fn windows_begin_at_multiples() {
        assert_eq!((span(8), span(20)), (256, 1_048_576));
        assert_eq!(window(8, 1_404_225_791), 1_404_225_536);
        assert_eq!(window(8, -1), -256);
        assert!(is_window(8, 1_404_225_536) && !is_window(8, 1_404_225_537));
        assert!(!is_window(9, 0) && !is_window(8, -256) && !is_window(255, 0));
    }

    #[test]
    fn a_block_is_written_as_devices_write_it() {
        let points = [(1_404_225_540, 900_500), (1_404_225_541, 900_500), (1_404_225_600, -12_250)];
        let points = points.map(|(at, milli)| Point { at, milli }).to_vec();
        let block = Block::new(r#"{"id":"a1","port":[1]}"#, points).unwrap();
        assert_eq!(
            block.text(),
            r#"{"h":{"cfg":{"id":"a1","port":[1]},"head":[1404225540,900.5],"tail":[1404225600,-12.25],"vsn":1},"t":[0,1,59],"v":[0,0,-912.75]}"#
        );
        assert!(block.fits(8, 1_404_225_536) && !block.fits(8, 1_404_225_280));
        let gzip = block.gzip();
        assert_eq!(gzip[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3]);
        assert_eq!(Block::from_gzip(&gzip), Ok(block));
    }

    #[test]
    fn sums_of_a_device_that_does_not_round_are_rounded() {
        let text = r#"{"h":{"cfg":{},"head":[5,0.1],"tail":[8,0.2],"vsn":1},"t":[0,1,1,1],"v":[0,0.029999999998836,2.2737367544323e-13,0.07]}"#;
        let values: Vec<i64> =
            block(text).unwrap().points().iter().map(|point| point.milli).collect();
        assert_eq!(values, [100, 130, 130, 200]);
    }

    #[test]
    fn what_is_malformed_is_refused_with_words() {
        let text = |t: &str, v: &str| {
            format!(
                r#"{{"h":{{"cfg":{{}},"head":[5,1],"tail":[6,2],"vsn":1}},"t":[{t}],"v":[{v}]}}"#
            )
        };
        assert!(block(&text("0,1", "0,1")).is_ok());
        for (t, v) in [
            ("0,1", "0,1,1"),
            ("0,1", "0"),
            ("0", "0"),
            ("", ""),
            ("0,0,1", "0,0,0"),
            ("0,-1,2", "0,0,0"),
            ("0,,1", "0,1"),
            ("0,1", "0,,1"),
            ("0,1", "0,x"),
            ("0,1", "0,1."),
            ("0,1", "0,01"),
            ("0, 1", "0,1"),
            ("0,1.0", "0,1"),
            ("1,1", "0,1"),
            ("0,1", "1,1"),
            ("0,1", "0,9e99"),
            ("0,1", "0,99999999999999999999999"),
            ("0,9223372036854775807", "0,1"),
            ("0,1048576", "0,1"),
        ] {
            let error = block(&text(t, v)).unwrap_err().to_string();
            assert!(!error.is_empty(), "{t} {v}");
        }
        let good = text("0,1", "0,1");
        for bad in [format!(" {good}"), format!("{good}\n"), good.replace("\"t\"", "\"T\"")] {
            assert!(block(&bad).is_err(), "{bad}");
        }
        assert!(block(r#"{"h":{"head":[5,1],"tail":[5,1]},"t":[0],"v":[0]}"#).is_err());
        assert!(Block::parse(&[0xff; 40]).is_err());
    }

    #[test]
    fn children_become_their_parent() {
        let make = |at: i64, milli: i64| Block::new("{}", vec![Point { at, milli }]).unwrap();
        let whole = Block::merge([make(5, 1000), make(300, 1500)]).unwrap();
        assert!(whole.text().ends_with(r#""t":[0,295],"v":[0,0.5]}"#));
        assert_eq!(Block::merge([make(5, 1), make(5, 1)]), None);
        assert_eq!(Block::merge([]), None);
    }
}
