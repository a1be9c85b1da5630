//! What the broker counts. Nothing is dropped or refused without one of these going up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Counters and gauges of the broker, for `/metrics`, `$SYS` and the health topic.
///
/// All are totals since the start, except those called a gauge. Reading them is free of locks.
#[derive(Debug, Default)]
pub struct BrokerStats {
    /// Gauge: open connections, those before their CONNECT included.
    pub connections: AtomicU64,
    /// Gauge: clients connected at MQTT level.
    pub clients: AtomicU64,
    /// Gauge: sessions, those of absent clients included.
    pub sessions: AtomicU64,
    /// Gauge: retained messages.
    pub retained_messages: AtomicU64,
    /// Gauge: memory taken by retained messages, in bytes.
    pub retained_bytes: AtomicU64,
    /// Gauge: subscriptions of clients and of the gateway.
    pub subscriptions: AtomicU64,
    /// Gauge: those of them that are shared.
    pub shared_subscriptions: AtomicU64,
    /// Gauge: messages that wait for clients, measured every ten seconds.
    pub queued_messages: AtomicU64,
    /// Gauge: memory taken by messages that wait, in bytes, measured every ten seconds.
    pub queued_bytes: AtomicU64,
    /// Gauge: messages in the longest queue, measured every ten seconds.
    pub queued_longest: AtomicU64,
    /// Gauge: most clients that were connected at a time.
    pub clients_maximum: AtomicU64,
    /// Connections accepted.
    pub connections_opened: AtomicU64,
    /// CONNECT packets answered with success.
    pub connects: AtomicU64,
    /// Sessions of absent clients that came to their end.
    pub sessions_expired: AtomicU64,
    /// Packets of every kind taken from clients.
    pub packets_received: AtomicU64,
    /// Packets of every kind written to clients, CONNACK and DISCONNECT left out.
    pub packets_sent: AtomicU64,
    /// Bytes read from clients that have connected.
    pub bytes_received: AtomicU64,
    /// Bytes written to clients that have connected.
    pub bytes_sent: AtomicU64,
    /// Payload bytes in PUBLISH packets taken from clients.
    pub payload_bytes_received: AtomicU64,
    /// Payload bytes in PUBLISH packets written to clients.
    pub payload_bytes_sent: AtomicU64,
    /// Times a publisher was made to wait for a subscriber's queue.
    pub pauses: AtomicU64,
    /// PUBLISH packets taken from clients.
    pub messages_received: AtomicU64,
    /// Messages taken from the gateway itself.
    pub messages_from_gateway: AtomicU64,
    /// PUBLISH packets written to clients.
    pub messages_sent: AtomicU64,
    /// QoS 0 messages dropped because a client's queue was full.
    pub dropped_queue_full: AtomicU64,
    /// QoS 1 and 2 messages that a session had no room for. Its client, if it is there, is
    /// disconnected; it is logged either way.
    pub dropped_quota: AtomicU64,
    /// Messages that expired before they could be sent.
    pub dropped_expired: AtomicU64,
    /// Messages larger than the receiving client takes.
    pub dropped_too_large: AtomicU64,
    /// Messages delivered but not retained because a limit of retained messages was reached.
    pub dropped_retain: AtomicU64,
    /// Connections refused because there were too many, in all or from one address.
    pub refused_connections: AtomicU64,
    /// CONNECT packets answered with a refusal: version, client id, access, quota.
    pub refused_connects: AtomicU64,
    /// Logins refused because name or password is wrong.
    pub refused_logins: AtomicU64,
    /// Clients refused because they gave no user name where one is needed.
    pub refused_anonymous: AtomicU64,
    /// Logins refused untested, after too many wrong ones.
    pub refused_throttled: AtomicU64,
    /// Messages dropped because their client may not publish to their topics.
    pub refused_publishes: AtomicU64,
    /// Subscriptions refused because their client may read nothing of them, or has too many.
    pub refused_subscribes: AtomicU64,
    /// WebSockets refused because a page of another origin asked for them.
    pub refused_origins: AtomicU64,
    /// Wills dropped because their client may not publish to their topics.
    pub refused_wills: AtomicU64,
    /// Messages kept from subscribers that may not read them.
    pub withheld: AtomicU64,
    /// Connections on which no CONNECT came in time.
    pub connect_timeouts: AtomicU64,
    /// TLS connections that ended before they were secure: no common version or cipher, a
    /// certificate refused on either side, no TLS at all, no end of the handshake in time.
    pub tls_handshake_failures: AtomicU64,
    /// Connections ended because a packet broke a rule of MQTT.
    pub refused_packets: AtomicU64,
    /// Connections ended because a packet was larger than the limit.
    pub refused_too_large: AtomicU64,
    /// Packets on which the codec itself failed; counted in `refused_packets` too.
    pub codec_failures: AtomicU64,
    /// Connection tasks that ended by a panic. Anything but 0 is a fault of the broker.
    pub connection_panics: AtomicU64,
    /// Clients disconnected because nothing was heard from them in time.
    pub keep_alive_timeouts: AtomicU64,
    /// Connections ended because their client connected again.
    pub take_overs: AtomicU64,
    /// Gauge: QoS 1 and 2 messages that sessions hold which outlive the process.
    pub kept_messages: AtomicU64,
    /// Gauge: memory that these take, in bytes; a message counts once for each session.
    pub kept_bytes: AtomicU64,
    /// Attempts to write retained messages and kept sessions to disk.
    pub disk_commits: AtomicU64,
    /// Those that failed; each is tried again.
    pub disk_failures: AtomicU64,
    /// Packets refused, or their clients disconnected, because the disk did not take what they did.
    pub disk_refused: AtomicU64,
}

