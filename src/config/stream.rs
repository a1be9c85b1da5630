//! `stream:` of a meter: samples of voltage and current, some thousand a second, and where they go.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::duration;
use super::scalar::Address;
use super::size::ByteSize;

/// What a SmartMeter or PowerMeter is to sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// When sampling starts.
    pub start: Start,
    /// Samples a second; what a meter can do is checked when it is known.
    pub rate: u32,
    /// What is sampled, as the meter spells it; `v,i` is every line that the meter has.
    pub measures: Measures,
    /// The way that the samples take.
    pub over: Over,
    /// In numbered packets, so that loss is seen.
    pub framed: bool,
    /// Where UDP is received; 0: any port.
    pub udp_port: u16,
    /// The meter's own stream port.
    pub port: u16,
    /// `[k, n]`: only in seconds where Unix time mod n is k.
    pub slot: Option<(u32, u32)>,
    /// Hands the samples on over TCP, to any number of readers.
    #[serde(deserialize_with = "address")]
    pub relay: Option<SocketAddr>,
    /// Writes them to disk.
    pub record: Option<Record>,
}

/// When sampling starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With the connection, and again whenever it was lost.
    #[default]
    Always,
    /// With a `sample` command.
    Command,
}

/// What is sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measures {
    /// Voltage and current of every line.
    #[default]
    #[serde(rename = "v,i")]
    All,
    /// Of the first line of a SmartMeter.
    #[serde(rename = "v,i_L1")]
    L1,
    /// Of its second line.
    #[serde(rename = "v,i_L2")]
    L2,
    /// Of its third line.
    #[serde(rename = "v,i_L3")]
    L3,
    /// Active and reactive power.
    #[serde(rename = "p,q")]
    Powers,
    /// RMS of voltage and current.
    #[serde(rename = "v,i_RMS")]
    Rms,
    /// Voltage, current and both powers; a PowerMeter only.
    #[serde(rename = "v,i,p,q")]
    Everything,
}

/// The way that samples take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// The connection of the commands, also a serial one.
    #[default]
    Link,
    /// Datagrams.
    Udp,
    /// The meter's own stream port, 54322: raw, at the meter's own rate.
    Port,
    /// Messages on the broker, one a sample: up to 10 a second.
    Mqtt,
}

/// Samples on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Record {
    /// When recording starts: with the stream, or with a `record` command.
    pub start: Start,
    /// Where the files go; within `data_dir` unless it begins with a slash.
    pub directory: PathBuf,
    /// A new file is begun after so long.
    #[serde(with = "duration")]
    pub rotate: Duration,
    /// A new file is begun at so many bytes.
    pub rotate_size: ByteSize,
    /// Recording pauses while less than this is free on the disk.
    pub keep_free: ByteSize,
    /// What the meter's files may take; above it the oldest go. 0: no limit but `keep_free`.
    pub size: ByteSize,
}

/// An address to listen on, spelled as everywhere else.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    Ok(Option::<Address>::deserialize(deserializer)?.map(|Address(address)| address))
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            start: Start::default(),
            rate: 4000,
            measures: Measures::default(),
            over: Over::default(),
            framed: true,
            udp_port: 0,
            port: 54_322,
            slot: None,
            relay: None,
            record: None,
        }
    }
}

impl Default for Record {
    fn default() -> Self {
        Self {
            start: Start::default(),
            directory: PathBuf::from("recordings"),
            rotate: Duration::from_secs(3600),
            rotate_size: ByteSize(2_000_000_000),
            keep_free: ByteSize(1_000_000_000),
            size: ByteSize(0),
        }
    }
}
