//! meterbridge: an MQTT broker with meter adapters inside.
//!
//! A packet's way, and where each step is:
//!
//! 1. **Bytes** arrive on a socket that [`transport`] opened or accepted. It knows limits and
//!    reconnecting, and nothing of meters.
//! 2. **Frames** come out of the decoder in the crate `meter-protocols`, one per connection, held
//!    by the adapter's ears ([`adapters::brultech::Ears`]).
//! 3. **Readings**: one adapter of a [`adapters::fleet`] owns all meters of its make. It moves
//!    their counters on ([`model::Counter`]) and makes a [`model::ReadingSet`] of each packet.
//! 4. **Ledger**: [`ledger`] writes what the packet changed to the [`store`], in groups, and only
//!    then lets the readings go on. So no total that was ever published can go back.
//! 5. **Bus**: [`bus`] hands each update to every subscriber's bounded queue.
//! 6. **Topics**: [`publish`] turns updates into messages under [`topic`]s of the unified tree and
//!    gives them to the broker's [`broker::Link`].
//!    [`homeassistant`] hears the same updates and announces the meters to Home Assistant.
//! 7. **Broker**: [`broker`] delivers them to every client whose subscriptions match.
//!
//! Beside the live way, [`journal`] keeps every set of readings on disk until all who must not lose one
//! have it; [`history`] makes TMPO blocks of them.
//!
//! Samples, some thousand a second, have a way of their own: [`bus::Waveforms`] hands them to whoever of
//! [`streams`] wants them, for readers over TCP and for files.
//!
//! [`gateway`] builds all of this from a [`config`] and takes it down in the order of the data;
//! [`task`] is the only place that starts a task. [`simulator`] is the other end of the wire.

pub mod adapters;
pub mod bridge;
pub mod broker;
pub mod bus;
pub mod cli;
pub mod command;
pub mod config;
pub mod decode;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod gateway;
pub mod health;
pub mod history;
pub mod homeassistant;
pub mod journal;
pub mod ledger;
mod links;
pub mod log;
pub mod mdns;
pub mod metrics;
pub mod model;
pub mod openhab;
pub mod passwd;
pub mod process;
pub mod publish;
pub mod registry;
pub mod simulator;
pub mod store;
pub mod streams;
pub mod sync;
pub mod tally;
pub mod task;
pub mod tls;
pub mod topic;
pub mod transport;
pub mod waiting;
pub mod web;
