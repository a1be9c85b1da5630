//! How simulated SmartMeters and PowerMeters misbehave, and how fast they are.

use std::time::Duration;

/// What is not as it should be; nothing by default. All of it combines, and may be changed while the
/// meter is at work.
#[derive(Debug, Clone, PartialEq)]
pub struct SmartManners {
    /// Replies come so late.
    pub slow: Duration,
    /// Commands are obeyed and never answered.
    pub silent: bool,
    /// Everything leaves in pieces of so many bytes.
    pub chunks: Option<usize>,
    /// The pause between two such pieces.
    pub pause: Duration,
    /// What is said within such a time leaves in one piece.
    pub merge: Duration,
    /// Log lines of every kind stand around replies and between packets: with quotes, braces and
    /// prefixes in their text, about troubles with the samples, and one that is cut.
    pub noise: bool,
    /// Of so many packets one is lost: its number is missing.
    pub loss: Option<u32>,
    /// Of so many packets one is cut in its middle.
    pub short_writes: Option<u32>,
    /// Over UDP every tenth datagram comes twice and every seventh behind the one after it, and an
    /// empty one at the end.
    pub shuffle: bool,
    /// It restarts so often.
    pub restarts: Option<Duration>,
    /// How long a restart takes.
    pub boot: Duration,
    /// Somebody else has it sample all the time.
    pub busy: bool,
    /// A SmartMeter without a clock chip, whose raw stream ends after a second.
    pub no_rtc: bool,
    /// Its clock was never set: `ts` is 0 over MQTT.
    pub no_time: bool,
    /// A PowerMeter with firmware 1.3: energy in kWh over MQTT.
    pub old_firmware: bool,
    /// Keys are as the maker's README has them: no `cmd`, the type in capitals, `relay` as 1.
    pub wrong_keys: bool,
    /// A SmartMeter takes a negative energy for a large one: 455.4 Wh more.
    pub export_trap: bool,
    /// A SmartMeter tells its lines over MQTT as well, as with one build option; it has room for
    /// messages twice as large then.
    pub details: bool,
    /// The network stands still: every so often, for so long.
    pub stalls: Option<(Duration, Duration)>,
    /// The pause before a stream server is dialled again.
    pub redial: Duration,
    /// The pause before a broker is dialled again.
    pub mqtt_retry: Duration,
    /// The time from one storing of the energy to the next: what `info` tells grows in such steps.
    pub store: Duration,
    /// The port of a broker that the meter is told by `mqttServer` alone.
    pub mqtt_port: u16,
    /// The port of a stream server that the meter is told by `streamServer`.
    pub stream_port: u16,
}

impl Default for SmartManners {
    fn default() -> SmartManners {
        SmartManners {
            slow: Duration::ZERO,
            silent: false,
            chunks: None,
            pause: Duration::from_millis(5),
            merge: Duration::ZERO,
            noise: false,
            loss: None,
            short_writes: None,
            shuffle: false,
            restarts: None,
            boot: Duration::from_secs(5),
            busy: false,
            no_rtc: false,
            no_time: false,
            old_firmware: false,
            wrong_keys: false,
            export_trap: false,
            details: false,
            stalls: None,
            redial: Duration::from_secs(30),
            mqtt_retry: Duration::from_secs(10),
            store: Duration::from_secs(19),
            mqtt_port: 1883,
            stream_port: 54_322,
        }
    }
}
