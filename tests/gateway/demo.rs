//! `meterbridge demo`, read by programs that know a Fluksometer's tree: they find nothing to refuse in
//! what any of its meters says.

use std::cell::Cell;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::ear::{Ear, Heard};
use crate::process::{Process, program};
use crate::readers;
use crate::support::Site;

/// One of each family.
pub(crate) const METERS: [&str; 6] =
    ["demo-gem", "demo-flm02", "demo-flm03", "demo-p1", "demo-smartmeter", "demo-powermeter"];
/// Comes every other second.
const CLOCK: &str = "powermeter/demo-gem/state/channels";
const MAKERS_KEYS: [&str; 2] = ["\"key\"", "\"null_key\""];

async fn demo(site: &Site) -> Process {
    let data_dir = format!("data_dir={}", site.path().join("data").display());
    let arguments = ["broker.listen=127.0.0.1:0", "web.listen=127.0.0.1:0", &data_dir]
        .map(|set| ["--set", set]);
    Process::start(program(site, &[&["demo"], arguments.as_flattened()].concat())).await
}

/// Each meter has been heard often enough: powers of so many seconds.
fn is_heard(all: &[Heard], meter: &str) -> bool {
    let topic = format!("powermeter/{meter}/state/channels");
    let online = format!("powermeter/{meter}/state/availability");
    all.iter().any(|heard| heard.topic == online && heard.text() == "online")
        && all.iter().filter(|heard| heard.topic == topic).count() >= 5
}

/// Of how many entities a value was read.
fn values(entities: &[readers::assistant::Entity], verdict: &readers::Verdict) -> usize {
    entities.iter().filter(|one| verdict.values.contains_key(&one.state_topic)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_its_meters_say_is_refused_by_no_reader() {
    let site = Site::bare();
    let process = demo(&site).await;
    let ear = Ear::at(process.broker).await;
    let ticks = Cell::new(0);
    let heard = |all: &[Heard]| {
        // Judged whole only now and then: it takes its time.
        let now = all.iter().filter(|heard| heard.topic == CLOCK).count();
        let all_heard = ticks.replace(now) < now && METERS.iter().all(|meter| is_heard(all, meter));
        let verdict = all_heard.then(|| readers::judge(all))?;
        let enough = |entities: &Vec<_>| values(entities, &verdict) >= entities.len().min(5);
        let known = verdict.entities.values().all(enough);
        (known || !verdict.objections.is_empty()).then(|| (all.to_vec(), verdict))
    };
    let (all, verdict) = ear.heard.until("every meter", heard).await;
    assert_eq!(verdict.objections, Vec::<String>::new());
    // Meters of several makes on one broker, and none is taken for another.
    let log = process.log.all();
    let clash = log.iter().find(|line| line.contains("publishes under the name"));
    assert_eq!(clash, None);
    assert_eq!(verdict.entities.len(), METERS.len(), "{:?}", verdict.entities.keys());
    // Of the plug this component makes power and voltage alone.
    let rich = verdict.entities.values().filter(|entities| entities.len() >= 8).count();
    assert_eq!(rich, METERS.len() - 1, "{:?}", verdict.entities);
    for (device, entities) in &verdict.entities {
        assert!(entities.len() >= 2, "{device}: {entities:?}");
        let names: BTreeSet<&str> = entities.iter().map(|one| one.name.as_str()).collect();
        assert!(!names.contains("unknown"), "{device}: {names:?}");
    }
    // The FLM02's own documents are made safe, and so its radio keys do not come through. The FLM03 says
    // itself what stands on this broker.
    let second = meterbridge::simulator::flukso_id(meterbridge::simulator::Generation::Flm02, 0);
    let of_it = |heard: &&Heard| heard.topic.starts_with(&format!("/device/{second}/"));
    let documents: Vec<&Heard> = all.iter().filter(of_it).collect();
    assert!(documents.len() >= 3, "{documents:?}");
    for key in MAKERS_KEYS {
        assert!(documents.iter().all(|heard| !heard.text().contains(key)), "{key}");
    }

    // Who comes late finds the documents and makes the same of them.
    let late = Ear::at(process.broker).await;
    let same = |all: &[Heard]| {
        let kept: Vec<Heard> = all.iter().filter(|heard| heard.retained).cloned().collect();
        let found = readers::judge(&kept);
        (found.entities.len() == METERS.len()).then_some(found)
    };
    let late = late.heard.until("the same documents", same).await;
    assert_eq!(late.entities, verdict.entities);

    // Each device is there for the gateway's own pages, too.
    let page = crate::support::get(process.web, "/api/sensors").await;
    let body = page.split_once("\r\n\r\n").unwrap().1;
    let body = body.find('[').map_or(body, |begin| &body[begin..=body.rfind(']').unwrap()]);
    let sensors: Value = serde_json::from_str(body).unwrap();
    let listed: BTreeSet<&str> =
        sensors.as_array().unwrap().iter().filter_map(|one| one["id"].as_str()).collect();
    for entity in verdict.entities.values().flatten() {
        assert!(listed.contains(entity.id.as_str()), "{entity:?}");
    }
}
