//! `/mqtt`: the way from an HTTP request to a client of the broker.

use std::net::SocketAddr;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::frames::Frames;
use super::{Web, origin};
use crate::broker::Door;

/// Whether MQTT clients may come by WebSocket.
#[derive(Debug, Clone)]
pub enum MqttAccess {
    /// They may.
    Open(Door),
    /// Not here: `broker.websocket: false`, or no broker inside.
    Off,
    /// Nobody said who may: the port is open to other machines, and the broker knows no users.
    Unguarded,
}

/// Turns a request into a WebSocket and hands it to the broker.
pub(super) async fn upgrade(
    State(web): State<Web>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    request: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let door = match &web.mqtt {
        MqttAccess::Open(door) => door,
        MqttAccess::Off => return StatusCode::NOT_FOUND.into_response(),
        MqttAccess::Unguarded => return (StatusCode::FORBIDDEN, UNGUARDED).into_response(),
    };
    if door.lets_anybody_in()
        && let Err(foreign) = origin::check(&headers)
    {
        door.note_refused_origin();
        web.refused_origins.note(foreign);
        return (StatusCode::FORBIDDEN, FOREIGN).into_response();
    }
    let upgrade = match request {
        Ok(upgrade) => upgrade.protocols(SUBPROTOCOLS),
        Err(rejection) => return rejection.into_response(),
    };
    if upgrade.selected_protocol().is_none() {
        return (StatusCode::BAD_REQUEST, WRONG_SUBPROTOCOL).into_response();
    }
    let Some(seat) = door.seat(peer) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many mqtt connections\n").into_response();
    };
    // A message may hold several packets, but needs to hold no more than the largest.
    let largest = door.packet_size();
    upgrade
        .max_message_size(largest)
        .max_frame_size(largest)
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .on_upgrade(async move |socket| {
            let frames = Frames::new(socket, seat.complaints());
            seat.serve(frames).await;
        })
}

/// MQTT 3.1.1 and 5 are both called `mqtt`; `mqttv3.1` is what clients from before the standard say.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
const WRONG_SUBPROTOCOL: &str = "the subprotocol must be \"mqtt\" (Sec-WebSocket-Protocol: mqtt)\n";
const UNGUARDED: &str = "mqtt over websocket is closed: other machines can reach this port and \
                         nobody needs a login; configure broker.users, or \
                         broker.allow_anonymous: true\n";
const FOREIGN: &str = "mqtt over websocket is for pages of this server only as long as nobody needs a \
                       login; configure broker.users and broker.allow_anonymous: false\n";
/// Read at a time; held for each connection.
const BUFFER: usize = 8 * 1024;
