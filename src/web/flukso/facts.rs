//! Sensors as Flukso's server describes them: `param=all`, and the lists of a device and of a user.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::answer::{self, Refusal};
use super::credential::Token;
use super::params::Params;
use super::{World, world};
use crate::command::directory::Meter;
use crate::model::{Channel, Device, DeviceId, Milli, Quantity, Recorded, Sensor};
use crate::web::Web;

/// The sensors of a meter.
///
/// Also without `/api`. For the master token.
#[utoipa::path(get, path = "/api/device/{did}/sensor", tag = "flukso", security(()),
    params(
        ("did" = String, Path, description = "Device id"),
        ("version" = Option<String>, Query, description = "`1.0`, if not in the header `X-Version`"),
        ("token" = Option<String>, Query, description = "The master token, if not in the header `X-Token`"),
        ("callback" = Option<String>, Query, description = "Function to wrap the answer in"),
    ), responses(
    (status = 200, description = "`[{\"sensor\",\"config\",\"port\",\"type\",\"subtype\",\"function\",\"kid\",\"data_type\"},…]`", body = Object),
    (status = 400, description = "Malformed", content_type = "text/plain", body = String),
    (status = 401, description = "Wrong token", content_type = "text/plain", body = String),
    (status = 404, description = "No such meter was ever heard", content_type = "text/plain", body = String),
))]
pub(in crate::web) async fn of_device(
    State(web): State<Web>,
    Path(did): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let params = Params::decoded(query.as_deref().unwrap_or_default());
    let world = world(&web)?;
    let token = Token::read(&headers, &params)?;
    let Ok(device) = did.parse::<DeviceId>() else {
        return Err(Refusal::malformed(format!("{did:?} is no device id")));
    };
    let callback = answer::callback(&params)?;
    token.opens_all(&world.tokens)?;
    answer::choose(&headers, &["application/json"])?;
    let known = world.device(device);
    let known = known.ok_or_else(|| {
        Refusal::not_found(format!("no meter {device} was heard, and none is in the history"))
    })?;
    let sensors = known.sensors.iter().zip(1..);
    let list = sensors.map(|(sensor, n)| Value::Object(in_device(sensor, n))).collect();
    Ok(answer::json(Value::Array(list).to_string(), callback))
}

/// All sensors, with the address that their last minute is to be had at.
///
/// Also without `/api`. For the master token; there is one account, whatever its name.
#[utoipa::path(get, path = "/api/user/{uid}/sensor", tag = "flukso", security(()),
    params(
        ("uid" = String, Path, description = "Any name"),
        ("version" = Option<String>, Query, description = "`1.0`, if not in the header `X-Version`"),
        ("token" = Option<String>, Query, description = "The master token, if not in the header `X-Token`"),
        ("callback" = Option<String>, Query, description = "Function to wrap the answer in"),
    ), responses(
    (status = 200, description = "`[{\"sensor\",\"type\",\"function\",\"ip\",\"port\"},…]`", body = Object),
    (status = 400, description = "Malformed", content_type = "text/plain", body = String),
    (status = 401, description = "Wrong token", content_type = "text/plain", body = String),
))]
pub(in crate::web) async fn of_user(
    State(web): State<Web>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let params = Params::decoded(query.as_deref().unwrap_or_default());
    let world = world(&web)?;
    let token = Token::read(&headers, &params)?;
    let callback = answer::callback(&params)?;
    token.opens_all(&world.tokens)?;
    answer::choose(&headers, &["application/json"])?;
    let (ip, port) = asked_at(&headers);
    let meters: Vec<_> =
        world.directory.all().iter().filter_map(|one| device(world, one)).collect();
    let sensors = meters.iter().flat_map(|device| device.sensors.iter());
    let list = sensors.map(|sensor| {
        let facts = of(sensor);
        json!({"sensor": sensor.id.to_string(), "type": facts["type"], "function": facts["function"],
            "ip": ip, "port": port})
    });
    Ok(answer::json(Value::Array(list.collect()).to_string(), callback))
}

/// A meter as it is; one that is expected, as it was when it was heard last.
fn device(world: &World, meter: &Meter) -> Option<Arc<Device>> {
    match meter {
        Meter::Heard(heard) => Some(Arc::clone(&heard.device)),
        Meter::Expected(expected) => {
            let serial = expected.serial.as_ref()?;
            world.histories.as_ref()?.meter(DeviceId::derive(expected.make, serial))
        }
    }
}

