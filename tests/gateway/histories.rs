//! Histories as they are asked for: by our own API, as Flukso's server answers, and block by block
//! over HTTP and MQTT, also after a sudden end.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use meter_protocols::flukso::tmpo::{self, Block};
use meterbridge::model::Timestamp;
use meterbridge::web::Tokens;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, SubscribeFilter};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::blocks::Client;
use crate::flukso::{Answer, ask};
use crate::meters::{bytes, gem_ch1};
use crate::past;
use crate::record::{Record, record, within};
use crate::support::{HOUSE, Running, Site};

/// Twenty days until a while ago: a reading every two minutes, with powers that differ, and a gap.
fn past(end: i64) -> Vec<(i64, i64)> {
    let begin = end - 20 * 86_400;
    let mut milli = 500_000;
    let mut readings = Vec::new();
    for (n, at) in (begin..end).step_by(120).enumerate() {
        milli += 1000 + 7 * (n as i64 % 200);
        let gap = (begin + 400_000..begin + 420_000).contains(&at);
        if !gap {
            readings.push((at, milli));
        }
    }
    readings
}

/// A site with that past, its gateway when it has taken it in, and the token of the sensor.
async fn with_past(readings: &[(i64, i64)]) -> (Site, Running, String) {
    let site = Site::new(HOUSE);
    let data = site.path().join("data");
    past::write(&data, readings).await;
    let token = Tokens::load(&data).unwrap().of(past::sensor());
    let gateway = site.start().await;
    until_last(gateway.web(), readings.last().unwrap().0).await;
    (site, gateway, token)
}

/// Waits until a reading of this time is in the history. There is no event for it, and each question
/// is an exchange with the gateway.
pub(crate) async fn until_last(web: SocketAddr, last: i64) {
    let path = format!("/api/sensors/{}/history?resolution=raw&from={last}", past::sensor());
    within("the past in the history", async {
        loop {
            let answer = ask(web, "GET", &path, "").await;
            if answer.status == 200 && !answer.json()["readings"].as_array().unwrap().is_empty() {
                return;
            }
        }
    })
    .await;
}

async fn history(web: SocketAddr, query: &str, headers: &str) -> Answer {
    ask(web, "GET", &format!("/api/sensors/{}/history?{query}", past::sensor()), headers).await
}

/// The counter at a moment, between the readings around it.
fn counter(readings: &[(i64, i64)], at: i64) -> f64 {
    let place = readings.partition_point(|(time, _)| *time <= at);
    let (before, after) = (readings[place - 1], readings.get(place).copied().unwrap_or((at, 0)));
    if before.0 == at || place == readings.len() {
        return before.1 as f64 / 1000.0;
    }
    let share = (at - before.0) as f64 / (after.0 - before.0) as f64;
    (before.1 as f64 + (after.1 - before.1) as f64 * share) / 1000.0
}

