//! `/api/meters`: the meters, and commands for them, for the users of the broker.
//!
//! A command's answer is always a reply in the grammar of `powermeter/<name>/state/info`; the
//! status says the same to whoever looks at nothing else.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::openapi::Refused;
use super::visitor::{Visitor, refused};
use super::{Web, views};
use crate::bridge::request::{self, Status};
use crate::broker::Gate;
use crate::command::grammar::{LARGEST, Reply, Verdict};
use crate::topic::{BridgeTopic, Leaf, Topic};

/// Whether the web port serves `/api`.
#[derive(Debug, Clone)]
pub enum ApiAccess {
    /// For whom the gate lets in.
    Guarded(Gate),
    /// Not: nobody said who may, and other machines can reach the port.
    Unguarded,
}

/// The meters with their latest values; those that were not heard since the start have none.
#[utoipa::path(get, path = "/api/meters", tag = "meters", responses(
    (status = 200, description = "The meters this user may see, by name", body = Vec<views::MeterView>),
    (status = 401, description = "A login is needed", body = Refused),
    (status = 403, description = "Not allowed", body = Refused),
    (status = 429, description = "Too many wrong logins", body = Refused),
))]
pub(super) async fn meters(Visitor { caller, commands }: Visitor) -> Response {
    if !caller.may_read(&Topic::Bridge(BridgeTopic::Devices).to_string()) {
        return refused(StatusCode::FORBIDDEN, "broker.acl does not let this user see the meters");
    }
    axum::Json(views::meters(commands.directory(), &caller)).into_response()
}

/// One command for one meter; the answer is its reply.
///
/// Commands and replies are those of `powermeter/<name>/cmd` and `…/state/info`.
#[utoipa::path(post, path = "/api/meters/{name}/command", tag = "meters",
    params(("name" = String, Path, description = "The meter's name")),
    request_body(content = Object, description = "`{\"cmd\":\"info\",\"id\":1}`"),
    responses(
        (status = 200, description = "Done: the reply", body = Object),
        (status = 400, description = "Not a command", body = Object),
        (status = 401, description = "A login is needed", body = Refused),
        (status = 403, description = "Not allowed", body = Refused),
        (status = 404, description = "No meter of this name", body = Object),
        (status = 413, description = "Larger than 16 KiB", body = Refused),
        (status = 422, description = "Refused by the gateway or the meter", body = Object),
        (status = 429, description = "Too many wrong logins", body = Refused),
        (status = 503, description = "The meter is offline, or too many commands wait", body = Object),
        (status = 504, description = "The meter was asked and did not answer", body = Object),
    ),
)]
pub(super) async fn command(
    name: Result<Path<String>, PathRejection>,
    Visitor { caller, commands }: Visitor,
    body: Body,
) -> Response {
    let Ok(Path(name)) = name else {
        return refused(StatusCode::BAD_REQUEST, "the meter's name in the path is not UTF-8 text");
    };
    if !caller.may_publish(&Topic::Order(Some(name.clone()), Leaf::Cmd).to_string()) {
        let words = "broker.acl does not let this user send commands to this meter";
        return refused(StatusCode::FORBIDDEN, words);
    }
    let payload = match payload(body, LARGEST).await {
        Ok(payload) => payload,
        Err(response) => return response,
    };
    let reply = commands.ask(&name, &payload).await;
    (status(&reply), [(CONTENT_TYPE, "application/json")], reply.text).into_response()
}

/// What is asked of the gateway itself; the answer is the response.
///
/// Requests and responses are those of `meterbridge/bridge/request/<what>` and `…/response/<what>`.
#[utoipa::path(post, path = "/api/bridge/{what}", tag = "gateway",
    params(("what" = String, Path, description = "`rename`, `configure`, `adopt`, `remove`, `permit`, \
        `replace`, `restart`, `devices`, `health`, …")),
    request_body(content = Object, description = "`{\"serial\":\"01100603\"}`"),
    responses(
        (status = 200, description = "Done: `{data,status,error,transaction}`", body = Object),
        (status = 400, description = "Not a request", body = Object),
        (status = 401, description = "A login is needed", body = Refused),
        (status = 403, description = "Not allowed", body = Refused),
        (status = 404, description = "No such meter", body = Object),
        (status = 413, description = "Too large", body = Refused),
        (status = 422, description = "Refused, with the reason", body = Object),
        (status = 429, description = "Too many wrong logins", body = Refused),
        (status = 503, description = "Not now", body = Object),
    ),
)]
pub(super) async fn request(
    State(web): State<Web>,
    Path(what): Path<String>,
    Visitor { caller, .. }: Visitor,
    body: Body,
) -> Response {
    if !caller.may_publish(&Topic::Request(what.clone()).to_string()) {
        return refused(
            StatusCode::FORBIDDEN,
            "broker.acl does not let this user send this request",
        );
    }
    let Some(requests) = &web.requests else { return StatusCode::NOT_FOUND.into_response() };
    let payload = match payload(body, request::LARGEST).await {
        Ok(payload) => payload,
        Err(response) => return response,
    };
    let response = requests.ask(&what, &payload).await;
    let status = match response.status {
        Status::Done => StatusCode::OK,
        Status::Misunderstood => StatusCode::BAD_REQUEST,
        Status::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Status::NoSuchMeter => StatusCode::NOT_FOUND,
        Status::Refused => StatusCode::UNPROCESSABLE_ENTITY,
        Status::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, [(CONTENT_TYPE, "application/json")], response.text).into_response()
}

async fn payload(body: Body, largest: usize) -> Result<Bytes, Response> {
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, largest)).await {
        Ok(Ok(payload)) => Ok(payload),
        Ok(Err(_)) => {
            let words = format!("the command has more than {largest} bytes, or came to no end");
            Err(refused(StatusCode::PAYLOAD_TOO_LARGE, &words))
        }
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "the command came to no end")),
    }
}

fn status(reply: &Reply) -> StatusCode {
    match reply.verdict {
        Verdict::Done => StatusCode::OK,
        Verdict::Misunderstood => StatusCode::BAD_REQUEST,
        Verdict::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Verdict::NoSuchMeter => StatusCode::NOT_FOUND,
        Verdict::Refused => StatusCode::UNPROCESSABLE_ENTITY,
        Verdict::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Verdict::Silent => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// How long a command may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
