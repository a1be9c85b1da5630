//! Every counter and gauge the service exposes, in one list, and its Prometheus text.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::journal::Readers;
use crate::tally::Tallies;

/// A number that only grows, shared by whoever counts.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes both ways.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A share of a number that several parts make up together; given back when dropped.
#[derive(Debug)]
pub struct Share {
    whole: Gauge,
    own: u64,
}

impl Gauge {
    /// A share of nothing yet.
    pub fn share(&self) -> Share {
        Share { whole: self.clone(), own: 0 }
    }
}

impl Share {
    /// Sets the share.
    pub fn set(&mut self, value: u64) {
        // Wraps where it falls, and the sum is right all the same.
        self.whole.0.fetch_add(value.wrapping_sub(self.own), Ordering::Relaxed);
        self.own = value;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// One more, for as long as it lives.
#[derive(Debug)]
pub struct Held(Gauge);

impl Gauge {
    /// Counts one more until the value returned is dropped.
    pub fn hold(&self) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

macro_rules! metrics {
    ($($(#[$about:meta])* $field:ident: $kind:ident = $name:literal, $help:literal;)*) => {
        /// The service's own numbers; cheap to clone, each field is shared.
        #[derive(Debug, Clone, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $kind,)*
            /// What is counted of each meter.
            pub meters: Tallies,
            /// How far everybody is who reads the journal.
            pub readers: Readers,
        }

        impl Metrics {
            /// The numbers in Prometheus' text format.
            pub fn render(&self, out: &mut String) {
                $(render(out, $name, $help, stringify!($kind), self.$field.get());)*
                self.readers.render(out);
            }
        }
    };
}

metrics! {
    packets: Counter = "meterbridge_packets_total", "Packets decoded from meters.";
    skipped_bytes: Counter = "meterbridge_skipped_bytes_total",
        "Bytes from meters that were part of no packet.";
    bad_frames: Counter = "meterbridge_bad_frames_total",
        "Stretches of bytes from meters that were passed over.";
    ignored_packets: Counter = "meterbridge_ignored_packets_total",
        "Well-formed packets that carry nothing the gateway can use.";
    strange_packets: Counter = "meterbridge_strange_packets_total",
        "Packets of meters that are not let in.";
    corrections: Counter = "meterbridge_counter_corrections_total",
        "Meter counters that wrapped, started again, jumped or came back.";
    meter_connections: Gauge = "meterbridge_meter_connections", "Open connections to meters.";
    refused_connections: Counter = "meterbridge_meter_connections_refused_total",
        "Connections of meters that were refused or given up for a limit.";
    meters_online: Gauge = "meterbridge_meters_online", "Meters that can be heard.";
    dropped_arrivals: Counter = "meterbridge_dropped_arrivals_total",
        "Packets dropped because the gateway could not keep up.";
    dropped_updates: Counter = "meterbridge_dropped_updates_total",
        "Updates dropped because a part of the gateway could not keep up.";
    state_writes: Counter = "meterbridge_state_writes_total",
        "Times that counter state was written to disk.";
    state_write_failures: Counter = "meterbridge_state_write_failures_total",
        "Times that counter state could not be written to disk.";
    journal_records: Gauge = "meterbridge_journal_records", "Records in the journal.";
    journal_bytes: Gauge = "meterbridge_journal_bytes", "What the journal's records take, about.";
    journal_last: Gauge = "meterbridge_journal_last", "The number of the journal's newest record.";
    journal_needed: Gauge = "meterbridge_journal_needed",
        "The number of the oldest record that a reader of the journal still needs.";
    journal_commits: Counter = "meterbridge_journal_commits_total",
        "Times that the journal was written to disk.";
    journal_failures: Counter = "meterbridge_journal_failures_total",
        "Times that the journal could not be written to disk.";
    journal_lost: Counter = "meterbridge_journal_lost_total",
        "Sets of readings that the journal has lost, because the disk did not take them.";
    journal_cut: Counter = "meterbridge_journal_cut_total",
        "Records that went for journal.size although a reader needed them.";
    journal_unreadable: Counter = "meterbridge_journal_unreadable_total",
        "Records of the journal that could not be read.";
    polls: Counter = "meterbridge_polls_total", "Times that a meter was asked for a packet.";
    failed_polls: Counter = "meterbridge_failed_polls_total",
        "Times that a meter was asked for a packet in vain.";
    published: Counter = "meterbridge_published_total", "Messages the gateway published.";
    commands: Counter = "meterbridge_commands_total", "Commands answered, in whatever way.";
    failed_commands: Counter = "meterbridge_commands_failed_total",
        "Commands answered that they were not done.";
    restart_required: Gauge = "meterbridge_restart_required",
        "1 when the configuration file is not the one that runs any more.";
    flukso_refused: Counter = "meterbridge_flukso_refused_total",
        "Messages of Fluksometers that were passed over because they could not be read.";
    flukso_stale: Counter = "meterbridge_flukso_stale_total",
        "Readings of Fluksometers that were there already, or older than the last.";
    flukso_wrong_time: Counter = "meterbridge_flukso_wrong_time_total",
        "Readings of Fluksometers whose time cannot be.";
    flukso_blocks: Counter = "meterbridge_flukso_blocks_total",
        "History blocks that were taken over from Fluksometers.";
    history_open_blocks: Gauge = "meterbridge_history_open_blocks",
        "Blocks of histories whose window is not over or not yet written.";
    history_bytes: Gauge = "meterbridge_history_bytes", "Bytes that all stored blocks take, about.";
    history_readings: Counter = "meterbridge_history_readings_total",
        "Readings taken into histories.";
    history_late: Counter = "meterbridge_history_late_readings_total",
        "Readings among these whose window was stored already.";
    history_dropped: Counter = "meterbridge_history_dropped_readings_total",
        "Readings that were not newer than their block, or of a time that cannot be.";
    history_blocks: Counter = "meterbridge_history_blocks_total",
        "Blocks written: closed, merged, taken over or written anew.";
    history_malformed: Counter = "meterbridge_history_malformed_blocks_total",
        "Blocks that were refused, or could not be read any more.";
    history_removed: Counter = "meterbridge_history_removals_total",
        "Times that the oldest blocks were removed because histories took too much room.";
    history_failures: Counter = "meterbridge_history_failures_total",
        "Times that histories could not be read or written.";
    history_requests: Counter = "meterbridge_history_requests_total",
        "Requests for history over MQTT that were taken in.";
    history_requests_refused: Counter = "meterbridge_history_requests_refused_total",
        "Requests for history over MQTT that were malformed, whole or in part.";
    history_blocks_sent: Counter = "meterbridge_history_blocks_sent_total",
        "Blocks of history that were published because somebody asked.";
    smartmeter_quality: Counter = "meterbridge_smartmeter_quality_lines_total",
        "Lines in which SmartMeters tell of trouble with their samples.";
    smartmeter_late_replies: Counter = "meterbridge_smartmeter_late_replies_total",
        "Replies of SmartMeters that came when nobody waited for them any more.";
    streams: Gauge = "meterbridge_streams", "Streams of samples that are under way.";
    stream_packets: Counter = "meterbridge_stream_packets_total",
        "Numbered packets of samples that were received.";
    stream_lost_packets: Counter = "meterbridge_stream_lost_packets_total",
        "Packets of samples that were lost on the way, by the numbers of others.";
    stream_frames: Counter = "meterbridge_stream_frames_total",
        "Frames received: samples of every channel at one moment.";
    stream_lost_frames: Counter = "meterbridge_stream_lost_frames_total",
        "Frames that were lost on the way.";
    stream_bad_samples: Counter = "meterbridge_stream_bad_samples_total",
        "Samples that were no numbers, and were left out of every measurement.";
    relay_readers: Gauge = "meterbridge_relay_readers", "Readers of samples over TCP.";
    relay_refused: Counter = "meterbridge_relay_refused_total",
        "Readers of samples that were refused because all places were taken.";
    relay_dropped: Counter = "meterbridge_relay_dropped_total",
        "Pieces of samples that readers were too slow for.";
    recordings: Gauge = "meterbridge_recordings", "Files that samples are being written to.";
    recorded_bytes: Counter = "meterbridge_recorded_bytes_total",
        "Bytes of samples that were written to files, zeros for what was lost included.";
    record_dropped: Counter = "meterbridge_record_dropped_total",
        "Pieces of samples that were lost because the disk was too slow.";
    record_lost: Counter = "meterbridge_record_lost_frames_total",
        "Frames of samples that were not written because the disk was full or refused them.";
    record_failures: Counter = "meterbridge_record_failures_total",
        "Times that a recording could not be written, or an old one not removed.";
    record_removed: Counter = "meterbridge_record_removed_total",
        "Recordings that were removed because all took more than stream.record.size.";
    record_paused: Gauge = "meterbridge_record_paused",
        "Recorders that pause because the disk is nearly full.";
    web_viewers: Gauge = "meterbridge_web_viewers", "Listeners at /api/events.";
    task_restarts: Counter = "meterbridge_task_restarts_total",
        "Times that a part of the gateway ended early and was started again.";
}

/// Appends one number in Prometheus' text format.
pub fn render(out: &mut String, name: &str, help: &str, kind: &str, value: u64) {
    let kind = kind.to_ascii_lowercase();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_prometheus_text() {
        let metrics = Metrics::default();
        metrics.packets.add(3);
        let mut text = String::new();
        metrics.render(&mut text);
        assert!(
            text.contains(
                "# TYPE meterbridge_packets_total counter\nmeterbridge_packets_total 3\n"
            )
        );
        assert!(text.contains("# TYPE meterbridge_meters_online gauge\n"));
    }
}
