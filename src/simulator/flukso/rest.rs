//! The local REST API of a Fluksometer (its port 8080): the last minute of a sensor's gauges.

use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::live::Live;
use super::manners::FluksoManners;
use crate::simulator::watched::Watched;

/// Whose sensors are asked about.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) meters: Vec<Watched<Live>>,
    pub(super) manners: FluksoManners,
}

pub(super) fn routes(asked: Asked) -> Router {
    Router::new().route("/sensor/{id}", get(sensor)).with_state(asked)
}

async fn sensor(
    State(asked): State<Asked>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = match Query::parse(query.as_deref().unwrap_or_default()) {
        Ok(query) => query,
        Err(what) => return (StatusCode::BAD_REQUEST, format!("{what}\n")).into_response(),
    };
    let now = asked.manners.now();
    let found = asked.meters.iter().find_map(|meter| meter.look(|live| live.last_minute(&id, now)));
    match found {
        Some(body) => json(query.wrap(body)),
        None => (StatusCode::NOT_FOUND, "no such sensor\n").into_response(),
    }
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    callback: Option<String>,
}

impl Query {
    /// Nothing is decoded, empty values do not count, and the last of several does.
    fn parse(query: &str) -> Result<Query, &'static str> {
        let last = |name: &str| {
            let mut pairs = query.split('&').rev().filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, value)| *key == name && !value.is_empty()).map(|pair| pair.1)
        };
        if last("version") != Some("1.0") {
            return Err("unknown api version");
        }
        if last("interval") != Some("minute") {
            return Err("unknown interval");
        }
        if !matches!(last("unit"), Some("watt" | "lperday")) {
            return Err("unknown unit");
        }
        let callback = last("callback").or_else(|| last("jsonp_callback"));
        Ok(Query { callback: callback.map(str::to_owned) })
    }

    /// A sensor that has said nothing yet is not wrapped.
    fn wrap(&self, body: String) -> String {
        match &self.callback {
            Some(callback) if body != "[]" => format!("{callback}({body});"),
            _ => body,
        }
    }
}

/// In chunks, and the connection is closed after it.
fn json(body: String) -> Response {
    let once = futures_util::stream::once(async { Ok::<_, Infallible>(Bytes::from(body)) });
    let head = [(header::CONTENT_TYPE, "application/json"), (header::CONNECTION, "close")];
    (head, Body::from_stream(once)).into_response()
}
