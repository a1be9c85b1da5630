//! The sensors and documents of an FLM03E: three clamps of which two are used, pulses, radio
//! sensors.

use serde_json::{Value as Json, json};

use super::sensor::{Sections, data_type};
use super::source::{Clamp, Flow, Kube, Source};

/// The sensors, and `config/sensor`.
pub(super) fn sensors(serial: &str) -> Sections {
    let mut sections = Sections::new(serial, true);
    for (clamp, flow) in [Some(Flow::Grid), Some(Flow::Solar), None].into_iter().enumerate() {
        for (place, what) in Clamp::ALL.into_iter().enumerate() {
            add_clamp(&mut sections, clamp as u32, place as u32, what, flow);
        }
    }
    pulse(&mut sections, 37, "water", (1000, Flow::Water));
    pulse(&mut sections, 38, "gas", (10_000, Flow::Gas));
    pulse(&mut sections, 39, "electricity", (500, Flow::Solar));
    let kubes = [
        Kube::Temperature,
        Kube::Humidity,
        Kube::Pressure,
        Kube::Battery,
        Kube::Light,
        Kube::Error,
        Kube::Movement,
        Kube::Vibration,
        Kube::Proximity,
    ];
    for (slot, kube) in (40..).zip(kubes) {
        let source = Source::Kube(kube);
        let section = json!({"id": sections.id(slot), "class": "kube", "kid": 1,
            "type": kube.kind(), "data_type": data_type(source), "rid": 0, "enable": 1});
        sections.add(slot, section, source, (kube.unit(), ""));
    }
    sections.provision(128);
    let document = &mut sections.document;
    document.insert("tmpo".to_owned(), json!({"root": "/flukso/"}));
    let bridge = json!({"bridge_address": "api.flukso.net", "bridge_port": 8883,
        "bridge_keepalive": 60, "bridge_restart_timeout": 30});
    document.insert("mqtt".to_owned(), bridge);
    sections
}

fn add_clamp(sections: &mut Sections, clamp: u32, place: u32, what: Clamp, flow: Option<Flow>) {
    let (port, slot) = (clamp + 1, clamp * 12 + place + 1);
    let source = Source::Clamp(flow.unwrap_or(Flow::Grid), what);
    let mut section = json!({"id": sections.id(slot), "type": "electricity",
        "subtype": what.subtype(), "port": [port], "data_type": data_type(source), "rid": 0,
        "enable": i32::from(flow.is_some())});
    if matches!(what, Clamp::Q(2 | 4) | Clamp::Vthd | Clamp::Ithd | Clamp::Alpha) {
        section["tmpo"] = Json::from(0);
    }
    let units = match what {
        Clamp::Pplus | Clamp::Pminus => ("W", "Wh"),
        Clamp::Q(_) => ("VAR", "VARh"),
        Clamp::Vrms => ("V", ""),
        Clamp::Irms => ("A", ""),
        Clamp::Alpha => ("°", ""),
        _ => ("", ""),
    };
    if flow.is_some() {
        sections.add(slot, section, source, units);
    } else {
        sections.write(slot, section);
    }
}

/// `worth`: thousandths of a Wh or litre a pulse, and of what.
fn pulse(sections: &mut Sections, slot: u32, kind: &str, worth: (u64, Flow)) {
    let mut section = json!({"id": sections.id(slot), "type": kind, "port": [slot - 33],
        "data_type": "counter", "rid": 0, "enable": 1});
    let units = if kind == "electricity" {
        section["subtype"] = "pplus".into();
        ("W", "Wh")
    } else {
        ("L/s", "L")
    };
    let source = Source::Pulses { flow: worth.1, constant: worth.0, fixed: true };
    sections.add(slot, section, source, units);
}

/// `config/flx`: what is at the ports.
pub(super) fn ports() -> Json {
    json!({
        "1": {"enable": 1, "class": "ct", "name": "grid", "current": 50, "shift": 0},
        "2": {"enable": 1, "class": "ct", "name": "roof", "current": 50, "shift": 3},
        "3": {"enable": 0, "class": "ct", "name": "phase 3", "current": 50, "shift": 0},
        "4": {"enable": 1, "class": "pulse", "name": "rain", "constant": 1, "trigger": "edge"},
        "5": {"enable": 1, "class": "pulse", "name": "gas", "constant": 10, "trigger": "edge"},
        "6": {"enable": 1, "class": "pulse", "name": "solar", "constant": 0.5, "trigger": "level"},
        "7": {"enable": 0, "class": "uart", "name": "p1", "dsmr": 4, "uart_rx_invert": 1,
            "uart_tx_invert": 0},
        "main": {"phase": "1p", "led_mode": 255, "theta": 130}
    })
}