fn now() -> i64 {
    Timestamp::now().seconds()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn energy_is_told_in_steps_of_the_calendar() {
    let readings = past(now() - 600);
    let (_site, gateway, _) = with_past(&readings).await;
    let web = gateway.web();
    let (first, last) = (readings[0].0, readings[readings.len() - 1].0);
    for (resolution, tz) in
        [("1d", "Europe/Brussels"), ("1h", "Asia/Kathmandu"), ("1w", "UTC"), ("7m", "UTC")]
    {
        let (from, to) = match resolution {
            "7m" => (last - 90_000, last - 5),
            _ => (first + 3333, last - 777),
        };
        let query = format!("from={from}&to={to}&resolution={resolution}&tz={tz}");
        let answer = history(web, &query, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let json = answer.json();
        let buckets = json["buckets"].as_array().unwrap();
        let starts: Vec<i64> = buckets.iter().map(|one| one["ts"].as_i64().unwrap()).collect();
        assert_eq!(starts[0], from);
        let mut sum = 0.0;
        for (bucket, place) in buckets.iter().zip(1..) {
            let (begin, end) = (starts[place - 1], starts.get(place).copied().unwrap_or(to));
            let wanted = counter(&readings, end) - counter(&readings, begin);
            let energy = bucket["energy"].as_f64().unwrap();
            assert!((energy - wanted).abs() < 0.0025, "{bucket} {wanted} {query}");
            let mean = wanted * 3600.0 / (end - begin) as f64;
            // A thousandth more or less is much in a short step.
            let off = 0.02 + 3.6 / (end - begin) as f64;
            assert!((bucket["mean"].as_f64().unwrap() - mean).abs() < off, "{bucket} {mean}");
            assert!(bucket["peak"].as_f64().unwrap() + 0.01 >= mean, "{bucket} {mean}");
            sum += energy;
        }
        let whole = counter(&readings, to) - counter(&readings, from);
        assert!((sum - whole).abs() < 0.0025, "{sum} {whole} {query}");
        let csv = history(web, &query, "Accept: text/csv\r\n").await;
        assert!(csv.head.contains("content-type: text/csv"), "{csv:?}");
        assert_eq!(csv.text().lines().count(), 1 + buckets.len());
        let row = csv.text().lines().nth(1).unwrap().to_owned();
        assert!(row.starts_with(&format!("{},{from},", buckets[0]["start"].as_str().unwrap())));
    }
    let raw = history(web, &format!("from={}&to={last}&resolution=raw", last - 7200), "").await;
    let told: Vec<(i64, f64)> = serde_json::from_value(raw.json()["readings"].clone()).unwrap();
    let inside = readings.iter().filter(|(at, _)| (last - 7200..last).contains(at));
    let wanted: Vec<_> = inside.map(|(at, milli)| (*at, *milli as f64 / 1000.0)).collect();
    assert_eq!(told, wanted);
    // What lies far outside of it costs nothing.
    let ages = history(web, "from=0&to=253370764799&resolution=99999y", "").await.json();
    let whole = (readings[readings.len() - 1].1 - readings[0].1) as f64 / 1000.0;
    assert_eq!(ages["buckets"].as_array().unwrap().len(), 1);
    assert_eq!(ages["buckets"][0]["energy"], whole);
    let ages = history(web, "from=0&to=253370764799&resolution=raw", "Accept: text/csv\r\n").await;
    assert_eq!(ages.text().lines().count(), 1 + readings.len());
    let nobody = format!("/api/sensors/{}/history?from=1", "0".repeat(32));
    assert_eq!(ask(web, "GET", &nobody, "").await.status, 404);
    for (query, headers, status) in [
        ("", "", 400),
        ("from=5&to=4", "", 400),
        ("from=0&resolution=1s", "", 400),
        ("from=2026-11-01&to=2026-11-20&resolution=10m", "", 400),
        ("from=1&tz=Mars", "", 400),
        ("from=1", "Accept: text/html\r\n", 406),
        ("from=1", "Origin: http://elsewhere\r\n", 403),
    ] {
        assert_eq!(history(web, query, headers).await.status, status, "{query} {headers}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flukso_s_server_is_answered_from_the_history_and_what_came_just_now() {
    // Less than half of the last minute is known, whenever it is asked for.
    let readings = past(now() - 40);
    let (_site, gateway, token) = with_past(&readings).await;
    let web = gateway.web();
    let sid = past::sensor();
    let series = |query: &str| {
        let path = format!("/api/sensor/{sid}?version=1.0&token={token}&unit=watt&{query}");
        async move { ask(web, "GET", &path, "").await }
    };
    let rows = |answer: &Answer| -> Vec<(i64, Value)> {
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_slice(&answer.body).unwrap()
    };
    let last = readings[readings.len() - 1].0;
    for (query, step) in [
        ("interval=week", 86_400),
        ("interval=day", 900),
        ("interval=hour", 60),
        ("interval=month&resolution=15min", 900),
        ("interval=year", 604_800),
    ] {
        let answer = series(query).await;
        let mut known = 0;
        for (time, value) in rows(&answer) {
            if time > last || time - step < readings[0].0 {
                assert!(time <= last || value == "nan", "{query} {time} {value}");
                continue;
            }
            let change = counter(&readings, time) - counter(&readings, time - step);
            let watts = change * 3600.0 / step as f64;
            let told = value.as_f64().unwrap_or_else(|| panic!("{query} {time} {value}"));
            // Whole units, of a difference of two totals to the thousandth.
            let most = 0.501 + 3.6 / step as f64;
            assert!((told - watts).abs() <= most, "{query} {time} {value} {watts}");
            known += 1;
        }
        assert!(known > 0, "{query}");
        assert_eq!(rows(&answer).last().unwrap().1, "nan", "{query}");
    }
    let nights = rows(&series("interval=night").await);
    assert!(nights.iter().filter(|(_, value)| value.is_number()).count() >= 18, "{nights:?}");
    let path = format!("/sensor/{sid}?version=1.0&token={token}&unit=lperday&interval=week");
    let csv = ask(web, "GET", &path, "Accept: text/csv\r\n").await;
    assert!(csv.head.contains("content-type: text/csv"), "{csv:?}");
    assert!(csv.text().lines().count() == 7 && csv.text().ends_with(",nan\r\n"), "{csv:?}");
    let wrapped = series("interval=week&callback=show").await;
    assert!(wrapped.text().starts_with("show([[") && wrapped.text().ends_with("]]);"));

    // What a meter says now is there before its block is closed.
    let mut meter = gateway.dial().await;
    let mut total = readings.last().unwrap().1 as u64 * 3600 / 1000;
    for seconds in [100, 101] {
        total += 36_000;
        meter.send(&bytes(&gem_ch1(seconds, total, 0))).await;
    }
    let facts = format!("/sensor/{sid}?version=1.0&token={token}&param=all");
    within("the new reading", async {
        loop {
            let facts = ask(web, "GET", &facts, "").await;
            if facts.status == 200 && facts.json()["lastupdate"][0].as_i64().unwrap() > last {
                break;
            }
        }
    })
    .await;
    let answer = history(web, &format!("from={}&resolution=raw", last + 1), "").await;
    assert!(!answer.json()["readings"].as_array().unwrap().is_empty(), "{answer:?}");
    assert_eq!(answer.json()["unit"], "Wh");
}

/// Blocks by the rules of tmpo-py, before and after a sudden end: every reading once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_blocks_has_every_reading_once() {
    let begin = now();
    let all = past(begin - 300);
    // What was merged to the highest level is not made anew: the end falls between two such blocks.
    let split = all.partition_point(|(at, _)| *at < tmpo::window(20, begin - 3600));
    let (site, gateway, token) = with_past(&all[..split]).await;
    let sid = past::sensor().to_string();
    let mut client = Client::new(&sid, &token);
    until_synced(&mut client, gateway.web(), &all[..split]).await;
    cut_off(&site, gateway).await;

    past::write(&site.path().join("data"), &all[split..]).await;
    let gateway = site.start().await;
    let web = gateway.web();
    until_last(web, all.last().unwrap().0).await;
    until_synced(&mut client, web, &all).await;
    let mut fresh = Client::new(&sid, &token);
    until_synced(&mut fresh, web, &all).await;
    assert_eq!(fresh.sync(web).await, 0, "nothing is listed twice");
    cut_off(&site, gateway).await;
    let gateway = site.start().await;
    assert_eq!(fresh.sync(gateway.web()).await, 0, "a restart changes nothing");
    assert_eq!(client.sync(gateway.web()).await, 0, "a restart changes nothing");

    // The same block as browsers are given it.
    let path = format!("/sensor/{sid}/tmpo/sync?version=1.0&token={token}&rid=0&lvl=0&bid=0&_=1");
    let list = ask(gateway.web(), "GET", &format!("{path}&callback=f"), "").await;
    assert!(list.text().starts_with("f([{\"rid\":0,\"lvl\":"), "{list:?}");
    let list = ask(gateway.web(), "GET", &path, "").await.json();
    let block = |accept: &str| {
        let (lvl, bid) = (&list[0]["lvl"], &list[0]["bid"]);
        let path = format!("/sensor/{sid}/tmpo/0/{lvl}/{bid}?version=1.0&token={token}");
        let (web, accept) = (gateway.web(), format!("Accept: {accept}\r\n"));
        async move { ask(web, "GET", &path, &accept).await }
    };
    let (gzip, json) = (block("application/gzip").await, block("application/json").await);
    assert_eq!(gzip.body, json.body);
    assert!(json.head.contains("content-encoding: gzip"), "{json:?}");
    assert!(!gzip.head.contains("content-encoding"), "{gzip:?}");
    assert_eq!(block("text/html").await.status, 406);
    for (path, status) in [
        (format!("/sensor/{sid}/tmpo/0/8/256?version=1.0&token={token}"), 404),
        (format!("/sensor/{sid}/tmpo/0/300/256?version=1.0&token={token}"), 404),
        (format!("/sensor/{sid}/tmpo/0/8/x?version=1.0&token={token}"), 400),
        (format!("/sensor/{sid}/tmpo/-1/8/256?version=1.0&token={token}"), 400),
        (format!("/sensor/{sid}/tmpo/sync?version=1.0&token={token}&rid=0&lvl=0"), 400),
        (format!("/sensor/{sid}/tmpo/sync?version=1.0&token={token}&rid=0&lvl=x&bid=0"), 400),
        (format!("/sensor/{sid}/tmpo/sync?version=1.0&token={sid}&rid=0&lvl=0&bid=0"), 401),
    ] {
        let answer = ask(gateway.web(), "GET", &path, "").await;
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.head.contains("content-encoding"), "{answer:?}");
    }
}

/// Ends a gateway in the middle of whatever it does, and waits until nothing of it is left.
pub(crate) async fn cut_off(site: &Site, gateway: Running) {
    drop(gateway);
    within("the end of the gateway", async { while site.build().await.is_err() {} }).await;
}

/// Blocks close and merge while the gateway takes the past in: a client asks until it has all.
pub(crate) async fn until_synced(client: &mut Client, web: SocketAddr, readings: &[(i64, i64)]) {
    within("every reading by way of blocks", async {
        loop {
            client.sync(web).await;
            let series = client.series();
            if series.last().map(|(at, _)| *at) == readings.last().map(|(at, _)| *at) {
                assert!(series == readings, "{} of {}", series.len(), readings.len());
                return;
            }
        }
    })
    .await;
}

/// What a client of the broker hears of blocks.
pub(crate) struct Listener {
    heard: Record<Heard>,
    client: AsyncClient,
    _task: JoinSet<()>,
}

/// Topic, payload, QoS, and whether it is retained.
pub(crate) type Heard = (String, Vec<u8>, u8, bool);

impl Listener {
    pub(crate) async fn new(broker: SocketAddr) -> Self {
        let mut options = MqttOptions::new("listener", broker.ip().to_string(), broker.port());
        options.set_max_packet_size(1 << 22, 1 << 22);
        let (client, mut events) = AsyncClient::new(options, 10);
        let (recorder, heard) = record();
        let (confirmed, mut task) = (tokio::sync::oneshot::channel(), JoinSet::new());
        let filters = ["/sensor/+/tmpo/#", "/sensor/+/query/#", "/device/+/tmpo/sync"];
        let filters = filters.map(|path| SubscribeFilter::new(path.to_owned(), QoS::AtLeastOnce));
        client.subscribe_many(filters).await.unwrap();
        task.spawn(async move {
            let mut confirmed = Some(confirmed.0);
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::SubAck(_)) => {
                        confirmed.take().map(|tell| tell.send(()));
                    }
                    Event::Incoming(Packet::Publish(one)) => {
                        recorder.push((one.topic, one.payload.to_vec(), one.qos as u8, one.retain));
                    }
                    _ => {}
                }
            }
        });
        within("a subscription", confirmed.1).await.unwrap();
        Self { heard, client, _task: task }
    }

    pub(crate) async fn say(&self, topic: &str, payload: impl Into<Vec<u8>>, retain: bool) {
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload).await.unwrap();
    }

    /// Waits for `count` messages whose topics begin so.
    pub(crate) async fn until(&self, prefix: &str, count: usize) -> Vec<Heard> {
        let what = format!("{count} messages below {prefix}");
        let begins = |one: &&Heard| one.0.starts_with(prefix);
        self.heard
            .until(&what, |all| {
                let found: Vec<Heard> = all.iter().filter(begins).cloned().collect();
                (found.len() >= count).then_some(found)
            })
            .await
    }
}

