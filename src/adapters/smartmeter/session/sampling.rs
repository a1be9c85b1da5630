//! Streams of samples: their start, whether they still flow, their end.
//!
//! Source: protocol note, sections 4.1 and 4.4 to 4.10.

use meter_protocols::smartmeter::{
    self as protocol, Command, Conn, SampleReply, SampleRequest, StopSummary,
};
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::Session;
use super::turns::By;
use crate::adapters::smartmeter::arrivals::Moment;
use crate::adapters::smartmeter::setup::Setup;
use crate::adapters::smartmeter::stream::Stream;
use crate::command::CommandError;
use crate::config::stream::{Measures, Over, Start, Stream as Wanted};
use crate::model::Timestamp;
use crate::transport::Backoff;

/// Whether the device samples for us, and when it is asked to.
#[derive(Debug)]
pub(super) struct Sampling {
    pub(super) on: Option<On>,
    pub(super) next_try: Instant,
    pub(super) pause: Backoff,
    /// Somebody has said `stop`: the configured stream waits for their `sample`.
    held: bool,
    /// Why it was refused, as it was told last.
    told: Option<String>,
    /// No more log than errors comes on this connection, so that it is not mixed into raw samples.
    quiet_log: bool,
    /// A stream that nobody hears is to be stopped.
    pub(super) to_stop: bool,
    /// When samples came that nobody had asked for.
    pub(super) unexpected: Option<Instant>,
}

/// A stream under way.
#[derive(Debug)]
pub(super) struct On {
    pub(super) stream: Stream,
    began: Instant,
    pub(super) framed: bool,
    /// Data comes in one second of so many.
    pub(super) slots: u32,
    pub(super) last_data: Instant,
    pub(super) got_data: bool,
    /// Lines of an idle device since the last data.
    pub(super) idle_lines: u32,
    /// Whoever reads does not want data now.
    pub(super) paused: bool,
    /// It was asked whether it lives.
    pub(super) probed: Option<Instant>,
    pub(super) rtc: bool,
    /// How long the device can keep what it samples while the network stands still.
    pub(super) buffer: Duration,
}

impl Sampling {
    pub(super) fn new(now: Instant) -> Sampling {
        Sampling {
            on: None,
            next_try: now,
            pause: Backoff::new(Duration::from_secs(5), Duration::from_secs(60)),
            held: false,
            told: None,
            quiet_log: false,
            to_stop: false,
            unexpected: None,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.is_some()
    }
}

impl Session {
    pub(super) fn is_sampling(&self) -> bool {
        self.sampling.is_on() || self.apart.is_measuring()
    }

    /// Whether samples come without numbers, between which nothing else should be asked for.
    pub(super) fn is_raw(&self) -> bool {
        self.sampling.on.as_ref().is_some_and(|on| !on.framed) && !self.apart.is_on()
    }

    /// What the entry wants sampled by the say of this connection.
    fn wanted(&self) -> Option<&Wanted> {
        let wanted = self.device.as_ref()?.entry.stream.as_ref()?;
        let here = wanted.start == Start::Always && wanted.over != Over::Mqtt;
        (here && !self.sampling.held).then_some(wanted)
    }

    pub(super) fn stream_due(&self) -> Option<Instant> {
        let start = self.wanted().filter(|_| !self.is_sampling());
        start.map(|_| self.sampling.next_try)
    }

    /// The next command for the sake of a stream.
    pub(super) fn next_of_stream(&mut self, now: Instant, _at: Timestamp) -> Option<(Command, By)> {
        if std::mem::take(&mut self.sampling.to_stop) {
            return Some((Command::stop(), By::Stop));
        }
        if self.is_sampling() {
            return None;
        }
        let wanted = self.wanted().filter(|_| now >= self.sampling.next_try)?.clone();
        if wanted.over != Over::Link {
            return self.next_apart(&wanted, now);
        }
        if !wanted.framed && !self.sampling.quiet_log {
            self.sampling.quiet_log = true;
            return Some((Command::log(protocol::LogLevel::Error), By::Level));
        }
        self.sampling.next_try = now + self.sampling.pause.next_pause();
        match self.sample_command(&wanted) {
            Ok(command) => Some((command, By::Sample)),
            Err(error) => {
                self.stream_refused(&error.to_string(), now);
                None
            }
        }
    }

