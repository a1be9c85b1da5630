//! What one request comes to: an answer at once, or a place in the queue of its meter.
//!
//! What the latest readings tell is answered at once, also while the meter works on something.
//! What only the meter can do goes into its *lane*: one command of a meter is with its adapter at a
//! time, in the order they came, and lanes know nothing of each other.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::directory::Meter;
use super::grammar::{Reply, Request, Verdict};
use super::lane::{LANE, Lane, Waiting};
use super::outbox::{Asker, Outbox, echo, reply};
use super::{Answer, Command, CommandError, Jobs, answers};
use crate::model::{Make, Model};
use crate::publish::Guests;
use crate::streams::record::Orders;

/// Which adapter takes the commands of which make.
#[derive(Debug, Clone, Default)]
pub struct Routes(HashMap<Make, Route>);

/// The way to one adapter.
#[derive(Clone)]
struct Route {
    jobs: Jobs,
    reach: Reach,
}

/// Tells by its serial number whether a meter that says nothing can still be spoken to.
pub type Reach = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl Routes {
    /// Commands of this make go to `jobs`, while their meter can be heard.
    pub fn add(&mut self, make: Make, jobs: Jobs) {
        self.add_reaching(make, jobs, Arc::new(|_| false));
    }

    /// The same, and also where `reach` says that a silent meter is connected: one whose real-time
    /// mode is off must be told by a command to speak again. `reach` must not block.
    pub fn add_reaching(&mut self, make: Make, jobs: Jobs, reach: Reach) {
        self.0.insert(make, Route { jobs, reach });
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("jobs", &self.jobs).finish_non_exhaustive()
    }
}

/// Answers requests, and keeps the lanes.
#[derive(Debug)]
pub(super) struct Desk {
    out: Outbox,
    routes: Routes,
    recorders: Orders,
    lanes: HashMap<(Make, Arc<str>), mpsc::Sender<Waiting>>,
    tasks: JoinSet<()>,
    /// Those who wait for what meters reply that hear commands themselves.
    listening: JoinSet<()>,
    stop: CancellationToken,
}

impl Desk {
    pub(super) fn new(out: Outbox, routes: Routes, stop: CancellationToken) -> Desk {
        let (recorders, lanes) = (Orders::default(), HashMap::new());
        let (tasks, listening) = (JoinSet::new(), JoinSet::new());
        Desk { out, routes, recorders, lanes, tasks, listening, stop }
    }

    pub(super) fn with_recorders(self, recorders: Orders) -> Desk {
        Desk { recorders, ..self }
    }

    /// A command for one meter.
    pub(super) async fn command(&mut self, meter: &Meter, request: Request, asker: Asker) {
        if request.command.name == "record" {
            return self.record(meter, request, asker).await;
        }
        let (known, asker) = match answers::answer(&request.command, meter) {
            Some(outcome) if !self.meter_says_more(meter, &request.command, &outcome) => {
                let reply = reply(&request.echo, outcome);
                return self.out.reply(meter.name(), reply, asker).await;
            }
            Some(outcome) => (outcome.ok(), asker),
            None => (None, asker),
        };
        if let Err((error, asker)) = self.put(meter, request.clone(), asker, known) {
            let reply = Reply::failed(&request.echo, &error);
            self.out.reply(meter.name(), reply, asker).await;
        }
    }

    /// Whether a meter that can be spoken to is asked although the gateway has an answer: a SmartMeter's
    /// own words belong to `info`, and it may know what its readings do not tell.
    fn meter_says_more(
        &self,
        meter: &Meter,
        command: &Command,
        outcome: &Result<Answer, CommandError>,
    ) -> bool {
        let more = match outcome {
            Ok(_) => command.name == "info",
            Err(CommandError::Invalid(_)) => false,
            Err(_) => command.arguments.is_empty(),
        };
        let reaches = |serial: &Arc<str>| {
            let route = self.routes.0.get(&Make::Smartmeter);
            route.is_some_and(|route| (route.reach)(serial))
        };
        more && meter.make() == Make::Smartmeter && meter.serial().is_some_and(reaches)
    }

