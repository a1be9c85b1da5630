//! Connections to meters: they know reconnecting and limits, and nothing of meters.
//!
//! Bytes go to a [`Conversation`], one per connection, which the meter's adapter provides.
//! `socket` and `places` are for every server of the gateway: broker, web and meter ports.

mod backoff;
mod connection;
mod dial;
mod listen;
mod places;
mod serial;
mod socket;

use std::future::Future;
use std::time::Duration;

pub use backoff::Backoff;
pub use dial::{Dial, dial};
pub use listen::{ListenOptions, MeterListener, TransportError};
pub(crate) use places::{Place, Places};
pub use serial::{Framing, SerialError, SerialLine, attend, find_device};
pub(crate) use serial::{explain_permission, path_fault};
pub(crate) use socket::prepare;

/// The other half of a connection: an adapter's decoder for what one peer sends.
///
/// A method that waits stops the reading of this connection, and only of this one.
pub trait Conversation: Send + 'static {
    /// Bytes arrived. Returns what to send back; mostly nothing.
    fn received(&mut self, bytes: &[u8]) -> impl Future<Output = Vec<u8>> + Send;

    /// Nothing has arrived for as long as [`patience`](Conversation::patience) says, or the
    /// connection has ended: what is still incomplete will not be completed. Returns what to send
    /// back.
    fn quiet(&mut self) -> impl Future<Output = Vec<u8>> + Send;

    /// How long after the last byte what is still incomplete may be completed. A 625-byte packet
    /// takes a third of a second at 19,200 baud.
    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Waits until the conversation has something to send by itself, and returns that. Dropped and
    /// called again whenever something else happens meanwhile, so it must be safe to cancel.
    fn speak(&mut self) -> impl Future<Output = Vec<u8>> + Send {
        std::future::pending()
    }

    /// Why the connection is to be closed from this side; looked at after everything that happened.
    fn finished(&mut self) -> Option<String> {
        None
    }

    /// What is to be said before the gateway closes the connection by itself; mostly nothing.
    fn farewell(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// How many bytes are read at a time.
    fn read_buffer(&self) -> usize {
        4096
    }
}
