//! SmartMeters and PowerMeters over their command channel, by recorded dialogs: the gateway dials them,
//! or they dial its stream server.

mod device;
mod dialogs;
mod life;
mod streams;
mod timed;
mod unit;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::api::post;
use crate::record::within;

/// An entry that dials the device.
fn dialled(name: &str, address: SocketAddr, more: &str) -> String {
    format!("\n  - name: {name}\n    kind: smartmeter\n    link: {{connect: {address}}}\n{more}")
}

/// What comes of a command over HTTP, once the meter can be reached.
async fn command(web: SocketAddr, meter: &str, body: &Value) -> Value {
    within("the meter to be there", async {
        loop {
            let (status, reply) = post(web, meter, "", &body.to_string()).await;
            if status != 503 {
                return reply;
            }
        }
    })
    .await
}

/// Waits until the meter was heard.
async fn heard(web: SocketAddr, meter: &str) -> Value {
    within("the meter's own words", async {
        loop {
            let reply = command(web, meter, &json!({"cmd": "info"})).await;
            if reply.get("version").is_some() && reply["online"] == true {
                return reply;
            }
        }
    })
    .await
}
