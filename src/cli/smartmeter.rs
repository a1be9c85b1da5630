//! `meterbridge simulate smartmeter` and `powermeter`.

use std::time::Duration;

use clap::Args;

use super::{Exit, MannersOptions, SimulateOptions, SimulatedKind, complain, say, serve};
use super::{start_logging, word};
use crate::config::scalar::HostPort;
use crate::config::{Config, duration};
use crate::simulator::{
    SimulatorError, SmartKind, SmartManners, SmartSimulation, SmartSimulator, SmartWays,
};

/// What only SmartMeters and PowerMeters have.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "SmartMeters and PowerMeters only")]
pub struct SmartOptions {
    /// Publish to this broker; alone or beside --listen, --connect or --serial
    #[arg(long, value_name = "HOST:PORT")]
    pub mqtt: Option<HostPort>,
    /// Voltages, currents and angles never change
    #[arg(long)]
    pub steady: bool,
    /// Have somebody else sample all the time
    #[arg(long)]
    pub busy: bool,
    /// Collect what is said within such a time, and send it in one piece
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub merge: Option<Duration>,
    /// Lose one of so many packets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub loss: Option<u32>,
    /// Cut one of so many packets in its middle
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub short_writes: Option<u32>,
    /// Over UDP, send some packets twice and some behind the next
    #[arg(long)]
    pub shuffle: bool,
    /// Once a minute, have the network stand still for so long
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub stall: Option<Duration>,
    /// How long a restart takes [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub boot: Option<Duration>,
    /// A SmartMeter without clock chip: its raw stream ends after a second
    #[arg(long)]
    pub no_rtc: bool,
    /// Its clock was never set
    #[arg(long)]
    pub no_time: bool,
    /// A PowerMeter with firmware 1.3: energy in kWh
    #[arg(long)]
    pub old_firmware: bool,
    /// Replies as the maker's README has them
    #[arg(long)]
    pub wrong_keys: bool,
    /// A SmartMeter that counts 455.4 Wh too many where a line gives back
    #[arg(long)]
    pub export_trap: bool,
    /// A SmartMeter that tells its lines over MQTT as well
    #[arg(long)]
    pub details: bool,
}

impl SmartOptions {
    /// The first of them that is given, as for a meter that has none.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags = [
            (self.mqtt.is_some(), "--mqtt"),
            (self.steady, "--steady"),
            (self.busy, "--busy"),
            (self.merge.is_some(), "--merge"),
            (self.loss.is_some(), "--loss"),
            (self.short_writes.is_some(), "--short-writes"),
            (self.shuffle, "--shuffle"),
            (self.stall.is_some(), "--stall"),
            (self.boot.is_some(), "--boot"),
            (self.no_rtc, "--no-rtc"),
            (self.no_time, "--no-time"),
            (self.old_firmware, "--old-firmware"),
            (self.wrong_keys, "--wrong-keys"),
            (self.export_trap, "--export-trap"),
            (self.details, "--details"),
        ];
        flags.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }

    /// The objection to them where the meter is of another make.
    pub(super) fn refused(&self, kind: SimulatedKind) -> Option<String> {
        let flag = self.given()?;
        Some(format!("{flag}: only a SmartMeter or PowerMeter has that, a {} has not", word(kind)))
    }
}

/// Simulates SmartMeters or PowerMeters.
pub(super) fn simulate(options: &SimulateOptions, kind: SmartKind) -> Exit {
    if let Some(objection) = objection(options, kind) {
        complain(&objection);
        return Exit::Usage;
    }
    let simulation = SmartSimulation {
        kind,
        meters: options.meters,
        interval: options.interval.unwrap_or(Duration::from_secs(5)),
        seed: options.seed,
        steady: options.smartmeter.steady,
    };
    let ways = SmartWays {
        listen: options.listen,
        connect: options.connect.clone(),
        mqtt: options.smartmeter.mqtt.clone(),
        login: None,
        serial: options.serial.then(|| options.link.clone()),
    };
    let manners = manners(options);
    start_logging(&Config::default());
    serve(async |stop| {
        let simulator = SmartSimulator::build(&simulation, ways, manners).await?;
        for address in simulator.addresses() {
            say(&format!("{address}\n"));
        }
        if let Some(path) = simulator.path() {
            say(&format!("{}\n", path.display()));
        }
        simulator.run(stop).await;
        Ok::<(), SimulatorError>(())
    })
}

