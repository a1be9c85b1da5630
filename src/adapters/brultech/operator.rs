//! Takes commands for Brultech meters, and has polled links polled.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::poll;
use super::requests;
use super::switchboard::Switchboard;
use crate::command::{Answer, Command, CommandError, Job, Jobs};
use crate::metrics::Metrics;
use crate::task::Group;

/// Serves jobs, many at a time; those for one line wait for each other there.
#[derive(Debug)]
pub struct Operator {
    switchboard: Switchboard,
    jobs: Mutex<mpsc::Receiver<Job>>,
    metrics: Metrics,
}

/// Jobs under way, by the meter's serial number.
type Waiting = Arc<parking_lot::Mutex<HashMap<Arc<str>, usize>>>;

impl Operator {
    /// An operator, and where jobs are left for it.
    pub fn new(switchboard: Switchboard, metrics: Metrics) -> (Operator, Jobs) {
        let (jobs, taken) = mpsc::channel(JOBS);
        (Operator { switchboard, jobs: Mutex::new(taken), metrics }, jobs)
    }

    /// Serves until `stop`. Jobs under way are then given up.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut jobs = self.jobs.lock().await;
        let waiting = Waiting::default();
        let (mut group, mut open) = (Group::default(), true);
        self.switchboard.begin_polling();
        loop {
            tokio::select! {
                job = jobs.recv(), if open => match job {
                    Some(job) => self.serve(job, &waiting, &mut group),
                    None => open = false,
                },
                connections = self.switchboard.unpolled() => for connection in connections {
                    let (switchboard, metrics) = (self.switchboard.clone(), self.metrics.clone());
                    let name = format!("polling of connection {}", connection.number);
                    group.spawn(name, async move {
                        poll::poll(switchboard, connection, metrics).await;
                        Ok::<(), Infallible>(())
                    });
                },
                Some(ended) = group.ended() => if let Some(failure) = ended.failure {
                    tracing::error!(task = ended.name, failure, "ended badly");
                },
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    fn serve(&self, job: Job, waiting: &Waiting, group: &mut Group) {
        {
            let mut waiting = waiting.lock();
            let all: usize = waiting.values().sum();
            let of_meter = waiting.entry(Arc::clone(&job.serial)).or_default();
            if *of_meter >= JOBS_OF_METER || all >= JOBS_IN_ALL {
                let _ = job.reply.send(Err(CommandError::Busy));
                return;
            }
            *of_meter += 1;
        }
        let leave = Leave { waiting: Arc::clone(waiting), serial: Arc::clone(&job.serial) };
        let switchboard = self.switchboard.clone();
        group.spawn(format!("command for {}", job.serial), async move {
            let _leave = leave;
            let outcome = perform(&switchboard, &job.serial, &job.command).await;
            let (serial, cmd) = (&job.serial, &*job.command.name);
            match &outcome {
                Ok(_) => {}
                // The sender's own mistake, found at once: whoever repeats it must not fill the log.
                Err(error @ (CommandError::Unknown(_) | CommandError::Invalid(_))) => {
                    tracing::debug!(%serial, cmd, %error, "a command was refused");
                }
                Err(error) => tracing::info!(%serial, cmd, %error, "a command failed"),
            }
            // Whoever asked may be gone.
            let _ = job.reply.send(outcome);
            Ok::<(), Infallible>(())
        });
    }
}

/// One less, also when the job ended in a fault.
struct Leave {
    waiting: Waiting,
    serial: Arc<str>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        if let Some(count) = waiting.get_mut(&self.serial) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.serial);
            }
        }
    }
}

async fn perform(
    switchboard: &Switchboard,
    serial: &str,
    command: &Command,
) -> Result<Answer, CommandError> {
    let meter = switchboard.meter(serial).ok_or(CommandError::Offline)?;
    let request = requests::parse(command, meter.model)?;
    let mut call = Call::new(switchboard, meter, DEADLINE);
    requests::perform(request, &mut call).await
}

/// Jobs that may wait to be looked at.
const JOBS: usize = 256;
/// Jobs under way, for one meter and in all.
const JOBS_OF_METER: usize = 16;
const JOBS_IN_ALL: usize = 1024;
/// When a command is over at the latest: below the minute after which whoever asked gives up.
const DEADLINE: Duration = Duration::from_secs(50);