/// `param=all`, without `lastupdate`; null where the meter has no such thing.
pub(super) fn of(sensor: &Sensor) -> Map<String, Value> {
    let own = own(sensor);
    let told = |key: &str| own.get(key).cloned().unwrap_or(Value::Null);
    let mut facts = Map::new();
    facts.insert("access".to_owned(), Value::Null);
    facts.insert("type".to_owned(), json!(sensor.kind.as_str()));
    facts.insert("function".to_owned(), json!(&*sensor.name));
    let class = own.get("class").cloned().unwrap_or_else(|| json!(class(sensor)));
    facts.insert("class".to_owned(), class);
    for key in ["voltage", "current", "phase"] {
        facts.insert(key.to_owned(), told(key));
    }
    let constant = sensor.constant.map(|thousandths| number(Milli(thousandths)));
    facts.insert("constant".to_owned(), constant.unwrap_or_else(|| told("constant")));
    facts.insert("enabled".to_owned(), json!(1));
    facts
}

/// The same of a sensor that no meter has any more, from its section in a block.
pub(super) fn of_section(text: &str) -> Map<String, Value> {
    let section: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let keys = ["access", "type", "function", "class", "voltage", "current", "phase", "constant"];
    let told = |key: &str| section.get(key).cloned().unwrap_or(Value::Null);
    let mut facts: Map<String, Value> =
        keys.map(|key| (key.to_owned(), told(key))).into_iter().collect();
    facts.insert("enabled".to_owned(), json!(0));
    facts
}

/// A row of `/device/<did>/sensor`. `n`: the number of its section in `config/sensor`.
fn in_device(sensor: &Sensor, n: usize) -> Map<String, Value> {
    let own = own(sensor);
    let port = match own.get("port") {
        Some(Value::Array(ports)) => ports.first().cloned().unwrap_or(Value::Null),
        Some(port) => port.clone(),
        None => input(sensor.channel).map_or(Value::Null, Value::from),
    };
    let data_type = sensor.recorded().map(|recorded| match recorded {
        Recorded::Counter => "counter",
        Recorded::Gauge => "gauge",
    });
    let subtype = own.get("subtype").cloned();
    let ours = (sensor.own.is_none() && sensor.quantity != Quantity::Pulse)
        .then(|| json!(sensor.quantity.as_str()));
    let Value::Object(row) = json!({
        "sensor": sensor.id.to_string(),
        "config": n,
        "port": port.as_i64(),
        "type": sensor.kind.as_str(),
        "subtype": subtype.or(ours),
        "function": &*sensor.name,
        "kid": own.get("kid"),
        "data_type": data_type,
    }) else {
        return Map::new();
    };
    row
}

/// A Fluksometer's own words for a sensor; nothing for other makes.
fn own(sensor: &Sensor) -> Map<String, Value> {
    let text = sensor.own.as_ref().map_or("{}", |own| own.text.as_str());
    serde_json::from_str(text).unwrap_or_default()
}

/// The nearest of a Fluksometer's classes.
fn class(sensor: &Sensor) -> &'static str {
    match sensor.channel {
        Channel::Pulse(_) => "pulse",
        Channel::Kube(_) => "kube",
        // Of phases tell the customer ports of smart meters.
        Channel::L(_) => "cosem",
        Channel::Ch(_) | Channel::Aux(_) | Channel::T(_) | Channel::Line => "analog",
    }
}

/// The number of an input, as its meter numbers it.
fn input(channel: Channel) -> Option<u8> {
    match channel {
        Channel::Ch(n)
        | Channel::Aux(n)
        | Channel::Pulse(n)
        | Channel::T(n)
        | Channel::L(n)
        | Channel::Kube(n) => Some(n),
        Channel::Line => None,
    }
}

/// A value as a JSON number without a needless fraction.
pub(super) fn number(value: Milli) -> Value {
    if value.0 % 1000 == 0 { json!(value.0 / 1000) } else { json!(value.to_f64()) }
}

/// The address that this was asked at: there the last minute is to be had as well.
fn asked_at(headers: &HeaderMap) -> (Option<String>, Option<u16>) {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<axum::http::uri::Authority>().ok())
    else {
        return (None, None);
    };
    (Some(authority.host().to_owned()), Some(authority.port_u16().unwrap_or(80)))
}
