//! The configuration: what the gateway is to do, read once at the start.
//!
//! [`load`] puts built-in defaults, file, environment and `--set` on top of each other, reads the
//! result into [`Config`] and checks it whole; nothing else starts before that. Every mistake is
//! told at once, with its place and what would be right. Behind this module there are only typed
//! values that fit together: no later code looks at a text of the file again.
//!
//! | module | has |
//! |---|---|
//! | [`broker`], [`endpoint`], [`meter`], [`link`], [`journal`], [`history`] | the types of the sections |
//! | [`scalar`], [`duration`], [`size`], [`secret`] | single values |
//! | `document`, `layers`, `overlay` | where values come from |
//! | `decode`, `check`, `unsupported`, `mistake` | what can be wrong with them |
//! | `listing` | `meterbridge config` |

pub mod broker;
pub mod duration;
pub mod endpoint;
pub mod history;
pub mod journal;
pub mod link;
pub mod meter;
pub mod scalar;
pub mod secret;
pub mod size;
pub mod stream;
pub mod watch;

mod check;
mod decode;
mod document;
mod layers;
mod listing;
mod mistake;
mod overlay;
mod path;
mod unsupported;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::broker::Broker;
use self::history::History;
use self::journal::Journal;
use self::layers::Layers;
use self::meter::Meter;
use self::mistake::Mistakes;
use self::path::KeyPath;
use self::scalar::Addresses;

pub(crate) use self::check::meter_faults::{channel_faults, name_fault, serial_fault};
pub use self::layers::Origin;
pub use self::mistake::{ConfigErrors, Mistake};
pub use self::unsupported::NOTICE as NOT_SUPPORTED_YET;

/// The whole configuration. Its `Default` is what an empty file gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where everything is kept that has to survive a restart.
    pub data_dir: PathBuf,
    /// What is logged, and how.
    pub log: Log,
    /// The MQTT broker.
    pub broker: Broker,
    /// The web server: UI, API, metrics.
    pub web: Web,
    /// The meters, in the order of the file.
    pub meters: Vec<Meter>,
    /// What waits on disk for histories and outputs.
    pub journal: Journal,
    /// Every sensor's readings, for good.
    pub history: History,
    /// Announcement to Home Assistant.
    pub homeassistant: HomeAssistant,
    /// Whether meters are looked for on the local network, and the gateway announced there.
    pub mdns: Mdns,
    /// Outputs.
    pub sinks: Vec<Sink>,
}

/// See [`Config::log`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least severe that is still logged.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

/// See [`Log::level`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What will fail if nobody looks.
    Warn,
    /// What happens.
    #[default]
    Info,
    /// How it happens.
    Debug,
    /// Every step.
    Trace,
}

/// See [`Log::format`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// See [`Config::web`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// Whether there is a web server at all.
    pub enabled: bool,
    /// Where it listens.
    pub listen: Addresses,
    /// The path it is found under behind a proxy; starts with `/`.
    pub base_path: String,
}

/// Whether MQTT clients may come through the web port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocketMqtt {
    /// They may.
    Open,
    /// No web server, no broker inside, or `broker.websocket: false`.
    Off,
    /// Asked for by nobody but the default, the web port open to other machines, and no word on
    /// who may use the broker: they may not.
    Unguarded,
}

/// Who may use the web port for more than looking at the gateway's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebAccess {
    /// Everybody, as far as `broker.acl` goes.
    Open,
    /// Whoever logs in.
    Login,
    /// Nobody: other machines can reach the port, and nobody said who may.
    Unguarded,
}

/// See [`Config::homeassistant`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HomeAssistant {
    /// How meters are announced.
    pub discovery: Discovery,
    /// The topic Home Assistant looks under.
    pub prefix: String,
}

/// See [`HomeAssistant::discovery`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Discovery {
    /// Not at all.
    None,
    /// One message a device.
    #[default]
    Device,
    /// One message a sensor, for older versions.
    Component,
}

/// See [`Config::mdns`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mdns {
    /// Where other machines can reach the broker or the web port.
    #[default]
    Auto,
    /// On loopback as well.
    Always,
    /// Not at all.
    Never,
}

/// One entry of [`Config::sinks`]: its kind; the other keys belong to the sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sink {
    /// Which sink it is.
    pub kind: String,
}

/// What a configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file; `None`: the first of `./config.yaml` and `/config/config.yaml` that is there.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not start with `METERBRIDGE__` are passed over.
    pub env: Vec<(String, String)>,
    /// `a.b=value`, in the order of the command line.
    pub set: Vec<String>,
    /// Leave the files that values name (certificates) unread: for commands that only want a
    /// value, and may run as somebody who must not read them.
    pub without_files: bool,
}

/// A configuration without mistakes.
pub struct Loaded {
    /// The values.
    pub config: Config,
    layers: Layers,
    warnings: Vec<String>,
}

