//! Fluksometers, FLM02 and FLM03.
//!
//! A `Reader` listens on one link: a Fluksometer's own broker, the gateway's, or its local API. It
//! knows the documents by which a Fluksometer describes itself, finds the sensor of each reading in
//! them, and hands frames to the adapter of the [fleet](super::fleet), which owns who a meter is and
//! what it is called. Values, times and ids are the device's own.
//!
//! | module | has |
//! |---|---|
//! | `settings` | the links, and how a Fluksometer is to be reached |
//! | `documents` | what a device says of itself, as it said it |
//! | `layout` | the sensors that come of that |
//! | `safe` | the same documents as every reader of the gateway's broker can bear them |
//! | `gate` | which times are believed |
//! | `reader`, `known` | from messages to frames, without sockets: a link's, a device's |
//! | `listen` | the tasks that feed a reader from a broker |
//! | `local` | the tasks that ask a Fluksometer's local API |
//! | `past` | the history that a Fluksometer has kept itself |
//! | `meter` | one Fluksometer: from frames to readings |

mod documents;
mod gate;
mod known;
mod layout;
mod listen;
mod local;
mod meter;
mod past;
mod reader;
mod safe;
mod settings;

pub(crate) use listen::{Listener, Shared, listeners};
pub(crate) use meter::{Frame, Meter};
pub(crate) use settings::Plan;
pub use settings::{LocalSensor, Source};
