//! How the simulated line between meter and gateway misbehaves.

use std::time::Duration;

/// What is not as it should be; nothing by default. All of it combines.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Manners {
    /// Each packet has a connection of its own.
    pub one_packet: bool,
    /// How long such a connection stays open after its packet, 50 ms unless given. Where it is given, the
    /// first answer ends it as well.
    pub linger: Option<Duration>,
    /// Answers come so late.
    pub slow: Duration,
    /// Of so many answers of a meter one comes so late, and those to later commands come behind it.
    pub late: Option<(u32, Duration)>,
    /// Commands are obeyed and never answered.
    pub silent: bool,
    /// Commands never reach the meter, as behind a DashBox.
    pub swallow: bool,
    /// Everything leaves in pieces of so many bytes.
    pub chunks: Option<usize>,
    /// The pause between two such pieces.
    pub pause: Duration,
    /// The keep-alive text comes so often, also while packets flow.
    pub keep_alive: Option<Duration>,
    /// Packets are HTTP requests (format 3), which want to be answered.
    pub http: bool,
    /// Random bytes come between packets.
    pub noise: bool,
    /// A packet stands in the middle of each answer.
    pub split_replies: bool,
    /// Nothing is answered where no answer is documented.
    pub terse: bool,
    /// The list of all settings has 374 values, as older firmware sends it.
    pub short_settings: bool,
}

/// How long a connection for one packet stays open after it.
pub(super) const LINGER: Duration = Duration::from_millis(50);
