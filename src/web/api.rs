//! `/api/meters`: the meters, and commands for them, for the users of the broker.
//!
//! A command's answer is always a reply in the grammar of `powermeter/<name>/state/info`; the
//! status says the same to whoever looks at nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64ct::{Base64, Encoding};
use serde_json::json;

use super::openapi::Refused;
use super::{Web, origin, views};
use crate::bridge::request::{self, Status};
use crate::broker::{Caller, Gate, Refusal};
use crate::command::grammar::{LARGEST, Reply, Verdict};
use crate::command::router::Commands;
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
pub(super) async fn meters(
    State(web): State<Web>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let (caller, commands) = match enter(&web, peer, &headers).await {
        Ok(entered) => entered,
        Err(response) => return response,
    };
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
    State(web): State<Web>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(Path(name)) = name else {
        return refused(StatusCode::BAD_REQUEST, "the meter's name in the path is not UTF-8 text");
    };
    if origin::check(&headers).is_err() {
        let words = "a page of another site may not send commands: its Origin is not the Host that was \
                     asked; a proxy in front has to pass Host on";
        return refused(StatusCode::FORBIDDEN, words);
    }
    let (caller, commands) = match enter(&web, peer, &headers).await {
        Ok(entered) => entered,
        Err(response) => return response,
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
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(what): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if origin::check(&headers).is_err() {
        let words = "a page of another site may not send requests (Origin is not this host)";
        return refused(StatusCode::FORBIDDEN, words);
    }
    let caller = match enter(&web, peer, &headers).await {
        Ok((caller, _)) => caller,
        Err(response) => return response,
    };
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

/// Lets a request in, or says why not.
pub(super) async fn enter<'a>(
    web: &'a Web,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Result<(Caller, &'a Commands), Response> {
    let (commands, gate) = match &web.api {
        Some((commands, ApiAccess::Guarded(gate))) => (commands, gate),
        Some((_, ApiAccess::Unguarded)) => return Err(refused(StatusCode::FORBIDDEN, UNGUARDED)),
        None => return Err(StatusCode::NOT_FOUND.into_response()),
    };
    let login = login(headers).map_err(|words| refused(StatusCode::BAD_REQUEST, words))?;
    let login = login.as_ref().map(|(name, password)| (name.as_str(), password.as_bytes()));
    let admitted = gate.admit(peer, login).await;
    let caller = admitted.map_err(|refusal| {
        let words = refusal.to_string();
        match refusal {
            Refusal::TooManyFailures => refused(StatusCode::TOO_MANY_REQUESTS, &words),
            Refusal::LoginNeeded | Refusal::WrongLogin => {
                let challenge = [(WWW_AUTHENTICATE, CHALLENGE)];
                (challenge, refused(StatusCode::UNAUTHORIZED, &words)).into_response()
            }
        }
    })?;
    Ok((caller, commands))
}

/// User name and password by HTTP basic authentication (RFC 7617), if there are any.
fn login(headers: &HeaderMap) -> Result<Option<(String, String)>, &'static str> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let decode = || {
        let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
        let decoded = Base64::decode_vec(encoded.trim()).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (name, password) = decoded.split_once(':')?;
        scheme.eq_ignore_ascii_case("basic").then(|| (name.to_owned(), password.to_owned()))
    };
    decode().map(Some).ok_or("the header Authorization is not one of basic authentication")
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

pub(super) fn refused(status: StatusCode, words: &str) -> Response {
    (status, axum::Json(json!({"error": true, "msg": words}))).into_response()
}

const UNGUARDED: &str = "this port tells of nothing but its health: other machines can reach it \
                         and nobody needs a login; configure broker.users, or \
                         broker.allow_anonymous: true";
const CHALLENGE: &str = "Basic realm=\"meterbridge\", charset=\"UTF-8\"";
/// How long a command may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
