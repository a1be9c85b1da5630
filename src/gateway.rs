//! Builds everything from the configuration, runs it, and takes it down again. Read this first.
//!
//! Order matters twice. At the start every port is taken before anything runs, and the broker
//! serves before a meter can be heard. At the end the data is followed: links stop, the adapter
//! sees the end of its mailbox, the ledger writes what is left and closes the bus, the publisher
//! says `offline`, and only then web and broker end.

mod addresses;
mod again;
mod error;
mod makes;
mod open;
mod parts;
mod queues;
mod running;
mod smartmeters;

use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bridge::{Bridge, Owners, Reload};
use crate::broker::{Numbers, Service, ServiceError};
use crate::bus::{Bus, Waveforms};
use crate::command::directory::Directory;
use crate::command::router::Router;
use crate::config::Config;
use crate::config::watch::Watched;
use crate::history::{self, History};
use crate::homeassistant;
use crate::homeassistant::Office;
use crate::journal::{self, Journal};
use crate::ledger;
use crate::links;
use crate::mdns;
use crate::metrics::Metrics;
use crate::publish::Publisher;
use crate::store::{DirectoryLock, Store};
use crate::streams;
use crate::sync::Librarian;
use crate::task::Group;
use crate::web::{self, About, ApiAccess, Histories, Live, MqttAccess, Tokens, Web, World};

pub use self::addresses::Addresses;
pub use self::again::keep_running;
pub use self::error::GatewayError;
use self::makes::{Kept, Makes, Plans};
use self::open::{bind_web, open_broker};
use self::parts::spawn_part;
use self::queues::Queues;
use self::running::Running;

/// A gateway whose ports are open and whose state is loaded, and which does not run yet.
#[derive(Debug)]
pub struct Gateway {
    broker: Service,
    web: Vec<TcpListener>,
    plans: Plans,
    streams: streams::Plan,
    mdns: Option<mdns::Settings>,
    store: Store,
    lock: DirectoryLock,
    journal: Journal,
    journal_writer: journal::Writer,
    history: Option<(History, history::Task)>,
    mqtt_access: MqttAccess,
    api_access: ApiAccess,
    tokens: Tokens,
    about: About,
    watched: Option<Watched>,
    homeassistant: homeassistant::Settings,
    data_dir: std::path::PathBuf,
    metrics: Metrics,
    addresses: Addresses,
    reload: Option<Reload>,
}

impl Gateway {
    /// Loads the state and takes every port. Nothing runs and nothing is accepted yet.
    ///
    /// # Errors
    /// The first port or file that is not to be had; everything taken before is given back.
    pub async fn build(config: &Config) -> Result<Gateway, GatewayError> {
        let lock = DirectoryLock::take(&config.data_dir)?;
        let store = Store::open(&config.data_dir)?;
        let metrics = Metrics::default();
        let (journal, journal_writer) =
            Journal::open(&config.data_dir, config.journal.settings(), metrics.clone())?;
        let history = config.history.settings();
        let history = history
            .map(|settings| History::open(&config.data_dir, settings, metrics.clone()))
            .transpose()?;
        if history.is_some() {
            // Before the first record: a cursor that is new begins at the end of what is there.
            journal.cursor(history::CURSOR)?;
        }
        let tokens = Tokens::load(&config.data_dir)?;
        let broker = open_broker(config).await?;
        let web = bind_web(config).await?;
        let plans = Plans::open(config).await?;
        let streams = streams::Plan::open(links::streams(config)).await?;
        let addresses = Addresses {
            broker: broker.addresses().to_vec(),
            broker_tls: broker.tls_addresses().to_vec(),
            web: web.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            meters: plans.addresses(),
            relays: streams.addresses(),
        };
        let api_access = links::api_access(config, &broker).map_err(ServiceError::from)?;
        Ok(Gateway {
            api_access,
            tokens,
            about: links::about(config, &addresses),
            watched: None,
            mqtt_access: match &broker {
                Service::Embedded(broker) => links::mqtt_access(config, broker),
                Service::External(_) => MqttAccess::Off,
            },
            broker,
            web,
            plans,
            streams,
            mdns: links::mdns(config, &addresses),
            store,
            lock,
            journal,
            journal_writer,
            history,
            homeassistant: links::homeassistant(config),
            data_dir: config.data_dir.clone(),
            metrics,
            addresses,
            reload: None,
        })
    }

