//! The text of a block, as devices write it: no blanks, keys in a fixed order.

use std::fmt::Write;

use super::{Block, Point};

impl Block {
    /// The text of the block.
    pub fn text(&self) -> String {
        let (head, tail) = (self.head(), self.tail());
        let mut text = String::with_capacity(self.config.len() + 96 + self.points.len() * 6);
        // Writing to a String cannot fail.
        let _ = write!(text, "{{\"h\":{{\"cfg\":{},\"head\":[{},", self.config, head.at);
        write_milli(&mut text, head.milli);
        let _ = write!(text, "],\"tail\":[{},", tail.at);
        write_milli(&mut text, tail.milli);
        text.push_str("],\"vsn\":1},\"t\":[0");
        for (before, point) in self.pairs() {
            text.push(',');
            write_whole(&mut text, point.at.abs_diff(before.at));
        }
        text.push_str("],\"v\":[0");
        for (before, point) in self.pairs() {
            text.push(',');
            write_milli(&mut text, point.milli.wrapping_sub(before.milli));
        }
        text.push_str("]}");
        text
    }

    fn pairs(&self) -> impl Iterator<Item = (Point, Point)> {
        self.points.windows(2).map(|pair| (pair[0], pair[1]))
    }
}

/// Writes thousandths as a decimal number without trailing zeros: `900.5`, `-3`, `0`.
pub fn write_milli(text: &mut String, milli: i64) {
    if milli < 0 {
        text.push('-');
    }
    let (whole, thousandths) = (milli.unsigned_abs() / 1000, milli.unsigned_abs() % 1000);
    write_whole(text, whole);
    if thousandths > 0 {
        let digits = [thousandths / 100, thousandths / 10 % 10, thousandths % 10];
        let count = 3 - digits.iter().rev().take_while(|digit| **digit == 0).count();
        text.push('.');
        text.extend(digits.iter().take(count).map(|digit| digit_of(*digit)));
    }
}

/// Faster than the general formatting, and this is most of what a block's text is.
fn write_whole(text: &mut String, mut value: u64) {
    let mut digits = ['0'; 20];
    let mut begin = digits.len();
    loop {
        begin -= 1;
        digits[begin] = digit_of(value % 10);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    text.extend(&digits[begin..]);
}

fn digit_of(digit: u64) -> char {
    char::from(b'0' + (digit % 10) as u8)
}
