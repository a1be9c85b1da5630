//! `/api/openapi.json`: the description of the API, made of the handlers themselves.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

use super::Web;

/// What all answers are that say no.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refused {
    /// `true`
    pub(super) error: bool,
    /// Why, in words.
    pub(super) msg: String,
}

/// The frame that the handlers' own descriptions are put into.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "meterbridge",
        description = "Meters, their sensors and commands for them, and the gateway itself. \
            Where broker.users or broker.password_file are configured, requests under /api need \
            one of these logins, and broker.acl says what each may see.",
        license(name = "MIT OR Apache-2.0"),
    ),
    modifiers(&Login),
    security((), ("login" = [])),
    tags(
        (name = "meters", description = "What is measured"),
        (name = "flukso", description = "The same as programs for Fluksometers and Flukso's server \
            ask for it, with tokens; everything here is served without `/api` as well"),
        (name = "gateway", description = "The gateway and its broker"),
    ),
)]
pub(super) struct Frame;

/// The description as it is sent.
pub(super) fn text(description: &utoipa::openapi::OpenApi) -> Arc<str> {
    // Plain data always has a JSON form.
    let mut text = serde_json::to_string_pretty(description).unwrap_or_default();
    text.push('\n');
    text.into()
}

struct Login;

impl Modify for Login {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Basic));
        api.components.get_or_insert_with(Default::default).add_security_scheme("login", scheme);
    }
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "gateway", responses(
    (status = 200, description = "OpenAPI 3.1", body = Object),
))]
pub(super) async fn document(State(web): State<Web>) -> Response {
    ([(CONTENT_TYPE, "application/json")], web.description.to_string()).into_response()
}
