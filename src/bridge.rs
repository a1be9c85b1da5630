//! What is asked of the gateway itself: `meterbridge/bridge/request/<what>`, answered on
//! `meterbridge/bridge/response/<what>`, and the same over HTTP.
//!
//! One task takes requests one after the other. A change of a meter goes to the adapter that owns it
//! and is answered once it is on disk; nothing here is waited for by a meter or the publisher.

mod owners;
pub mod request;

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::request::{Bad, Request, Response, Status, What};
use crate::broker::{FilterError, Link, Message, Numbers, QoS, Received, Subscription};
use crate::command::directory::{Directory, Meter};
use crate::config::Config;
use crate::homeassistant::{OfferError, Offers};
use crate::log::{Allowance, shortened};
use crate::metrics::Metrics;
use crate::publish::{self, Described, Health};
use crate::registry::change::Change;
use crate::topic::Topic;

pub use self::owners::Owners;

/// Reads the configuration anew: the configuration, or all its mistakes in words.
#[derive(Clone)]
pub struct Reload(Arc<dyn Fn() -> Result<Config, String> + Send + Sync>);

impl Reload {
    /// Reads it by `read`, which may block.
    pub fn new(read: impl Fn() -> Result<Config, String> + Send + Sync + 'static) -> Reload {
        Reload(Arc::new(read))
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}

/// Where a configuration goes with which the gateway is to begin again.
pub type Again = mpsc::Sender<Box<Config>>;

/// Takes requests in and sees to their responses; see [`run`](Bridge::run).
pub struct Bridge {
    link: Link,
    directory: Arc<Directory>,
    owners: Owners,
    metrics: Metrics,
    restart: Option<(Reload, Again)>,
    offers: Option<Offers>,
    intake: Mutex<Intake>,
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("owners", &self.owners).finish_non_exhaustive()
    }
}

struct Intake {
    calls: mpsc::Receiver<Call>,
    /// Opened before anybody can publish; anew when the bridge starts again.
    inbox: Option<Subscription>,
    health: Health,
    retained: Allowance,
    strange: Allowance,
}

/// A request whose sender waits.
#[derive(Debug)]
struct Call {
    request: Result<Request, Bad>,
    reply: oneshot::Sender<Response>,
}

/// The way in for those who wait for their response.
#[derive(Debug, Clone)]
pub struct Requests(mpsc::Sender<Call>);

impl Requests {
    /// Asks for `what` and waits for the response.
    pub async fn ask(&self, what: &str, payload: &[u8]) -> Response {
        let request = request::read(what, payload);
        let transaction = match &request {
            Ok(request) => request.transaction.clone(),
            Err(bad) => bad.transaction.clone(),
        };
        let lost = |words: &str| Response::failed(Status::Unavailable, words, transaction.clone());
        let (reply, answer) = oneshot::channel();
        match self.0.try_send(Call { request, reply }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return lost(BUSY),
            Err(mpsc::error::TrySendError::Closed(_)) => return lost(STOPPING),
        }
        answer.await.unwrap_or_else(|_| lost(STOPPING))
    }
}

/// Why requests cannot be taken any more.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The topics cannot be subscribed to.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The subscription ended.
    #[error("the subscription for requests ended")]
    Ended,
}

impl Bridge {
    /// A bridge over this link for these meters, and the way in for callers. It has subscribed then.
    ///
    /// # Errors
    /// [`BridgeError::Filter`] if the topics cannot be subscribed to.
    pub fn new(
        link: Link,
        directory: Arc<Directory>,
        owners: Owners,
        metrics: Metrics,
        numbers: &Numbers,
    ) -> Result<(Bridge, Requests), BridgeError> {
        let (calls, queue) = mpsc::channel(CALLS);
        let health = match numbers {
            Numbers::Embedded(stats) => Health::new().with_broker(Arc::clone(stats)),
            Numbers::External(_) => Health::new(),
        };
        let intake = Mutex::new(Intake {
            calls: queue,
            inbox: Some(link.subscribe(Topic::REQUESTS)?),
            health,
            retained: Allowance::default(),
            strange: Allowance::default(),
        });
        let bridge =
            Bridge { link, directory, owners, metrics, restart: None, offers: None, intake };
        Ok((bridge, Requests(calls)))
    }

    /// The same, with a way to offer again what was deleted in Home Assistant.
    #[must_use]
    pub fn with_offers(self, offers: Offers) -> Bridge {
        Bridge { offers: Some(offers), ..self }
    }

