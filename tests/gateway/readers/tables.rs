//! What the readers know by heart: units by type, and which combinations they have heard of.
//!
//! Source: flukso.md §2.1 (units) and §3.4 (tables of the components).

use serde_json::Value;

/// The units that a gauge or counter of a sensor may have; `None`: it has no such topic.
pub(crate) fn units(section: &Value, third: bool, kind: &str) -> Option<Vec<&'static str>> {
    let word = |name: &str| section[name].as_str().unwrap_or_default();
    let (gauge, counter): (&[&str], &[&str]) = match (word("type"), word("subtype")) {
        ("electricity", "" | "pplus" | "pminus") => (&["W"], &["Wh"]),
        ("electricity", "q1" | "q2" | "q3" | "q4") => (&["VAR"], &["VARh"]),
        ("electricity", "vrms") => (&["V"], &[]),
        ("electricity", "irms") => (&["A"], &[]),
        ("electricity", "pf" | "vthd" | "ithd") => (&[""], &[]),
        ("electricity", "alpha") => (&["°"], &[]),
        // What is published again from an FLM02 keeps its unit, whatever else its documents get.
        ("water" | "gas", _) if third => (&["L/s", "L/day"], &["L"]),
        ("water" | "gas", _) => (&["L/day"], &["L"]),
        ("temperature", _) => (&["°C"], &[]),
        ("humidity", _) => (&["%"], &[]),
        ("battery", _) => (&["V"], &[]),
        ("light", _) => (&["lx"], &[]),
        ("pressure", _) => (&["Pa"], &[]),
        ("error", _) => (&[""], &[]),
        ("movement" | "vibration" | "proximity", _) => (&[], &[""]),
        // What no reader knows by type may have any unit.
        _ if section["enable"].as_i64() == Some(0) => return Some(any_unit(section)),
        _ => return None,
    };
    let units = if kind == "gauge" { gauge } else { counter };
    (!units.is_empty()).then(|| units.to_vec())
}

/// A sensor that no component is to look at (`"enable":0`): its type is the gateway's own.
fn any_unit(_: &Value) -> Vec<&'static str> {
    vec![
        "", "W", "Wh", "VA", "VAR", "VAh", "VARh", "V", "A", "Hz", "°", "°C", "L", "L/s", "L/day",
        "g", "g/s", "s", "1/s",
    ]
}

/// Whether flukso-hacs has heard of it; another combination stops all of it.
pub(crate) fn is_known(kind: &str, subtype: Option<&str>, data_type: &str, third: bool) -> bool {
    match (kind, subtype, data_type) {
        // An FLM03's electricity always has a subtype.
        ("electricity", None, "counter") => !third,
        ("electricity", Some("pplus" | "pminus" | "q1" | "q2" | "q3" | "q4"), "counter") => true,
        ("electricity", Some("vrms" | "irms" | "pf" | "vthd" | "ithd" | "alpha"), "gauge") => third,
        ("gas" | "water", None, "counter") => true,
        (
            "temperature" | "pressure" | "battery" | "light" | "humidity" | "error",
            None,
            "gauge",
        ) => true,
        ("proximity" | "movement" | "vibration", None, "counter") => true,
        _ => false,
    }
}
