//! From the entries of kind `smartmeter` to what their adapter and their connections want to know.

use std::sync::Arc;

use super::{Plan as Links, meter_settings};
use crate::adapters::fleet::LinkId;
use crate::adapters::smartmeter::{EntrySettings, POLL, Plan};
use crate::config::link::{Link, MqttSource};
use crate::config::meter::{Kind, Meter};
use crate::model::Make;

/// `links`: the plan of all entries, in which those that are dialled, listened for or on a serial port
/// have their links already. Devices on the gateway's broker share one more.
pub(crate) fn plan(entries: &[Meter], links: &Links) -> Plan {
    let mut plan = Plan::default();
    let broker = LinkId(links.links.len());
    let connected = links.meters_of(Make::Smartmeter);
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Smartmeter) {
        let on_broker = matches!(entry.link, Link::Mqtt(MqttSource::Embedded));
        let settings = match on_broker {
            true => Some(meter_settings(entry, broker)),
            false => connected.iter().find(|one| *one.name == *entry.name).cloned(),
        };
        let Some(mut settings) = settings else { continue };
        if on_broker {
            plan.broker = Some(broker);
        } else {
            settings.poll = Some(entry.poll.unwrap_or(POLL));
        }
        for base in &entry.base_topics {
            if !plan.base_topics.contains(base) {
                plan.base_topics.push(base.clone());
            }
        }
        plan.entries.push(Arc::new(EntrySettings {
            name: Arc::clone(&settings.name),
            serial: settings.serial.as_deref().map(Arc::from),
            link: settings.link,
            id: settings.id,
            poll: entry.poll.unwrap_or(POLL),
            stream: entry.stream.clone(),
            energy: entry.energy,
            energy_unit: entry.energy_unit,
            scales: settings.channels.iter().map(|(key, one)| (*key, one.scales)).collect(),
        }));
        plan.meters.push(settings);
    }
    plan
}
