//! The text of a block, read strictly: other programs take it apart by its shape.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::number::Number;
use super::{Block, BlockError, Point, span};

/// What stands in `h`; other keys are passed over.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    cfg: &'a RawValue,
    #[serde(borrow)]
    head: (i64, &'a RawValue),
    #[serde(borrow)]
    tail: (i64, &'a RawValue),
}

impl Block {
    /// Reads the text of a block.
    ///
    /// Values that a device has not rounded are rounded to the nearest thousandth once they are
    /// summed up. A tail value that differs from the sum is let pass, a tail time is not.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub fn parse(text: &[u8]) -> Result<Block, BlockError> {
        let mut cursor = Cursor { text, at: 0 };
        cursor.expect(b"{\"h\":", "{\"h\":")?;
        let (header, first) = cursor.header()?;
        cursor.expect(b",\"t\":[", ",\"t\":[")?;
        let times = cursor.times(header.head.0)?;
        cursor.expect(b",\"v\":[", ",\"v\":[")?;
        let points = cursor.values(first, times)?;
        cursor.expect(b"}", "}")?;
        if cursor.at != text.len() {
            return Err(cursor.shape("the end"));
        }
        let found = points.last().map_or(header.head.0, |point| point.at);
        if header.tail.0 != found {
            return Err(BlockError::Tail { told: header.tail.0, found });
        }
        Ok(Block { config: header.cfg.get().into(), points })
    }
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn shape(&self, expected: &'static str) -> BlockError {
        BlockError::Shape { expected, offset: self.at }
    }

    fn expect(&mut self, bytes: &[u8], expected: &'static str) -> Result<(), BlockError> {
        if !self.rest().starts_with(bytes) {
            return Err(self.shape(expected));
        }
        self.at += bytes.len();
        Ok(())
    }

    /// What stands in `h`, and the value of the first reading.
    fn header(&mut self) -> Result<(Header<'a>, Number), BlockError> {
        let mut stream = serde_json::Deserializer::from_slice(self.rest()).into_iter::<Header>();
        let header = stream.next().ok_or_else(|| self.shape("a head"))?;
        let header = header.map_err(|error| BlockError::Header(error.to_string()))?;
        self.at += stream.byte_offset();
        let value = |raw: &RawValue| {
            let text = raw.get().as_bytes();
            Number::read(text).filter(|(_, length)| *length == text.len())
        };
        let words = || BlockError::Header("a value in it is no number that can be held".to_owned());
        value(header.tail.1).ok_or_else(words)?;
        let (first, _) = value(header.head.1).ok_or_else(words)?;
        let first = first.plus(Number::default()).ok_or_else(words)?;
        if !(0..LATEST).contains(&header.head.0) {
            let at = header.head.0;
            return Err(BlockError::Range { first: at, last: at });
        }
        if !header.cfg.get().starts_with(['{', '[']) {
            return Err(BlockError::Header("cfg is no object".to_owned()));
        }
        Ok((header, first))
    }

    /// The list of times up to its `]`, summed up.
    fn times(&mut self, first: i64) -> Result<Vec<Point>, BlockError> {
        let mut points = Vec::new();
        let mut at = first;
        loop {
            let step = self.whole()?;
            let entry = points.len();
            if (entry == 0) != (step == 0) {
                return Err(BlockError::Time { entry });
            }
            at += step;
            if at - first >= span(20) {
                return Err(BlockError::Range { first, last: at });
            }
            points.push(Point { at, milli: 0 });
            if self.ends()? {
                return Ok(points);
            }
        }
    }

    /// A number of seconds, below 2^21 or so.
    fn whole(&mut self) -> Result<i64, BlockError> {
        let mut value = 0;
        let mut count = 0;
        for digit in self.rest().iter().take(8).take_while(|byte| byte.is_ascii_digit()) {
            value = value * 10 + i64::from(digit - b'0');
            count += 1;
        }
        let leading = count > 1 && self.rest().first() == Some(&b'0');
        if count == 0 || leading {
            return Err(self.shape("a number of seconds"));
        }
        self.at += count;
        Ok(value)
    }

    /// The list of values up to its `]`, summed up into the points.
    fn values(&mut self, first: Number, points: Vec<Point>) -> Result<Vec<Point>, BlockError> {
        let mut points = points;
        let (times, mut values) = (points.len(), 0);
        let mut sum = first;
        loop {
            let number = Number::read(self.rest());
            let (step, length) = number.ok_or_else(|| self.shape("a value"))?;
            if values == 0 && !step.is_zero() {
                return Err(self.shape("0"));
            }
            self.at += length;
            sum = sum.plus(step).ok_or(BlockError::Value { entry: values })?;
            if let Some(point) = points.get_mut(values) {
                point.milli = sum.rounded();
            }
            values += 1;
            if self.ends()? {
                break;
            }
        }
        if values == times { Ok(points) } else { Err(BlockError::Lengths { times, values }) }
    }

    /// Behind an entry: whether the list ends here.
    fn ends(&mut self) -> Result<bool, BlockError> {
        let next = self.rest().first();
        if !matches!(next, Some(b',' | b']')) {
            return Err(self.shape("\",\" or \"]\""));
        }
        self.at += 1;
        Ok(next == Some(&b']'))
    }
}

/// No reading is later, Unix seconds: sums stay far from what a number can hold.
const LATEST: i64 = 1 << 40;
