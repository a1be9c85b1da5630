//! Keys, abbreviations, units and classes of Home Assistant 2026.11, as far as energy needs them.

/// Keys at the root of a whole device. `child_devices` came with 2026.11 and is never sent.
pub(crate) const ROOT: &[&str] = &[
    "device",
    "origin",
    "components",
    "availability",
    "availability_mode",
    "availability_topic",
    "availability_template",
    "payload_available",
    "payload_not_available",
    "state_topic",
    "command_topic",
    "message_expiry_interval",
    "qos",
    "encoding",
];

pub(crate) const DEVICE: &[&str] = &[
    "identifiers",
    "connections",
    "manufacturer",
    "model",
    "model_id",
    "name",
    "hw_version",
    "serial_number",
    "sw_version",
    "via_device",
    "suggested_area",
    "configuration_url",
];

pub(crate) const ORIGIN: &[&str] = &["name", "sw_version", "support_url"];

pub(crate) const AVAILABILITY: &[&str] =
    &["topic", "payload_available", "payload_not_available", "value_template"];

/// Keys of every component. `object_id` is gone since `default_entity_id` is there.
pub(crate) const COMMON: &[&str] = &[
    "device",
    "origin",
    "availability",
    "availability_mode",
    "availability_topic",
    "availability_template",
    "payload_available",
    "payload_not_available",
    "enabled_by_default",
    "visible_by_default",
    "entity_category",
    "entity_picture",
    "icon",
    "json_attributes_topic",
    "json_attributes_template",
    "default_entity_id",
    "message_expiry_interval",
    "unique_id",
    "name",
    "qos",
    "encoding",
    "group",
];

/// Platforms with the keys of their own.
pub(crate) const PLATFORMS: &[(&str, &[&str])] = &[
    (
        "sensor",
        &[
            "state_topic",
            "value_template",
            "device_class",
            "expire_after",
            "force_update",
            "last_reset_value_template",
            "options",
            "suggested_display_precision",
            "state_class",
            "unit_of_measurement",
        ],
    ),
    (
        "binary_sensor",
        &[
            "state_topic",
            "value_template",
            "device_class",
            "expire_after",
            "force_update",
            "off_delay",
            "payload_off",
            "payload_on",
        ],
    ),
    ("button", &["command_topic", "command_template", "device_class", "payload_press", "retain"]),
    (
        "number",
        &[
            "command_topic",
            "command_template",
            "state_topic",
            "value_template",
            "optimistic",
            "retain",
            "device_class",
            "max",
            "min",
            "mode",
            "payload_reset",
            "step",
            "unit_of_measurement",
        ],
    ),
    (
        "select",
        &[
            "command_topic",
            "command_template",
            "state_topic",
            "value_template",
            "optimistic",
            "retain",
            "options",
        ],
    ),
    (
        "switch",
        &[
            "command_topic",
            "command_template",
            "state_topic",
            "value_template",
            "optimistic",
            "retain",
            "device_class",
            "payload_off",
            "payload_on",
            "state_off",
            "state_on",
        ],
    ),
];

/// Abbreviations at the root and in components.
pub(crate) const SHORT: &[(&str, &str)] = &[
    ("avty", "availability"),
    ("avty_mode", "availability_mode"),
    ("avty_t", "availability_topic"),
    ("avty_tpl", "availability_template"),
    ("cdevs", "child_devices"),
    ("cmd_t", "command_topic"),
    ("cmd_tpl", "command_template"),
    ("cmps", "components"),
    ("def_ent_id", "default_entity_id"),
    ("dev", "device"),
    ("dev_cla", "device_class"),
    ("e", "encoding"),
    ("en", "enabled_by_default"),
    ("ent_cat", "entity_category"),
    ("exp_aft", "expire_after"),
    ("frc_upd", "force_update"),
    ("ic", "icon"),
    ("json_attr_t", "json_attributes_topic"),
    ("json_attr_tpl", "json_attributes_template"),
    ("lrst_val_tpl", "last_reset_value_template"),
    ("o", "origin"),
    ("off_dly", "off_delay"),
    ("ops", "options"),
    ("opt", "optimistic"),
    ("p", "platform"),
    ("pl_avail", "payload_available"),
    ("pl_not_avail", "payload_not_available"),
    ("pl_off", "payload_off"),
    ("pl_on", "payload_on"),
    ("pl_prs", "payload_press"),
    ("pl_rst", "payload_reset"),
    ("ret", "retain"),
    ("stat_cla", "state_class"),
    ("stat_off", "state_off"),
    ("stat_on", "state_on"),
    ("stat_t", "state_topic"),
    ("sug_dsp_prc", "suggested_display_precision"),
    ("t", "topic"),
    ("uniq_id", "unique_id"),
    ("unit_of_meas", "unit_of_measurement"),
    ("val_tpl", "value_template"),
    ("vis", "visible_by_default"),
];

pub(crate) const SHORT_DEVICE: &[(&str, &str)] = &[
    ("cns", "connections"),
    ("cu", "configuration_url"),
    ("hw", "hw_version"),
    ("ids", "identifiers"),
    ("mdl", "model"),
    ("mdl_id", "model_id"),
    ("mf", "manufacturer"),
    ("sa", "suggested_area"),
    ("sn", "serial_number"),
    ("sw", "sw_version"),
];

pub(crate) const SHORT_ORIGIN: &[(&str, &str)] = &[("sw", "sw_version"), ("url", "support_url")];

/// A device class with its units and state classes; the unit "" is none.
type Class = (&'static str, &'static [&'static str], &'static [&'static str]);

const MOMENTARY: &[&str] = &["measurement"];
const TOTAL: &[&str] = &["total", "total_increasing"];

pub(crate) const CLASSES: &[Class] = &[
    (
        "atmospheric_pressure",
        &["Pa", "hPa", "kPa", "mPa", "bar", "cbar", "mbar", "mmHg", "inHg", "inH₂O", "psi"],
        MOMENTARY,
    ),
    ("current", &["A", "mA"], MOMENTARY),
    (
        "energy",
        &[
            "J", "kJ", "MJ", "GJ", "mWh", "Wh", "kWh", "MWh", "GWh", "TWh", "cal", "kcal", "Mcal",
            "Gcal",
        ],
        TOTAL,
    ),
    ("frequency", &["mHz", "Hz", "kHz", "MHz", "GHz"], MOMENTARY),
    ("gas", &["CCF", "ft³", "m³", "L", "MCF"], TOTAL),
    ("humidity", &["%"], MOMENTARY),
    ("illuminance", &["lx"], MOMENTARY),
    ("apparent_power", &["mVA", "VA", "kVA"], MOMENTARY),
    ("reactive_power", &["mvar", "var", "kvar"], MOMENTARY),
    ("power", &["mW", "W", "kW", "MW", "GW", "TW"], MOMENTARY),
    // Without a unit, or in percent.
    ("power_factor", &["", "%"], MOMENTARY),
    ("temperature", &["°C", "°F", "K"], MOMENTARY),
    ("voltage", &["V", "mV", "µV", "kV", "MV"], MOMENTARY),
    (
        "volume_flow_rate",
        &[
            "m³/h", "m³/min", "m³/s", "ft³/min", "L/h", "L/min", "L/s", "gal/d", "gal/h",
            "gal/min", "mL/s",
        ],
        MOMENTARY,
    ),
    ("water", &["CCF", "ft³", "m³", "gal", "L", "MCF"], TOTAL),
];
