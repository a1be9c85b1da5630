//! `/sensor/<sid>/tmpo/…`: blocks of history for tmpo-py and tmpo-js.

use std::fmt::Write as _;

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::answer::{self, Refusal};
use super::credential::{self, Token};
use super::params::Params;
use super::{World, world};
use crate::history::{BlockKey, Tail};
use crate::model::SensorId;
use crate::web::Web;

/// Blocks of a sensor's history that are newer than the one named.
///
/// Also without `/api`. In the order of `rid`, level from 20 down to 8, and time. A first request has
/// 0 in the place of `rid`, `lvl` and `bid`. Version and token stand in the headers `X-Version` and
/// `X-Token`, or among the parameters.
#[utoipa::path(get, path = "/api/sensor/{sid}/tmpo/sync", tag = "flukso", security(()),
    params(
        ("sid" = String, Path, description = "Sensor id"),
        ("rid" = u32, Query, description = "Recycle id of the last block there is"),
        ("lvl" = u8, Query, description = "Its level"),
        ("bid" = i64, Query, description = "Its begin, Unix seconds"),
        ("version" = Option<String>, Query, description = "`1.0`, if not in a header"),
        ("token" = Option<String>, Query, description = "The sensor's token, if not in a header"),
        ("callback" = Option<String>, Query, description = "Function to wrap the answer in"),
    ), responses(
    (status = 200, description = "`[{\"rid\":0,\"lvl\":20,\"bid\":1402994688,\"ext\":\"gz\"},…]`", body = Object),
    (status = 400, description = "Malformed", content_type = "text/plain", body = String),
    (status = 401, description = "Wrong token", content_type = "text/plain", body = String),
    (status = 406, description = "Accept does not allow application/json", content_type = "text/plain", body = String),
))]
pub(in crate::web) async fn sync(
    State(web): State<Web>,
    Path(sid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let params = Params::decoded(query.as_deref().unwrap_or_default());
    let (world, (sensor, (after, callback))) = enter(&web, &sid, &headers, &params, |params| {
        let after = Tail {
            rid: number(params.find("rid"), "rid")?,
            level: number(params.find("lvl"), "lvl").and_then(level)?,
            bid: number(params.find("bid"), "bid")?,
        };
        Ok((after, answer::callback(params)?))
    })?;
    answer::choose(&headers, &["application/json"])?;
    let blocks = world.histories()?.ask(move |history| history.sync(sensor, after)).await?;
    Ok(answer::json(list(&blocks), callback))
}

/// One block, as it is stored: gzip of JSON.
///
/// Also without `/api`. For `Accept: application/json` the same bytes come with
/// `Content-Encoding: gzip`.
#[utoipa::path(get, path = "/api/sensor/{sid}/tmpo/{rid}/{lvl}/{bid}", tag = "flukso", security(()),
    params(
        ("sid" = String, Path, description = "Sensor id"),
        ("rid" = u32, Path, description = "Recycle id"),
        ("lvl" = u8, Path, description = "Level"),
        ("bid" = i64, Path, description = "Begin, Unix seconds"),
        ("version" = Option<String>, Query, description = "`1.0`, if not in a header"),
        ("token" = Option<String>, Query, description = "The sensor's token, if not in a header"),
    ), responses(
    (status = 200, description = "The block", content_type = "application/gzip", body = Vec<u8>),
    (status = 400, description = "Malformed", content_type = "text/plain", body = String),
    (status = 401, description = "Wrong token", content_type = "text/plain", body = String),
    (status = 404, description = "No such block", content_type = "text/plain", body = String),
    (status = 406, description = "Accept allows neither form", content_type = "text/plain", body = String),
))]
pub(in crate::web) async fn block(
    State(web): State<Web>,
    Path((sid, rid, lvl, bid)): Path<(String, String, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let params = Params::decoded(query.as_deref().unwrap_or_default());
    let (world, (sensor, place)) = enter(&web, &sid, &headers, &params, |_| {
        let level: i64 = number(Some(&lvl), "lvl")?;
        Ok((number(Some(&rid), "rid")?, level, number(Some(&bid), "bid")?))
    })?;
    let form = answer::choose(&headers, &["application/gzip", "application/json"])?;
    let (rid, level, bid): (u32, i64, i64) = place;
    let level = u8::try_from(level).unwrap_or_default();
    let key = BlockKey { sensor, rid, level, bid };
    let block = world.histories()?.ask(move |history| history.block(&key)).await?;
    let Some(block) = block else {
        return Err(Refusal::not_found(format!("no block {rid}/{lvl}/{bid} of this sensor")));
    };
    Ok(match form {
        0 => ([(CONTENT_TYPE, "application/gzip")], block).into_response(),
        _ => {
            let headers = [(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "gzip")];
            (headers, block).into_response()
        }
    })
}

/// Judges a request in the order of Flukso's server: whether it is one, then who asks.
fn enter<'a, T>(
    web: &'a Web,
    sid: &str,
    headers: &HeaderMap,
    params: &'a Params,
    read: impl FnOnce(&'a Params) -> Result<T, Refusal>,
) -> Result<(&'a World, (SensorId, T)), Refusal> {
    let world = world(web)?;
    let token = Token::read(headers, params)?;
    let sensor = credential::sensor(sid)?;
    let asked = read(params)?;
    token.opens(sensor, &world.tokens)?;
    Ok((world, (sensor, asked)))
}

fn number<T: std::str::FromStr>(text: Option<&str>, name: &str) -> Result<T, Refusal> {
    let text = text.ok_or_else(|| Refusal::malformed(format!("{name} is needed")))?;
    let whole = text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().ok().filter(|_| whole);
    value.ok_or_else(|| Refusal::malformed(format!("{name} is {text:?}: an integer is meant")))
}

/// A cursor may have no level yet.
fn level(level: u8) -> Result<u8, Refusal> {
    if level <= 20 {
        return Ok(level);
    }
    Err(Refusal::malformed(format!("lvl is {level}: 20 is the highest")))
}

fn list(blocks: &[BlockKey]) -> String {
    let mut text = String::with_capacity(64 * blocks.len() + 2);
    text.push('[');
    for (place, BlockKey { rid, level, bid, .. }) in blocks.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, r#"{comma}{{"rid":{rid},"lvl":{level},"bid":{bid},"ext":"gz"}}"#);
    }
    text.push(']');
    text
}
