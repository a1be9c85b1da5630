//! `/sensor/<sid>?interval=minute` without a token: what a Fluksometer itself answers on port 8080.

use std::fmt::Write as _;

use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::answer::Refusal;
use super::params::Params;
use super::recent::Recent;
use crate::model::SensorId;

/// The last minute of a sensor.
///
/// # Errors
/// 400 for parameters that are not as the device wants them, 404 for a sensor that no meter has.
pub(super) fn answer(
    recent: &Recent,
    sensor: SensorId,
    params: &Params,
    now: i64,
) -> Result<Response, Refusal> {
    check(params)?;
    let minute = recent.minute(sensor, now).ok_or_else(|| {
        Refusal::not_found(format!("no meter heard since the start has the sensor {sensor}"))
    })?;
    let callback = params.find("callback").or_else(|| params.find("jsonp_callback"));
    let body = match callback {
        // As the device has it: what is empty is not wrapped.
        Some(name) if !minute.is_empty() => format!("{name}({});", body(&minute)),
        _ => body(&minute),
    };
    // Of unknown length, so that it is sent in chunks as the device does.
    let chunk = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(body))]);
    let headers = [(CONTENT_TYPE, "application/json"), (CONNECTION, "close")];
    Ok((headers, Body::from_stream(chunk)).into_response())
}

/// `[[t,v],…]` without blanks; `"nan"` where there is no value.
pub(super) fn body(minute: &[(i64, Option<i32>)]) -> String {
    let mut text = String::from("[");
    for (place, (second, value)) in minute.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = match value {
            Some(value) => write!(text, "{comma}[{second},{value}]"),
            None => write!(text, "{comma}[{second},\"nan\"]"),
        };
    }
    text.push(']');
    text
}

fn check(params: &Params) -> Result<(), Refusal> {
    let wanted =
        [("version", &["1.0"][..]), ("interval", &["minute"]), ("unit", &["watt", "lperday"])];
    for (name, values) in wanted {
        match params.find(name) {
            Some(value) if values.contains(&value) => {}
            Some(value) => {
                let words = format!("{name} is {value:?}: {} is meant", values.join(" or "));
                return Err(Refusal::malformed(words));
            }
            None => {
                let words = format!("{name}={} is needed", values.join(" or "));
                return Err(Refusal::malformed(words));
            }
        }
    }
    Ok(())
}