    /// Lets the request `restart` read the configuration by `reload` and hand it to `again`.
    #[must_use]
    pub fn with_restart(self, restart: Option<(Reload, Again)>) -> Bridge {
        Bridge { restart, ..self }
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// When the subscription cannot be made or ends, which it does not by itself.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), BridgeError> {
        let mut intake = self.intake.lock().await;
        let intake = &mut *intake;
        let mut inbox = match intake.inbox.take() {
            Some(inbox) => inbox,
            None => self.link.subscribe(Topic::REQUESTS)?,
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                received = inbox.recv() => match received {
                    Some(received) => self.take(&received, intake).await,
                    None => return Err(BridgeError::Ended),
                },
                Some(call) = intake.calls.recv() => {
                    let (response, again) = self.answer(call.request, &mut intake.health).await;
                    // Whoever asked may have gone.
                    let _ = call.reply.send(response);
                    begin_again(again).await;
                }
            }
        }
    }

    /// A message on one of the topics.
    async fn take(&self, received: &Received, intake: &mut Intake) {
        let Ok(Topic::Request(what)) = received.topic.parse() else { return };
        let shown = shortened(&what);
        if received.retained || received.to_retain {
            if let Some(held_back) = intake.retained.pass() {
                tracing::warn!(
                    what = shown,
                    held_back,
                    "retained request ignored: publish it without retain"
                );
            }
            return;
        }
        if what.is_empty() || what.len() > LONGEST {
            if let Some(held_back) = intake.strange.pass() {
                tracing::warn!(what = shown, held_back, "a request that is none");
            }
            return;
        }
        let request = request::read(&what, &received.payload);
        let (response, again) = self.answer(request, &mut intake.health).await;
        if response.status != Status::Done
            && let Some(held_back) = intake.strange.pass()
        {
            tracing::warn!(
                what = shown,
                held_back,
                response = response.text,
                "a request was refused"
            );
        }
        let topic = Topic::Response(what).to_string();
        let payload = response.text.as_bytes();
        let message = Message { topic: &topic, payload, qos: QoS::AtLeastOnce, retain: false };
        self.metrics.published.increment();
        self.link.publish_all(std::iter::once(message)).wait().await;
        begin_again(again).await;
    }

    async fn answer(
        &self,
        request: Result<Request, Bad>,
        health: &mut Health,
    ) -> (Response, Option<(Again, Box<Config>)>) {
        let Request { what, transaction } = match request {
            Ok(request) => request,
            Err(bad) => return (Response::bad(bad), None),
        };
        let mut again = None;
        let outcome = match what {
            What::Change(change) => self.owners.change(change).await,
            What::Announce(meter) => self.announce(meter).await,
            What::Devices => self.devices().await,
            What::Health => match health.look(&self.metrics) {
                Value::Object(data) => Ok(data),
                _ => Ok(Map::new()),
            },
            What::Restart => self.reload().await.map(|config| {
                again = Some(config);
                Map::new()
            }),
        };
        let response = match outcome {
            Ok(data) => Response::done(data, transaction),
            Err((status, words)) => Response::failed(status, &words, transaction),
        };
        (response, again)
    }

    /// Has a device announced again that was deleted in Home Assistant.
    async fn announce(
        &self,
        meter: Option<String>,
    ) -> Result<Map<String, Value>, (Status, String)> {
        let Some(offers) = &self.offers else {
            return Err((Status::Unavailable, STOPPING.to_owned()));
        };
        match offers.offer(meter).await {
            Ok(ids) => Ok(Map::from_iter([("announced".to_owned(), Value::from(ids))])),
            Err(error @ OfferError::Unknown(_)) => Err((Status::NoSuchMeter, error.to_string())),
            Err(error @ OfferError::Off) => Err((Status::Refused, error.to_string())),
            Err(error @ OfferError::Lost) => Err((Status::Unavailable, error.to_string())),
        }
    }

    /// What `meterbridge/bridge/devices` has, and who was not let in.
    async fn devices(&self) -> Result<Map<String, Value>, (Status, String)> {
        let mut data = self.owners.change(Change::Strangers).await?;
        let described = self.directory.all().into_iter().filter_map(|meter| match meter {
            Meter::Heard(heard) => Some(publish::describe(&heard.device, heard.online)),
            Meter::Expected(_) => None,
        });
        let described: Vec<Described> = described.collect();
        data.shift_insert(0, "meters".to_owned(), json!(described));
        Ok(data)
    }

    /// Reads the configuration that the gateway is to begin again with.
    async fn reload(&self) -> Result<(Again, Box<Config>), (Status, String)> {
        let Some((reload, again)) = self.restart.clone() else {
            let words =
                "this gateway was not started from a configuration that could be read again";
            return Err((Status::Refused, words.to_owned()));
        };
        // It may read files that lie on a network.
        match tokio::task::spawn_blocking(move || (reload.0)()).await {
            Ok(Ok(config)) => Ok((again, Box::new(config))),
            Ok(Err(mistakes)) => Err((
                Status::Refused,
                format!("the configuration has mistakes, nothing was restarted: {mistakes}"),
            )),
            Err(_) => Err((Status::Unavailable, STOPPING.to_owned())),
        }
    }
}

/// Restarts the gateway, once the response is out.
async fn begin_again(again: Option<(Again, Box<Config>)>) {
    if let Some((again, config)) = again {
        tracing::info!("restarting by request");
        // The gateway may be stopping already.
        let _ = again.send(config).await;
    }
}

/// Callers that may wait.
const CALLS: usize = 16;
/// The longest name of a request that is answered.
const LONGEST: usize = 64;
const BUSY: &str = "the gateway has too much to do; try again later";
const STOPPING: &str = "the gateway could not do it";
const NOT_ON_DISK: &str = "the change holds now, but it could not be written to disk yet: a restart \
                           before that forgets it; check the disk of data_dir";
