//! The single values of the configuration: spans of time, addresses, powers, ids.
//!
//! Each is read from a text and written back as the same text. The texts of the errors are what
//! the user sees behind file, line and key, so they hold the value and what would be right.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One address to listen on, or several: `127.0.0.1:1883` or `[127.0.0.1:1883, "[::1]:1883"]`.
///
/// Port 0 takes any free port. `localhost` stands for 127.0.0.1; other names are not resolved,
/// because what they resolve to may change between two starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(pub Vec<SocketAddr>);

impl Addresses {
    /// True when every address is on the loopback interface, out of reach for other machines.
    pub fn on_loopback(&self) -> bool {
        self.0.iter().all(|address| address.ip().is_loopback())
    }
}

/// Where to dial: a host by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port; 0: none is written, where that can be.
    pub port: u16,
}

/// A power in watts, read from a bare number or with a unit: `250000`, `250kW`, `1.5MW`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Power {
    /// The power in watts.
    pub watts: f64,
}

/// A device or sensor id: 16 bytes, written as 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HexId(pub [u8; 16]);

/// A network in CIDR form, or a single address. Bits behind the mask are cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network(pub(super) IpNet);

/// One entry of [`Addresses`].
pub(super) struct Address(pub(super) SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let example = "write ADDRESS:PORT, such as 127.0.0.1:1883 (this machine only) or 0.0.0.0:1883 (every network)";
        if text.parse::<IpAddr>().is_ok() {
            return Err(format!("\"{text}\" has no port: {example}"));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!("\"{text}\" is not an address to listen on: {example}"));
        };
        let port = parse_port(text, port)?;
        match host {
            "localhost" => Ok(Self(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))),
            "" | "*" => {
                Err(format!("\"{text}\" names no interface: write 0.0.0.0:{port} for all of them"))
            }
            _ if host.contains(':') => Err(format!(
                "\"{text}\" is not an address to listen on: an IPv6 address stands in brackets, such as \"[::1]:{port}\""
            )),
            _ => Err(format!("\"{text}\" is not an address to listen on: {example}")),
        }
    }
}

impl HostPort {
    /// The same host, at this port where none is written.
    #[must_use]
    pub fn or_port(&self, port: u16) -> HostPort {
        let port = if self.port == 0 { port } else { self.port };
        HostPort { host: self.host.clone(), port }
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write HOST:PORT, such as 192.0.2.7:5000";
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!("\"{text}\" has no port: {example}"));
        };
        let port = parse_port(text, port)?;
        if port == 0 {
            return Err(format!("\"{text}\": port 0 cannot be dialled: {example}"));
        }
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let fits = match inner {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
                !host.is_empty() && host.chars().all(plain)
            }
        };
        if !fits {
            return Err(format!("\"{text}\" is not a host and a port: {example}"));
        }
        Ok(Self { host: inner.unwrap_or(host).to_owned(), port })
    }
}

impl FromStr for Power {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_alphabetic() || c == ' ');
        let factor = match text[digits.len()..].trim() {
            "" | "W" => 1.0,
            "kW" => 1e3,
            "MW" => 1e6,
            unit => {
                return Err(format!("\"{text}\": {unit} is not a power: write 250000 or 250kW"));
            }
        };
        match digits.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Self { watts: number * factor }),
            _ => Err(format!("\"{text}\" is not a power: write 250000 (watts) or 250kW")),
        }
    }
}

impl FromStr for HexId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("\"{text}\" is not an id: write 32 hex digits (0-9, a-f), {} given", text.len())
        };
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut id = [0; 16];
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(id))
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(IpNet::from(address)));
        }
        text.parse::<IpNet>().map(|net| Self(net.trunc())).map_err(|_| {
            format!("\"{text}\" is not a network: write ADDRESS/BITS, such as 192.168.0.0/16")
        })
    }
}

fn parse_port(whole: &str, port: &str) -> Result<u16, String> {
    port.parse().map_err(|_| {
        format!("\"{whole}\": \"{port}\" is not a port: write a number from 0 to 65535")
    })
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Addresses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as 127.0.0.1:1883, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Addresses, E> {
                text.parse().map(|Address(one)| Addresses(vec![one])).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Addresses, A::Error> {
                let mut all = Vec::new();
                while let Some(Address(one)) = list.next_element()? {
                    all.push(one);
                }
                Ok(Addresses(all))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

impl Serialize for Addresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => serializer.collect_str(one),
            many => serializer.collect_seq(many.iter().map(SocketAddr::to_string)),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.watts >= 1e3 && self.watts % 1e3 == 0.0 {
            write!(f, "{}kW", self.watts / 1e3)
        } else {
            write!(f, "{}W", self.watts)
        }
    }
}

impl fmt::Display for HexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads and writes a type by its text. A bare number never gets here: the decoder hands it over
/// as it is spelled in the file.
macro_rules! by_text {
    ($($name:ty => $expected:literal),* $(,)?) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

by_text! {
    Address => "an address such as 127.0.0.1:1883",
    HostPort => "a host and a port such as 192.0.2.7:5000",
    Power => "a power such as 250000 (watts) or 250kW",
    HexId => "32 hex digits",
    Network => "a network such as 192.168.0.0/16",
}

macro_rules! shown_as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

shown_as_text!(HostPort, Power, HexId, Network);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        for (text, address) in [
            ("127.0.0.1:1883", "127.0.0.1:1883"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:80", "127.0.0.1:80"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().0.to_string(), address);
        }
        for (text, hint) in [
            ("1883", "127.0.0.1:1883"),
            ("127.0.0.1", "no port"),
            ("127.0.0.1:99999", "\"99999\" is not a port"),
            (":1883", "0.0.0.0:1883"),
            ("::1:1883:x", "\"x\" is not a port"),
            ("fe80::g:80", "brackets"),
            ("nas:1883", "not an address to listen on"),
            ("", "127.0.0.1:1883"),
        ] {
            let message = text.parse::<Address>().map(|a| a.0).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
    }

    #[test]
    fn hosts_to_dial() {
        for text in ["nas:5000", "192.0.2.7:1", "[::1]:65535"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        for text in ["nas", "nas:0", ":5000", "a b:1", "tcp://nas:5000", "[nas]:5000", ""] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn powers() {
        for (text, watts) in [("250kW", 250e3), ("1.5 MW", 1.5e6), ("900", 900.0), ("-3W", -3.0)] {
            assert!((text.parse::<Power>().unwrap().watts - watts).abs() < 1e-9, "{text}");
        }
        for text in ["", "kW", "5 kWh", "NaN", "inf", "1e999", "µ"] {
            assert!(text.parse::<Power>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(text.to_uppercase().parse::<HexId>().unwrap().to_string(), text);
        for text in
            ["", "0011", "zz112233445566778899aabbccddeeff", "é112233445566778899aabbccddeef"]
        {
            assert!(text.parse::<HexId>().is_err(), "{text}");
        }
    }
}
