//! `/sensor/<sid>`: time series and facts of a sensor, as Flukso's server tells them.

use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::tz::TimeZone;
use serde_json::json;
use std::net::SocketAddr;

use super::align::Query;
use super::answer::{self, Refusal};
use super::credential::{self, Token};
use super::params::Params;
use super::rates::{self, Row};
use super::{World, facts, local, nights, world};
use crate::history::{Flow, History, HistoryError};
use crate::model::{Recorded, SensorId, Timestamp};
use crate::topic::Topic;
use crate::web::Web;
use crate::web::visitor::{self, refused};

/// A sensor as Flukso's server tells it, or its last minute as a Fluksometer itself does.
///
/// Also without `/api`. With a token: a time series (`unit` and `interval`, or `unit` and `start`), or
/// `param=all`. Without a token and with `interval=minute&unit=watt&version=1.0`: the gauges of the
/// last sixty seconds, for those who may read the sensor's topic. Times are Unix seconds; what is not
/// known is `"nan"`.
#[utoipa::path(get, path = "/api/sensor/{sid}", tag = "flukso", security((), ("login" = [])),
    params(
        ("sid" = String, Path, description = "Sensor id"),
        ("version" = Option<String>, Query, description = "`1.0`, if not in the header `X-Version`"),
        ("token" = Option<String>, Query, description = "The sensor's token or the master token, if not in the header `X-Token`"),
        ("unit" = Option<String>, Query, description = "`watt`, `kwhperyear`, `eurperyear`, `audperyear`, `lpermin`, `lperday` or `m3peryear`"),
        ("interval" = Option<String>, Query, description = "`minute`, `15min`, `hour`, `day`, `week`, `month`, `year`, `decade` or `night`"),
        ("start" = Option<i64>, Query, description = "Unix seconds, in the place of `interval`"),
        ("end" = Option<i64>, Query, description = "Unix seconds, with `start`; now if not given"),
        ("resolution" = Option<String>, Query, description = "`minute`, `15min`, `day` or `week`"),
        ("param" = Option<String>, Query, description = "`all`: the sensor itself"),
        ("callback" = Option<String>, Query, description = "Function to wrap the answer in"),
    ), responses(
    (status = 200, description = "`[[1310042700,347],[1310042760,\"nan\"],…]`, or lines `time,value` for `Accept: text/csv`", body = Object),
    (status = 400, description = "Malformed", content_type = "text/plain", body = String),
    (status = 401, description = "Wrong token, or a login is needed", content_type = "text/plain", body = String),
    (status = 404, description = "Nothing is known of this sensor", content_type = "text/plain", body = String),
    (status = 406, description = "Accept allows neither form", content_type = "text/plain", body = String),
))]
pub(in crate::web) async fn sensor(
    State(web): State<Web>,
    Path(sid): Path<String>,
    RawQuery(query): RawQuery,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let query = query.unwrap_or_default();
    let params = Params::decoded(&query);
    let plain = Params::plain(&query);
    if plain.find("interval") == Some("minute") && !credential::is_given(&headers, &params) {
        return last_minute(&web, &sid, &plain, peer, &headers).await;
    }
    told(&web, &sid, &params, &headers).await.map_err(IntoResponse::into_response)
}

