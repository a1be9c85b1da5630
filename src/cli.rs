//! The command line: what was asked for, and which exit code it ends with.
//!
//! Every command is a small function that reads its options, calls the module that does the work
//! and turns the result into words and an [`Exit`]. Results go to stdout, everything said about
//! them to stderr.

use std::ffi::OsString;
use std::io::{ErrorKind as ErrorKindOfIo, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use meter_protocols::brultech::Format;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::scalar::HostPort;
use crate::config::{self, Config, ConfigErrors, Loaded, Source};
use crate::decode;
use crate::demo;
use crate::gateway::Gateway;
use crate::health;
use crate::simulator::{self, Direction, Simulation};

/// The arguments of the program.
#[derive(Debug, Parser)]
#[command(
    name = "meterbridge",
    version,
    about = "Energy gateway: every meter in the fuse box on one MQTT broker"
)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: ConfigOptions,
}

/// What to do; `run` when nothing is said.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (the default)
    Run(ConfigOptions),
    /// Run the gateway with simulated meters, and say what to look at
    Demo(ConfigOptions),
    /// Simulate meters, against any gateway
    Simulate(SimulateOptions),
    /// Check the configuration and print every mistake
    Check(ConfigOptions),
    /// Print the configuration in force, each value with its origin
    Config(ConfigOptions),
    /// Decode raw bytes to one JSON object a line
    Decode(DecodeOptions),
    /// Ask the running gateway whether it is well
    Health(HealthOptions),
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
#[command(group = ArgGroup::new("direction").required(true).args(["connect", "listen"]))]
pub struct SimulateOptions {
    /// What to simulate
    pub kind: SimulatedKind,
    /// Dial the gateway here
    #[arg(long, value_name = "HOST:PORT")]
    pub connect: Option<HostPort>,
    /// Wait here for the gateway to dial
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// How many meters, each with a connection and a serial number of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub meters: u32,
    /// Time from packet to packet
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    pub interval: Duration,
    /// Start of the random numbers: the same seed gives the same meters
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The packet format of a GEM
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<PacketFormat>,
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
    /// SmartMeter
    #[value(hide = true)]
    Smartmeter,
    /// PowerMeter
    #[value(hide = true)]
    Powermeter,
    /// Fluksometer, second generation
    #[value(hide = true)]
    Flm02,
    /// Fluksometer, third generation
    #[value(hide = true)]
    Flm03,
    /// A meter's P1 port
    #[value(hide = true)]
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
}

/// What `meterbridge decode` knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DecodedProtocol {
    /// GEM, ECM-1240 and ECM-1220 packets, mixed
    Brultech,
    /// SmartMeter streams
    #[value(hide = true)]
    Smartmeter,
    /// P1 telegrams
    #[value(hide = true)]
    Dsmr,
    /// TMPO blocks
    #[value(hide = true)]
    Tmpo,
}

/// The options of `meterbridge health`.
#[derive(Clone, Debug, Args)]
struct HealthOptions {
    /// The URL to ask [default: /healthz at web.listen of the configuration]
    url: Option<String>,
    #[command(flatten)]
    config: ConfigOptions,
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Fine = 0,
    /// `health`: the gateway is not well.
    NotWell = 1,
    /// The arguments are wrong (EX_USAGE).
    Usage = 64,
    /// The input is wrong (EX_DATAERR).
    Data = 65,
    /// A port or a service that is needed is not to be had (EX_UNAVAILABLE).
    Unavailable = 69,
    /// The configuration is wrong (EX_CONFIG).
    Configuration = 78,
}

/// Does what the arguments ask for.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let exit = match Cli::try_parse_from(arguments) {
        Ok(cli) => dispatch(cli),
        Err(error) => {
            // A closed pipe is no reason for another message.
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Fine,
                _ => Exit::Usage,
            }
        }
    };
    ExitCode::from(exit as u8)
}

fn dispatch(cli: Cli) -> Exit {
    match cli.command.unwrap_or(Command::Run(cli.options)) {
        Command::Run(options) => with_config(&options, run),
        Command::Demo(options) => with_config(&options, demo),
        Command::Simulate(options) => simulate(&options),
        Command::Check(options) => check(&options),
        Command::Config(options) => with_config(&options, |loaded| show(&loaded)),
        Command::Decode(options) => decode(&options),
        Command::Health(options) => ask_health(&options),
    }
}

/// Loads the configuration; its mistakes go to stderr and end the program.
fn with_config(options: &ConfigOptions, then: impl FnOnce(Loaded) -> Exit) -> Exit {
    match load(options) {
        Ok(loaded) => then(loaded),
        Err(errors) => {
            complain(&errors.to_string());
            Exit::Configuration
        }
    }
}

fn load(options: &ConfigOptions) -> Result<Loaded, ConfigErrors> {
    config::load(&Source::of_process(options.config.clone(), options.set.clone()))
}

