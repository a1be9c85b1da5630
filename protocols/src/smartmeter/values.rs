//! Numbers as meters write them: whole, with a fraction, in quotes, or `null`; one, or one a line.

use serde_json::Value;

/// One value of a PowerMeter, or one of each line of a SmartMeter. `None`: the meter wrote `null`,
/// its word for a number that it does not have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values {
    /// Of the only line.
    Whole(Option<f64>),
    /// Of L1, L2 and L3.
    Lines([Option<f64>; 3]),
}

impl Values {
    /// A number, an array of up to three, or either in a text: `[1.5, 2.5, 3.5]`, `230.1,231.4,229.3`.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Whole(None)),
            Value::Number(_) => Some(Self::Whole(number(value))),
            Value::Array(items) if (1..=3).contains(&items.len()) => {
                let line = |n: usize| items.get(n).and_then(number);
                Some(Self::Lines([line(0), line(1), line(2)]))
            }
            Value::String(text) => Self::of_text(text),
            _ => None,
        }
    }

    fn of_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let mut parts = inner.unwrap_or(text).split(',').map(of_number_text);
        let lines = [parts.next()?, parts.next().flatten(), parts.next().flatten()];
        if parts.next().is_some() {
            return None;
        }
        match (inner, lines) {
            (None, [one, None, None]) => one.map(|one| Self::Whole(Some(one))),
            (_, [None, None, None]) => None,
            _ => Some(Self::Lines(lines)),
        }
    }

    /// The value of a line, 1 to 3; of line 0 the only one of a PowerMeter.
    #[must_use]
    pub fn line(&self, line: u8) -> Option<f64> {
        match (self, line) {
            (Self::Whole(value), 0) => *value,
            (Self::Lines(values), 1..=3) => values[usize::from(line) - 1],
            _ => None,
        }
    }

    /// The only value, or the sum of the lines. `None` where one is missing.
    #[must_use]
    pub fn sum(&self) -> Option<f64> {
        match self {
            Self::Whole(value) => *value,
            Self::Lines(values) => values.iter().copied().sum(),
        }
    }

    /// The only value, or the mean of the lines. `None` where one is missing.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        match self {
            Self::Whole(value) => *value,
            Self::Lines(values) => values.iter().copied().sum::<Option<f64>>().map(|sum| sum / 3.0),
        }
    }

    /// Each value by the function.
    #[must_use]
    pub fn map(&self, function: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::Whole(value) => Self::Whole(value.map(function)),
            Self::Lines(values) => Self::Lines(values.map(|value| value.map(&function))),
        }
    }
}

/// A finite number, in quotes or not.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64().filter(|number| number.is_finite()),
        Value::String(text) => of_number_text(text),
        _ => None,
    }
}

fn of_number_text(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// A boolean, as JSON has it or in quotes, or as 0 or 1.
pub(super) fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(one) => Some(*one),
        Value::Number(number) => match number.as_f64()? {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim() {
            "true" | "on" | "1" => Some(true),
            "false" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_spelling_is_read() {
        let three = Some(Values::Lines([Some(1.5), Some(2.0), Some(-3.25)]));
        assert_eq!(Values::read(&json!([1.5, 2, -3.25])), three);
        assert_eq!(Values::read(&json!("[1.5, 2, -3.25]")), three);
        assert_eq!(Values::read(&json!("1.5,2,-3.25")), three);
        assert_eq!(Values::read(&json!(4)), Some(Values::Whole(Some(4.0))));
        assert_eq!(Values::read(&json!("4")), Some(Values::Whole(Some(4.0))));
        assert_eq!(Values::read(&json!(null)), Some(Values::Whole(None)));
        assert_eq!(Values::read(&json!([null, 2])), Some(Values::Lines([None, Some(2.0), None])));
        for bad in [json!("four"), json!(""), json!({}), json!([1, 2, 3, 4]), json!("1,2,3,4")] {
            assert_eq!(Values::read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_sum_needs_every_line() {
        assert_eq!(Values::Lines([Some(1.0), Some(2.0), Some(3.0)]).sum(), Some(6.0));
        assert_eq!(Values::Lines([Some(1.0), None, Some(3.0)]).sum(), None);
        assert_eq!(Values::Lines([Some(1.0), Some(2.0), Some(3.0)]).mean(), Some(2.0));
    }
}
