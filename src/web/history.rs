//! `/api/sensors/<sid>/history`: what a sensor has measured, in steps of the local calendar.

mod ask;
mod bounds;
mod steps;
mod write;

use axum::extract::{Path, RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use self::ask::{Ask, Resolution};
use self::write::{Facts, HistoryView};
use super::flukso::{self, Params};
use super::openapi::Refused;
use super::visitor::{Visitor, refused};
use super::{Histories, Web};
use crate::command::directory::Directory;
use crate::model::{SensorId, Timestamp};
use crate::topic::Topic;

/// What a sensor has measured: energy, mean and peak for each step of the local calendar.
///
/// Steps end with local days, weeks (Mondays), months and years, across daylight saving; the first and
/// the last are cut off at `from` and `to`. What came a moment ago is in it. With `resolution=raw` the
/// readings themselves come.
#[utoipa::path(get, path = "/api/sensors/{sid}/history", tag = "meters",
    params(
        ("sid" = String, Path, description = "Sensor id"),
        ("from" = String, Query, description = "Unix seconds, RFC 3339, or a local date or date and time"),
        ("to" = Option<String>, Query, description = "The same; the first moment that is not asked for; now if not given"),
        ("resolution" = Option<String>, Query, description = "`15m`, `1h`, `1d`, `1w`, `1M`, `1y`, …, or `raw`; a fitting one if not given"),
        ("tz" = Option<String>, Query, description = "Time zone such as `Europe/Brussels`; the gateway's own if not given"),
    ), responses(
    (status = 200, description = "The history; lines of text for `Accept: text/csv`", content(
        (HistoryView = "application/json"), (String = "text/csv"))),
    (status = 400, description = "Not to be understood, or too much", body = Refused),
    (status = 401, description = "A login is needed", body = Refused),
    (status = 403, description = "Not allowed", body = Refused),
    (status = 404, description = "Nothing is known of this sensor", body = Refused),
    (status = 406, description = "Accept allows neither form", body = Refused),
    (status = 503, description = "The history cannot be read now", body = Refused),
))]
pub(super) async fn history(
    State(web): State<Web>,
    Path(sid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Visitor { caller, commands }: Visitor,
) -> Response {
    let Ok(sensor) = sid.parse::<SensorId>() else {
        return refused(StatusCode::NOT_FOUND, "this is no sensor id: 32 lower-case hex digits");
    };
    let topics = [Topic::Counter(sensor), Topic::Gauge(sensor)];
    if !topics.iter().any(|topic| caller.may_read(&topic.to_string())) {
        let words = "broker.acl does not let this user see this sensor";
        return refused(StatusCode::FORBIDDEN, words);
    }
    let Some(histories) = web.world.as_ref().and_then(|world| world.histories.as_ref()) else {
        let words = "this gateway keeps no histories: history.enabled is false";
        return refused(StatusCode::NOT_FOUND, words);
    };
    let Some(form) = flukso::choose(&headers, &["application/json", "text/csv"]) else {
        let words = "the header Accept allows neither application/json nor text/csv";
        return refused(StatusCode::NOT_ACCEPTABLE, words);
    };
    let params = Params::decoded(query.as_deref().unwrap_or_default());
    let now = Timestamp::now().seconds();
    let ask = match Ask::read(&params, now, histories.zone()) {
        Ok(ask) => ask,
        Err(bad) => return refused(StatusCode::BAD_REQUEST, &bad.to_string()),
    };
    let text = told(histories, commands.directory(), sensor, ask, form == 1).await;
    let media = if form == 1 { "text/csv; charset=utf-8" } else { "application/json" };
    match text {
        Ok(text) => ([(CONTENT_TYPE, media)], text).into_response(),
        Err((status, words)) => refused(status, &words),
    }
}

async fn told(
    histories: &Histories,
    directory: &Directory,
    sensor: SensorId,
    ask: Ask,
    csv: bool,
) -> Result<String, (StatusCode, String)> {
    let unreadable =
        |error: super::histories::Unreadable| (StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    let facts = Facts::of(directory, histories, sensor);
    if facts.is_none() {
        let latest = histories.ask(move |history| history.latest(sensor)).await;
        if latest.map_err(unreadable)?.is_none() {
            let words = "no meter has this sensor, and there is no history of it".to_owned();
            return Err((StatusCode::NOT_FOUND, words));
        }
    }
    let facts = facts.unwrap_or_else(|| Facts::unknown(sensor));
    // What is long is written where it was read, off the threads that serve others.
    if ask.resolution == Resolution::Raw {
        let text = histories.ask(move |history| {
            let span = (ask.from, ask.to);
            let readings = steps::readings(history, sensor, span, bounds::MOST)?;
            Ok(readings.map(|readings| match csv {
                true => write::raw_csv(&readings),
                false => facts.raw(&ask, &readings),
            }))
        });
        let too_many = (StatusCode::BAD_REQUEST, bounds::TooMany.to_string());
        return text.await.map_err(unreadable)?.ok_or(too_many);
    }
    let bounds =
        bounds::bounds(&ask).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    if !steps::is_of_quarters(&bounds) && ask.to - ask.from > FINE {
        let words = "steps that are not made of quarters of an hour are worked out from all readings, \
                     for eight days at most: ask for a shorter time, or in other steps";
        return Err((StatusCode::BAD_REQUEST, words.to_owned()));
    }
    let text = histories.ask(move |history| {
        let steps = steps::steps(history, sensor, &bounds)?;
        Ok(match csv {
            true => facts.csv(&ask, &bounds, &steps),
            false => facts.json(&ask, &bounds, &steps),
        })
    });
    text.await.map_err(unreadable)
}

/// For how long steps may be of any length, seconds.
const FINE: i64 = 8 * 86_400;