/// Here the mistakes are the result, so they go to stdout.
fn check(options: &ConfigOptions) -> Exit {
    let loaded = match load(options) {
        Ok(loaded) => loaded,
        Err(errors) => {
            say(&format!("{errors}\n"));
            return Exit::Configuration;
        }
    };
    let file = loaded.file().map_or("built-in defaults".into(), |file| file.display().to_string());
    let count = loaded.config.meters.len();
    say(&format!("{file}: fine ({count} meter{})\n", if count == 1 { "" } else { "s" }));
    Exit::Fine
}

fn show(loaded: &Loaded) -> Exit {
    say(&loaded.listing());
    Exit::Fine
}

/// Runs the gateway until it is told to stop.
fn run(loaded: Loaded) -> Exit {
    start_logging(&loaded.config);
    let config = loaded.config;
    serve(async |shutdown| Gateway::build(&config).await?.run(shutdown).await)
}

/// Runs the gateway with simulated meters.
fn demo(loaded: Loaded) -> Exit {
    start_logging(&loaded.config);
    serve(|shutdown| demo::run(loaded.config, shutdown, say))
}

fn simulate(options: &SimulateOptions) -> Exit {
    use SimulatedKind::{Ecm1220, Ecm1240, Gem};
    if !matches!(options.kind, Gem | Ecm1240 | Ecm1220) {
        complain(&format!(
            "{} meters cannot be simulated in this version: gem, ecm1240, ecm1220 can",
            word(options.kind)
        ));
        return Exit::Usage;
    }
    if let (Some(format), Ecm1240 | Ecm1220) = (options.format, options.kind) {
        complain(&format!(
            "--format {}: an {} has one format only, leave it out",
            word(format),
            word(options.kind)
        ));
        return Exit::Usage;
    }
    // Exactly one of both is there: clap sees to it.
    let direction = match (&options.connect, options.listen) {
        (Some(gateway), _) => Direction::Connect(gateway.to_string()),
        (None, Some(address)) => Direction::Listen(address),
        (None, None) => return Exit::Usage,
    };
    let simulation = Simulation {
        format: packet_format(options),
        meters: options.meters,
        interval: options.interval,
        seed: options.seed,
    };
    start_logging(&Config::default());
    serve(|stop| simulator::run(simulation, direction, stop))
}

fn decode(options: &DecodeOptions) -> Exit {
    if options.protocol != DecodedProtocol::Brultech {
        complain(&format!(
            "{} cannot be decoded in this version: brultech can",
            word(options.protocol)
        ));
        return Exit::Usage;
    }
    let (out, err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let outcome = match &options.file {
        None => decode::brultech(std::io::stdin().lock(), out, err),
        Some(path) => match std::fs::File::open(path) {
            Ok(file) => decode::brultech(file, out, err),
            Err(error) => {
                complain(&format!("{}: {error}", path.display()));
                return Exit::Data;
            }
        },
    };
    match outcome {
        Err(error) if error.kind() != ErrorKindOfIo::BrokenPipe => {
            complain(&format!("cannot decode: {error}"));
            Exit::Data
        }
        _ => Exit::Fine,
    }
}

fn ask_health(options: &HealthOptions) -> Exit {
    let ask = |url: Result<String, health::HealthError>| match url.and_then(|url| health::ask(&url))
    {
        Ok(answer) => {
            say(&format!("{answer}\n"));
            Exit::Fine
        }
        Err(error) => {
            complain(&error.to_string());
            Exit::NotWell
        }
    };
    match &options.url {
        Some(url) => ask(Ok(url.clone())),
        None => with_config(&options.config, |loaded| ask(health::url(&loaded.config))),
    }
}

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

/// Runs a service until it ends by itself or is told to stop by SIGTERM or Ctrl-C; the token it
/// gets is cancelled then, and it ends in its own order. A second signal ends the process at once.
pub fn serve<E, F>(service: impl FnOnce(CancellationToken) -> F) -> Exit
where
    E: std::error::Error,
    F: Future<Output = Result<(), E>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::Unavailable;
        }
    };
    let shutdown = CancellationToken::new();
    let result = runtime.block_on(async {
        let mut service = std::pin::pin!(service(shutdown.clone()));
        tokio::select! {
            result = &mut service => return result,
            () = told_to_stop() => shutdown.cancel(),
        }
        tokio::select! {
            result = &mut service => result,
            () = told_to_stop() => Ok(()),
        }
    });
    // What the service left behind must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => Exit::Fine,
        Err(error) => {
            complain(&chain(&error));
            Exit::Unavailable
        }
    }
}

/// Resolves with the next SIGTERM or Ctrl-C.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    // Without a handler the signal ends the process, which is what it asks for.
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Logs go to stderr, at `log.level` or as `RUST_LOG` says.
pub fn start_logging(config: &Config) {
    let level = config.log.level.as_str();
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => {
            EnvFilter::try_new(&directives).unwrap_or_else(|error| {
                complain(&format!("RUST_LOG=\"{directives}\": {error}; logging at {level}"));
                EnvFilter::new(level)
            })
        }
        _ => EnvFilter::new(level),
    };
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // Fails only where a logger is there already, as in tests; that one is as good.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .try_init();
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Writes a result to stdout. `println!` would panic when the reader has gone (`| head`).
fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes a line to stderr.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The word an option value is known by.
fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = config::duration::parse(text)?;
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
