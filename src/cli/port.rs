//! `meterbridge simulate p1`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use meter_protocols::dsmr::BadKey;

use super::{Exit, MannersOptions, SimulateOptions, complain, say, serve, start_logging};
use crate::config::Config;
use crate::simulator::{
    Direction, PortManners, PortSimulation, PortSimulator, SimulatorError, Standard,
};

/// What only customer ports have.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "P1 ports only")]
pub struct PortOptions {
    /// What the port speaks [default: 5]
    #[arg(long, value_name = "VERSION")]
    pub dsmr: Option<PortStandard>,
    /// Encrypt the telegrams with this key, 32 hex digits, as the meters of Luxembourg do
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Have one byte of every tenth telegram wrong
    #[arg(long)]
    pub wrong_bytes: bool,
    /// Cut every tenth telegram in its middle
    #[arg(long, conflicts_with = "wrong_bytes")]
    pub halves: bool,
}

/// The telegrams that can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PortStandard {
    /// Netherlands: DSMR 2.2, without checksum
    #[value(name = "2.2")]
    V22,
    /// Netherlands: DSMR 4
    #[value(name = "4")]
    V4,
    /// Netherlands: DSMR 5, three phases, gas and water
    #[value(name = "5")]
    V5,
    /// Belgium: e-MUCS
    Belgium,
    /// Luxembourg: encrypted with --key, decrypted without
    Luxembourg,
    /// Sweden
    Sweden,
    /// France: TIC, historic mode
    Tic,
}

impl PortOptions {
    /// The first of them that is given, as for a meter that has none.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags = [
            (self.dsmr.is_some(), "--dsmr"),
            (self.key.is_some(), "--key"),
            (self.wrong_bytes, "--wrong-bytes"),
            (self.halves, "--halves"),
        ];
        flags.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }
}

/// Simulates smart meters with a customer port.
pub(super) fn simulate(options: &SimulateOptions) -> Exit {
    if let Some(objection) = objection(options) {
        complain(&objection);
        return Exit::Usage;
    }
    let key = match options.port.key.as_deref().map(str::parse).transpose() {
        Ok(key) => key,
        Err(error @ BadKey) => {
            complain(&format!("--key: {error}"));
            return Exit::Usage;
        }
    };
    let direction = match (&options.connect, options.listen) {
        (Some(gateway), _) => Direction::Connect(gateway.to_string()),
        (None, Some(address)) => Direction::Listen(address),
        (None, None) => Direction::Serial(options.link.clone()),
    };
    let standard = standard(options.port.dsmr);
    let usual = if standard == Standard::Dsmr5 { 1 } else { 10 };
    let simulation = PortSimulation {
        standard,
        meters: options.meters,
        interval: options.interval.unwrap_or(Duration::from_secs(usual)),
        seed: options.seed,
        key,
        manners: PortManners {
            wrong_bytes: options.port.wrong_bytes,
            halves: options.port.halves,
            noise: options.manners.noise,
        },
    };
    start_logging(&Config::default());
    serve(async |stop| {
        let simulator = PortSimulator::build(&simulation, direction).await?;
        if let Some(path) = simulator.path() {
            say(&format!("{}\n", path.display()));
        }
        simulator.run(stop).await;
        Ok::<(), SimulatorError>(())
    })
}

fn standard(version: Option<PortStandard>) -> Standard {
    match version.unwrap_or(PortStandard::V5) {
        PortStandard::V22 => Standard::Dsmr22,
        PortStandard::V4 => Standard::Dsmr4,
        PortStandard::V5 => Standard::Dsmr5,
        PortStandard::Belgium => Standard::Belgium,
        PortStandard::Luxembourg => Standard::Luxembourg,
        PortStandard::Sweden => Standard::Sweden,
        PortStandard::Tic => Standard::Tic,
    }
}

/// What a port cannot do, in words: it only speaks.
fn objection(options: &SimulateOptions) -> Option<String> {
    if let Some(flag) = options.fluksometer.given() {
        return Some(format!("{flag}: only a Fluksometer has that, a p1 port has not"));
    }
    if let Some(objection) = options.smartmeter.refused(options.kind) {
        return Some(objection);
    }
    if options.port.key.is_some() && options.port.dsmr == Some(PortStandard::Tic) {
        return Some("--key: TIC is not encrypted".to_owned());
    }
    let MannersOptions {
        one_packet,
        slow,
        late,
        silent,
        swallow,
        chunks,
        pause: _,
        keep_alive,
        http,
        noise: _,
        split_replies,
        terse,
        short_settings,
    } = &options.manners;
    let flags = [
        (options.format.is_some(), "--format"),
        (*one_packet, "--one-packet"),
        (slow.is_some(), "--slow"),
        (late.is_some(), "--late"),
        (*silent, "--silent"),
        (*swallow, "--swallow"),
        (chunks.is_some(), "--chunks"),
        (keep_alive.is_some(), "--keep-alive"),
        (*http, "--http"),
        (*split_replies, "--split-replies"),
        (*terse, "--terse"),
        (*short_settings, "--short-settings"),
    ];
    let (_, flag) = flags.into_iter().find(|(given, _)| *given)?;
    Some(format!("{flag}: a p1 port only speaks, it cannot do that"))
}
