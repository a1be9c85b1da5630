//! The gateway's own warnings and errors, for those who look elsewhere than at stderr: the topic
//! `meterbridge/bridge/log` and the status page.
//!
//! Whoever listens gets a bounded queue; what it does not take in time is dropped. No line holds a
//! secret, because none that is logged does.

mod allowance;

use std::cell::Cell;
use std::fmt::{self, Write};
use std::sync::{Arc, LazyLock};

use serde_json::json;
use tokio::sync::broadcast;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::model::Timestamp;

pub(crate) use self::allowance::{Allowance, shortened};

/// A warning or an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// `error` or `warning`.
    pub level: &'static str,
    /// What the log says, with its values, in at most [`LONGEST`] bytes.
    pub message: Arc<str>,
    /// It may have come of publishing something, so publishing it could make another.
    pub of_publishing: bool,
}

impl Line {
    /// `{"level","message","ts"}`
    pub fn to_json(&self) -> serde_json::Value {
        json!({"level": self.level, "message": &*self.message, "ts": self.at.seconds()})
    }
}

/// Hears every line from here on. One process has one log, so this is the same for all gateways
/// in it.
pub fn subscribe() -> broadcast::Receiver<Line> {
    LINES.subscribe()
}

/// What hands the lines on; belongs into the subscriber of the process.
pub fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Tap.with_filter(LevelFilter::WARN)
}

/// Does something in the course of publishing: lines that it logs are not published.
pub fn while_publishing<T>(publish: impl FnOnce() -> T) -> T {
    let before = PUBLISHING.replace(true);
    let done = publish();
    PUBLISHING.set(before);
    done
}

/// Bytes of a message that are kept.
pub const LONGEST: usize = 1000;
/// Lines that may wait for a listener.
const WAITING: usize = 256;
/// The program's own lines: what libraries say is for the log file.
const OWN: &str = "meterbridge";
/// Where lines are about messages on their way to clients, in whichever task.
const DELIVERING: [&str; 5] = [
    "meterbridge::broker::external",
    "meterbridge::broker::link",
    "meterbridge::broker::router",
    "meterbridge::broker::session",
    "meterbridge::broker::connection",
];

static LINES: LazyLock<broadcast::Sender<Line>> = LazyLock::new(|| broadcast::channel(WAITING).0);

thread_local! {
    static PUBLISHING: Cell<bool> = const { Cell::new(false) };
}

struct Tap;

impl<S: Subscriber> Layer<S> for Tap {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let target = event.metadata().target();
        if !target.starts_with(OWN) || LINES.receiver_count() == 0 {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let level = if *event.metadata().level() == Level::ERROR { "error" } else { "warning" };
        let line = Line {
            at: Timestamp::now(),
            level,
            message: text.into_line().into(),
            of_publishing: PUBLISHING.get()
                || DELIVERING.iter().any(|module| target.starts_with(module)),
        };
        // Nobody may listen any more.
        let _ = LINES.send(line);
    }
}

/// The message, and behind it the other values as `name=value`.
#[derive(Debug, Default)]
struct Text {
    message: String,
    values: String,
}

impl Text {
    fn into_line(self) -> String {
        let mut line = self.message + &self.values;
        if line.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
            line.truncate(end);
            line.push('…');
        }
        line
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            // How many lines like this were held back.
            "before" | "held_back" => Ok(()),
            name => write!(self.values, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn warnings_are_handed_on_and_those_of_publishing_are_marked() {
        let mut lines = subscribe();
        let subscriber = tracing_subscriber::registry().with(layer());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not this");
            tracing::warn!(target: "elsewhere", "nor this");
            tracing::warn!(meter = "house", watts = 5, before = 0, "a {}", "warning");
            while_publishing(|| tracing::error!("an error"));
            tracing::warn!(target: "meterbridge::broker::router", "full");
            tracing::error!("{}", "é".repeat(LONGEST));
        });
        let mut next = || lines.try_recv().unwrap();
        let line = next();
        assert_eq!((line.level, &*line.message), ("warning", "a warning meter=\"house\" watts=5"));
        assert!(!line.of_publishing);
        let line = next();
        assert_eq!((line.level, line.of_publishing), ("error", true));
        assert!(next().of_publishing);
        assert_eq!(next().message.len(), LONGEST + "…".len());
        assert!(lines.try_recv().is_err());
    }
}
