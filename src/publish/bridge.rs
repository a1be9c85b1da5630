//! What the gateway says about itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::batch::Batch;
use crate::model::{Correction, Device, Notice, Timestamp};
use crate::topic::{BridgeTopic, Topic};

/// A meter as it stands in `meterbridge/bridge/devices`, and at the head of its entry in
/// `GET /api/meters`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Described {
    /// Its device id, 32 hexadecimal digits; null until it is known which meter it is.
    pub(crate) id: Option<String>,
    /// The `<name>` in `powermeter/<name>/…`.
    pub(crate) name: String,
    /// The maker's family: `brultech`.
    pub(crate) make: &'static str,
    /// `gem`, `ecm1240`, `ecm1220`; null until it is heard.
    pub(crate) model: Option<&'static str>,
    /// The meter's own serial number, where that is known.
    pub(crate) serial: Option<String>,
    /// Whether no entry of the configuration names it.
    pub(crate) adopted: bool,
    /// Whether nobody has said yet that it is wanted.
    pub(crate) new: bool,
    /// Whether it can be heard now.
    pub(crate) online: bool,
    /// How many sensors it has.
    pub(crate) sensors: usize,
}

/// Describes a meter that was heard.
pub(crate) fn describe(device: &Device, online: bool) -> Described {
    Described {
        id: Some(device.id.to_string()),
        name: device.name.to_string(),
        make: device.make.as_str(),
        model: Some(device.model.as_str()),
        serial: Some(device.serial.to_string()),
        adopted: device.adopted,
        new: device.new,
        online,
        sensors: device.sensors.len(),
    }
}

/// The gateway's own topics.
#[derive(Debug)]
pub(super) struct Bridge {
    started: Timestamp,
}

impl Bridge {
    pub(super) fn new(started: Timestamp) -> Bridge {
        Bridge { started }
    }

    /// `online` or `offline`, retained.
    pub(super) fn state(&self, batch: &mut Batch, online: bool) {
        let state = if online { "online" } else { "offline" };
        batch.retained(&Topic::Bridge(BridgeTopic::State), state);
    }

    /// What runs here, retained.
    /// `restart_required`: the configuration on disk is no longer the one that runs.
    pub(super) fn info(&self, batch: &mut Batch, restart_required: bool) {
        let info = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "started": self.started.seconds(),
            "restart_required": restart_required,
        });
        batch.retained(&Topic::Bridge(BridgeTopic::Info), info);
    }

    /// The meters by name, retained.
    pub(super) fn devices<'a>(
        &self,
        batch: &mut Batch,
        devices: impl Iterator<Item = &'a Device>,
        online: &BTreeMap<Arc<str>, bool>,
    ) {
        let mut devices: Vec<&Device> = devices.collect();
        devices.sort_by(|one, other| one.name.cmp(&other.name));
        let list: Vec<_> = devices
            .into_iter()
            .map(|device| describe(device, online.get(&device.name).copied().unwrap_or(false)))
            .collect();
        batch.retained(&Topic::Bridge(BridgeTopic::Devices), json!(list));
    }

    /// A counter that was corrected, for those who listen now.
    pub(super) fn correction(&self, batch: &mut Batch, correction: &Correction) {
        let event = json!({
            "ts": Timestamp::now().seconds(),
            "type": "counter",
            "kind": correction.kind.as_str(),
            "meter": *correction.name,
            "serial": *correction.serial,
            "channel": correction.channel.map(|channel| channel.to_string()),
            "counter": correction.counter,
            "before": correction.before,
            "after": correction.after,
            "message": correction.to_string(),
        });
        batch.live(&Topic::Bridge(BridgeTopic::Event), |text| text.push_str(&event.to_string()));
    }

    /// Something that happened to what is known of a meter, for those who listen now.
    pub(super) fn notice(&self, batch: &mut Batch, notice: &Notice) {
        let event = json!({
            "ts": Timestamp::now().seconds(),
            "type": "registry",
            "kind": notice.kind.as_str(),
            "meter": notice.name.as_deref(),
            "serial": *notice.serial,
            "message": notice.message,
        });
        batch.live(&Topic::Bridge(BridgeTopic::Event), |text| text.push_str(&event.to_string()));
    }
}
