//! voelkerb's SmartMeter and PowerMeter.
//!
//! | module | has |
//! |---|---|
//! | `measured` | what links hand over to the adapter of the [fleet](super::fleet) |

mod measured;

#[allow(unused_imports, reason = "the links that hand these over come next")]
pub(crate) use measured::{Energy, Frame, Line, Measured};
