//! voelkerb's SmartMeter and PowerMeter.
//!
//! | module | has |
//! |---|---|
//! | `measured` | what links hand over to the adapter of the [fleet](super::fleet) |
//! | `stream` | one stream of samples: frames counted, a measurement a second, pieces for who asks |
//! | `window` | what the samples of a second come to |
//! | `arrivals` | when frames were due, by the gateway's clock |
//! | `pieces` | samples for relay and recorder |

#[allow(dead_code, reason = "the sessions that drive streams come next")]
mod arrivals;
mod measured;
#[allow(dead_code, reason = "the sessions that drive streams come next")]
mod pieces;
#[allow(dead_code, reason = "the sessions that drive streams come next")]
mod stream;
#[allow(dead_code, reason = "the sessions that drive streams come next")]
mod window;

#[allow(unused_imports, reason = "the links that hand these over come next")]
pub(crate) use measured::{Energy, Frame, Line, Measured};
#[allow(unused_imports, reason = "the links that begin them come next")]
pub(crate) use stream::{Scales, Second, Setup, Stream, Summary};