    /// A command that the meter has heard itself: its reply is under its own name, without the `id`. What
    /// is missing is added.
    pub(super) async fn overhear(&mut self, meter: &Meter, request: Request, guests: Guests) {
        while self.listening.try_join_next().is_some() {}
        let name = Arc::clone(meter.name());
        let Some(serial) = meter.serial().map(Arc::clone) else { return };
        if self.listening.len() >= LISTENING {
            let reply = Reply::failed(&request.echo, &CommandError::Busy);
            return self.out.reply(&name, reply, Asker::Topic).await;
        }
        let (out, stop) = (self.out.clone(), self.stop.clone());
        self.listening.spawn(async move {
            let cmd = &*request.command.name;
            let patience = if cmd == "mqttServer" { SLOW } else { PATIENCE };
            let heard = tokio::time::timeout(patience, guests.replied(&serial, cmd));
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => Err(CommandError::Lost),
                heard = heard => match heard {
                    // It says so itself, and no more was asked for.
                    Ok(_) if serial == name && request.echo.id.is_none() => return,
                    Ok(outcome) => outcome,
                    // These it answers by being gone.
                    Err(_) if RESTARTS.contains(&cmd) => return,
                    Err(_) => Err(CommandError::Unreachable(format!(
                        "the meter did not answer within {} s; over MQTT it cannot send long replies: an entry \
                         with link: {{connect: …}} and this serial_number has no such limit",
                        patience.as_secs()
                    ))),
                },
            };
            out.reply(&name, reply(&request.echo, outcome), Asker::Topic).await;
        });
    }

    /// `record`: answered by the recorder of the meter, which may have to wait for the disk.
    async fn record(&mut self, meter: &Meter, request: Request, asker: Asker) {
        let Request { command, echo } = request;
        let name = Arc::clone(meter.name());
        let serial = meter.serial().map(|serial| &**serial);
        let answer = match self.recorders.hand_over(&name, serial, &command) {
            Ok(answer) => answer,
            Err(error) => {
                return self.out.reply(&name, Reply::failed(&echo, &error), asker).await;
            }
        };
        let (out, stop) = (self.out.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let outcome = tokio::select! {
                biased;
                outcome = answer => outcome,
                () = stop.cancelled() => Err(CommandError::Lost),
            };
            out.reply(&name, reply(&echo, outcome), asker).await;
        });
    }

    /// A momentary value of one meter.
    pub(super) async fn sample(&self, meter: &Meter, payload: &[u8]) {
        let reply = match answers::sample(payload, meter) {
            Ok(answer) => Reply {
                text: serde_json::Value::Object(answer).to_string(),
                verdict: Verdict::Done,
            },
            Err(error) => Reply::failed(&echo("sample"), &error),
        };
        self.out.reply(meter.name(), reply, Asker::Topic).await;
    }

    /// The relay of one meter.
    pub(super) async fn switch(&mut self, meter: &Meter, payload: &[u8]) {
        let echo = echo("switch");
        let outcome = match without_relay(meter) {
            Some(whose) => Err(CommandError::Refused(format!("{whose} has no relay"))),
            None => switching(payload),
        };
        match outcome {
            Ok(command) => self.command(meter, Request { command, echo }, Asker::Topic).await,
            Err(error) => {
                self.out.reply(meter.name(), Reply::failed(&echo, &error), Asker::Topic).await;
            }
        }
    }

    /// Into the lane of the meter.
    fn put(
        &mut self,
        meter: &Meter,
        request: Request,
        asker: Asker,
        known: Option<Answer>,
    ) -> Result<(), (CommandError, Asker)> {
        let Some(route) = self.routes.0.get(&meter.make()) else {
            let error = match meter.make() {
                Make::P1 => CommandError::Refused(ONE_WAY.to_owned()),
                Make::Brultech | Make::Fluksometer | Make::Smartmeter => {
                    CommandError::Unknown(request.command.name)
                }
            };
            return Err((error, asker));
        };
        let reachable = |serial: &Arc<str>| meter.is_online() || (route.reach)(serial);
        let Some(serial) = meter.serial().filter(|serial| reachable(serial)) else {
            return Err((CommandError::Offline, asker));
        };
        let key = (meter.make(), Arc::clone(serial));
        let lane = self.lanes.entry(key).or_insert_with(|| {
            let (sender, queue) = mpsc::channel(LANE);
            let lane = Lane {
                serial: Arc::clone(serial),
                jobs: route.jobs.clone(),
                out: self.out.clone(),
                stop: self.stop.clone(),
            };
            self.tasks.spawn(lane.run(queue));
            sender
        });
        let name = Arc::clone(meter.name());
        lane.try_send(Waiting { name, request, asker, known }).map_err(|error| match error {
            TrySendError::Full(waiting) => (CommandError::Busy, waiting.asker),
            TrySendError::Closed(waiting) => (CommandError::Lost, waiting.asker),
        })
    }

    /// The next lane that ends, which none does by itself. Pending while there is no lane.
    pub(super) async fn lane_ended(&mut self) {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::error!(%error, "the queue of a meter's commands failed; it begins anew");
            }
        }
        self.lanes.retain(|_, lane| !lane.is_closed());
    }

    /// Answers what still waits, after `stop`.
    pub(super) async fn finish(mut self) {
        self.lanes.clear();
        while self.tasks.join_next().await.is_some() {}
        while self.listening.join_next().await.is_some() {}
    }
}

