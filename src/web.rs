//! The web port. So far: whether the gateway is well, and its numbers.

use std::convert::Infallible;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::broker::Numbers;
use crate::metrics::{self, Metrics};

/// What the pages are made from.
#[derive(Debug, Clone)]
pub struct Web {
    metrics: Metrics,
    broker: Numbers,
}

impl Web {
    /// Pages about these numbers.
    pub fn new(metrics: Metrics, broker: Numbers) -> Web {
        Web { metrics, broker }
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
        .with_state(web);
    let server = axum::serve(listener, routes).into_future();
    // Open connections are cut off: their answers are small and long sent.
    tokio::select! {
        ended = server => ended,
        () = stop.cancelled() => Ok(()),
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
        let help = format!("Broker: {}.", name.replace('_', " "));
        metrics::render(&mut text, &format!("meterbridge_broker_{name}{unit}"), &help, kind, value);
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
