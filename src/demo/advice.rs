//! What to open and what to type while the demo runs.

use std::fmt::Write;

use crate::gateway::Addresses;

pub(super) fn advice(addresses: &Addresses) -> String {
    let mut text = String::from(
        "\nThe demo runs: a gateway and simulated meters, each over its real protocol.\n\n  \
         demo-gem    a GreenEye Monitor, which dials the gateway\n  \
         demo-flm02  a Fluksometer of the second generation, whose broker the gateway dials\n  \
         demo-flm03  one of the third, which reports to the gateway's broker\n  \
         demo-p1     a smart meter, whose customer port the gateway dials\n  \
         demo-smartmeter  one that the gateway dials for a thousand samples a second of each line\n  \
         demo-powermeter  a plug with a relay, which publishes to the gateway's broker\n",
    );
    // Writing to a String cannot fail.
    if let Some(broker) = addresses.broker.first() {
        let (host, port) = (broker.ip(), broker.port());
        let to = if port == 1883 { format!("-h {host}") } else { format!("-h {host} -p {port}") };
        let _ = write!(
            text,
            "\nIn another terminal (package mosquitto-clients):\n  \
             mosquitto_sub {to} -t '/sensor/+/gauge' -t '/sensor/+/counter' -v  all readings\n  \
             mosquitto_sub {to} -t 'powermeter/#' -v              the meters by their names\n  \
             mosquitto_sub {to} -V 5 -t 'meterbridge/bridge/#' -v the gateway, over MQTT 5\n  \
             mosquitto_pub {to} -t powermeter/demo-gem/cmd -m '{{\"cmd\":\"info\"}}'\n  \
             {:51} a command; the reply is on powermeter/demo-gem/state/info\n  \
             mosquitto_pub {to} -t powermeter/demo-smartmeter/cmd -m '{{\"cmd\":\"info\"}}'\n  \
             mosquitto_pub {to} -t powermeter/demo-powermeter/switch -m off\n",
            ""
        );
    }
    if let Some(web) = addresses.web.first() {
        let _ = write!(
            text,
            "\nIn a browser: http://{web}/\nNumbers of the gateway: http://{web}/metrics\n\
             A command over HTTP:\n  \
             curl -d '{{\"cmd\":\"get\",\"setting\":\"all\"}}' http://{web}/api/meters/demo-gem/command\n"
        );
    }
    text.push_str("\nCtrl-C stops it.\n");
    text
}
