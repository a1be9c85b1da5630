//! Query strings, as a Fluksometer and as Flukso's server take them apart.

/// Names and values in their order; names that nobody asks for are of no consequence.
#[derive(Debug, Default)]
pub(in crate::web) struct Params(Vec<(String, String)>);

impl Params {
    /// As the device itself does: pairs `name=value` of which nothing is decoded. Empty values count
    /// as not given.
    pub(super) fn plain(query: &str) -> Params {
        Params(pairs(query).map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// As servers do: `+` is a blank, and `%41` an `A`. Empty values count as not given.
    pub(in crate::web) fn decoded(query: &str) -> Params {
        Params(pairs(query).map(|(name, value)| (decode(name), decode(value))).collect())
    }

    /// The value of this name; the last where there are several.
    pub(in crate::web) fn find(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter().rev();
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(_, value)| !value.is_empty())
}

/// What is no escape stays as it is; bytes that are no text become U+FFFD.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match (first, escaped) {
            (_, Some((high, low))) => {
                bytes.push(high << 4 | low);
                rest = &after[2..];
            }
            (b'+', None) => bytes.push(b' '),
            (other, None) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_decodes_nothing_and_takes_the_last() {
        let params = Params::plain("unit=watt&unit=lperday&unit=&interval=min%75te&junk&=x&a=b=c");
        assert_eq!(params.find("unit"), Some("lperday"));
        assert_eq!(params.find("interval"), Some("min%75te"));
        assert_eq!(params.find("a"), Some("b=c"));
        assert_eq!(params.find("junk"), None);
        assert!(Params::plain("").find("unit").is_none());
    }

    #[test]
    fn servers_decode() {
        let params = Params::decoded("a=x%2By+z&b%63=%e2%82%ac&c=%4&d=%zz&e=%FF&f=%");
        assert_eq!(params.find("a"), Some("x+y z"));
        assert_eq!(params.find("bc"), Some("€"));
        assert_eq!((params.find("c"), params.find("d")), (Some("%4"), Some("%zz")));
        assert_eq!((params.find("e"), params.find("f")), (Some("\u{fffd}"), Some("%")));
    }
}