impl Config {
    /// Whether MQTT clients may come through the web port. That port is often opened for the sake
    /// of its pages, which must not open the broker as well.
    pub fn mqtt_over_websocket(&self) -> WebSocketMqtt {
        let broker = &self.broker;
        let guarded = broker.allow_anonymous.is_some()
            || !broker.users.is_empty()
            || broker.password_file.is_some();
        if !broker.websocket || !self.web.enabled || broker.mode == broker::Mode::External {
            WebSocketMqtt::Off
        } else if guarded || self.web.listen.on_loopback() {
            WebSocketMqtt::Open
        } else {
            WebSocketMqtt::Unguarded
        }
    }

    /// Who may send commands through the web port, also where the broker is elsewhere.
    pub fn web_access(&self) -> WebAccess {
        let broker = &self.broker;
        let has_users = !broker.users.is_empty() || broker.password_file.is_some();
        match broker.allow_anonymous {
            Some(true) => WebAccess::Open,
            Some(false) => WebAccess::Login,
            None if has_users => WebAccess::Login,
            None if self.web.listen.on_loopback() => WebAccess::Open,
            None => WebAccess::Unguarded,
        }
    }

    /// Whether MQTT clients may come without a login: as configured, else while every way to the
    /// broker is out of reach for other machines.
    pub fn anonymous_allowed(&self) -> bool {
        let by_web = self.mqtt_over_websocket() == WebSocketMqtt::Open
            && self.broker.allow_anonymous.is_none()
            && !self.web.listen.on_loopback();
        self.broker.anonymous_allowed() && !by_web
    }
}

impl Source {
    /// The environment of this process, and what the command line said.
    pub fn of_process(file: Option<PathBuf>, set: Vec<String>) -> Self {
        // Not `std::env::vars`, which panics at a value that is not UTF-8.
        let env = std::env::vars_os()
            .map(|(name, value)| {
                (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
            })
            .collect();
        Self { file, env, set, without_files: false }
    }
}

impl Loaded {
    /// The file that was read; `None` if there was none.
    pub fn file(&self) -> Option<&Path> {
        self.layers.file.as_deref()
    }

    /// Where the value of a key such as `broker.listen` or `meters.0.name` came from.
    pub fn origin(&self, key: &str) -> Origin {
        KeyPath::parse(key).map_or(Origin::Default, |path| self.layers.origin(&path))
    }

    /// What works and should be known, such as a certificate that expires soon; a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is given and has no effect, a line each, in the form of the mistakes.
    pub fn notes(&self) -> Vec<String> {
        let notes = check::external::without_effect(&self.config, &self.layers);
        notes.iter().map(ToString::to_string).collect()
    }

    /// Each value in force with its origin, a line each, secrets masked.
    pub fn listing(&self) -> String {
        listing::listing(&self.config, &self.layers)
    }
}

/// Reads and checks the configuration.
///
/// # Errors
/// Every mistake there is, each with file and line (or variable, or flag), key, and what would be
/// right.
pub fn load(source: &Source) -> Result<Loaded, ConfigErrors> {
    let mut mistakes = Mistakes::default();
    let mut layers = Layers::empty();
    if let Some(file) = source.file.clone().or_else(default_file) {
        layers.add_file(&file, &mut mistakes);
    }
    layers.add_environment(&source.env, &mut mistakes);
    layers.add_flags(&source.set, &mut mistakes);
    let (config, removed) = decode::decode(&layers, &mut mistakes);
    if !mistakes.unreadable() {
        mistakes.begin_checks();
        check::check(&config, &layers, &removed, source.without_files, &mut mistakes);
    }
    let warnings = mistakes.into_result(&config.web)?;
    Ok(Loaded { config, layers, warnings })
}

fn default_file() -> Option<PathBuf> {
    // A broken link is to be told, not passed over.
    let there = |path: &Path| path.symlink_metadata().is_ok();
    ["config.yaml", "/config/config.yaml"].map(PathBuf::from).into_iter().find(|path| there(path))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "./data".into(),
            log: Log::default(),
            broker: Broker::default(),
            web: Web::default(),
            meters: Vec::new(),
            journal: Journal::default(),
            mdns: Mdns::default(),
            history: History::default(),
            homeassistant: HomeAssistant::default(),
            sinks: Vec::new(),
        }
    }
}

impl Default for Web {
    fn default() -> Self {
        let listen = Addresses(vec![([127, 0, 0, 1], 8080).into()]);
        Self { enabled: true, listen, base_path: "/".to_owned() }
    }
}

impl Default for HomeAssistant {
    fn default() -> Self {
        Self { discovery: Discovery::default(), prefix: "homeassistant".to_owned() }
    }
}

impl Level {
    /// The word of the file, which tracing's filters know as well.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
