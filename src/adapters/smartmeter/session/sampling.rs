//! Streams of samples: their start, whether they still flow, their end.
//!
//! Source: protocol note, sections 4.1 and 4.4 to 4.10.

use meter_protocols::smartmeter::{
    self as protocol, Command, Conn, Packet, SampleReply, SampleRequest, StopSummary,
};
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::Session;
use super::turns::By;
use crate::adapters::smartmeter::setup::Setup;
use crate::adapters::smartmeter::stream::{Second, Stream};
use crate::command::CommandError;
use crate::config::stream::{Measures, Over, Start, Stream as Wanted};
use crate::model::Timestamp;
use crate::transport::Backoff;

/// Whether the device samples for us, and when it is asked to.
#[derive(Debug)]
pub(super) struct Sampling {
    on: Option<On>,
    next_try: Instant,
    pause: Backoff,
    /// Somebody has said `stop`: the configured stream waits for their `sample`.
    held: bool,
    /// Why it was refused, as it was told last.
    told: Option<String>,
    /// No more log than errors comes on this connection, so that it is not mixed into raw samples.
    quiet_log: bool,
    /// A stream that nobody hears is to be stopped.
    to_stop: bool,
    /// When samples came that nobody had asked for.
    unexpected: Option<Instant>,
}

/// A stream under way.
#[derive(Debug)]
struct On {
    stream: Stream,
    began: Instant,
    framed: bool,
    /// Data comes in one second of so many.
    slots: u32,
    last_data: Instant,
    got_data: bool,
    /// Lines of an idle device since the last data.
    idle_lines: u32,
    /// Whoever reads does not want data now.
    paused: bool,
    /// It was asked whether it lives.
    probed: Option<Instant>,
    rtc: bool,
    /// How long the device can keep what it samples while the network stands still.
    buffer: Duration,
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
                at,
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

    pub(super) fn packet(&mut self, packet: &Packet, now: Instant, at: Timestamp) {
        self.context.metrics.packets.increment();
        match &mut self.sampling.on {
            Some(on) if on.framed && !self.apart.is_on() => {
                on.note_data(now);
                on.stream.packet(packet.number, &packet.payload, at);
                self.hand_on_seconds();
            }
            _ => self.unexpected_data(now),
        }
    }

    pub(super) fn raw(&mut self, bytes: &[u8], now: Instant, at: Timestamp) {
        match &mut self.sampling.on {
            Some(on) if !self.apart.is_on() => {
                on.note_data(now);
                on.stream.raw(bytes, at);
                self.hand_on_seconds();
            }
            _ => self.unexpected_data(now),
        }
    }

    /// Packets that came as datagrams, in order.
    pub(super) fn packets_apart(&mut self, packets: &[Packet], now: Instant, at: Timestamp) {
        if let Some(on) = &mut self.sampling.on {
            on.note_data(now);
            for packet in packets {
                self.context.metrics.packets.increment();
                on.stream.packet(packet.number, &packet.payload, at);
            }
        }
        self.hand_on_seconds();
    }

    /// Bytes that came by the device's own stream port.
    pub(super) fn bytes_apart(&mut self, bytes: &[u8], now: Instant, at: Timestamp) {
        if let Some(on) = &mut self.sampling.on {
            on.note_data(now);
            on.stream.raw(bytes, at);
        }
        self.hand_on_seconds();
    }

    /// The stream is not asked for again before some time has passed.
    pub(super) fn sampling_later(&mut self, now: Instant) {
        self.sampling.next_try = now + self.sampling.pause.next_pause();
    }

    /// The stream can be asked for at once.
    pub(super) fn sampling_now(&mut self, now: Instant) {
        self.sampling.next_try = now;
    }

