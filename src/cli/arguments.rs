//! The arguments the program takes, as clap reads them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use super::{FluksometerOptions, PortOptions, SmartOptions};
use crate::config::duration;
use crate::config::scalar::HostPort;

/// The arguments of the program.
#[derive(Debug, Parser)]
#[command(
    name = "meterbridge",
    version,
    about = "Energy gateway: every meter in the fuse box on one MQTT broker"
)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) options: RunOptions,
}

/// What to do; `run` when nothing is said.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway (the default)
    Run(RunOptions),
    /// Run the gateway with simulated meters, and say what to look at
    Demo(ConfigOptions),
    /// Simulate meters, against any gateway
    Simulate(Box<SimulateOptions>),
    /// Check the configuration and print every mistake
    Check(ConfigOptions),
    /// Print the configuration in force, each value with its origin
    Config(ConfigOptions),
    /// Decode raw bytes to one JSON object a line
    Decode(DecodeOptions),
    /// Ask for a password and print the entry of broker.users for it
    Passwd(PasswdOptions),
    /// Send one command to a meter through the running gateway, and print the reply
    #[command(name = "command")]
    Send(SendOptions),
    /// Look at configuration, ports, devices, disk and clock, and say what to do about each finding
    Doctor(ConfigOptions),
    /// Ask the running gateway whether it is well
    Health(HealthOptions),
}

/// The options of `meterbridge run`.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct RunOptions {
    #[command(flatten)]
    pub(super) config: ConfigOptions,
    /// With a configuration that has mistakes, show them on the web port until they are mended, in
    /// place of ending with exit code 78; the environment variable METERBRIDGE_SERVE_MISTAKES=true
    /// asks for the same
    #[arg(long)]
    pub(super) serve_mistakes: bool,
}

impl RunOptions {
    /// Whether the arguments or the environment ask for it.
    pub(super) fn serves_mistakes(&self) -> bool {
        let variable = std::env::var_os("METERBRIDGE_SERVE_MISTAKES");
        self.serve_mistakes || variable.is_some_and(|value| value == "true" || value == "1")
    }
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigOptions {
    /// The configuration file [default: ./config.yaml, else /config/config.yaml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set a value, above file and environment; may be repeated
    #[arg(long, value_name = "a.b=value")]
    pub set: Vec<String>,
}

/// The options of `meterbridge simulate`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("direction").required(true).multiple(true).args(["connect", "listen", "serial", "mqtt"]))]
pub struct SimulateOptions {
    /// What to simulate
    pub kind: SimulatedKind,
    /// Dial the gateway here
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["listen", "serial"])]
    pub connect: Option<HostPort>,
    /// Wait here for the gateway to dial; all meters speak on each connection, but SmartMeters and
    /// PowerMeters, who have two ports each, the second for their stream
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "serial")]
    pub listen: Option<SocketAddr>,
    /// Open a pseudo-terminal, print its path, and speak there like meters on a serial line
    #[arg(long)]
    pub serial: bool,
    /// With --serial: make this path a link to the pseudo-terminal
    #[arg(long, value_name = "PATH", conflicts_with_all = ["connect", "listen"])]
    pub link: Option<PathBuf>,
    /// How many meters, each with a serial number of its own; with --connect each has a connection
    /// of its own, else they share the line: of ECM-1240s the first four have a command byte (fc to
    /// ff), of ECM-1220s the first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub meters: u32,
    /// Time from packet to packet [default: 5s; 1s for a Fluksometer, which knows whole seconds only]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub interval: Option<Duration>,
    /// Start of the random numbers: the same seed gives the same meters
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The packet format of a GEM
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<PacketFormat>,
    // A doc comment here would become the help text of the whole command.
    #[allow(missing_docs)]
    #[command(flatten)]
    pub manners: MannersOptions,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub fluksometer: FluksometerOptions,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub port: PortOptions,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub smartmeter: SmartOptions,
}

