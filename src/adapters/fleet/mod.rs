//! What all makes share whose meters are heard on links: who a meter is, which configuration entry it
//! has, what requests change of it, whether it can be heard, and what outlives the process.
//!
//! Connections hand frames to the one `Adapter` that owns all meters of a make, whatever link they
//! speak on: a meter is its serial number. A make adds its `Meter`: from frames to readings.

mod adapter;
mod changes;
mod entries;
mod kept;
mod register;
mod settings;

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::meter::Kind;
use crate::model::{Correction, Device, Make, Model, ReadingSet, Timestamp};

pub(crate) use adapter::Adapter;
pub use adapter::{Arrival, Left, Mailbox};
pub(crate) use kept::Kept;
pub(in crate::adapters) use register::{Register, Step};
pub(crate) use settings::Standing;
pub use settings::{ChannelSettings, DEFAULT_POWER_CEILING_W, LinkId, MeterSettings};

/// One meter of a make, heard at least once: from frames to readings, with the state that outlives the
/// process.
pub(crate) trait Meter: Sized + Send + Sync + 'static {
    /// The make.
    const MAKE: Make;
    /// The same as the configuration spells it.
    const KIND: Kind;
    /// What a connection hands over.
    type Frame: Debug + Send + Sync + 'static;
    /// Which meter a frame is of, cheap to compare.
    type Key: Eq + Hash + Clone + Send;
    /// What must survive a restart so that totals go on.
    type State: Serialize + DeserializeOwned;

    /// Which meter sent the frame.
    fn key(frame: &Self::Frame) -> Self::Key;

    /// Its serial number.
    fn serial(frame: &Self::Frame) -> Arc<str>;

    /// Its model.
    fn model(frame: &Self::Frame) -> Model;

    /// A meter heard for the first time since the start. `frame` is not taken yet; `kept` is the state
    /// that an earlier run left.
    fn begin(
        frame: &Self::Frame,
        at: Timestamp,
        settings: MeterSettings,
        standing: Standing,
        kept: Option<Kept<Self::State>>,
    ) -> Self;

    /// Takes a frame that arrived at `at`.
    fn hear(&mut self, frame: &Self::Frame, at: Timestamp) -> Heard;

    /// Takes other settings; totals go on, and whatever is read otherwise is so from the next frame on.
    fn configure(&mut self, settings: MeterSettings, standing: Standing);

    /// The meter as it is now.
    fn device(&self) -> &Arc<Device>;

    /// What is configured for it.
    fn settings(&self) -> &MeterSettings;

    /// What must be kept.
    fn state(&self) -> &Self::State;

    /// Whether the frame tells that the meter can be heard.
    fn presence(_frame: &Self::Frame) -> Presence {
        Presence::Here
    }

    /// Readings of the last frame about times that are over, oldest first: for histories alone.
    fn take_past(&mut self) -> Vec<Arc<ReadingSet>> {
        Vec::new()
    }

    /// Whether its relay is closed, where that has become known or another since this was asked last.
    fn take_relay(&mut self) -> Option<bool> {
        None
    }

    /// Whether what must be kept has changed since this was asked last.
    fn take_changed(&mut self) -> bool {
        true
    }
}

/// What a frame tells of whether its meter can be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Presence {
    /// The meter has said it just now.
    Here,
    /// Nothing: it was said at an earlier time.
    #[default]
    Unknown,
    /// The way to it is lost.
    Gone,
}

/// What one frame gave.
#[derive(Debug)]
pub(crate) struct Heard {
    /// What is so now; without readings, only what the meter is made of.
    pub(crate) set: Arc<ReadingSet>,
    /// What was so at earlier times, each with its own.
    pub(crate) earlier: Vec<Arc<ReadingSet>>,
    /// What counters did else than count on.
    pub(crate) corrections: Vec<Correction>,
}