impl BrokerStats {
    /// Each number by its name in metrics, with its kind there.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        [
            ("connections", "gauge", &self.connections),
            ("clients", "gauge", &self.clients),
            ("sessions", "gauge", &self.sessions),
            ("retained_messages", "gauge", &self.retained_messages),
            ("retained_bytes", "gauge", &self.retained_bytes),
            ("subscriptions", "gauge", &self.subscriptions),
            ("shared_subscriptions", "gauge", &self.shared_subscriptions),
            ("queued_messages", "gauge", &self.queued_messages),
            ("queued_bytes", "gauge", &self.queued_bytes),
            ("queued_longest", "gauge", &self.queued_longest),
            ("clients_maximum", "gauge", &self.clients_maximum),
            ("connections_opened", "counter", &self.connections_opened),
            ("connects", "counter", &self.connects),
            ("sessions_expired", "counter", &self.sessions_expired),
            ("packets_received", "counter", &self.packets_received),
            ("packets_sent", "counter", &self.packets_sent),
            ("bytes_received", "counter", &self.bytes_received),
            ("bytes_sent", "counter", &self.bytes_sent),
            ("payload_bytes_received", "counter", &self.payload_bytes_received),
            ("payload_bytes_sent", "counter", &self.payload_bytes_sent),
            ("pauses", "counter", &self.pauses),
            ("messages_received", "counter", &self.messages_received),
            ("messages_from_gateway", "counter", &self.messages_from_gateway),
            ("messages_sent", "counter", &self.messages_sent),
            ("dropped_queue_full", "counter", &self.dropped_queue_full),
            ("dropped_quota", "counter", &self.dropped_quota),
            ("dropped_expired", "counter", &self.dropped_expired),
            ("dropped_too_large", "counter", &self.dropped_too_large),
            ("dropped_retain", "counter", &self.dropped_retain),
            ("refused_connections", "counter", &self.refused_connections),
            ("refused_connects", "counter", &self.refused_connects),
            ("refused_logins", "counter", &self.refused_logins),
            ("refused_anonymous", "counter", &self.refused_anonymous),
            ("refused_throttled", "counter", &self.refused_throttled),
            ("refused_publishes", "counter", &self.refused_publishes),
            ("refused_subscribes", "counter", &self.refused_subscribes),
            ("refused_wills", "counter", &self.refused_wills),
            ("refused_origins", "counter", &self.refused_origins),
            ("withheld", "counter", &self.withheld),
            ("connect_timeouts", "counter", &self.connect_timeouts),
            ("tls_handshake_failures", "counter", &self.tls_handshake_failures),
            ("refused_packets", "counter", &self.refused_packets),
            ("refused_too_large", "counter", &self.refused_too_large),
            ("codec_failures", "counter", &self.codec_failures),
            ("connection_panics", "counter", &self.connection_panics),
            ("keep_alive_timeouts", "counter", &self.keep_alive_timeouts),
            ("take_overs", "counter", &self.take_overs),
            ("kept_messages", "gauge", &self.kept_messages),
            ("kept_bytes", "gauge", &self.kept_bytes),
            ("disk_commits", "counter", &self.disk_commits),
            ("disk_failures", "counter", &self.disk_failures),
            ("disk_refused", "counter", &self.disk_refused),
        ]
        .into_iter()
        .map(|(name, kind, number)| (name, kind, number.load(Ordering::Relaxed)))
    }

    /// What the number of this name in `list` is, for people.
    #[must_use]
    pub fn help(name: &str) -> &'static str {
        match name {
            "connections" => "Open MQTT connections.",
            "clients" => "Connected MQTT clients.",
            "sessions" => "Sessions, those of absent clients included.",
            "retained_messages" => "Topics with a retained message.",
            "retained_bytes" => "Memory taken by retained messages.",
            "subscriptions" => "Subscriptions of clients and of the gateway.",
            "shared_subscriptions" => "Subscriptions that share their messages with others.",
            "queued_messages" => "Messages that wait for clients.",
            "queued_bytes" => "Memory taken by messages that wait for clients.",
            "queued_longest" => "Messages in the longest queue of a client.",
            "clients_maximum" => "Most clients that were connected at a time.",
            "connections_opened" => "MQTT connections accepted.",
            "connects" => "Clients let in.",
            "sessions_expired" => "Sessions of absent clients that came to their end.",
            "packets_received" => "MQTT packets of every kind from clients.",
            "packets_sent" => "MQTT packets of every kind to clients.",
            "bytes_received" => "Bytes from MQTT clients.",
            "bytes_sent" => "Bytes to MQTT clients.",
            "payload_bytes_received" => "Payload bytes published by clients.",
            "payload_bytes_sent" => "Payload bytes delivered to clients.",
            "pauses" => "Times a publisher waited for a subscriber that was behind.",
            "messages_received" => "Messages published by clients.",
            "messages_from_gateway" => "Messages published by the gateway itself.",
            "messages_sent" => "Messages delivered to clients.",
            "dropped_queue_full" => "QoS 0 messages dropped because a client did not keep up.",
            "dropped_quota" => "QoS 1 and 2 messages that a client's queue had no room for.",
            "dropped_expired" => "Messages that expired before they could be delivered.",
            "dropped_too_large" => "Messages larger than the receiving client takes.",
            "dropped_retain" => "Messages not retained because too many or too large ones were.",
            "refused_connections" => "Connections over a limit.",
            "refused_connects" => "Clients not let in.",
            "refused_publishes" => "Messages that their client was not allowed to publish.",
            "connect_timeouts" => "Connections on which no CONNECT came in time.",
            "refused_packets" => "Connections ended for breaking a rule of MQTT.",
            "refused_too_large" => "Connections ended for a packet over the size limit.",
            "codec_failures" => "Packets that the codec failed on.",
            "connection_panics" => "Connection tasks that failed: a fault of the broker.",
            "keep_alive_timeouts" => "Clients not heard in time.",
            "take_overs" => "Connections ended because their client connected again.",
            "refused_logins" => "Logins with a wrong name or password.",
            "refused_anonymous" => "Clients without a login where one is needed.",
            "refused_throttled" => "Logins refused untested, after too many wrong ones.",
            "refused_subscribes" => "Subscriptions of which a client may see nothing, or too many.",
            "refused_wills" => "Wills that their client was not allowed to leave.",
            "refused_origins" => "WebSockets that pages of other origins asked for.",
            "withheld" => "Messages kept from subscribers that may not read them.",
            "tls_handshake_failures" => "TLS connections that ended before they were secure.",
            "kept_messages" => "Messages on disk for kept sessions.",
            "kept_bytes" => "Size of the messages on disk for kept sessions.",
            "disk_commits" => "Groups of changes written to disk.",
            "disk_failures" => "Times the disk did not take what was to be written.",
            "disk_refused" => "Exchanges refused because the disk did not take them.",
            _ => "A number of the broker.",
        }
    }

    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn count(counter: &AtomicU64) {
        Self::add(counter, 1);
    }

    pub(crate) fn lower(gauge: &AtomicU64) {
        gauge.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn raise(gauge: &AtomicU64, value: u64) {
        gauge.fetch_max(value, Ordering::Relaxed);
    }

    pub(crate) fn set(gauge: &AtomicU64, value: usize) {
        gauge.store(value as u64, Ordering::Relaxed);
    }
}

/// Lets one log line through per interval and counts the others, so that a client that misbehaves
/// all the time cannot fill the log.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    state: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    /// `Some(n)` when a line may be written now; `n` is how many were held back before it.
    pub(crate) fn pass(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let now = Instant::now();
        if state.0.is_some_and(|last| now.duration_since(last) < LOG_INTERVAL) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

const LOG_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_explained() {
        for (name, _, _) in BrokerStats::default().list() {
            assert_ne!(BrokerStats::help(name), BrokerStats::help(""), "{name}");
        }
    }
}
