//! The web port. So far: whether the gateway is well, its numbers, the meters and commands for
//! them, and MQTT over WebSocket.

mod api;
mod frames;
mod mqtt;
mod origin;
mod server;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::bridge::Requests;
use crate::broker::Numbers;
use crate::command::router::Commands;
use crate::metrics::{self, Metrics};

pub use self::api::ApiAccess;
pub use self::mqtt::MqttAccess;
pub use self::server::WebLimits;

/// What the pages are made from.
#[derive(Debug, Clone)]
pub struct Web {
    metrics: Metrics,
    broker: Numbers,
    mqtt: MqttAccess,
    refused_origins: Arc<origin::Refusals>,
    api: Option<(Commands, ApiAccess)>,
    requests: Option<Requests>,
    limits: WebLimits,
    base_path: String,
}

impl Web {
    /// Pages about these numbers; no MQTT and no commands yet.
    pub fn new(metrics: Metrics, broker: Numbers) -> Web {
        let limits = WebLimits::default();
        let refused_origins = Arc::default();
        let (mqtt, base_path) = (MqttAccess::Off, "/".to_owned());
        let (api, requests) = (None, None);
        Web { metrics, broker, mqtt, refused_origins, api, requests, limits, base_path }
    }

    /// The same, for a proxy that has it under this path. It is served at the root as well, since
    /// proxies take the path away or leave it.
    #[must_use]
    pub fn with_base_path(self, base_path: String) -> Web {
        Web { base_path, ..self }
    }

    /// The same, with requests for the gateway itself, for those who may send commands.
    #[must_use]
    pub fn with_requests(self, requests: Requests) -> Web {
        Web { requests: Some(requests), ..self }
    }

    /// The same, with meters that take commands.
    #[must_use]
    pub fn with_commands(self, commands: Commands, access: ApiAccess) -> Web {
        Web { api: Some((commands, access)), ..self }
    }

    /// The same, with or without MQTT over WebSocket.
    #[must_use]
    pub fn with_mqtt(self, mqtt: MqttAccess) -> Web {
        Web { mqtt, ..self }
    }

    /// The same, within other limits.
    #[must_use]
    pub fn with_limits(self, limits: WebLimits) -> Web {
        Web { limits, ..self }
    }
}

/// Serves until `stop`.
///
/// # Errors
/// When the port fails for good.
pub async fn serve(
    listener: TcpListener,
    web: Web,
    stop: CancellationToken,
) -> Result<(), std::io::Error> {
    let routes = Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(numbers))
        .route("/api/meters", get(api::meters))
        .route("/api/meters/{name}/command", post(api::command))
        .route("/api/bridge/{what}", post(api::request))
        .route("/mqtt", any(mqtt::upgrade));
    let (limits, base_path) = (web.limits.clone(), web.base_path.clone());
    server::run(listener, under(&base_path, routes.with_state(web)), limits, stop).await
}

/// The routes at the root, and under a path that is not the root.
fn under(path: &str, routes: Router) -> Router {
    match path.trim_end_matches('/') {
        "" => routes,
        path => Router::new().nest(path, routes.clone()).merge(routes),
    }
}

/// 200 while the gateway runs: its parts are supervised, and the process ends when one that all
/// others need is lost. A broker elsewhere that is away is told and is no reason to start anew.
async fn health(State(web): State<Web>) -> impl IntoResponse {
    let failing = web.metrics.state_write_failures.get();
    let (mode, connected) = match &web.broker {
        Numbers::Embedded(_) => ("embedded", Ok(())),
        Numbers::External(stats) => ("external", stats.status()),
    };
    axum::Json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "meters_online": web.metrics.meters_online.get(),
        "mqtt_clients": web.broker.clients(),
        "broker": {"mode": mode, "connected": connected.is_ok(), "reason": connected.err()},
        "state_write_failures": failing,
    }))
}

async fn numbers(State(web): State<Web>) -> Result<impl IntoResponse, Infallible> {
    let mut text = String::new();
    web.metrics.render(&mut text);
    for (name, kind, value) in web.broker.list() {
        // A counter's name ends in _total, as Prometheus wants it.
        let unit = if kind == "counter" { "_total" } else { "" };
        let help = web.broker.help(name);
        metrics::render(&mut text, &format!("meterbridge_broker_{name}{unit}"), help, kind, value);
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