fn manners(options: &SimulateOptions) -> SmartManners {
    let (own, line, usual) = (&options.smartmeter, &options.manners, SmartManners::default());
    SmartManners {
        slow: line.slow.unwrap_or_default(),
        silent: line.silent,
        chunks: line.chunks.map(|bytes| bytes as usize),
        pause: line.pause.unwrap_or(usual.pause),
        merge: own.merge.unwrap_or_default(),
        noise: line.noise,
        loss: own.loss,
        short_writes: own.short_writes,
        shuffle: own.shuffle,
        restarts: options.fluksometer.restarts,
        boot: own.boot.unwrap_or(usual.boot),
        busy: own.busy,
        no_rtc: own.no_rtc,
        no_time: own.no_time,
        old_firmware: own.old_firmware,
        wrong_keys: own.wrong_keys,
        export_trap: own.export_trap,
        details: own.details,
        stalls: own.stall.map(|length| (MINUTE.saturating_sub(length), length)),
        ..usual
    }
}

/// What such a meter cannot do, in words.
fn objection(options: &SimulateOptions, kind: SmartKind) -> Option<String> {
    let own = &options.smartmeter;
    let name = word(options.kind);
    if options.serial && options.meters > 1 {
        return Some(format!("--meters {}: a serial line has one {name}", options.meters));
    }
    let ports = options.listen.filter(|at| at.port() != 0);
    if ports.is_some_and(|at| u32::from(at.port()) + 2 * options.meters > 65_536) {
        return Some(format!(
            "--meters {}: there are not as many ports behind --listen, each meter has two",
            options.meters
        ));
    }
    let smart = kind == SmartKind::SmartMeter;
    let of_the_other = [
        (own.no_rtc && !smart, "--no-rtc"),
        (own.export_trap && !smart, "--export-trap"),
        (own.details && !smart, "--details"),
        (own.old_firmware && smart, "--old-firmware"),
    ];
    if let Some((_, flag)) = of_the_other.into_iter().find(|(given, _)| *given) {
        return Some(format!("{flag}: a {name} does not do that, the other kind does"));
    }
    let MannersOptions { one_packet, late, swallow, keep_alive, http, .. } = &options.manners;
    let MannersOptions { split_replies, terse, short_settings, .. } = &options.manners;
    let others = &options.fluksometer;
    let of_others = [
        (options.format.is_some(), "--format"),
        (*one_packet, "--one-packet"),
        (late.is_some(), "--late"),
        (*swallow, "--swallow"),
        (keep_alive.is_some(), "--keep-alive"),
        (*http, "--http"),
        (*split_replies, "--split-replies"),
        (*terse, "--terse"),
        (*short_settings, "--short-settings"),
        (others.rest.is_some(), "--rest"),
        (others.past.is_some(), "--past"),
        (others.user.is_some(), "--user"),
        (others.clock.is_some(), "--clock"),
        (others.repeats, "--repeats"),
        (others.broken_blocks, "--broken-blocks"),
        (others.silence.is_some(), "--silence"),
    ];
    let flag = of_others.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag);
    flag.or(options.port.given()).map(|flag| format!("{flag}: a {name} has not got that"))
}

/// The kind, if it is one of the two.
pub(super) fn kind(kind: SimulatedKind) -> Option<SmartKind> {
    match kind {
        SimulatedKind::Smartmeter => Some(SmartKind::SmartMeter),
        SimulatedKind::Powermeter => Some(SmartKind::PowerMeter),
        _ => None,
    }
}

const MINUTE: Duration = Duration::from_secs(60);