    /// Samples of which the start was not seen: the reply to `sample` was lost, or on a serial line they go
    /// on over a restart of the gateway. The device is stopped, so that it can be asked anew.
    fn unexpected_data(&mut self, now: Instant) {
        self.context.metrics.ignored_packets.increment();
        let recent = |then: &Instant| now.duration_since(*then) < NO_DATA;
        if self.sampling.unexpected.as_ref().is_some_and(recent) {
            return;
        }
        self.sampling.unexpected = Some(now);
        if self.device.is_some() {
            self.sampling.to_stop = true;
        } else {
            self.send(b"{\"cmd\":\"stop\"}\r\n".to_vec(), now);
            self.send(b"{\"cmd\":\"info\"}\r\n".to_vec(), now);
        }
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

    fn hand_on_seconds(&mut self) {
        let seconds = match &mut self.sampling.on {
            Some(on) => on.stream.take_seconds(),
            None => return,
        };
        self.hand_on(seconds);
    }

    fn hand_on(&mut self, seconds: Vec<Second>) {
        if seconds.is_empty() {
            return;
        }
        let (late, news): (Vec<Second>, Vec<Second>) =
            seconds.into_iter().partition(|one| one.late);
        let past: Vec<_> = late.into_iter().map(|one| (one.at, one.measured)).collect();
        if !past.is_empty()
            && let Some(mut frame) = self.frame()
        {
            frame.past = past;
            self.frames.push_back(frame);
        }
        for second in news {
            if let Some(mut frame) = self.frame() {
                frame.now = Some(second.measured);
                self.frames.push_back(frame);
            }
        }
    }

    /// The stream is over. `sent`: how many samples the device says that it has sent.
    pub(super) fn end_stream(&mut self, sent: Option<u64>, now: Instant, at: Timestamp) {
        let rest = self.end_apart();
        let Some(mut on) = self.sampling.on.take() else { return };
        if on.got_data && now.duration_since(on.began) > STEADY {
            self.sampling.pause.reset();
            self.sampling.told = None;
        }
        for packet in &rest {
            on.stream.packet(packet.number, &packet.payload, at);
        }
        self.decoder.set_raw(false);
        let (summary, seconds) = on.stream.end(sent, at);
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

    /// Somebody has said `stop`.
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

    /// A line that only an idle device sends.
    pub(super) fn lifeness(&mut self, now: Instant, at: Timestamp) {
        self.not_busy();
        let over = match &mut self.sampling.on {
            Some(on) => {
                on.idle_lines += 1;
                on.idle_lines >= IDLE_LINES && now >= on.last_data
            }
            None => false,
        };
        if over {
            self.ended_by_others(now, at);
        }
    }

    /// The dictionary says that the device is idle.
    pub(super) fn seen_idle(&mut self, now: Instant, at: Timestamp) {
        if self.sampling.on.as_ref().is_some_and(|on| on.got_data && now > on.last_data + QUIET) {
            self.ended_by_others(now, at);
        }
    }

    fn ended_by_others(&mut self, now: Instant, at: Timestamp) {
        tracing::info!(
            serial = self.serial(),
            "the meter has stopped sampling by itself, or for another client"
        );
        self.end_stream(None, now, at);
        self.sampling.next_try = now + self.sampling.pause.next_pause();
    }

    /// How long a device that samples may be silent.
    pub(super) fn stream_patience(&self) -> Duration {
        self.sampling.on.as_ref().map_or(Duration::ZERO, On::patience)
    }

    pub(super) fn sampling_deadline(&self) -> Option<Instant> {
        let on = self.sampling.on.as_ref().filter(|on| !on.paused)?;
        match on.probed {
            None => Some(on.last_data + on.patience()),
            Some(probed) => self.answered().map(|answered| probed.max(answered) + NO_DATA),
        }
    }

    /// How long a device that samples and does not answer may have its samples for us all the same:
    /// closing the connection would lose what it keeps.
    pub(super) fn buffered(&self) -> Duration {
        self.sampling.on.as_ref().map_or(Duration::ZERO, |on| on.buffer)
    }

    /// Whether samples still come.
    pub(super) fn watch_stream(&mut self, now: Instant, at: Timestamp) {
        let answered = self.answered();
        let Some(on) = self.sampling.on.as_mut().filter(|on| !on.paused) else { return };
        match on.probed {
            None if now >= on.last_data + on.patience() => {
                on.probed = Some(now);
                self.probe(now);
            }
            // It answers, so it is not the network; and what it kept has had time to come.
            Some(probed) if answered.is_some_and(|at| now >= probed.max(at) + NO_DATA) => {
                let dry = on.got_data && !on.rtc;
                self.dried_up(dry, now, at);
            }
            _ => {}
        }
    }

    fn dried_up(&mut self, no_clock: bool, now: Instant, at: Timestamp) {
        self.end_stream(None, now, at);
        self.sampling.to_stop = true;
        self.stream_refused(if no_clock { NO_CLOCK } else { DRY }, now);
    }

    /// The meter tells its total: what its powers come to is not to be counted as well.
    pub(super) fn stream_counts_no_energy(&mut self) {
        if let Some(on) = &mut self.sampling.on {
            on.stream.count_energy(false);
        }
    }
}

impl On {
    fn note_data(&mut self, now: Instant) {
        (self.last_data, self.got_data, self.probed, self.idle_lines) = (now, true, None, 0);
    }

    fn patience(&self) -> Duration {
        NO_DATA + 2 * Duration::from_secs(self.slots.into())
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

/// No data for so long, where some should come all the time.
const NO_DATA: Duration = Duration::from_secs(5);
/// A timed start is up to 20 s ahead.
const TIMED: Duration = Duration::from_secs(20);
/// An idle device says so once a second; one such line may have been under way.
const IDLE_LINES: u32 = 2;
const QUIET: Duration = Duration::from_secs(1);
/// A stream that has lasted so long works: what goes wrong after it is news.
const STEADY: Duration = Duration::from_secs(60);
const DRY: &str = "no samples come any more, though it answers";
const NO_CLOCK: &str = "no samples come any more: it has no clock chip (rtc: false), and its firmware takes samples for one \
     second only then; p,q and v,i_RMS work";
/// A meter that is gone for so long is gone, whatever it could keep.
const LONGEST_STALL_S: f64 = 60.0;
