//! The topics of Home Assistant's discovery, below a prefix of the user's choice.

/// The topics below one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryTopics {
    prefix: String,
}

impl DiscoveryTopics {
    /// The topics below `prefix`, which was checked to be a topic.
    pub fn new(prefix: impl Into<String>) -> DiscoveryTopics {
        DiscoveryTopics { prefix: prefix.into() }
    }

    /// `<prefix>/device/<id>/config`: a whole device.
    pub fn device(&self, id: &str) -> String {
        format!("{}/device/{id}/config", self.prefix)
    }

    /// `<prefix>/<component>/<node_id>/<object_id>/config`: one entity of a device.
    pub fn component(&self, component: &str, node: &str, object: &str) -> String {
        format!("{}/{component}/{node}/{object}/config", self.prefix)
    }

    /// `<prefix>/status`: Home Assistant says here that it is there.
    pub fn status(&self) -> String {
        format!("{}/status", self.prefix)
    }

    /// Whether a topic is one of a device or a component below this very prefix.
    pub fn owns(&self, topic: &str) -> bool {
        let rest = topic.strip_prefix(&*self.prefix).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| matches!(rest.split('/').count(), 3 | 4))
    }

    /// What has to be subscribed to, to see somebody clear a device or one of these components.
    pub fn filters<'a>(
        &'a self,
        components: impl Iterator<Item = &'a str> + 'a,
    ) -> impl Iterator<Item = String> + 'a {
        let single = components.map(|component| self.component(component, "+", "+"));
        std::iter::once(self.device("+")).chain(single)
    }
}
