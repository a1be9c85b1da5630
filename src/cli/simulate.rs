//! `meterbridge simulate`.

use std::time::Duration;

use meter_protocols::brultech::Format;

use super::{Exit, complain, say, serve, start_logging, word};
use super::{MannersOptions, PacketFormat, SimulateOptions, SimulatedKind};
use super::{fluksometer, port, smartmeter};
use crate::config::Config;
use crate::simulator::{Direction, Manners, Simulation, Simulator, SimulatorError};

pub(super) fn simulate(options: &SimulateOptions) -> Exit {
    if let Some(generation) = fluksometer::generation(options.kind) {
        return fluksometer::simulate(options, generation);
    }
    if let Some(kind) = smartmeter::kind(options.kind) {
        return smartmeter::simulate(options, kind);
    }
    if options.kind == SimulatedKind::P1 {
        return port::simulate(options);
    }
    if let Some(objection) = objection(options) {
        complain(&objection);
        return Exit::Usage;
    }
    // Exactly one of the three is there: clap sees to it.
    let direction = match (&options.connect, options.listen) {
        (Some(gateway), _) => Direction::Connect(gateway.to_string()),
        (None, Some(address)) => Direction::Listen(address),
        (None, None) => Direction::Serial(options.link.clone()),
    };
    let simulation = Simulation {
        format: packet_format(options),
        meters: options.meters,
        interval: options.interval.unwrap_or(Duration::from_secs(5)),
        seed: options.seed,
    };
    let manners = manners(&options.manners);
    start_logging(&Config::default());
    serve(async |stop| {
        let simulator = Simulator::build(&simulation, direction, manners).await?;
        if let Some(path) = simulator.path() {
            say(&format!("{}\n", path.display()));
        }
        simulator.run(stop).await;
        Ok::<(), SimulatorError>(())
    })
}

/// What cannot be simulated, in words.
fn objection(options: &SimulateOptions) -> Option<String> {
    let kind = word(options.kind);
    if let Some(flag) = options.fluksometer.given() {
        return Some(format!("{flag}: only a Fluksometer has that, a {kind} has not"));
    }
    if let Some(flag) = options.port.given() {
        return Some(format!("{flag}: only a p1 port has that, a {kind} has not"));
    }
    if let Some(objection) = options.smartmeter.refused(options.kind) {
        return Some(objection);
    }
    if options.kind == SimulatedKind::Gem {
        return None;
    }
    if let Some(format) = options.format {
        let format = word(format);
        return Some(format!("--format {format}: an {kind} has one format only, leave it out"));
    }
    let manners = &options.manners;
    let of_a_gem = [
        (manners.http, "--http"),
        (manners.keep_alive.is_some(), "--keep-alive"),
        (manners.terse, "--terse"),
        (manners.short_settings, "--short-settings"),
    ];
    let (_, flag) = of_a_gem.into_iter().find(|(given, _)| *given)?;
    Some(format!("{flag}: only a gem does that, an {kind} cannot"))
}

fn manners(options: &MannersOptions) -> Manners {
    Manners {
        one_packet: options.one_packet,
        linger: None,
        slow: options.slow.unwrap_or_default(),
        late: options.late.map(|delay| (EVERY_TENTH, delay)),
        silent: options.silent,
        swallow: options.swallow,
        chunks: options.chunks.map(|bytes| bytes as usize),
        pause: options.pause.unwrap_or(Duration::from_millis(100)),
        keep_alive: options.keep_alive,
        http: options.http,
        noise: options.noise,
        split_replies: options.split_replies,
        terse: options.terse,
        short_settings: options.short_settings,
    }
}

/// Of how many answers one comes late.
const EVERY_TENTH: u32 = 10;

/// The format that a simulated meter sends.
fn packet_format(options: &SimulateOptions) -> Format {
    match (options.kind, options.format) {
        (SimulatedKind::Ecm1240, _) => Format::Ecm1240,
        (SimulatedKind::Ecm1220, _) => Format::Ecm1220,
        (_, Some(PacketFormat::Bin48Net)) => Format::Bin48Net,
        (_, Some(PacketFormat::Bin48Abs)) => Format::Bin48Abs,
        (_, Some(PacketFormat::Bin32Net)) => Format::Bin32Net,
        (_, Some(PacketFormat::Bin32Abs)) => Format::Bin32Abs,
        (_, Some(PacketFormat::Bin48NetTime) | None) => Format::Bin48NetTime,
    }
}
