//! The command line: what was asked for, and which exit code it ends with.
//!
//! Every command is a small function that reads its options, calls the module that does the work
//! and turns the result into words and an [`Exit`]. Results go to stdout, everything said about
//! them to stderr.

mod arguments;
mod ask;
mod fluksometer;
mod port;
mod service;
mod simulate;
mod smartmeter;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};

use self::arguments::{Cli, Command, RunOptions};
use crate::bridge::Reload;
use crate::config::watch::Watched;
use crate::config::{self, ConfigErrors, Loaded, Source};
use meter_protocols::dsmr::{BadKey, Key};
use meter_protocols::smartmeter::{Kind, Layout};

use crate::decode::{self, SmartmeterOptions};
use crate::demo;
use crate::doctor;
use crate::gateway;
use crate::passwd::{self, PasswdError};
use crate::waiting;

pub use self::fluksometer::FluksometerOptions;
pub use self::port::{PortOptions, PortStandard};
pub use self::service::{serve, start_logging};
pub use self::smartmeter::SmartOptions;

pub use self::arguments::{
    ConfigOptions, DecodeOptions, DecodedProtocol, MannersOptions, MeterKind, PacketFormat,
    SimulateOptions, SimulatedKind,
};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Fine = 0,
    /// `health`: the gateway is not well. `command`: it was not done.
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
        Command::Run(options) => start(&options),
        Command::Demo(options) => with_config(&options, demo),
        Command::Simulate(options) => simulate::simulate(&options),
        Command::Check(options) => check(&options),
        Command::Config(options) => with_config(&options, |loaded| show(&loaded)),
        Command::Decode(options) => decode(&options),
        Command::Passwd(options) => passwd(&options.name),
        Command::Send(options) => ask::send(&options),
        Command::Doctor(options) => examine(&options),
        Command::Health(options) => ask::health(&options),
    }
}

/// Loads the configuration; its mistakes go to stderr and end the program.
fn with_config(options: &ConfigOptions, then: impl FnOnce(Loaded) -> Exit) -> Exit {
    match load(options) {
        Ok(loaded) => then(loaded),
        Err(errors) => refuse(&errors),
    }
}

fn refuse(errors: &ConfigErrors) -> Exit {
    complain(&errors.to_string());
    Exit::Configuration
}

fn load(options: &ConfigOptions) -> Result<Loaded, ConfigErrors> {
    config::load(&source(options))
}

fn source(options: &ConfigOptions) -> Source {
    Source::of_process(options.config.clone(), options.set.clone())
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
    for warning in loaded.warnings() {
        say(&format!("{warning}\n"));
    }
    let count = loaded.config.meters.len();
    for note in loaded.notes() {
        say(&format!("{note}\n"));
    }
    say(&format!("{file}: fine ({count} meter{})\n", if count == 1 { "" } else { "s" }));
    Exit::Fine
}

/// The findings are the result, so they go to stdout.
fn examine(options: &ConfigOptions) -> Exit {
    let loaded = match load(options) {
        Ok(loaded) => loaded,
        Err(errors) => {
            say(&doctor::of_mistakes(&errors).to_string());
            return Exit::Configuration;
        }
    };
    let report = doctor::examine(&loaded);
    say(&report.to_string());
    if report.has_problems() { Exit::Unavailable } else { Exit::Fine }
}

fn show(loaded: &Loaded) -> Exit {
    say(&loaded.listing());
    Exit::Fine
}

/// Runs the gateway, at once or when its configuration has been mended.
fn start(options: &RunOptions) -> Exit {
    let errors = match load(&options.config) {
        Ok(loaded) => return run(loaded, source(&options.config)),
        Err(errors) => errors,
    };
    let exit = refuse(&errors);
    if !options.serves_mistakes() {
        return exit;
    }
    let mut mended = None;
    serve(async |shutdown| {
        let source = source(&options.config);
        mended = waiting::until_mended(source, errors, shutdown, complain).await;
        Ok::<(), std::convert::Infallible>(())
    });
    mended.map_or(exit, |loaded| run(loaded, source(&options.config)))
}