const ONE_WAY: &str = "a smart meter's customer port only speaks: it takes no commands and has no settings; info, \
                       getPower, getVoltage, getCurrent and getEnergy are answered from its telegrams";

/// Whose meter it is, where that has no relay. Of a SmartMeter or PowerMeter only being heard tells.
fn without_relay(meter: &Meter) -> Option<&'static str> {
    let model = match meter {
        Meter::Heard(heard) => Some(heard.device.model),
        Meter::Expected(_) => None,
    };
    match (meter.make(), model) {
        (Make::Brultech, _) => Some("a Brultech meter"),
        (Make::Fluksometer, _) => Some("a Fluksometer"),
        (Make::P1, _) => Some("a smart meter's customer port"),
        (Make::Smartmeter, Some(Model::Smartmeter)) => Some("a SmartMeter"),
        (Make::Smartmeter, _) => None,
    }
}

/// What the topic `switch` of a meter takes, as the firmware does: lower case only.
///
/// # Errors
/// [`CommandError::Invalid`] for anything else.
pub(super) fn switching(payload: &[u8]) -> Result<Command, CommandError> {
    let value = match payload {
        b"on" | b"true" => 1,
        b"off" | b"false" => 0,
        _ => {
            let said = String::from_utf8_lossy(payload);
            let said = crate::log::shortened(&said);
            return Err(CommandError::Invalid(format!(
                "the relay takes on, off, true or false in lower case, not {said:?}; the command \
                 {{\"cmd\":\"switch\",\"payload\":{{\"value\":-1}}}} turns it round"
            )));
        }
    };
    let arguments = Map::from_iter([("payload".to_owned(), json!({"value": value}))]);
    Ok(Command { name: "switch".to_owned(), arguments })
}

/// How long a meter has for a reply to what it heard itself.
const PATIENCE: Duration = Duration::from_secs(10);
const SLOW: Duration = Duration::from_secs(30);
/// Replies that are waited for at a time.
const LISTENING: usize = 64;
/// What a meter does instead of replying.
const RESTARTS: [&str; 3] = ["restart", "factoryReset", "basicReset"];
