//! What there is to see of all this.

use serde_json::{Value, json};

use super::Announcer;
use crate::homeassistant::Form;
use crate::homeassistant::heard::Heard;

impl Announcer {
    /// What there is to see, when that has changed.
    pub fn take_overview(&mut self) -> Option<Value> {
        std::mem::take(&mut self.news).then(|| self.overview())
    }

    /// Whether [`Announcer::take_overview`] would give something.
    pub fn has_news(&self) -> bool {
        self.news
    }

    /// What there is to see, for `meterbridge/bridge/homeassistant`.
    pub fn overview(&self) -> Value {
        let deleted: Vec<Value> = self
            .kept
            .deleted
            .iter()
            .map(|(id, component)| json!({"id": id, "name": self.name(id), "component": component}))
            .collect();
        let announced: Vec<Value> = self
            .kept
            .documents
            .iter()
            .filter(|(id, _)| self.settings.form.is_some() && !self.is_deleted(id))
            .map(|(id, one)| json!({"id": id, "name": self.name(id), "entities": one.entities}))
            .collect();
        let mut meters: Vec<&Heard> = self.meters.values().collect();
        meters.sort_by(|one, other| one.device.name.cmp(&other.device.name));
        let sets = meters.iter().filter_map(|heard| heard.energy.clone());
        json!({
            "discovery": match self.settings.form {
                None => "none",
                Some(Form::Device) => "device",
                Some(Form::Component) => "component",
            },
            "prefix": self.settings.prefix,
            "status": self.there.map(|there| if there { "online" } else { "offline" }),
            "moving": self.kept.topics.values().filter(|out| out.migrating).count(),
            "announced": announced,
            "deleted": deleted,
            "energy": sets.collect::<Vec<Value>>(),
        })
    }
}
