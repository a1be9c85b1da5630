//! The web port: the status page, the API under `/api`, whether the gateway is well, its numbers,
//! and MQTT over WebSocket.
//!
//! | module | has |
//! |---|---|
//! | `server` | accepting connections, within limits |
//! | `page` | the status page, whose files are in `web/` |
//! | `api` | who may ask; meters and commands for them |
//! | `tables` | lists to read: sensors, clients, the gateway itself |
//! | `history`, `histories` | what was measured, in steps of the calendar |
//! | `flukso` | the same as programs for Fluksometers ask for it |
//! | `live`, `events` | what happens, as server-sent events |
//! | `views` | what all these write |
//! | `openapi` | the description of all this |
//! | `mistakes` | the page in the place of a gateway that cannot run |
//! | `mqtt`, `frames`, `origin` | MQTT over WebSocket; which pages may ask |

mod api;
mod events;
mod flukso;
mod frames;
mod histories;
mod history;
mod live;
mod mistakes;
mod mqtt;
mod openapi;
mod origin;
mod page;
mod server;
mod tables;
mod tokens;
mod views;
mod visitor;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::bridge::Requests;
use crate::broker::Numbers;
use crate::command::router::Commands;
use crate::metrics::{self, Metrics};
use crate::model::Timestamp;

pub use self::api::ApiAccess;
pub use self::flukso::{Recent, World};
pub use self::histories::Histories;
pub use self::live::Live;
pub use self::mistakes::{Mistakes, serve as serve_mistakes};
pub use self::mqtt::MqttAccess;
pub use self::server::WebLimits;
pub use self::tokens::{Tokens, TokensError};

/// What the pages are made from.
#[derive(Debug, Clone)]
pub struct Web {
    metrics: Metrics,
    broker: Numbers,
    mqtt: MqttAccess,
    refused_origins: Arc<origin::Refusals>,
    api: Option<(Commands, ApiAccess)>,
    live: Option<Arc<Live>>,
    tokens: Option<Tokens>,
    about: Arc<About>,
    /// The description of the API, JSON.
    description: Arc<str>,
    requests: Option<Requests>,
    world: Option<World>,
    limits: WebLimits,
}

/// What the page tells of the gateway and does not change while it runs.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// When the gateway started.
    pub started: Timestamp,
    /// Where its broker takes MQTT.
    pub listen: Vec<SocketAddr>,
    /// Where its broker takes MQTT with TLS.
    pub tls: Vec<SocketAddr>,
    /// The broker that is used in its place: host and port.
    pub elsewhere: Option<String>,
    /// Whether MQTT clients need a login.
    pub login_needed: bool,
    /// The path under which a proxy shows all this; `/` for none.
    pub base_path: String,
}

impl Web {
    /// Pages about these numbers; no MQTT and no commands yet.
    pub fn new(metrics: Metrics, broker: Numbers) -> Web {
        let limits = WebLimits::default();
        Web {
            metrics,
            broker,
            mqtt: MqttAccess::Off,
            refused_origins: Arc::default(),
            api: None,
            requests: None,
            world: None,
            live: None,
            tokens: None,
            about: Arc::default(),
            description: openapi::text(&described_routes().into_openapi()),
            limits,
        }
    }

    /// The same, with what happens, and tokens for histories.
    #[must_use]
    pub fn with_live(self, live: Arc<Live>, tokens: Tokens) -> Web {
        Web { live: Some(live), tokens: Some(tokens), ..self }
    }

    /// The same, with these facts to tell.
    #[must_use]
    pub fn with_about(self, about: About) -> Web {
        Web { about: Arc::new(about), ..self }
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

    /// The same, with what was measured, also as programs for Fluksometers want it.
    #[must_use]
    pub fn with_world(self, world: World) -> Web {
        Web { world: Some(world), ..self }
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
    let limits = web.limits.clone();
    server::run(listener, routes(&web.about.base_path).with_state(web), limits, stop).await
}

/// All routes; with a base path there as well as without, since some proxies take it away.
fn routes(base_path: &str) -> Router<Web> {
    let base = base_path.trim_end_matches('/');
    let tree = Router::from(described_routes())
        .merge(page::files())
        .merge(flukso::routes())
        .route("/mqtt", any(mqtt::upgrade));
    let routes = tree.clone().route("/", get(page::page));
    if base.is_empty() {
        return routes;
    }
    let page =
        Router::new().route(base, get(page::add_slash)).route(&format!("{base}/"), get(page::page));
    routes.merge(page).nest(base, tree)
}

/// The routes that are described. A route that is added here cannot be left out of the description.
fn described_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::with_openapi(openapi::Frame::openapi())
        .routes(routes!(api::meters))
        .routes(routes!(api::command))
        .routes(routes!(api::request))
        .routes(routes!(tables::things))
        .routes(routes!(tables::items))
        .routes(routes!(tables::sensors))
        .routes(routes!(history::history))
        .routes(routes!(tables::clients))
        .routes(routes!(tables::info))
        .routes(routes!(events::events))
        .routes(routes!(openapi::document))
        .routes(routes!(health))
        .routes(routes!(numbers))
        .merge(flukso::described_routes())
}

/// 200 while the gateway runs: its parts are supervised, and the process ends when one that all
/// others need is lost. A broker elsewhere that is away is told and is no reason to start anew.
#[utoipa::path(get, path = "/healthz", tag = "gateway", responses(
    (status = 200, description = "The gateway runs", body = Object),
))]
async fn health(State(web): State<Web>) -> impl IntoResponse {
    let failing = web.metrics.state_write_failures.get();
    let mode = mode(&web.broker);
    let connected = match &web.broker {
        Numbers::Embedded(_) => Ok(()),
        Numbers::External(stats) => stats.status(),
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

/// What kind of broker it is.
fn mode(broker: &Numbers) -> &'static str {
    match broker {
        Numbers::Embedded(_) => "embedded",
        Numbers::External(_) => "external",
    }
}

/// Every number of the gateway, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "gateway", responses(
    (status = 200, description = "Prometheus text format", content_type = "text/plain", body = String),
))]
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
