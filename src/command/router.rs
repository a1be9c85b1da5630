//! The way of a request: in from MQTT or HTTP, to the [`desk`], and its reply out.
//!
//! One task takes everything in. What clients publish waits in the gateway's subscriptions, which
//! are bounded as every client's queue is; callers over HTTP that find the mailbox full are told
//! so. Nothing here is waited for by a meter, the publisher or the broker.

mod timed;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meter_protocols::smartmeter::TimedSwitch;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::desk::{self, Desk, Routes};
use super::directory::{Directory, Meter};
use super::grammar::{self, BadRequest, Reply, Request};
use super::outbox::{Asker, Outbox};
use super::{CommandError, answers};
use crate::broker::{FilterError, Link, Received};
use crate::log::{Allowance, shortened};
use crate::metrics::Metrics;
use crate::model::Make;
use crate::publish::Guests;
use crate::streams::record::Orders;
use crate::topic::{Leaf, Topic};

/// Takes commands in and sees to their replies; see [`run`](Router::run).
#[derive(Debug)]
pub struct Router {
    out: Outbox,
    directory: Arc<Directory>,
    routes: Routes,
    guests: Guests,
    recorders: Orders,
    intake: Mutex<Intake>,
}

/// What comes in.
#[derive(Debug)]
struct Intake {
    calls: mpsc::Receiver<Call>,
    /// Opened before anybody can publish; anew when the router starts again.
    inbox: Option<Inbox>,
}

/// The way in for those who wait for their reply.
#[derive(Debug, Clone)]
pub struct Commands {
    calls: mpsc::Sender<Call>,
    directory: Arc<Directory>,
}

/// A command whose sender waits.
#[derive(Debug)]
struct Call {
    meter: String,
    request: Request,
    reply: oneshot::Sender<Reply>,
}

impl Commands {
    /// Sends a command to the meter of this name and waits for the reply: not longer than the
    /// meter's deadline, and those of the commands that are before it.
    pub async fn ask(&self, meter: &str, payload: &[u8]) -> Reply {
        let request = match grammar::read(payload) {
            Ok(request) => request,
            Err(bad) => return Reply::misunderstood(&bad),
        };
        let echo = request.echo.clone();
        let (reply, answer) = oneshot::channel();
        let call = Call { meter: meter.to_owned(), request, reply };
        match self.calls.try_send(call) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Reply::failed(&echo, &CommandError::Busy);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                return Reply::failed(&echo, &CommandError::Lost);
            }
        }
        answer.await.unwrap_or_else(|_| Reply::failed(&echo, &CommandError::Lost))
    }

    /// The meters.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}

impl Router {
    /// A router over this link, for these meters and adapters, and the way in for callers. It has
    /// subscribed then, so that nothing is missed until it runs.
    ///
    /// # Errors
    /// [`RouterError::Filter`] if the topics cannot be subscribed to.
    pub fn new(
        link: Link,
        directory: Arc<Directory>,
        routes: Routes,
        metrics: Metrics,
    ) -> Result<(Router, Commands), RouterError> {
        let (calls, queue) = mpsc::channel(CALLS);
        let inbox = Some(Inbox::open(&link)?);
        let commands = Commands { calls, directory: Arc::clone(&directory) };
        let out = Outbox { link, metrics };
        let intake = Mutex::new(Intake { calls: queue, inbox });
        let (guests, recorders) = (Guests::default(), Orders::default());
        Ok((Router { out, directory, routes, guests, recorders, intake }, commands))
    }

    /// Leaves to `guests` what they hear on the broker themselves.
    #[must_use]
    pub fn with_guests(self, guests: Guests) -> Router {
        Router { guests, ..self }
    }

    /// The same, for meters whose samples are recorded.
    #[must_use]
    pub fn with_recorders(self, recorders: Orders) -> Router {
        Router { recorders, ..self }
    }

