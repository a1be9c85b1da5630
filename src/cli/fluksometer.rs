//! `meterbridge simulate flm02` and `flm03`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::{Exit, MannersOptions, SimulateOptions, SimulatedKind, complain, say, serve};
use super::{start_logging, word};
use crate::broker::Login;
use crate::config::secret::Secret;
use crate::config::{Config, duration};
use crate::simulator::{
    FluksoManners, FluksoSimulation, FluksoSimulator, FluksoWay, Generation, SimulatorError,
};

/// What only Fluksometers have.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Fluksometers only")]
pub struct FluksometerOptions {
    /// Also serve their local API here
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub rest: Option<SocketAddr>,
    /// How much history they have at least [default: 2d]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub past: Option<Duration>,
    /// With --connect: log in to that broker; the password is taken from the environment variable
    /// METERBRIDGE_PASSWORD
    #[arg(long, value_name = "NAME", requires = "connect")]
    pub user: Option<String>,
    /// Switch them off and on again so often; SmartMeters and PowerMeters too
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub restarts: Option<Duration>,
    /// Have their clocks so many seconds ahead, or behind: --clock=-3600
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true,
        value_parser = clap::value_parser!(i64).range(-1_000_000_000..=1_000_000_000))]
    pub clock: Option<i64>,
    /// Every five seconds send readings twice, and older ones once more
    #[arg(long)]
    pub repeats: bool,
    /// Make one of three history blocks malformed
    #[arg(long)]
    pub broken_blocks: bool,
    /// Lose all readings for so long in each minute
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub silence: Option<Duration>,
}

impl FluksometerOptions {
    /// The first of them that is given, as for a meter that has none.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags = [
            (self.rest.is_some(), "--rest"),
            (self.past.is_some(), "--past"),
            (self.user.is_some(), "--user"),
            (self.restarts.is_some(), "--restarts"),
            (self.clock.is_some(), "--clock"),
            (self.repeats, "--repeats"),
            (self.broken_blocks, "--broken-blocks"),
            (self.silence.is_some(), "--silence"),
        ];
        flags.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }
}

/// Simulates Fluksometers of a generation.
pub(super) fn simulate(options: &SimulateOptions, generation: Generation) -> Exit {
    if let Some(objection) = objection(options) {
        complain(&objection);
        return Exit::Usage;
    }
    let own = &options.fluksometer;
    let way = match (&options.connect, options.listen) {
        (Some(to), _) => FluksoWay::Bridge { to: to.clone(), login: login(own.user.as_deref()) },
        (None, Some(address)) => FluksoWay::Own(address),
        (None, None) => {
            complain("--serial: a Fluksometer has no serial line, use --listen or --connect");
            return Exit::Usage;
        }
    };
    let simulation = FluksoSimulation {
        generation,
        meters: options.meters,
        interval: options.interval.unwrap_or(Duration::from_secs(1)),
        seed: options.seed,
        past: own.past.unwrap_or(PAST),
    };
    let manners = FluksoManners {
        restarts: own.restarts,
        clock: own.clock.unwrap_or_default(),
        repeats: own.repeats,
        broken_blocks: own.broken_blocks,
        silence: own.silence.unwrap_or_default(),
        silent: options.manners.silent,
    };
    start_logging(&Config::default());
    serve(async |stop| {
        let simulator = FluksoSimulator::build(&simulation, way, own.rest, manners).await?;
        if let Some(address) = simulator.address() {
            say(&format!("mqtt://{address}\n"));
        }
        if let Some(address) = simulator.rest_address() {
            say(&format!("http://{address}\n"));
        }
        simulator.run(stop).await;
        Ok::<(), SimulatorError>(())
    })
}

/// What a Fluksometer cannot do, in words.
fn objection(options: &SimulateOptions) -> Option<String> {
    let kind = word(options.kind);
    if let Some(flag) = options.port.given() {
        return Some(format!("{flag}: only a p1 port has that, a {kind} has not"));
    }
    if let Some(objection) = options.smartmeter.refused(options.kind) {
        return Some(objection);
    }
    let interval = options.interval.unwrap_or(Duration::from_secs(1));
    if interval.subsec_nanos() != 0 || interval.is_zero() {
        return Some(format!(
            "--interval {interval:?}: an {kind} knows whole seconds, at least 1s"
        ));
    }
    if options.fluksometer.restarts.is_some_and(|every| every < Duration::from_secs(1)) {
        return Some("--restarts: write at least 1s".to_owned());
    }
    let MannersOptions { one_packet, slow, late, swallow, chunks, keep_alive, .. } =
        &options.manners;
    let MannersOptions { http, noise, split_replies, terse, short_settings, .. } = &options.manners;
    let of_brultech = [
        (options.format.is_some(), "--format"),
        (*one_packet, "--one-packet"),
        (slow.is_some(), "--slow"),
        (late.is_some(), "--late"),
        (*swallow, "--swallow"),
        (chunks.is_some(), "--chunks"),
        (keep_alive.is_some(), "--keep-alive"),
        (*http, "--http"),
        (*noise, "--noise"),
        (*split_replies, "--split-replies"),
        (*terse, "--terse"),
        (*short_settings, "--short-settings"),
    ];
    let (_, flag) = of_brultech.into_iter().find(|(given, _)| *given)?;
    Some(format!("{flag}: only Brultech meters do that, an {kind} cannot"))
}

fn login(user: Option<&str>) -> Option<Login> {
    let user = user?.to_owned();
    let password = Secret::new(std::env::var("METERBRIDGE_PASSWORD").unwrap_or_default());
    Some(Login { user, password })
}

/// The generation of a kind, if it is a Fluksometer.
pub(super) fn generation(kind: SimulatedKind) -> Option<Generation> {
    match kind {
        SimulatedKind::Flm02 => Some(Generation::Flm02),
        SimulatedKind::Flm03 => Some(Generation::Flm03),
        _ => None,
    }
}

/// The history of a meter for which nothing is said.
const PAST: Duration = Duration::from_secs(2 * 86_400);