    fn sample_command(&self, wanted: &Wanted) -> Result<Command, CommandError> {
        let request = SampleRequest {
            conn: if self.context.serial_line { Conn::Serial } else { Conn::Tcp },
            measures: measures(wanted.measures),
            framed: wanted.framed,
            slot: wanted.slot,
            ..SampleRequest::new(wanted.rate)
        };
        let made = Command::sample(&request, self.kind());
        made.map_err(|error| CommandError::Invalid(error.to_string()))
    }

    /// A command as it can go by this connection.
    pub(super) fn fitting(&self, command: Command) -> Result<Command, CommandError> {
        let Some(kind) = payload(&command, "type").and_then(Value::as_str) else {
            return Ok(command);
        };
        let own = if self.context.serial_line { Conn::Serial } else { Conn::Tcp };
        if command.name() != "sample" || kind == own.name() {
            return Ok(command);
        }
        let own = own.name();
        Err(CommandError::Refused(format!(
            "samples of type {kind} do not reach the gateway by this connection: write \"type\":\"{own}\", or \
             over: in the stream of the meter's entry"
        )))
    }

    /// The device has said that it samples now.
    pub(super) fn begin_stream(
        &mut self,
        command: &Command,
        reply: &Value,
        now: Instant,
        at: Timestamp,
    ) {
        self.end_stream(None, now, at);
        self.sampling.held = false;
        let asked = SampleRequest::of_command(command, self.kind());
        let Some(reply) = SampleReply::read(reply, Some(self.kind()), asked.as_ref()) else {
            self.sampling.to_stop = true;
            return self.stream_refused("its reply does not tell what it samples", now);
        };
        let ahead = payload(command, "time").map_or(Duration::ZERO, |_| TIMED);
        if matches!(Conn::of_name(&reply.conn, 0), Some(Conn::Udp(_))) {
            self.expect_datagrams();
        } else {
            self.decoder.expect_frames(reply.layout.sample_bytes());
            self.decoder.set_raw(!reply.framed);
        }
        self.stream_has_begun(&reply, ahead, now, at);
    }

    /// What this reply tells of comes from now on, or when it is time.
    pub(super) fn stream_has_begun(
        &mut self,
        reply: &SampleReply,
        ahead: Duration,
        now: Instant,
        at: Timestamp,
    ) {
        let Some(setup) = self.setup(reply) else { return };
        self.sampling.on = Some(On {
            stream: Stream::begin(
                &setup,
                self.context.waveforms.clone(),
                &self.context.metrics,
                Moment { instant: now, at },
            ),
            began: now,
            framed: reply.framed,
            slots: reply.slot.map_or(0, |(_, of)| of),
            last_data: now + ahead,
            got_data: false,
            idle_lines: 0,
            paused: reply.flow_control,
            probed: None,
            rtc: self.life.rtc,
            buffer: buffer(reply),
        });
        self.not_busy();
        let (serial, rate, measures) = (self.serial(), reply.rate_hz, reply.layout.measures());
        tracing::info!(serial, rate, measures, framed = reply.framed, "samples are taken");
    }

    fn setup(&self, reply: &SampleReply) -> Option<Setup> {
        let device = self.device.as_ref()?;
        Some(Setup::new(&device.serial, &device.entry, reply, self.integrates()))
    }

    /// The stream that was wanted did not begin.
    pub(super) fn stream_refused(&mut self, error: &str, now: Instant) {
        self.sampling.next_try = now + self.sampling.pause.next_pause();
        let serial = self.serial();
        // Said once for each reason: a meter that is busy for a day fills no log.
        if self.sampling.told.as_deref() != Some(error) {
            tracing::warn!(
                serial,
                reason = error,
                "the meter does not sample; it is asked again and again"
            );
            self.sampling.told = Some(error.to_owned());
        }
    }

    /// The stream is not asked for again before some time has passed.
    pub(super) fn sampling_later(&mut self, now: Instant) {
        self.sampling.next_try = now + self.sampling.pause.next_pause();
    }

    /// The stream can be asked for at once.
    pub(super) fn sampling_now(&mut self, now: Instant) {
        self.sampling.next_try = now;
    }

