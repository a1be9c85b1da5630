//! `/api/events`: what happens, as server-sent events. Everybody hears what he may read over MQTT.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::live::{Ear, Happening, Live};
use super::views::{self, may_read};
use super::visitor::{Visitor, refused};
use super::{Web, tables};
use crate::broker::Caller;
use crate::topic::{BridgeTopic, MeterState, Topic};

/// Meters, readings, clients and events as they come, as server-sent events.
///
/// The first events tell everything as it is: `info`, `meters`, `clients` and `past` (the latest
/// events and log lines). Then come `readings` (new values of a meter, at most twice a second each),
/// `availability` (`{"name","online"}`), `meters`, `clients` and `homeassistant` (as on
/// `meterbridge/bridge/homeassistant`) when they have changed, `event` (as on
/// `meterbridge/bridge/event`) and `log` (as on `meterbridge/bridge/log`). Who reads too slowly gets
/// everything anew.
#[utoipa::path(get, path = "/api/events", tag = "gateway", responses(
    (status = 200, description = "A stream of events", content_type = "text/event-stream", body = String),
    (status = 401, description = "A login is needed", body = super::openapi::Refused),
    (status = 403, description = "Not allowed", body = super::openapi::Refused),
    (status = 503, description = "Too many listeners", body = super::openapi::Refused),
))]
pub(super) async fn events(State(web): State<Web>, Visitor { caller, .. }: Visitor) -> Response {
    let Some((live, ear)) = web.live.clone().and_then(|live| live.listen().map(|ear| (live, ear)))
    else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "too many listen already");
    };
    let mut listener = Listener { web, caller, live, ear, waiting: VecDeque::new() };
    listener.tell_everything();
    let before = std::mem::take(&mut listener.ear.before);
    listener.tell_past(&before);
    let events = stream::unfold(listener, async |mut listener| {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    // Proxies that collect an answer before they pass it on are asked not to.
    let headers = [("cache-control", "no-store"), ("x-accel-buffering", "no")];
    (headers, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))).into_response()
}

/// One listener; what it holds is bounded by what one happening makes.
struct Listener {
    web: Web,
    caller: Caller,
    live: Arc<Live>,
    ear: Ear,
    waiting: VecDeque<Event>,
}

impl Listener {
    /// The next event; `None` when the gateway ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            match self.ear.receiver.recv().await {
                Ok(happening) => self.tell(&happening),
                Err(RecvError::Lagged(_)) => self.tell_everything(),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn tell(&mut self, happening: &Happening) {
        match happening {
            Happening::Readings(name, text) if may_read(&self.caller, name) => {
                self.waiting.push_back(Event::default().event("readings").data(text));
            }
            Happening::Availability(name, online) if self.may_know(name) => {
                self.put("availability", &json!({"name": **name, "online": online}));
            }
            Happening::Meters => self.tell_meters(),
            Happening::Clients(list) if tables::may_see_clients(&self.caller) => {
                self.put("clients", &**list);
            }
            Happening::HomeAssistant(text) if self.may_hear(BridgeTopic::HomeAssistant) => {
                self.waiting.push_back(Event::default().event("homeassistant").data(text));
            }
            Happening::Event(text) if self.may_hear(BridgeTopic::Event) => {
                self.waiting.push_back(Event::default().event("event").data(text));
            }
            Happening::Log(text) if self.may_hear(BridgeTopic::Log) => {
                self.waiting.push_back(Event::default().event("log").data(text));
            }
            _ => {}
        }
    }

    fn tell_everything(&mut self) {
        let info = tables::describe_gateway(&self.web, &self.caller);
        self.put("info", &info);
        self.tell_meters();
        if tables::may_see_clients(&self.caller) {
            let clients = self.live.clients();
            self.put("clients", &*clients);
        }
        if let Some(text) = self.live.announced() {
            self.tell(&Happening::HomeAssistant(text));
        }
    }

    fn tell_meters(&mut self) {
        if let Some((commands, _)) = &self.web.api {
            let meters = views::meters(commands.directory(), &self.caller);
            self.put("meters", &meters);
        }
    }

    /// What happened before, in one event.
    fn tell_past(&mut self, before: &[Happening]) {
        let mut past = Vec::new();
        for happening in before {
            let (kind, text) = match happening {
                Happening::Event(text) if self.may_hear(BridgeTopic::Event) => ("event", text),
                Happening::Log(text) if self.may_hear(BridgeTopic::Log) => ("log", text),
                _ => continue,
            };
            past.push(format!("{{\"kind\":\"{kind}\",\"data\":{text}}}"));
        }
        let text = format!("[{}]", past.join(","));
        self.waiting.push_back(Event::default().event("past").data(text));
    }

    fn may_know(&self, name: &str) -> bool {
        let topic = Topic::Meter(name.to_owned(), MeterState::Availability);
        self.caller.may_read(&topic.to_string())
    }

    fn may_hear(&self, topic: BridgeTopic) -> bool {
        self.caller.may_read(&Topic::Bridge(topic).to_string())
    }

    fn put(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        // Plain data always has a JSON form.
        if let Ok(text) = serde_json::to_string(value) {
            self.waiting.push_back(Event::default().event(name).data(text));
        }
    }
}

/// Shorter than the patience of usual proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
