//! `[t,value,"unit"]`, as strict as the strictest reader.
//!
//! Source: flukso.md §2.1.

/// What stands in a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) at: i64,
    /// As it stands there.
    pub(crate) number: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// The three fields are parted by a comma and a blank.
    pub(crate) blanks: bool,
}

/// Reads a payload.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn read(text: &str) -> Result<Reading, String> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.ok_or("not in brackets")?;
    let fields: Vec<&str> = inner.splitn(3, ',').collect();
    let [at, number, unit] = fields[..] else { return Err("not three fields".to_owned()) };
    let blanks = number.starts_with(' ');
    if blanks != unit.starts_with(' ') {
        return Err("one comma has a blank and the other has not".to_owned());
    }
    let (number, unit) = match blanks {
        true => (&number[1..], &unit[1..]),
        false => (number, unit),
    };
    let at: i64 = at.parse().map_err(|_| "the time is not an integer")?;
    if !(1_234_567_890..4_000_000_000).contains(&at) {
        return Err("the time is not in seconds since 1970, or from before the device".to_owned());
    }
    if !is_number(number) {
        return Err("the second field is not a plain number".to_owned());
    }
    let unit: String = serde_json::from_str(unit).map_err(|_| "the unit is not a text")?;
    // What programs do that cut the text at commas.
    let cut = text.split(',').nth(1).unwrap_or_default().trim();
    let value: f64 = cut.parse().map_err(|_| "what stands between the commas is not the value")?;
    Ok(Reading { at, number: number.to_owned(), value, unit, blanks })
}

/// An optional sign, an integer without leading zeros, and perhaps up to three decimals.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let leading = whole.len() > 1 && whole.starts_with('0');
    plain(whole) && plain(rest) && rest.len() <= 3 && !leading
}
