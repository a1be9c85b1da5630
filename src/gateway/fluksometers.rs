//! Fluksometers: no ports of their own, but links to brokers and local APIs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::parts::spawn_part;
use crate::adapters::fleet::MeterSettings;
use crate::adapters::fluksometer::Listener;
use crate::command::directory::Expected;
use crate::metrics::Metrics;
use crate::model::{DeviceId, Make};
use crate::publish::Authored;
use crate::task::Group;

/// Lets the gateway know whose messages on its broker are its own, also of earlier runs.
pub(super) fn know_our_own(authored: &Authored, expected: &[Expected], entries: &[MeterSettings]) {
    let ours = expected.iter().filter(|meter| meter.make != Make::Fluksometer);
    for meter in ours {
        if let Some(serial) = &meter.serial {
            authored.add(DeviceId::derive(meter.make, serial));
        }
    }
    for id in entries.iter().filter_map(|entry| entry.id) {
        authored.add(id);
    }
}

/// Starts the listeners.
pub(super) fn listen(
    group: &mut Group,
    listeners: Vec<Listener>,
    stop: &CancellationToken,
    metrics: &Metrics,
) {
    for listener in listeners {
        let name = listener.name();
        let run = |listener: Arc<Listener>, stop| async move { listener.run(stop).await };
        spawn_part(group, &name, listener, run, stop, metrics);
    }
}