/// How the line misbehaves.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Misbehaviour, which combines")]
pub struct MannersOptions {
    /// Use a connection for each packet, and close it 50 ms after it
    #[arg(long, conflicts_with = "serial")]
    pub one_packet: bool,
    /// Answer commands so much later
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub slow: Option<Duration>,
    /// Send every tenth answer of a meter so late, and those to later commands behind it
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub late: Option<Duration>,
    /// Obey commands and never answer them
    #[arg(long, conflicts_with_all = ["slow", "late", "split_replies", "swallow"])]
    pub silent: bool,
    /// Lose commands before they reach the meter, as a DashBox may
    #[arg(long, conflicts_with_all = ["slow", "late", "split_replies"])]
    pub swallow: bool,
    /// Send everything in pieces of so many bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=65_000))]
    pub chunks: Option<u32>,
    /// The pause after each piece [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, requires = "chunks")]
    pub pause: Option<Duration>,
    /// Send the keep-alive text of a GEM between packets, every 4s or so often
    #[arg(long, value_name = "TIME", value_parser = interval, num_args = 0..=1, default_missing_value = "4s")]
    pub keep_alive: Option<Duration>,
    /// With --connect: send a GEM's packets as HTTP requests, and complain where 200 is not answered
    #[arg(long, conflicts_with_all = ["format", "listen", "serial"])]
    pub http: bool,
    /// Send random bytes between packets
    #[arg(long)]
    pub noise: bool,
    /// Send a packet in the middle of each answer
    #[arg(long)]
    pub split_replies: bool,
    /// Answer a GEM's commands only where the answer is documented
    #[arg(long)]
    pub terse: bool,
    /// Give a GEM's settings as the shorter list of older firmware
    #[arg(long)]
    pub short_settings: bool,
}

/// What `meterbridge simulate` knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimulatedKind {
    /// Brultech GreenEye Monitor
    Gem,
    /// Brultech ECM-1240
    Ecm1240,
    /// Brultech ECM-1220
    Ecm1220,
    /// SmartMeter, three lines: with --listen it waits for commands, with --connect it dials a stream
    /// server, with --mqtt it publishes
    Smartmeter,
    /// PowerMeter, a plug with a relay, likewise
    Powermeter,
    /// Fluksometer, second generation: with --listen it has a broker of its own, with --connect it
    /// reports to the one there
    Flm02,
    /// Fluksometer, third generation, likewise
    Flm03,
    /// A smart meter's customer port: P1 (DSMR and its kin) or TIC
    P1,
}

/// The binary packet formats of a GEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PacketFormat {
    /// 48 channels, both ways, with the meter's clock (625 bytes)
    Bin48NetTime,
    /// 48 channels, both ways (619 bytes)
    Bin48Net,
    /// 48 channels, one way (379 bytes)
    Bin48Abs,
    /// 32 channels, both ways (429 bytes)
    Bin32Net,
    /// 32 channels, one way (269 bytes)
    Bin32Abs,
}

/// The options of `meterbridge decode`.
#[derive(Clone, Debug, Args)]
pub struct DecodeOptions {
    /// The protocol of the bytes
    pub protocol: DecodedProtocol,
    /// The file to read [default: stdin]
    pub file: Option<PathBuf>,
    /// The key of encrypted telegrams (dsmr), 32 hex digits
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// What a sample holds where no reply tells it (smartmeter), such as v,i or v,i,v,i,v,i
    #[arg(long, value_name = "MEASURES")]
    pub measures: Option<String>,
    /// Samples a second where no reply tells it (smartmeter)
    #[arg(long, value_name = "HERTZ")]
    pub rate: Option<f64>,
    /// Which meter it is where nothing tells it (smartmeter)
    #[arg(long, value_name = "KIND")]
    pub kind: Option<MeterKind>,
}

/// The two meters that share the protocol `smartmeter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MeterKind {
    /// Three lines
    Smartmeter,
    /// A plug
    Powermeter,
}

/// What `meterbridge decode` knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DecodedProtocol {
    /// GEM, ECM-1240 and ECM-1220 packets, mixed
    Brultech,
    /// What SmartMeters and PowerMeters send: command channel, samples, datagrams
    Smartmeter,
    /// P1 telegrams and TIC frames
    Dsmr,
    /// Flukso's history blocks (.gz), one after the other, or as mosquitto_sub -v writes them
    Tmpo,
}

/// The options of `meterbridge passwd`.
#[derive(Clone, Debug, Args)]
pub(super) struct PasswdOptions {
    /// The user's name
    pub(super) name: String,
}

/// The options of `meterbridge command`.
#[derive(Clone, Debug, Args)]
pub(super) struct SendOptions {
    /// The meter's name
    pub(super) meter: String,
    /// The command, such as '{"cmd":"info"}'
    pub(super) json: String,
    /// Where the gateway's web port is [default: web.listen of the configuration]
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Log in as this user of broker.users; the password is asked for, or taken from the
    /// environment variable METERBRIDGE_PASSWORD
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<String>,
    #[command(flatten)]
    pub(super) config: ConfigOptions,
}

/// The options of `meterbridge health`.
#[derive(Clone, Debug, Args)]
pub(super) struct HealthOptions {
    /// The URL to ask [default: /healthz at web.listen of the configuration]
    pub(super) url: Option<String>,
    #[command(flatten)]
    pub(super) config: ConfigOptions,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    if interval < Duration::from_millis(1) {
        Err("write at least 1ms".to_owned())
    } else {
        Ok(interval)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