    /// What has to be said before a command, so that nothing is mixed into the samples that it begins.
    pub(super) fn before(&self, command: &Command) -> Option<Command> {
        let is_raw = payload(command, "prefix").and_then(Value::as_bool) == Some(false);
        let mixes = command.name() == "sample" && is_raw && !self.sampling.quiet_log;
        mixes.then(|| Command::log(protocol::LogLevel::Error))
    }

    /// That was said, whatever came of it.
    pub(super) fn said_before(&mut self) {
        self.sampling.quiet_log = true;
    }

    /// The stream is over. `sent`: how many samples the device says that it has sent.
    pub(super) fn end_stream(&mut self, sent: Option<u64>, now: Instant, at: Timestamp) {
        let rest = self.end_apart();
        let Some(mut on) = self.sampling.on.take() else { return };
        if on.got_data && now.duration_since(on.began) > STEADY {
            self.sampling.pause.reset();
            self.sampling.told = None;
        }
        let moment = Moment { instant: now, at };
        for packet in &rest {
            on.stream.packet(packet.number, &packet.payload, moment);
        }
        self.decoder.set_raw(false);
        let (summary, seconds) = on.stream.end(sent, moment);
        self.hand_on(seconds);
        let serial = self.serial();
        let (frames, lost_packets, lost) =
            (summary.frames, summary.lost_packets, summary.lost_frames);
        if lost == 0 {
            tracing::info!(serial, frames, "no more samples are taken; none was lost");
        } else {
            tracing::warn!(
                serial,
                frames,
                lost_packets,
                lost,
                "no more samples are taken; some were lost"
            );
        }
    }

    /// The device has stopped. Whoever has said so through the gateway does not want the configured stream
    /// to begin anew at once: it waits for a `sample`, or the next connection.
    pub(super) fn stopped(&mut self, reply: &Value, by_others: bool, now: Instant, at: Timestamp) {
        let summary = StopSummary::read(reply);
        self.end_stream(summary.and_then(|summary| summary.sent_samples), now, at);
        self.sampling.held |= by_others;
        self.poll_now(now);
    }

    /// `cts` and `reqSamples` let data flow, or not.
    pub(super) fn flow(&mut self, command: &Command, now: Instant) {
        let value = command.arguments().get("value").and_then(Value::as_bool);
        if let Some(on) = &mut self.sampling.on {
            on.paused = value == Some(false);
            on.last_data = now;
        }
    }

    /// The level of the log on this connection was set.
    pub(super) fn level_set(&mut self, command: &Command) {
        let level = command.arguments().get("level").and_then(Value::as_str);
        self.sampling.quiet_log = level == Some(protocol::LogLevel::Error.name());
    }

    /// The meter tells its total: what its powers come to is not to be counted as well.
    pub(super) fn stream_counts_no_energy(&mut self) {
        if let Some(on) = &mut self.sampling.on {
            on.stream.count_energy(false);
        }
    }
}

/// How long the device's memory lasts, but not for ever.
fn buffer(reply: &SampleReply) -> Duration {
    let bytes = reply.rate_hz * reply.layout.sample_bytes() as f64;
    Duration::from_secs_f64((protocol::BUFFER as f64 / bytes.max(1.0)).min(LONGEST_STALL_S))
}

/// An argument of a command, within `payload`.
fn payload<'a>(command: &'a Command, key: &str) -> Option<&'a Value> {
    command.arguments().get("payload")?.get(key)
}

/// What is wanted, as the protocol has it.
pub(in super::super) fn measures(wanted: Measures) -> protocol::Measures {
    match wanted {
        Measures::All => protocol::Measures::All,
        Measures::L1 => protocol::Measures::Line(1),
        Measures::L2 => protocol::Measures::Line(2),
        Measures::L3 => protocol::Measures::Line(3),
        Measures::Powers => protocol::Measures::Powers,
        Measures::Rms => protocol::Measures::Rms,
        Measures::Everything => protocol::Measures::Everything,
    }
}

/// A timed start is up to 20 s ahead.
const TIMED: Duration = Duration::from_secs(20);
/// A stream that has lasted so long works: what goes wrong after it is news.
const STEADY: Duration = Duration::from_secs(60);
/// A meter that is gone for so long is gone, whatever it could keep.
const LONGEST_STALL_S: f64 = 60.0;