/// The place that a block's topic tells: rid, level (the highest first) and begin.
fn place(topic: &str) -> (i64, std::cmp::Reverse<i64>, i64) {
    let numbers: Vec<i64> = topic.split('/').filter_map(|level| level.parse().ok()).collect();
    (numbers[0], std::cmp::Reverse(numbers[1]), numbers[2])
}

/// History on demand over MQTT: requests as a server sends them, queries, and what is no request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_are_published_for_whoever_asks() {
    let readings = past(now() - 600);
    let (_site, gateway, token) = with_past(&readings).await;
    let (sid, did) = (past::sensor(), crate::meters::device_id(crate::meters::GEM));
    let mut client = Client::new(&sid.to_string(), &token);
    until_synced(&mut client, gateway.web(), &readings).await;
    let listener = Listener::new(gateway.broker()).await;
    let mut meter = gateway.dial().await;
    meter.send(&bytes(&gem_ch1(100, 40_000_000, 0))).await;
    let offer = listener.until(&format!("/device/{did}/tmpo/sync"), 1).await;
    assert_eq!((offer[0].1.len(), offer[0].2, offer[0].3), (0, 0, false));

    let request = format!("/d/device/{did}/tmpo/sync");
    let wanted = |sid: &str| format!(r#"[{{"sid":"{sid}","rid":0,"lvl":0,"bid":0}}]"#);
    for junk in ["", "{}", "[7]", &wanted("x")] {
        listener.say(&request, junk, false).await;
    }
    let refused = "meterbridge_history_requests_refused_total";
    gateway.until_metric(refused, |count| count == 4).await;
    // For nobody here, for a sensor of another meter, and once too often.
    let sid = sid.to_string();
    listener.say(&request.replace(&did, &"0".repeat(32)), wanted(&sid), false).await;
    listener.say(&request, wanted(&"0".repeat(32)), false).await;
    listener.say(&request, wanted(&sid), true).await;
    listener.say(&request, wanted(&sid), false).await;
    let prefix = format!("/sensor/{sid}/tmpo/");
    listener.until(&prefix, client.blocks()).await;

    // A query: every block that has a part of the span. By its end everything before it is here.
    let (from, to) = (readings[1000].0, readings[9000].0);
    listener.say(&format!("/query/{sid}/tmpo"), "[5]", false).await;
    listener.say(&format!("/query/{sid}/tmpo"), format!("[{from},{to}]"), false).await;
    let answer = format!("/sensor/{sid}/query/{from}/{to}");
    let count = client.covering(from, to);
    let answers = listener.until(&answer, count).await;
    let mut series = BTreeMap::new();
    for (_, payload, qos, _) in answers {
        assert_eq!(qos, 1);
        let block = Block::from_gzip(&payload).unwrap();
        series.extend(block.points().iter().map(|point| (point.at, point.milli)));
    }
    assert!(readings[1000..=9000].iter().all(|(at, milli)| series.get(at) == Some(milli)));
    gateway.until_metric(refused, |count| count == 5).await;

    let blocks = listener.until(&prefix, client.blocks()).await;
    assert_eq!(blocks.len(), client.blocks(), "each once");
    assert!(blocks.iter().all(|(_, _, qos, retain)| *qos == 0 && !retain));
    assert!(blocks.iter().map(|one| place(&one.0)).is_sorted());
    let published: BTreeMap<i64, i64> = blocks
        .iter()
        .flat_map(|one| Block::from_gzip(&one.1).unwrap().into_points())
        .map(|point| (point.at, point.milli))
        .collect();
    assert_eq!(published.into_iter().collect::<Vec<_>>(), readings);
    assert_eq!(listener.until(&answer, count).await.len(), count);
}
