//! The status page: plain files, embedded as they are.
//!
//! All its addresses are relative, so it works under any path. Who has to log in is asked here, so
//! that the browser asks once and sends the login along with everything the page loads.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Web;
use super::api::ApiAccess;
use super::visitor::admit;

/// The files besides the page itself.
const FILES: [(&str, &str, &str); 6] = [
    ("/page/style.css", "text/css; charset=utf-8", include_str!("../../web/style.css")),
    ("/page/app.js", SCRIPT, include_str!("../../web/app.js")),
    ("/page/meters.js", SCRIPT, include_str!("../../web/meters.js")),
    ("/page/gateway.js", SCRIPT, include_str!("../../web/gateway.js")),
    ("/page/homeassistant.js", SCRIPT, include_str!("../../web/homeassistant.js")),
    ("/page/elements.js", SCRIPT, include_str!("../../web/elements.js")),
];

const PAGE: &str = include_str!("../../web/index.html");
const SCRIPT: &str = "text/javascript; charset=utf-8";
/// Nothing from elsewhere is loaded or run.
const POLICY: &str =
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'";

/// The files of the page, below whatever path.
pub(super) fn files() -> Router<Web> {
    let mut routes = Router::new();
    for (path, kind, text) in FILES {
        let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")];
        routes = routes.route(path, get(async move || (headers, text)));
    }
    routes
}

/// The page. Without data it is no secret, so it is there also where `/api` is closed and says why.
pub(super) async fn page(
    State(web): State<Web>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Some((_, ApiAccess::Guarded(_))) = &web.api
        && let Err(response) = admit(&web, peer, &headers).await
    {
        return response;
    }
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, PAGE).into_response()
}

/// From the base path without its slash to the page: relative addresses need the slash.
pub(super) async fn add_slash(uri: Uri) -> Response {
    // Only the last step: a proxy in front may have taken a part of the path away.
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    (StatusCode::PERMANENT_REDIRECT, [(LOCATION, format!("{last}/"))]).into_response()
}
