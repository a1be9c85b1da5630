//! Takes commands for SmartMeters and PowerMeters to whichever way reaches them.

use std::convert::Infallible;

use meter_protocols::smartmeter::Kind;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::requests;
use super::switchboard::{Switchboard, Way};
use crate::command::{Answer, Command, CommandError, Job, Jobs};
use crate::task::Group;

/// Serves jobs, one of each device at a time.
#[derive(Debug)]
pub(crate) struct Operator {
    switchboard: Switchboard,
    jobs: Mutex<mpsc::Receiver<Job>>,
}

impl Operator {
    /// An operator, and where jobs are left for it.
    pub(crate) fn new(switchboard: Switchboard) -> (Operator, Jobs) {
        let (jobs, taken) = mpsc::channel(JOBS);
        (Operator { switchboard, jobs: Mutex::new(taken) }, jobs)
    }

    /// Serves until `stop`. Jobs under way are then given up.
    pub(crate) async fn run(&self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut jobs = self.jobs.lock().await;
        let (mut group, mut open, mut under_way) = (Group::default(), true, 0_usize);
        loop {
            tokio::select! {
                job = jobs.recv(), if open => match job {
                    Some(job) if under_way >= AT_ONCE => {
                        // Whoever asked may be gone.
                        let _ = job.reply.send(Err(CommandError::Busy));
                    }
                    Some(job) => {
                        under_way += 1;
                        let switchboard = self.switchboard.clone();
                        group.spawn(format!("command for {}", job.serial), serve(switchboard, job));
                    }
                    None => open = false,
                },
                Some(ended) = group.ended() => {
                    under_way = under_way.saturating_sub(1);
                    if let Some(failure) = ended.failure {
                        tracing::error!(task = ended.name, failure, "ended badly");
                    }
                }
                () = stop.cancelled() => return Ok(()),
            }
        }
    }
}

async fn serve(switchboard: Switchboard, job: Job) -> Result<(), Infallible> {
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
    Ok(())
}

async fn perform(
    switchboard: &Switchboard,
    serial: &str,
    command: &Command,
) -> Result<Answer, CommandError> {
    let (way, kind) = switchboard.best(serial).ok_or(CommandError::Offline)?;
    if way == Way::Broker && command.name == "info" {
        // The dictionary never comes that way: what the gateway knows has to do.
        return Ok(Answer::new());
    }
    if command.name == "poll" {
        return poll(switchboard, serial, way, kind).await;
    }
    let request = requests::parse(command, kind, way)?;
    switchboard.ask(serial, way, request).await
}

/// What the meter measures at this moment: each value is asked for by a command of its own.
async fn poll(
    switchboard: &Switchboard,
    serial: &str,
    way: Way,
    kind: Kind,
) -> Result<Answer, CommandError> {
    let mut answer = Answer::new();
    for name in ["getPower", "getVoltage", "getCurrent"] {
        let command = Command { name: name.to_owned(), arguments: serde_json::Map::new() };
        let mut part = switchboard.ask(serial, way, requests::parse(&command, kind, way)?).await?;
        // Each has its own unit; those of the answers are fixed: W, var, VA, V and mA.
        part.remove("unit");
        answer.extend(part);
    }
    answer.insert("unit".to_owned(), "W/var/VA/V/mA".into());
    Ok(answer)
}

/// Jobs that may wait to be looked at.
const JOBS: usize = 256;
/// Jobs under way.
const AT_ONCE: usize = 1024;
