//! A page with the mistakes of a configuration, in the place of the gateway that cannot run with it.
//!
//! Everything asked for is answered with 503, so that nobody takes it for a gateway that is well:
//! programs get JSON, people get a page that looks again every few seconds.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::server::{self, WebLimits};

/// What is wrong; may change while it is shown.
#[derive(Debug, Clone, Default)]
pub struct Mistakes(Arc<Mutex<Vec<String>>>);

impl Mistakes {
    /// Shows these lines from now on.
    pub fn set(&self, lines: Vec<String>) {
        *self.0.lock() = lines;
    }
}

/// Serves the page on these ports until `stop`.
pub async fn serve(listeners: Vec<TcpListener>, mistakes: Mistakes, stop: CancellationToken) {
    let routes = Router::new().fallback(answer).with_state(mistakes);
    let mut servers = JoinSet::new();
    for listener in listeners {
        let (routes, stop) = (routes.clone(), stop.clone());
        servers.spawn(async move {
            // A port that fails is no worse than none.
            let _ = server::run(listener, routes, WebLimits::default(), stop).await;
        });
    }
    while servers.join_next().await.is_some() {}
}

async fn answer(State(mistakes): State<Mistakes>, uri: Uri) -> Result<Response, Infallible> {
    let lines = mistakes.0.lock().clone();
    let path = uri.path();
    let wants_json = ["/healthz", "/metrics"].iter().any(|end| path.ends_with(end))
        || path.split('/').any(|step| step == "api");
    let headers = [
        (RETRY_AFTER, "5"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; img-src data:"),
    ];
    let answer = if wants_json {
        let msg = "the configuration has mistakes: the gateway does not run";
        let body = json!({"status": "misconfigured", "error": true, "msg": msg, "mistakes": lines});
        (headers, Json(body)).into_response()
    } else {
        let html = [(CONTENT_TYPE, "text/html; charset=utf-8")];
        (headers, html, page(&lines)).into_response()
    };
    Ok((StatusCode::SERVICE_UNAVAILABLE, answer).into_response())
}

fn page(lines: &[String]) -> String {
    let mut list = String::new();
    for line in lines {
        list.push_str("<li>");
        escape(line, &mut list);
        list.push_str("</li>\n");
    }
    let count = match lines.len() {
        1 => "1 mistake".to_owned(),
        many => format!("{many} mistakes"),
    };
    PAGE.replace("{{count}}", &count).replace("{{mistakes}}", &list)
}

fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            c => into.push(c),
        }
    }
}

const PAGE: &str = include_str!("../../web/mistakes.html");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_text_and_nothing_else() {
        let html = page(&["<script>x</script> & {{count}}".to_owned()]);
        assert!(html.contains("&lt;script&gt;x&lt;/script&gt; &amp;"), "{html}");
        assert!(!html.contains("<script>"), "{html}");
        assert!(html.contains("1 mistake"), "{html}");
    }
}
