//! Devices that publish to the gateway's broker, embedded or elsewhere.
//!
//! | module | has |
//! |---|---|
//! | `listener` | the task: subscriptions, and what is to be done of what they bring |
//! | `reader` | who is who on these topics; no sockets, no clock |
//! | `device` | one device: what it last said, and when it is asked how it is |
//! | `flows` | streams of samples that come as messages |
//! | `said` | what a message looks like, beyond what the protocol reads of it |
//! | `speaker` | commands to one device, and its replies |

mod device;
mod flows;
mod listener;
mod reader;
mod said;
mod speaker;

use tokio::time::Instant;

use crate::model::Timestamp;

/// Now, by the two clocks.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: Instant,
    at: Timestamp,
}

impl Moment {
    fn here() -> Moment {
        Moment { now: Instant::now(), at: Timestamp::now() }
    }
}

pub(crate) use listener::{Listener, OnBroker};