/// Without a token one has to be let in as to any page.
async fn last_minute(
    web: &Web,
    sid: &str,
    params: &Params,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Result<Response, Response> {
    let (caller, _) = visitor::admit(web, peer, headers).await?;
    let Ok(sensor) = sid.parse::<SensorId>() else {
        let refusal = Refusal::not_found(format!("{sid:?} is no sensor id"));
        return Err(refusal.into_response());
    };
    if !caller.may_read(&Topic::Gauge(sensor).to_string()) {
        let words = "broker.acl does not let this user see this sensor";
        return Err(refused(axum::http::StatusCode::FORBIDDEN, words));
    }
    let world = world(web).map_err(IntoResponse::into_response)?;
    let now = Timestamp::now().seconds();
    local::answer(&world.recent, sensor, params, now).map_err(IntoResponse::into_response)
}

async fn told(
    web: &Web,
    sid: &str,
    params: &Params,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let world = world(web)?;
    let token = Token::read(headers, params)?;
    let sensor = credential::sensor(sid)?;
    let question = Question::read(params, Timestamp::now().seconds())?;
    let callback = answer::callback(params)?;
    token.opens(sensor, &world.tokens)?;
    match question {
        Question::Facts => {
            answer::choose(headers, &["application/json"])?;
            Ok(answer::json(facts(world, sensor).await?, callback))
        }
        Question::Series { query, factor } => {
            let form = answer::choose(headers, &["application/json", "text/csv"])?;
            let rows = series(world, sensor, query, factor).await?;
            if form == 1 {
                return Ok(([(CONTENT_TYPE, "text/csv")], rates::csv(&rows)).into_response());
            }
            Ok(answer::json(rates::json(&rows), callback))
        }
    }
}

/// What a request with a token asks for.
enum Question {
    Facts,
    Series { query: Query, factor: f64 },
}

impl Question {
    fn read(params: &Params, now: i64) -> Result<Question, Refusal> {
        let series = ["interval", "start"].iter().any(|name| params.find(name).is_some());
        match (params.find("param"), params.find("update"), series) {
            (Some("all"), None, false) => Ok(Question::Facts),
            (Some(param), None, false) => {
                Err(Refusal::malformed(format!("param is {param:?}: all is meant")))
            }
            (None, Some(_), false) => Err(Refusal::malformed(
                "update is for the server that meters report to, and this gateway is none",
            )),
            (None, None, _) => Question::series(params, now),
            _ => Err(Refusal::malformed("only one of a time series, param and update is meant")),
        }
    }

    fn series(params: &Params, now: i64) -> Result<Question, Refusal> {
        let query = Query::read(params, now).map_err(|bad| Refusal::malformed(bad.to_string()))?;
        let unit = params.find("unit").ok_or_else(|| {
            Refusal::malformed(format!("unit is needed: one of {}", rates::units()))
        })?;
        let factor = rates::factor(unit).ok_or_else(|| {
            let words = format!("unit is {unit:?}: one of {} is meant", rates::units());
            Refusal::malformed(words)
        })?;
        Ok(Question::Series { query, factor })
    }
}

async fn facts(world: &World, sensor: SensorId) -> Result<String, Refusal> {
    let known = world.sensor(sensor);
    let described = known.as_ref().and_then(|(meter, place)| meter.sensors.get(*place));
    let mut facts = match (described, &world.histories) {
        (Some(described), _) => facts::of(described),
        (None, Some(histories)) => {
            let section = histories.ask(move |history| history.section(sensor)).await?;
            facts::of_section(&section.ok_or_else(|| unknown(sensor))?)
        }
        (None, None) => return Err(unknown(sensor)),
    };
    let latest = match &world.histories {
        Some(histories) => histories.ask(move |history| history.latest(sensor)).await?,
        None => None,
    };
    let now = world.directory.sensor(sensor).and_then(|(heard, place)| {
        let counter = heard.latest.get(place)?.counter?;
        Some((heard.at.seconds(), counter))
    });
    let latest = latest.or(now);
    facts.insert(
        "lastupdate".to_owned(),
        match latest {
            Some((time, value)) => json!([time, facts::number(value)]),
            None => json!(null),
        },
    );
    Ok(serde_json::Value::Object(facts).to_string())
}

async fn series(
    world: &World,
    sensor: SensorId,
    query: Query,
    factor: f64,
) -> Result<Vec<Row>, Refusal> {
    let known = world.sensor(sensor);
    let known = known.and_then(|(meter, place)| meter.sensors.get(place).cloned());
    if known.is_some_and(|sensor| sensor.recorded() != Some(Recorded::Counter)) {
        let words = format!("the sensor {sensor} counts nothing: there are no rates of it");
        return Err(Refusal::not_found(words));
    }
    let histories = world.histories()?;
    let zone = histories.zone().clone();
    let rows = histories.ask(move |history| rows(history, sensor, query, factor, &zone));
    rows.await?.ok_or_else(|| unknown(sensor))
}

/// `None` for a sensor without a history.
fn rows(
    history: &History,
    sensor: SensorId,
    query: Query,
    factor: f64,
    zone: &TimeZone,
) -> Result<Option<Vec<Row>>, HistoryError> {
    let Some((last, _)) = history.latest(sensor)? else { return Ok(None) };
    if query.nights {
        let nights = nights::spans(query, zone);
        // Night, day, night, day, and a night at the end.
        let bounds: Vec<i64> = nights.iter().flat_map(|(begin, end)| [*begin, *end]).collect();
        let flows = history.flows(sensor, &bounds, rates::LIMITS)?;
        let spans: Vec<Flow> = flows.into_iter().step_by(2).collect();
        return Ok(Some(rates::nights(query, &nights, &spans, last, factor)));
    }
    let query = query.in_archive(last);
    let flows = history.flows(sensor, &rates::bounds(query), rates::LIMITS)?;
    Ok(Some(rates::rows(query, &flows, last, factor)))
}

fn unknown(sensor: SensorId) -> Refusal {
    Refusal::not_found(format!("nothing is known of the sensor {sensor}"))
}