    /// Where the gateway can be reached once it runs.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The readings as they are kept for those who must not lose one.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Every sensor's readings; `None`: they are not recorded.
    pub fn history(&self) -> Option<&History> {
        self.history.as_ref().map(|(history, _)| history)
    }

    /// Runs until `shutdown`, then ends in order within ten seconds.
    ///
    /// # Errors
    /// When a part that everything else needs has ended by itself.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), GatewayError> {
        self.run_once(shutdown).await.map(|_| ())
    }

    /// The same; also ends, in the same order, when it is asked to begin again with the
    /// configuration that is returned then.
    async fn run_once(
        self,
        shutdown: CancellationToken,
    ) -> Result<Option<Box<Config>>, GatewayError> {
        self.log_doors();
        let history = self.history().cloned();
        let kept = Kept::load(&self.store)?;
        let _lock = self.lock;
        let metrics = self.metrics.clone();
        let (stop_links, stop_servers) = (CancellationToken::new(), CancellationToken::new());
        let ledger_queue = ledger::queue(&metrics);
        let mut bus = Bus::default();
        let queues = Queues::open(&mut bus, &metrics);
        let numbers = self.broker.numbers();
        let waveforms = Waveforms::default();
        let (relays, mut recorders) = self.streams.begin(&waveforms, &metrics);

        let mut servers = Group::default();
        let mut publisher = Publisher::new(self.broker.link(), metrics.clone());
        if let Numbers::Embedded(stats) = &numbers {
            publisher = publisher.with_broker(Arc::clone(stats));
        }
        let expected = kept.expected(&self.plans);
        let authored = publisher.authored();
        self.plans.know_our_own(&authored, &expected);
        let guests = authored.guests().clone();
        let here = (self.broker.link(), authored, history.clone(), waveforms);
        let (makes, routes, owners) = Makes::new(self.plans, &kept, here, &ledger_queue, &metrics)?;
        publisher.begin(expected.iter().map(|meter| &*meter.name));
        let (office, offers) =
            Office::open(self.broker.link(), self.homeassistant, &self.data_dir).await?;
        let directory = Directory::new(expected.into_iter());
        let (router, commands) =
            Router::new(self.broker.link(), Arc::clone(&directory), routes, metrics.clone())?;
        let router = router.with_guests(guests).with_recorders(recorders.orders());
        let librarian = history.clone().map(|history| {
            let appearing = queues::live(&mut bus, &metrics);
            let (link, meters) = (self.broker.link(), Arc::clone(&directory));
            Librarian::new(link, meters, history, appearing, metrics.clone())
        });
        let librarian = librarian.transpose()?;
        let world = World {
            histories: history.map(|history| Histories::new(history, TimeZone::system())),
            recent: Arc::default(),
            directory: Arc::clone(&directory),
            tokens: self.tokens.clone(),
        };
        let recent = Arc::clone(&world.recent);
        let (link, roster) = (self.broker.link(), self.broker.roster());
        let recorded_to = self.broker.link();
        let live = Live::new(Arc::clone(&directory), roster, metrics.clone());
        let seen = Arc::clone(&directory);
        let (again, mut begin_again) = mpsc::channel(1);
        let (bridge, requests) = Bridge::new(
            self.broker.link(),
            Arc::clone(&directory),
            Owners::new(owners, Arc::clone(&directory)),
            metrics.clone(),
            &numbers,
        )?;
        let bridge =
            bridge.with_offers(offers).with_restart(self.reload.map(|reload| (reload, again)));
        servers.spawn("broker", self.broker.run(stop_servers.clone()));
        let web = Web::new(metrics.clone(), numbers)
            .with_mqtt(self.mqtt_access)
            .with_commands(commands, self.api_access)
            .with_requests(requests)
            .with_live(Arc::clone(&live), self.tokens)
            .with_world(world)
            .with_about(self.about);
        for listener in self.web {
            servers.spawn("web", web::serve(listener, web.clone(), stop_servers.clone()));
        }
        if let Some(watched) = self.watched {
            let changed = metrics.restart_required.clone();
            servers.spawn("configuration", watched.follow(changed, stop_servers.clone()));
        }
        let mut pipeline = Group::default();
        pipeline.spawn("publisher", publisher.run(queues.publisher));
        pipeline.spawn("home assistant", homeassistant::run(office, queues.announcer));
        pipeline.spawn("directory", directory.follow(queues.directory));
        pipeline.spawn("last minute", recent.follow(queues.last_minute));
        let hub = (live, queues.shown, link);
        parts::spawn_live(&mut pipeline, hub, &stop_links, &metrics);
        // Those who read the journal end when the writer has: everything is on disk then.
        if let Some((_, task)) = self.history {
            let journal = (self.journal, recorded_to);
            parts::spawn_history(&mut pipeline, task, journal, &stop_links, &metrics);
        }
        pipeline.spawn("journal", self.journal_writer.run(queues.journal));
        parts::spawn_recorders(&mut pipeline, &mut recorders, &metrics);
        let ledger = ledger::run(Arc::clone(&ledger_queue), self.store, bus, metrics.clone());
        pipeline.spawn("ledger", ledger);

        let mut adapters = Group::default();
        let run = |router: Arc<Router>, stop| async move { router.run(stop).await };
        spawn_part(&mut adapters, "commands", router, run, &stop_links, &metrics);
        let run = |bridge: Arc<Bridge>, stop| async move { bridge.run(stop).await };
        spawn_part(&mut adapters, "requests", bridge, run, &stop_links, &metrics);
        if let Some(librarian) = librarian {
            let run = |librarian: Arc<Librarian>, stop| async move { librarian.run(stop).await };
            spawn_part(&mut adapters, "history requests", librarian, run, &stop_links, &metrics);
        }
        let mut links = Group::default();
        let groups = (&mut adapters, &mut links);
        let mailboxes = makes.start(groups, &self.data_dir, &stop_links);
        if let Some(settings) = self.mdns {
            let watch = mdns::Watch::new(settings, seen, Arc::clone(&ledger_queue));
            let run = |watch: Arc<mdns::Watch>, stop| async move { watch.run(stop).await };
            spawn_part(&mut links, "mdns", watch, run, &stop_links, &metrics);
        }
        parts::spawn_relays(&mut links, relays, &stop_links, &metrics);

        let mut running = Running {
            links,
            mailboxes,
            adapters,
            recorders,
            ledger: ledger_queue,
            pipeline,
            servers,
            stop_links,
            stop_servers,
        };
        let mut restart = None;
        let failure = tokio::select! {
            () = shutdown.cancelled() => None,
            ended = running.ended() => ended,
            Some(config) = begin_again.recv() => {
                restart = Some(config);
                None
            }
        };
        running.stop().await;
        failure.map_or(Ok(restart), |ended| {
            let reason = ended.failure.unwrap_or_else(|| "it came to its end".to_owned());
            Err(GatewayError::Ended { name: ended.name, reason })
        })
    }

    /// Says where everything is, and what is closed.
    fn log_doors(&self) {
        self.addresses.log();
        if matches!(self.mqtt_access, MqttAccess::Unguarded) {
            tracing::warn!(
                "no mqtt over websocket: other machines can reach the web port, and nobody needs a \
                 login; write broker.users, broker.allow_anonymous: true, or broker.websocket: false"
            );
        }
        if matches!(self.api_access, ApiAccess::Unguarded) && !self.addresses.web.is_empty() {
            tracing::warn!(
                "the status page and the api are closed: other machines can reach the web port, and nobody needs a \
                 login; write broker.users, or broker.allow_anonymous: true"
            );
        }
        if self.plans.is_empty() {
            tracing::warn!("no meters are configured: only the broker runs");
        }
    }
}
