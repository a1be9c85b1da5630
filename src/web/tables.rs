//! `/api/sensors`, `/api/clients`, `/api/info` and the texts for openHAB: lists to read.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Web;
use super::openapi::Refused;
use super::views::{self, BrokerView, ClientView, InfoView, SensorView};
use super::visitor::{Visitor, refused};
use crate::broker::{Caller, Numbers};
use crate::command::directory::Meter;
use crate::model::Device;
use crate::openhab;
use crate::topic::{BridgeTopic, Topic};

/// Every sensor, with the id of its topics and the token of its history.
#[utoipa::path(get, path = "/api/sensors", tag = "meters", responses(
    (status = 200, description = "The sensors of all meters heard since the start", body = Vec<SensorView>),
    (status = 401, description = "A login is needed", body = Refused),
    (status = 403, description = "Not allowed", body = Refused),
))]
pub(super) async fn sensors(
    State(web): State<Web>,
    Visitor { caller, commands }: Visitor,
) -> Response {
    match &web.tokens {
        Some(tokens) => Json(views::sensors(commands.directory(), &caller, tokens)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The clients of the gateway's own broker; empty where the broker is elsewhere.
#[utoipa::path(get, path = "/api/clients", tag = "gateway", responses(
    (status = 200, description = "Connected clients, and sessions kept for those that are away", body = Vec<ClientView>),
    (status = 401, description = "A login is needed", body = Refused),
    (status = 403, description = "Not allowed", body = Refused),
))]
pub(super) async fn clients(State(web): State<Web>, Visitor { caller, .. }: Visitor) -> Response {
    if !may_see_clients(&caller) {
        return refused(StatusCode::FORBIDDEN, "broker.acl does not let this user see the clients");
    }
    let list = web.live.as_ref().map(|live| live.clients());
    Json(list.as_deref().unwrap_or_default()).into_response()
}

/// The gateway, and how to reach its broker.
#[utoipa::path(get, path = "/api/info", tag = "gateway", responses(
    (status = 200, description = "The gateway", body = InfoView),
    (status = 401, description = "A login is needed", body = Refused),
    (status = 403, description = "Not allowed", body = Refused),
))]
pub(super) async fn info(
    State(web): State<Web>,
    Visitor { caller, .. }: Visitor,
) -> Json<InfoView> {
    Json(describe_gateway(&web, &caller))
}

/// The meter as a thing of openHAB's MQTT binding, to be copied into a `.things` file.
#[utoipa::path(get, path = "/api/meters/{name}/openhab.things", tag = "meters",
    params(("name" = String, Path, description = "The meter's name")), responses(
    (status = 200, description = "Text of a .things file", content_type = "text/plain", body = String),
    (status = 401, description = "A login is needed", body = Refused),
    (status = 403, description = "Not allowed", body = Refused),
    (status = 404, description = "No meter of this name was heard since the start", body = Refused),
))]
pub(super) async fn things(Path(name): Path<String>, visitor: Visitor) -> Response {
    openhab(&name, &visitor, openhab::things)
}

/// The items for that thing, to be copied into an `.items` file.
#[utoipa::path(get, path = "/api/meters/{name}/openhab.items", tag = "meters",
    params(("name" = String, Path, description = "The meter's name")), responses(
    (status = 200, description = "Text of an .items file", content_type = "text/plain", body = String),
    (status = 401, description = "A login is needed", body = Refused),
    (status = 403, description = "Not allowed", body = Refused),
    (status = 404, description = "No meter of this name was heard since the start", body = Refused),
))]
pub(super) async fn items(Path(name): Path<String>, visitor: Visitor) -> Response {
    openhab(&name, &visitor, openhab::items)
}

fn openhab(name: &str, visitor: &Visitor, text: impl FnOnce(&Device) -> String) -> Response {
    let Visitor { caller, commands } = visitor;
    if !views::may_read(caller, name) {
        return refused(StatusCode::FORBIDDEN, "broker.acl does not let this user see this meter");
    }
    match commands.directory().find(name) {
        Some(Meter::Heard(heard)) => {
            ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text(&heard.device)).into_response()
        }
        Some(Meter::Expected(_)) => refused(
            StatusCode::NOT_FOUND,
            "this meter was not heard since the gateway started: what it measures is not known yet",
        ),
        None => refused(StatusCode::NOT_FOUND, "no meter has this name"),
    }
}

/// Who may know how the gateway is may know who its clients are.
pub(super) fn may_see_clients(caller: &Caller) -> bool {
    caller.may_read(&Topic::Bridge(BridgeTopic::Health).to_string())
}

pub(super) fn describe_gateway(web: &Web, caller: &Caller) -> InfoView {
    let status = match &web.broker {
        Numbers::Embedded(_) => Ok(()),
        Numbers::External(stats) => stats.status(),
    };
    let about = &web.about;
    InfoView {
        version: env!("CARGO_PKG_VERSION"),
        started: about.started.seconds(),
        restart_required: web.metrics.restart_required.get() > 0,
        broker: BrokerView {
            mode: super::mode(&web.broker),
            listen: about.listen.clone(),
            tls: about.tls.clone(),
            elsewhere: about.elsewhere.clone(),
            connected: status.is_ok(),
            reason: status.err().map(|reason| reason.to_string()),
        },
        login_needed: about.login_needed,
        user: caller.user().map(str::to_owned),
        master_token: web
            .tokens
            .as_ref()
            .filter(|_| caller.may_read(Topic::SENSORS))
            .map(|tokens| tokens.master()),
    }
}