    /// Serves until `stop`; then everything that still waits is answered that it was not done.
    ///
    /// # Errors
    /// When a subscription cannot be made or ends, which none does by itself.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), RouterError> {
        let mut intake = self.intake.lock().await;
        let mut inbox = match intake.inbox.take() {
            Some(inbox) => inbox,
            None => Inbox::open(&self.out.link)?,
        };
        let calls = &mut intake.calls;
        let desk = Desk::new(self.out.clone(), self.routes.clone(), stop.child_token())
            .with_recorders(self.recorders.clone());
        let mut clerk = Clerk { router: self, desk, notices: Notices::default() };
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                received = inbox.queue.recv() => match received {
                    Some(received) => clerk.take(&received).await,
                    None => return Err(RouterError::Ended),
                },
                Some(call) = calls.recv() => clerk.answer(call).await,
                () = clerk.desk.lane_ended() => {}
            }
        }
        // What was published before the end is answered as well. Nothing goes to a meter any more.
        let last = async {
            while let Ok(Some(received)) = timeout(LINGER, inbox.queue.recv()).await {
                clerk.take(&received).await;
            }
        };
        // A flood goes on while it may.
        let _ = timeout(LAST_ROUND, last).await;
        drop(inbox);
        while let Ok(call) = calls.try_recv() {
            let reply = Reply::failed(&call.request.echo, &CommandError::Lost);
            // Whoever asked may have gone.
            let _ = call.reply.send(reply);
        }
        clerk.desk.finish().await;
        Ok(())
    }
}

/// Why the router cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// One of the topics cannot be subscribed to.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// All subscriptions ended.
    #[error("the subscriptions for commands ended")]
    Ended,
}

/// What was published on the topics of commands. Dropping it unsubscribes.
#[derive(Debug)]
struct Inbox {
    queue: mpsc::Receiver<Received>,
    _tasks: JoinSet<()>,
}

