//! Flukso's world: the addresses that programs for Fluksometers and for Flukso's server ask.
//!
//! | module | has |
//! |---|---|
//! | `local` | the last minute of a sensor, as a Fluksometer itself tells it |
//! | `recent` | where that comes from: the gauges of the last minute |
//! | `params`, `credential`, `answer` | what requests and answers have in common |
//! | `cloud` | sensors as Flukso's server tells them: time series, and what they are |
//! | `align`, `rates`, `nights` | which rows a time series has, and what stands in them |
//! | `facts` | sensors described, and lists of them |
//! | `tmpo` | blocks of history, and which there are |

mod align;
mod answer;
mod cloud;
mod credential;
mod facts;
mod local;
mod nights;
mod params;
mod rates;
mod recent;
mod tmpo;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Router, middleware};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::answer::Refusal;
use super::histories::{Histories, Unreadable};
use super::{Tokens, Web};
use crate::command::directory::Directory;
use crate::model::{Device, DeviceId, SensorId};

pub(super) use self::params::Params;
pub use self::recent::Recent;

/// The place of the media type that `headers` want most among `offers`, if they want any.
pub(super) fn choose(headers: &HeaderMap, offers: &[&str]) -> Option<usize> {
    answer::choose(headers, offers).ok()
}

/// What the answers are made from.
#[derive(Debug, Clone)]
pub struct World {
    /// What was measured; `None`: it is not recorded.
    pub histories: Option<Histories>,
    /// What was measured just now.
    pub recent: Arc<Recent>,
    /// The meters.
    pub directory: Arc<Directory>,
    /// Who may ask.
    pub tokens: Tokens,
}

/// The routes as they are described, below `/api`.
pub(super) fn described_routes() -> OpenApiRouter<Web> {
    let open = |(schemas, paths, methods): utoipa_axum::router::UtoipaMethodRouter<Web>| {
        (schemas, paths, open(methods))
    };
    OpenApiRouter::new()
        .routes(open(routes!(cloud::sensor)))
        .routes(open(routes!(tmpo::sync)))
        .routes(open(routes!(tmpo::block)))
        .routes(open(routes!(facts::of_device)))
        .routes(open(routes!(facts::of_user)))
}

/// The same where a Fluksometer has them.
pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/sensor/{sid}", open(get(cloud::sensor)))
        .route("/sensor/{sid}/tmpo/sync", open(get(tmpo::sync)))
        .route("/sensor/{sid}/tmpo/{rid}/{lvl}/{bid}", open(get(tmpo::block)))
        .route("/device/{did}/sensor", open(get(facts::of_device)))
        .route("/user/{uid}/sensor", open(get(facts::of_user)))
}

/// Pages of all sites may read the answers: what guards them is a token, not where a page is from.
fn open(methods: MethodRouter<Web>) -> MethodRouter<Web> {
    methods.fallback(other_method).layer(middleware::map_response(open_to_all_pages))
}

async fn open_to_all_pages(mut response: Response) -> Response {
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// A browser asks before it sends a token in a header; everything else is refused.
async fn other_method(request: Request) -> Response {
    let allowed = HeaderValue::from_static("GET, HEAD, OPTIONS");
    if request.method() == Method::OPTIONS {
        let headers = [
            (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD")),
            (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("X-Version, X-Token")),
            (ALLOW, allowed),
        ];
        return (StatusCode::NO_CONTENT, headers).into_response();
    }
    let words = "only GET: the gateway takes in no measurements over http, a meter's link is \
                 configured under meters";
    let refusal = Refusal { status: StatusCode::METHOD_NOT_ALLOWED, words: words.to_owned() };
    ([(ALLOW, allowed)], refusal).into_response()
}

fn world(web: &Web) -> Result<&World, Refusal> {
    web.world.as_ref().ok_or_else(|| Refusal::unavailable("the gateway is not ready"))
}

impl World {
    /// A meter: as it is, or if it was not heard since the start, as it was.
    fn device(&self, id: DeviceId) -> Option<Arc<Device>> {
        let heard = self.directory.device(id).map(|heard| Arc::clone(&heard.device));
        heard.or_else(|| self.histories.as_ref()?.meter(id))
    }

    /// The meter that has this sensor, of the same age, and the sensor's place in it.
    fn sensor(&self, id: SensorId) -> Option<(Arc<Device>, usize)> {
        let heard = self.directory.sensor(id);
        let heard = heard.map(|(heard, place)| (Arc::clone(&heard.device), place));
        heard.or_else(|| self.histories.as_ref()?.meter_of(id))
    }

    fn histories(&self) -> Result<&Histories, Refusal> {
        let words = "this gateway keeps no histories: history.enabled is false";
        self.histories.as_ref().ok_or_else(|| Refusal::not_found(words))
    }
}

impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Refusal {
        Refusal::unavailable(unreadable.to_string())
    }
}
