//! voelkerb's SmartMeter and PowerMeter.
//!
//! | module | has |
//! |---|---|
//! | `measured` | what links hand over to the adapter of the [fleet](super::fleet) |
//! | `meter` | one meter: from that to readings |
//! | `sensors` | which sensors it has |
//! | `counted`, `unit` | whose energy counts, and in which unit it is told |
//! | `mqtt` | devices on the gateway's broker |
//! | `controls` | what a PowerMeter can be told |
//! | `ears` | a connection to one device: reads, and waits for nobody |
//! | `session` | what is said on it: one command at a time, polls, streams, signs of life |
//! | `stream` | one stream of samples: frames counted, a measurement a second, pieces for who asks |
//! | `window` | what the samples of a second come to |
//! | `arrivals` | when frames were due, by the gateway's clock |
//! | `pieces` | samples for relay and recorder |
//! | `apart`, `rate` | samples as datagrams and from the device's own stream port; the rate of the latter |
//! | `operator`, `requests` | commands of others, checked, and brought to their device |
//! | `switchboard` | which way reaches which device |
//! | `settings`, `setup` | what is configured, and which entry a device has; what that means for a stream |

mod apart;
mod arrivals;
mod controls;
mod counted;
mod ears;
mod measured;
mod meter;
mod mqtt;

mod operator;
mod pieces;
mod rate;
mod requests;
mod sensors;
mod session;
mod settings;
mod setup;
mod stream;
mod switchboard;
mod unit;
mod window;

pub(crate) use arrivals::Moment;
pub(crate) use controls::CONTROLS;
pub(crate) use ears::Ears;
#[allow(unused_imports, reason = "for those who hear devices elsewhere")]
pub(crate) use measured::{Energy, EnergyUnit, Frame, Line, Measured, Presence};
pub(crate) use meter::Meter;
pub(crate) use mqtt::{Listener, OnBroker};

pub(crate) use operator::Operator;
pub(crate) use session::{Context, Told};
pub(crate) use settings::{EntrySettings, POLL, Plan, Roster};
#[allow(unused_imports, reason = "for those who hear devices elsewhere")]
pub(crate) use setup::{Scales, Setup};
#[allow(unused_imports, reason = "for those who hear devices elsewhere")]
pub(crate) use stream::{Second, Stream, Summary};
#[allow(unused_imports, reason = "for those who hear devices elsewhere")]
pub(crate) use switchboard::{Ask, Registration, Switchboard, Way};
