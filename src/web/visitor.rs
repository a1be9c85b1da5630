//! Who asks over HTTP: let in as a client of the broker would be, or told why not.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64ct::{Base64, Encoding};

use super::api::ApiAccess;
use super::openapi::Refused;
use super::{Web, origin};
use crate::broker::{Caller, Refusal};
use crate::command::router::Commands;

/// Somebody who may ask, and whom to ask for meters. A handler that takes this as an argument is
/// reached by nobody else.
pub(super) struct Visitor {
    pub(super) caller: Caller,
    pub(super) commands: Commands,
}

impl FromRequestParts<Web> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Visitor, Response> {
        if origin::check(&parts.headers).is_err() {
            return Err(refused(StatusCode::FORBIDDEN, FOREIGN));
        }
        let peer = ConnectInfo::<SocketAddr>::from_request_parts(parts, web).await;
        let ConnectInfo(peer) = peer.map_err(IntoResponse::into_response)?;
        let (caller, commands) = admit(web, peer, &parts.headers).await?;
        Ok(Visitor { caller, commands: commands.clone() })
    }
}

/// Lets a request in, or says why not.
pub(super) async fn admit<'a>(
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

/// An answer that says no, and why.
pub(super) fn refused(status: StatusCode, words: &str) -> Response {
    (status, axum::Json(Refused { error: true, msg: words.to_owned() })).into_response()
}

const UNGUARDED: &str = "this port tells of nothing but its health: other machines can reach it \
                         and nobody needs a login; configure broker.users, or \
                         broker.allow_anonymous: true";
const CHALLENGE: &str = "Basic realm=\"meterbridge\", charset=\"UTF-8\"";
const FOREIGN: &str = "a page of another site may not ask this gateway: its Origin is not the Host that \
                       was asked; a proxy in front has to pass Host on";
