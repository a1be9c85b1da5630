//! The meters of each make: what is configured of them, what earlier runs left, the adapters that own
//! them, and the links that they are heard on. A new make is added here.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use meter_protocols::brultech::Packet;
use meter_protocols::dsmr::Key;
use tokio_util::sync::CancellationToken;

use super::open::{OpenLink, open_link};
use super::parts::{spawn_adapter, spawn_part};
use super::smartmeters::{self, Smartmeters};
use crate::adapters::brultech::{self, Ears, LinkSettings, Operator, Switchboard};
use crate::adapters::fleet::{Adapter, Left, LinkId, Mailbox, MeterSettings};
use crate::adapters::fluksometer::{self, Listener, Shared};
use crate::adapters::p1;
use crate::adapters::smartmeter;
use crate::broker::{FilterError, Link};
use crate::bus::Waveforms;
use crate::command::desk::Routes;
use crate::command::directory::Expected;
use crate::config::Config;
use crate::history::History;
use crate::ledger::LedgerQueue;
use crate::links;
use crate::metrics::Metrics;
use crate::model::{DeviceId, Make};
use crate::publish::Authored;
use crate::registry::change::ChangesIn;
use crate::store::{Store, StoreError};
use crate::task::Group;
use crate::transport::TransportError;

/// What is configured of meters, with the ports of their links taken.
#[derive(Debug)]
pub(super) struct Plans {
    brultech: Vec<MeterSettings>,
    brultech_links: Vec<LinkSettings>,
    fluksometers: fluksometer::Plan,
    ports: Vec<MeterSettings>,
    port_keys: Vec<Vec<Key>>,
    smartmeters: smartmeter::Plan,
    links: Vec<(Make, LinkId, OpenLink)>,
}

impl Plans {
    /// Takes the ports.
    ///
    /// # Errors
    /// The first that is not to be had.
    pub(super) async fn open(config: &Config) -> Result<Plans, TransportError> {
        let plan = links::plan(&config.meters);
        let (brultech, ports) = (plan.meters_of(Make::Brultech), plan.meters_of(Make::P1));
        let smartmeters = links::smartmeters(&config.meters, &plan);
        let mut links = Vec::new();
        for (place, (make, link)) in plan.links.into_iter().enumerate() {
            let opened = open_link(link).await?.into_iter();
            links.extend(opened.map(|link| (make, LinkId(place), link)));
        }
        let (brultech_links, fluksometers) = (plan.settings, links::fluksometers(&config.meters));
        let port_keys = plan.keys;
        Ok(Plans { brultech, brultech_links, fluksometers, ports, port_keys, smartmeters, links })
    }

    /// Where meters can dial in.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.links.iter().filter_map(|(_, _, link)| link.address()).collect()
    }

    /// Lets the gateway know whose messages on its broker are its own, also of earlier runs.
    pub(super) fn know_our_own(&self, authored: &Authored, expected: &[Expected]) {
        for meter in expected {
            authored.add_name(&meter.name, meter.make, meter.serial.as_ref());
        }
        let ours = expected.iter().filter(|meter| meter.make != Make::Fluksometer);
        for meter in ours {
            if let Some(serial) = &meter.serial {
                authored.add(DeviceId::derive(meter.make, serial));
            }
        }
        let entries = self.brultech.iter().chain(&self.ports).chain(&self.smartmeters.meters);
        entries.filter_map(|entry| entry.id).for_each(|id| authored.add(id));
    }

    /// Whether there is no meter to be heard.
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
            && self.fluksometers.links.is_empty()
            && self.smartmeters.meters.is_empty()
    }
}

/// What earlier runs left of the meters.
#[derive(Debug)]
pub(super) struct Kept {
    brultech: Left,
    fluksometers: Left,
    ports: Left,
    smartmeters: Left,
}

impl Kept {
    /// Reads it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) fn load(store: &Store) -> Result<Kept, StoreError> {
        Ok(Kept {
            brultech: Left::load(store, Make::Brultech)?,
            fluksometers: Left::load(store, Make::Fluksometer)?,
            ports: Left::load(store, Make::P1)?,
            smartmeters: Left::load(store, Make::Smartmeter)?,
        })
    }

    /// The meters that can be expected, those of the configuration before those of the disk.
    pub(super) fn expected(&self, plans: &Plans) -> Vec<Expected> {
        let mut expected = self.brultech.expected(&plans.brultech);
        expected.extend(self.fluksometers.expected(&plans.fluksometers.meters));
        expected.extend(self.ports.expected(&plans.ports));
        expected.extend(self.smartmeters.expected(&plans.smartmeters.meters));
        expected
    }
}

/// Who makes changes to the meters of a make.
pub(super) type Changers = Vec<(Make, ChangesIn)>;

/// The adapters, wired and not started yet.
pub(super) struct Makes {
    links: Vec<(Make, LinkId, OpenLink)>,
    /// By link.
    port_keys: Vec<Vec<Key>>,
    switchboard: Switchboard,
    brultech: (Adapter<brultech::Meter>, Operator),
    fluksometers: Adapter<fluksometer::Meter>,
    ports: Adapter<p1::Meter>,
    smartmeters: Smartmeters,
    /// On the gateway's broker.
    devices: Option<smartmeter::Listener>,
    listeners: Vec<Listener>,
    mailboxes: Mailboxes,
    metrics: Metrics,
}

/// Where connections leave what they heard. An adapter serves requests without any link, too, and ends
/// with the last of these.
#[derive(Clone)]
pub(super) struct Mailboxes {
    brultech: Mailbox<Packet>,
    fluksometers: Mailbox<fluksometer::Frame>,
    ports: Mailbox<p1::Measured>,
    #[expect(dead_code, reason = "its adapter ends with it; connections have clones of their own")]
    smartmeters: Mailbox<smartmeter::Frame>,
}

