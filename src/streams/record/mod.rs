//! Samples to disk: WAV files that ffmpeg and numpy read, with what they do not hold in a file beside
//! each. See docs/recording.md.
//!
//! | module | has |
//! |---|---|
//! | `order` | the `record` command |
//! | `writer` | which file a piece goes to, and what happens when the disk does not take it |
//! | `file` | one recording |
//! | `wav`, `side` | its head, and what lies beside it |
//! | `shelf` | the recordings that are there already |

mod file;
mod order;
mod shelf;
mod side;
mod wav;
mod writer;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::{Wave, WaveQueue, Waveforms, Whose};
use crate::command::{Answer, Command, CommandError};
use crate::metrics::Metrics;
use crate::model::Timestamp;

use self::order::{Order, Wanted, answer};
use self::writer::{Status, Writer};

/// What is configured of one recorder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSettings {
    /// Whether it records from the start, or when it is told to.
    pub always: bool,
    /// Where the files go.
    pub directory: PathBuf,
    /// A new file is begun after so long.
    pub rotate: Duration,
    /// A new file is begun at so many bytes.
    pub rotate_size: u64,
    /// Recording pauses while fewer bytes are free.
    pub keep_free: u64,
    /// Bytes that all its files may take, above which the oldest go; 0: no limit.
    pub size: u64,
}

/// Writes the samples of one meter.
#[derive(Debug)]
pub struct Recorder {
    name: Arc<str>,
    whose: Whose,
    settings: RecordSettings,
    waveforms: Waveforms,
    metrics: Metrics,
    /// The end of the samples.
    end: CancellationToken,
    intake: Mutex<Intake>,
}

/// What only its task has.
#[derive(Debug)]
struct Intake {
    orders: mpsc::Receiver<Order>,
    switch: Switch,
    /// Where pieces wait while it is on, from before the first could come.
    queue: Option<WaveQueue>,
}

/// Whether it is to record, and until when.
#[derive(Debug, Clone, Copy)]
struct Switch {
    on: bool,
    until: Option<(Instant, Timestamp)>,
}

/// All recorders, and the way to end them: after the last sample, so that every file is whole.
#[derive(Debug, Default)]
pub struct Recorders {
    all: Vec<Recorder>,
    doors: Orders,
    end: CancellationToken,
}

/// Where `record` commands are taken. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Orders(Arc<[Door]>);

#[derive(Debug)]
struct Door {
    whose: Whose,
    waveforms: Waveforms,
    orders: mpsc::Sender<Order>,
}

impl Recorders {
    pub(super) fn new(
        records: Vec<(Arc<str>, Whose, RecordSettings)>,
        waveforms: &Waveforms,
        metrics: &Metrics,
    ) -> Recorders {
        let end = CancellationToken::new();
        let (mut all, mut doors) = (Vec::new(), Vec::new());
        for (name, whose, settings) in records {
            let (orders, received) = mpsc::channel(ORDERS);
            let switch = Switch { on: settings.always, until: None };
            let waveforms = waveforms.clone();
            let queue = settings.always.then(|| subscribe(&waveforms, &whose, metrics));
            doors.push(Door { whose: whose.clone(), waveforms: waveforms.clone(), orders });
            let intake = Intake { orders: received, switch, queue };
            all.push(Recorder {
                name,
                whose,
                settings,
                waveforms,
                metrics: metrics.clone(),
                end: end.clone(),
                intake: Mutex::new(intake),
            });
        }
        Recorders { all, doors: Orders(doors.into()), end }
    }

    /// Takes the recorders out, to be run.
    pub fn take(&mut self) -> Vec<Recorder> {
        std::mem::take(&mut self.all)
    }

    /// Where commands are taken.
    pub fn orders(&self) -> Orders {
        self.doors.clone()
    }

    /// What [`end`](Self::end) cancels.
    pub fn end_token(&self) -> CancellationToken {
        self.end.clone()
    }

    /// No sample comes any more: what waits is written, and the files are closed.
    pub fn end(&self) {
        self.end.cancel();
    }
}

impl Orders {
    /// Hands a `record` command to the recorder of a meter. What is returned is the answer on its way.
    ///
    /// # Errors
    /// When the command is none, or nothing of this meter is recorded.
    pub fn hand_over(
        &self,
        name: &str,
        serial: Option<&str>,
        command: &Command,
    ) -> Result<impl Future<Output = Result<Answer, CommandError>> + Send + 'static, CommandError>
    {
        let door = self.0.iter().find(|door| door.is_of(name, serial));
        let Some(door) = door else {
            return Err(CommandError::Refused(format!(
                "samples of {name} are not recorded: write stream.record in its entry"
            )));
        };
        let (reply, answer) = oneshot::channel();
        let order = Order { wanted: Wanted::read(command)?, reply };
        door.orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => CommandError::Busy,
            TrySendError::Closed(_) => CommandError::Lost,
        })?;
        Ok(async move {
            let answer = tokio::time::timeout(ANSWER, answer).await;
            answer.map_err(|_| CommandError::Silent(ANSWER))?.map_err(|_| CommandError::Lost)
        })
    }
}