/// Runs the gateway until it is told to stop.
fn run(loaded: Loaded, source: Source) -> Exit {
    start_logging(&loaded.config);
    for note in loaded.notes() {
        tracing::warn!("{note}");
    }
    let watched = loaded.file().map(Watched::new);
    let reload = Reload::new(move || match config::load(&source) {
        Ok(loaded) => Ok(loaded.config),
        Err(errors) => Err(errors.to_string()),
    });
    serve(|shutdown| gateway::keep_running(loaded.config, reload, watched, shutdown))
}

/// Runs the gateway with simulated meters.
fn demo(loaded: Loaded) -> Exit {
    start_logging(&loaded.config);
    serve(|shutdown| demo::run(loaded.config, shutdown, say))
}

fn decode(options: &DecodeOptions) -> Exit {
    let input: Box<dyn io::Read> = match &options.file {
        None => Box::new(io::stdin().lock()),
        Some(path) => match std::fs::File::open(path) {
            Ok(file) => Box::new(file),
            Err(error) => {
                complain(&format!("{}: {error}", path.display()));
                return Exit::Data;
            }
        },
    };
    if options.key.is_some() && options.protocol != DecodedProtocol::Dsmr {
        complain("--key: only the telegrams of dsmr are encrypted");
        return Exit::Usage;
    }
    let keys: Vec<Key> = match options.key.iter().map(|key| key.parse()).collect() {
        Ok(keys) => keys,
        Err(error @ BadKey) => {
            complain(&format!("--key: {error}"));
            return Exit::Usage;
        }
    };
    let smartmeter = match smartmeter_options(options) {
        Ok(options) => options,
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    let (out, err) = (io::stdout().lock(), io::stderr().lock());
    let outcome = match options.protocol {
        DecodedProtocol::Brultech => decode::brultech(input, out, err),
        DecodedProtocol::Dsmr => decode::dsmr(input, keys, out, err),
        DecodedProtocol::Tmpo => decode::tmpo(input, options.file.as_deref(), out, err),
        DecodedProtocol::Smartmeter => {
            decode::smartmeter(input, options.file.as_deref(), &smartmeter, out, err)
        }
    };
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("cannot decode: {error}"));
            Exit::Data
        }
        _ => Exit::Fine,
    }
}

/// What was said of a SmartMeter's samples.
fn smartmeter_options(options: &DecodeOptions) -> Result<SmartmeterOptions, String> {
    let DecodeOptions { protocol, measures, rate, kind, .. } = options;
    let is_said = measures.is_some() || rate.is_some() || kind.is_some();
    if is_said && *protocol != DecodedProtocol::Smartmeter {
        return Err("--measures, --rate, --kind: only for the samples of smartmeter".to_owned());
    }
    let kind = kind.map(|kind| match kind {
        MeterKind::Smartmeter => Kind::SmartMeter,
        MeterKind::Powermeter => Kind::PowerMeter,
    });
    let layout = |text: &String| {
        let known = "v,i  v,i,v,i,v,i  v,i,p,q  p,q  p,p,p,q,q,q  v,i_RMS  v,v,v,i,i,i_RMS";
        Layout::of_measures(kind, text)
            .ok_or_else(|| format!("--measures: {text:?} is none of {known}"))
    };
    let layout = measures.as_ref().map(layout).transpose()?;
    match *rate {
        Some(rate) if !(rate > 0.0 && rate.is_finite()) => {
            Err(format!("--rate: {rate} is no number of samples a second"))
        }
        rate_hz => Ok(SmartmeterOptions { layout, rate_hz, kind }),
    }
}

fn passwd(name: &str) -> Exit {
    let made = passwd::check_name(name)
        .and_then(|()| passwd::ask(name))
        .and_then(|password| passwd::entry(name, &password));
    match made {
        Ok(entry) => {
            say(&format!("{entry}\n"));
            Exit::Fine
        }
        Err(error) => {
            complain(&error.to_string());
            match error {
                PasswdError::Name(..) => Exit::Usage,
                _ => Exit::Data,
            }
        }
    }
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