impl Makes {
    /// Makes the adapters; what they listen to on the gateway's broker, they listen to from here on.
    /// Answers how commands reach them, and who makes changes to which meters.
    ///
    /// # Errors
    /// When a topic of the broker cannot be listened to.
    pub(super) fn new(
        mut plans: Plans,
        kept: &Kept,
        (link, authored, history, waveforms): (Link, Authored, Option<History>, Waveforms),
        ledger: &LedgerQueue,
        metrics: &Metrics,
    ) -> Result<(Makes, Routes, Changers), FilterError> {
        let mut link_settings = std::mem::take(&mut plans.brultech_links);
        link_settings.iter_mut().for_each(|link| link.pass_on(&kept.brultech));
        let switchboard = Switchboard::new(link_settings);
        let (operator, jobs) = Operator::new(switchboard.clone(), metrics.clone());
        let mut routes = Routes::default();
        let reach = switchboard.clone();
        routes.add_reaching(Make::Brultech, jobs, Arc::new(move |serial| reach.reaches(serial)));
        let parts = || (Arc::clone(ledger), metrics.clone());
        let (settings, (queue, counts)) = (plans.brultech.clone(), parts());
        let (brultech, packets, brultech_changes) = Adapter::new(settings, queue, counts);
        let (settings, (queue, counts)) = (plans.fluksometers.meters.clone(), parts());
        let (fluksometers, frames, fluksometer_changes) = Adapter::new(settings, queue, counts);
        let (settings, (queue, counts)) = (plans.ports.clone(), parts());
        let (ports, telegrams, port_changes) = Adapter::new(settings, queue, counts);
        let (smartmeters, smartmeter_changes) = Smartmeters::new(
            &plans.smartmeters,
            &kept.smartmeters,
            waveforms,
            &mut routes,
            parts(),
        );
        // The one whose serial numbers are told apart most easily comes first.
        let owners = vec![
            (Make::Brultech, brultech_changes),
            (Make::Fluksometer, fluksometer_changes),
            (Make::P1, port_changes),
            (Make::Smartmeter, smartmeter_changes),
        ];
        let mailboxes = Mailboxes {
            brultech: packets,
            fluksometers: frames,
            ports: telegrams,
            smartmeters: smartmeters.shared.mailbox.clone(),
        };
        let here = (link.clone(), authored.clone());
        let devices = smartmeters.listener(&plans.smartmeters, &kept.smartmeters, here)?;
        let shared = Shared::new(link, authored, mailboxes.fluksometers.clone(), metrics.clone())
            .with_history(history);
        let listeners = fluksometer::listeners(&plans.fluksometers, &kept.fluksometers, shared)?;
        let makes = Makes {
            links: plans.links,
            port_keys: plans.port_keys,
            switchboard,
            brultech: (brultech, operator),
            fluksometers,
            ports,
            smartmeters,
            devices,
            listeners,
            mailboxes,
            metrics: metrics.clone(),
        };
        Ok((makes, routes, owners))
    }

    /// Starts adapters and links. What is returned is to be let go when the links have ended.
    pub(super) fn start(
        self,
        (adapters, links): (&mut Group, &mut Group),
        data_dir: &Path,
        stop: &CancellationToken,
    ) -> Mailboxes {
        let Makes { switchboard, mailboxes, metrics, .. } = self;
        let (brultech, operator) = self.brultech;
        let run = |operator: Arc<Operator>, stop| async move { operator.run(stop).await };
        spawn_part(adapters, "brultech commands", operator, run, stop, &metrics);
        spawn_adapter(adapters, brultech, data_dir, stop, &metrics);
        spawn_adapter(adapters, self.fluksometers, data_dir, stop, &metrics);
        spawn_adapter(adapters, self.ports, data_dir, stop, &metrics);
        let smartmeters: smartmeters::Shared = self.smartmeters.start(adapters, data_dir, stop);
        if let Some(devices) = self.devices {
            let run =
                |devices: Arc<smartmeter::Listener>, stop| async move { devices.run(stop).await };
            spawn_part(links, "smartmeters on the broker", devices, run, stop, &metrics);
        }
        for listener in self.listeners {
            let name = listener.name();
            let run = |listener: Arc<Listener>, stop| async move { listener.run(stop).await };
            spawn_part(links, &name, listener, run, stop, &metrics);
        }
        for (make, id, link) in self.links {
            let (mailboxes, counts) = (mailboxes.clone(), metrics.clone());
            let (stop, metrics) = (stop.clone(), metrics.clone());
            match make {
                Make::Brultech => {
                    let switchboard = switchboard.clone();
                    let ears = move |peer| {
                        Ears::new(id, peer, mailboxes.brultech.clone(), counts.clone())
                            .with_voice(&switchboard)
                    };
                    link.spawn(links, ears, stop, metrics);
                }
                Make::P1 => {
                    let mailbox = mailboxes.ports;
                    let keys = self.port_keys.get(id.0).cloned().unwrap_or_default();
                    let ears = move |peer| {
                        p1::Ears::new(id, peer, mailbox.clone(), counts.clone())
                            .with_keys(keys.clone())
                    };
                    link.spawn(links, ears, stop, metrics);
                }
                Make::Smartmeter => {
                    let way = (link.is_serial(), link.address().is_some());
                    let shared = smartmeters.clone();
                    let ears = move |peer| shared.ears(id, peer, way);
                    link.spawn(links, ears, stop, metrics);
                }
                // They have no ports of their own: the listeners above.
                Make::Fluksometer => {}
            }
        }
        mailboxes
    }
}
