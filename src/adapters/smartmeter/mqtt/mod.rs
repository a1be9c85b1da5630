//! Devices that publish to the gateway's broker, embedded or elsewhere.
//!
//! | module | has |
//! |---|---|
//! | `listener` | the task: subscriptions, and what is to be done of what they bring |
//! | `reader` | who is who on these topics; no sockets, no clock |
//! | `device` | one device: what it last said, and when it is asked how it is |
//! | `said` | what a message looks like, beyond what the protocol reads of it |
//! | `streaming` | streams by messages |
//! | `speaker` | commands to one device, and its replies |

mod device;
mod listener;
mod reader;
mod said;
mod speaker;
mod streaming;

pub(crate) use listener::{Listener, OnBroker};
