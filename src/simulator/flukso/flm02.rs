//! The sensors and documents of an FLM02B: one clamp, pulses, a P1 port, and radio sensors.

use serde_json::{Map, Value as Json, json};

use super::sensor::{Sections, data_type};
use super::source::{Flow, Kube, Source};

const POWER: (&str, &str) = ("W", "Wh");
const VOLUME: (&str, &str) = ("L/day", "L");

/// The sensors, and the sections of `config/sensor` with those that are no sensors first.
pub(super) fn sensors(serial: &str) -> Sections {
    let mut sections = Sections::new(serial, false);
    sections.document = head();
    analog(&mut sections);
    let off = |sections: &Sections, slot: u32, class: &str| {
        let mut section = json!({"id": sections.id(slot), "class": class, "type": "electricity",
            "port": [slot], "constant": 1, "enable": 0});
        if class == "uart" {
            section = json!({"id": sections.id(slot), "class": class, "port": [slot], "enable": 0});
        }
        section
    };
    pulse(&mut sections, 2, "water", "rain", ("1", 1000), Flow::Water);
    let unused = off(&sections, 3, "pulse");
    sections.write(3, unused);
    pulse(&mut sections, 4, "electricity", "solar", ("0.5", 500), Flow::Solar);
    pulse(&mut sections, 5, "gas", "gas", ("10", 10_000), Flow::Gas);
    let uart = off(&sections, 6, "uart");
    sections.write(6, uart);
    port(&mut sections);
    for (slot, kube, rid) in [
        (9, Kube::Temperature, 2),
        (10, Kube::Humidity, 0),
        (11, Kube::Battery, 0),
        (12, Kube::Movement, 0),
    ] {
        let source = Source::Kube(kube);
        let section = json!({"id": sections.id(slot), "class": "kube", "type": kube.kind(), "kid": 1,
            "enable": 1, "data_type": data_type(source), "rid": rid});
        sections.add(slot, section, source, (kube.unit(), ""));
    }
    sections.provision(64);
    sections
}

fn analog(sections: &mut Sections) {
    let section = json!({"id": sections.id(1), "class": "analog", "type": "electricity",
        "function": "main", "port": [1], "voltage": 230, "current": 50, "enable": 1,
        "data_type": "counter", "rid": 0});
    sections.add(1, section, Source::Analog(Flow::Grid), POWER);
}

/// `constant`: as it stands in the document, and in thousandths.
fn pulse(
    sections: &mut Sections,
    slot: u32,
    kind: &str,
    name: &str,
    constant: (&str, u64),
    flow: Flow,
) {
    let number: Json = constant.0.parse().unwrap_or_default();
    let section = json!({"id": sections.id(slot), "class": "pulse", "type": kind, "function": name,
        "port": [slot], "constant": number, "enable": 1, "data_type": "counter", "rid": 0});
    let source = Source::Pulses { flow, constant: constant.1, fixed: false };
    let units = if kind == "electricity" { POWER } else { VOLUME };
    sections.add(slot, section, source, units);
}

/// What comes from the P1 port; its `port` is no list.
fn port(sections: &mut Sections) {
    let electricity = json!({"id": sections.id(7), "class": "cosem", "type": "electricity",
        "function": "smart-main", "port": "ttyS0", "protocol": "dlms",
        "obis": ["1-0:1.8.1*255", "1-0:2.8.1*255", "1-0:1.8.2*255", "1-0:2.8.2*255",
            "1-0:1.7.0*255", "1-0:2.7.0*255"],
        "derive": 1, "enable": 1, "data_type": "counter", "rid": 0});
    sections.add(7, electricity, Source::Net, POWER);
    let gas = json!({"id": sections.id(8), "class": "cosem", "type": "gas",
        "function": "smart-gas", "port": "ttyS0", "protocol": "dlms",
        "obis": ["0-1:24.2.0*255", "0-1:24.2.1*255"],
        "derive": 0, "enable": 1, "data_type": "counter", "rid": 0});
    sections.add(8, gas, Source::PortGas, VOLUME);
}

fn head() -> Map<String, Json> {
    let head = json!({
        "fsync": {"time": 1_767_225_600, "exit_status": 0, "exit_string": "successful"},
        "main": {"hw_major": 2, "hw_minor": 2, "sw_major": 1, "sw_minor": 0, "uart_tx_invert": 0,
            "uart_rx_invert": 1, "max_sensors": 6, "max_analog_sensors": 1,
            "max_provisioned_sensors": 64, "reset_counters": 0, "phase": 1, "dsmr": 4,
            "led_mode": 256},
        "daemon": {"logmask": "info", "enable_wan_branch": 0, "enable_lan_branch": 1,
            "enable_remote_upgrade": 0, "wan_base_url": "https://api.flukso.net/",
            "upgrade_url": "http://www.flukso.net/files/upgrade/",
            "cacert": "/etc/ssl/certs/flukso.ca.crt"},
        "mqtt": {"bridge_address": "api.flukso.net", "bridge_port": 8883, "bridge_keepalive": 60,
            "bridge_restart_timeout": 30}
    });
    head.as_object().cloned().unwrap_or_default()
}