impl Inbox {
    fn open(link: &Link) -> Result<Inbox, FilterError> {
        let (sender, queue) = mpsc::channel(INBOX);
        let mut tasks = JoinSet::new();
        for filter in Leaf::filters() {
            let (mut subscription, sender) =
                (link.subscribe_as_published(&filter)?, sender.clone());
            tasks.spawn(async move {
                while let Some(received) = subscription.recv().await {
                    if sender.send(received).await.is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Inbox { queue, _tasks: tasks })
    }
}

/// What the router's task has for itself.
struct Clerk<'a> {
    router: &'a Router,
    desk: Desk,
    notices: Notices,
}

/// Bounds of what others can make the gateway say.
#[derive(Default)]
struct Notices {
    retained: Allowance,
    nobody: Allowance,
    bad: Allowance,
    /// Names that nobody has, and when that was said: on a broker that other meters share, somebody
    /// may talk to one of those all day.
    strangers: HashMap<String, Instant>,
}

impl Notices {
    /// `Some(n)` when a name that nobody has may be told; `n` were held back before it.
    fn pass_stranger(&mut self, name: &str) -> Option<u64> {
        if self.strangers.len() >= STRANGERS {
            self.strangers.retain(|_, told| told.elapsed() < AGAIN);
        }
        let is_old = self.strangers.get(name).is_some_and(|told| told.elapsed() < AGAIN);
        if is_old || self.strangers.len() >= STRANGERS {
            self.nobody.hold_back();
            return None;
        }
        let pass = self.nobody.pass();
        if pass.is_some() {
            self.strangers.insert(name.to_owned(), Instant::now());
        }
        pass
    }
}

/// What was published on one of the topics.
#[derive(Clone, Copy)]
struct Order<'a> {
    leaf: Leaf,
    /// Of [`Leaf::Cmd`].
    request: Option<&'a Result<Request, BadRequest>>,
    payload: &'a Bytes,
}

impl Clerk<'_> {
    /// A message on one of the topics.
    async fn take(&mut self, received: &Received) {
        let Ok(Topic::Order(name, leaf)) = received.topic.parse() else { return };
        if leaf == Leaf::SwitchTs {
            return self.take_timed(received, name.as_deref()).await;
        }
        if received.retained || received.to_retain {
            if let Some(held_back) = self.notices.retained.pass() {
                let topic = shortened(&received.topic);
                tracing::warn!(
                    topic,
                    held_back,
                    "retained command ignored: publish it without retain"
                );
            }
            return;
        }
        let meters = match &name {
            Some(name) => match self.router.directory.find(name) {
                Some(meter) => vec![meter],
                None => return self.nobody(name).await,
            },
            None => self.router.directory.all(),
        };
        let request = (leaf == Leaf::Cmd).then(|| grammar::read(&received.payload));
        if let Some(Err(bad)) = &request
            && let Some(held_back) = self.notices.bad.pass()
        {
            let topic = shortened(&received.topic);
            tracing::warn!(topic, error = %bad.error, held_back, "no command");
        }
        for (count, meter) in meters.iter().enumerate() {
            let order = Order { leaf, request: request.as_ref(), payload: &received.payload };
            if self.hears_itself(meter, name.is_none()) {
                self.overhear(meter, order).await;
            } else {
                self.serve(meter, order).await;
            }
            // A broadcast may be for a thousand.
            if count % 16 == 15 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Whether the meter hears it on the broker as we do: what all are told, and what is said under its
    /// own name.
    fn hears_itself(&self, meter: &Meter, is_for_all: bool) -> bool {
        let is_there = |serial: &Arc<str>| {
            self.router.guests.is_there(serial) && (is_for_all || serial == meter.name())
        };
        meter.make() == Make::Smartmeter && meter.serial().is_some_and(is_there)
    }

    /// What the meter hears itself it does itself, once. Here only what it cannot say is answered: who it
    /// is, what is to carry an `id`, and that it does not answer.
    async fn overhear(&mut self, meter: &Meter, order: Order<'_>) {
        let is_called_so = meter.serial() == Some(meter.name());
        match (order.leaf, order.request) {
            (Leaf::Cmd, Some(Ok(request))) => {
                let name = &*request.command.name;
                let alone = is_called_so && request.echo.id.is_none();
                // These are nothing to the meter itself.
                let is_ours = matches!(name, "info" | "record" | "poll" | TimedSwitch::NAME);
                if is_ours || (!alone && answers::is_reading(name)) {
                    self.desk.command(meter, request.clone(), Asker::Topic).await;
                } else {
                    let guests = self.router.guests.clone();
                    self.desk.overhear(meter, request.clone(), guests).await;
                }
            }
            (Leaf::Cmd, Some(Err(_))) => self.serve(meter, order).await,
            (Leaf::Switch, _) if desk::switching(order.payload).is_err() => {
                self.serve(meter, order).await;
            }
            (Leaf::Sample, _) if !is_called_so => self.serve(meter, order).await,
            (Leaf::Sample | Leaf::Switch | Leaf::SwitchTs | Leaf::Cmd, _) => {}
        }
    }

    async fn serve(&mut self, meter: &Meter, order: Order<'_>) {
        let Order { leaf, request, payload } = order;
        match (leaf, request) {
            (Leaf::Switch, _) => self.desk.switch(meter, payload).await,
            (Leaf::Cmd, Some(Ok(request))) => {
                self.desk.command(meter, request.clone(), Asker::Topic).await;
            }
            (Leaf::Cmd, Some(Err(bad))) => {
                let reply = Reply::misunderstood(bad);
                self.router.out.reply(meter.name(), reply, Asker::Topic).await;
            }
            (Leaf::Sample, _) => self.desk.sample(meter, payload).await,
            // Each of these is read before.
            (Leaf::Cmd | Leaf::SwitchTs, _) => {}
        }
    }

    /// A command for a name that nobody has: there is no topic to answer on.
    async fn nobody(&mut self, name: &str) {
        // A meter has another name here than on the broker, where it is spoken to under its own.
        if self.router.guests.is_there(name) {
            return;
        }
        let meter = shortened(name);
        if let Some(held_back) = self.notices.pass_stranger(&meter) {
            tracing::warn!(meter, held_back, "a command for a meter that is not there");
            self.router.out.event_no_such_meter(&meter, held_back).await;
        }
    }

    async fn answer(&mut self, call: Call) {
        let Call { meter, request, reply } = call;
        match self.router.directory.find(&meter) {
            Some(meter) => self.desk.command(&meter, request, Asker::Caller(reply)).await,
            None => {
                let told = Reply::no_such_meter(&request.echo, &meter);
                self.router.out.reply(&meter, told, Asker::Caller(reply)).await;
            }
        }
    }
}

/// Callers that may wait for the router to look at them.
const CALLS: usize = 64;
/// Messages between subscriptions and router; what is beyond waits in the subscriptions.
const INBOX: usize = 64;
/// How long the end waits for one more message, and for all of them.
const LINGER: Duration = Duration::from_millis(50);
const LAST_ROUND: Duration = Duration::from_millis(500);
/// Names that nobody has which are remembered, and for how long.
const STRANGERS: usize = 64;
const AGAIN: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