impl Door {
    fn is_of(&self, name: &str, serial: Option<&str>) -> bool {
        match (self.waveforms.serial(&self.whose), &self.whose) {
            (Some(known), _) if serial.is_some() => serial == Some(&*known),
            (_, Whose::Name(own)) => **own == *name,
            (_, Whose::Serial(_)) => false,
        }
    }
}

impl Recorder {
    /// What its task is called.
    pub fn name(&self) -> String {
        format!("recorder of {}", self.name)
    }

    /// Records until the [`end`](Recorders::end).
    ///
    /// # Errors
    /// When the writing of a batch ended in a fault of this program.
    pub async fn run(self: Arc<Self>) -> Result<(), JoinError> {
        let mut intake = self.intake.lock().await;
        let Intake { orders, switch, queue } = &mut *intake;
        let mut writer = Writer::new(&self.name, self.settings.clone(), self.metrics.clone());
        writer = spawn_blocking(move || {
            writer.settle();
            writer
        })
        .await?;
        let mut waves = VecDeque::new();
        loop {
            let mut order = None;
            tokio::select! {
                biased;
                () = self.end.cancelled() => break,
                Some(one) = orders.recv() => order = Some(one),
                () = drained(queue.as_ref(), &mut waves) => {}
            }
            if let (Some(_), Some(queue)) = (&order, &*queue) {
                // What came before the command is still to be written.
                let _ = tokio::time::timeout(Duration::ZERO, queue.drain(&mut waves)).await;
            }
            let mut status;
            let off = (!switch.on).then_some(OFF);
            (writer, status) = work(writer, std::mem::take(&mut waves), off).await?;
            let off = switch.turn(order.as_ref().map(|order| order.wanted));
            if off.is_some() {
                (writer, status) = work(writer, VecDeque::new(), off).await?;
            }
            match (switch.on, &queue) {
                (true, None) => {
                    *queue = Some(subscribe(&self.waveforms, &self.whose, &self.metrics));
                }
                (false, Some(_)) => *queue = None,
                _ => {}
            }
            match order {
                Some(order) => {
                    let until = switch.until.map(|(_, until)| until);
                    // Whoever asked may have gone.
                    let _ = order.reply.send(answer(switch.on, until, &status));
                }
                // What comes meanwhile is written in one go.
                None => self.rest().await,
            }
        }
        if let Some(queue) = queue.take() {
            queue.close();
            queue.drain(&mut waves).await;
        }
        // In one go: what has been begun is finished, also when nobody can wait for it any more.
        spawn_blocking(move || {
            if !waves.is_empty() {
                writer.work(waves, None);
            }
            writer.work(VecDeque::new(), Some("the gateway stopped"));
        })
        .await
    }

    async fn rest(&self) {
        // Either way there is something to do.
        let _ = tokio::time::timeout(PACE, self.end.cancelled()).await;
    }
}

impl Switch {
    /// Turns as it is told, or as time does; answers why nothing is to be written, if so.
    fn turn(&mut self, wanted: Option<Wanted>) -> Option<&'static str> {
        match wanted {
            None | Some(Wanted::State) => {}
            Some(Wanted::Off) => *self = Switch { on: false, until: None },
            Some(Wanted::On(span)) => {
                let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
                let end = |span| {
                    (Instant::now() + span, Timestamp(Timestamp::now().0.saturating_add(ms(span))))
                };
                *self = Switch { on: true, until: span.map(end) };
            }
        }
        if self.until.is_some_and(|(until, _)| until <= Instant::now()) {
            *self = Switch { on: false, until: None };
            return Some("its time was over");
        }
        (!self.on).then_some(OFF)
    }
}

fn subscribe(waveforms: &Waveforms, whose: &Whose, metrics: &Metrics) -> WaveQueue {
    waveforms.subscribe_to(whose, QUEUE, metrics.record_dropped.clone())
}

/// Writes a batch where that may block.
async fn work(
    mut writer: Writer,
    waves: VecDeque<Wave>,
    off: Option<&'static str>,
) -> Result<(Writer, Status), JoinError> {
    spawn_blocking(move || {
        let status = writer.work(waves, off);
        (writer, status)
    })
    .await
}

/// Waits for pieces; a second at most, since time also ends things.
async fn drained(queue: Option<&WaveQueue>, waves: &mut VecDeque<Wave>) {
    let Some(queue) = queue else { return std::future::pending().await };
    // Whatever came in time has been taken.
    let _ = tokio::time::timeout(TICK, queue.drain(waves)).await;
}

/// Why nothing is written while it is off.
const OFF: &str = "it was switched off";
/// Pieces that may wait for the disk, about a tenth of a second each.
const QUEUE: usize = 600;
/// How often what has come is written.
const PACE: Duration = Duration::from_millis(200);
/// How often time is looked at when nothing comes.
const TICK: Duration = Duration::from_secs(1);
/// Commands that may wait.
const ORDERS: usize = 8;
/// How long one may take: closing a file waits for the disk.
const ANSWER: Duration = Duration::from_secs(20);
