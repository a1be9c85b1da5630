use super::*;
use crate::command::directory::tests::{device, readings};
use crate::model::{Channel, Update};

fn settings(form: Option<Form>) -> Settings {
    Settings { form, prefix: "ha".into(), silence: Settings::SILENCE }
}

fn announcer(form: Option<Form>, kept: Kept) -> (Announcer, Work) {
    let mut announcer = Announcer::new(settings(form), kept);
    announcer.begin(Instant::now());
    let work = announcer.take_work();
    (announcer, work)
}

/// Lets it hear a meter of this name twice.
fn hear(announcer: &mut Announcer, name: &str) -> Work {
    let Update::Readings(set) = readings(name) else { panic!() };
    announcer.readings(&set, Instant::now());
    announcer.readings(&set, Instant::now());
    announcer.take_work()
}

fn meter_id() -> String {
    device("house").id.to_string()
}

fn topic() -> String {
    format!("ha/device/{}/config", meter_id())
}

fn topics(work: &Work) -> Vec<&str> {
    work.messages.iter().map(|one| &*one.topic).collect()
}

fn birth(announcer: &mut Announcer) -> Work {
    let now = Instant::now();
    announcer.status(true, now, Duration::from_secs(5));
    assert_eq!(announcer.deadline(), Some(now + Duration::from_secs(5)));
    announcer.timeout(now + Duration::from_secs(4));
    assert_eq!(announcer.take_work(), Work::default(), "not before its time");
    announcer.timeout(now + Duration::from_secs(5));
    assert_eq!(announcer.deadline(), None);
    announcer.take_work()
}

#[test]
fn the_gateway_comes_first_and_a_meter_when_it_has_said_all() {
    let (mut announcer, work) = announcer(Some(Form::Device), Kept::default());
    assert_eq!(topics(&work), ["ha/device/meterbridge_bridge/config"]);
    let work = hear(&mut announcer, "house");
    assert_eq!(topics(&work), [&*topic()]);
    assert!(work.first.iter().any(|change| matches!(change, Change::Topic(..))), "kept before");
    assert_eq!(hear(&mut announcer, "house"), Work::default(), "nothing new, nothing said");
    let work = birth(&mut announcer);
    assert_eq!(topics(&work), ["ha/device/meterbridge_bridge/config", &topic()]);
    assert_eq!((work.first, work.then), (vec![], vec![]));
}

#[test]
fn several_births_are_one() {
    let (mut announcer, _) = announcer(Some(Form::Device), Kept::default());
    let now = Instant::now();
    announcer.status(true, now, Duration::from_secs(5));
    announcer.status(true, now, Duration::from_secs(1));
    announcer.status(false, now, Duration::ZERO);
    assert_eq!(announcer.deadline(), Some(now + Duration::from_secs(5)));
    assert_eq!(announcer.overview()["status"], "offline");
}

#[test]
fn what_the_user_deletes_stays_away_and_our_own_clearing_is_not_his() {
    let (mut announcer, _) = announcer(Some(Form::Device), Kept::default());
    hear(&mut announcer, "house");
    announcer.published(&topic(), b"", Instant::now());
    let work = announcer.take_work();
    assert_eq!((work.forget, work.messages), (vec![topic()], vec![]));
    assert_eq!(announcer.overview()["deleted"][0]["name"], "house");
    assert_eq!(topics(&birth(&mut announcer)), ["ha/device/meterbridge_bridge/config"]);
    assert_eq!(topics(&hear(&mut announcer, "cabin")), [""; 0], "nor under another name");

    let unknown = announcer.offer(Some("nobody"), Instant::now());
    assert_eq!(unknown, Err(OfferError::Unknown("nobody".into())));
    assert_eq!(announcer.offer(Some("cabin"), Instant::now()), Ok(vec![meter_id()]));
    assert_eq!(topics(&announcer.take_work()), [&*topic()]);

    announcer.forget(device("house").id, Instant::now());
    let work = announcer.take_work();
    assert_eq!((&*work.messages[0].topic, &*work.messages[0].payload), (&*topic(), ""));
    hear(&mut announcer, "house");
    announcer.published(&topic(), b"", Instant::now());
    assert_eq!(announcer.take_work(), Work::default(), "the echo of our own");
    announcer.published(&topic(), b"{}", Instant::now());
    assert_eq!(announcer.take_work(), Work::default());
    announcer.published(&topic(), b"", Instant::now());
    assert_eq!(announcer.take_work().forget, [topic()], "the next one is the user's");
}

#[test]
fn one_component_is_deleted_in_the_component_form_and_stays_away_in_the_other() {
    let (mut first, _) = announcer(Some(Form::Component), Kept::default());
    let work = hear(&mut first, "house");
    let power = format!("ha/sensor/{}/ch1_power/config", meter_id());
    assert!(topics(&work).contains(&&*power));
    first.published(&power, b"", Instant::now());
    first.take_work();
    let (_, work) = announcer(Some(Form::Device), first.kept);
    let device = work.messages.iter().find(|one| one.topic == topic()).unwrap();
    assert!(device.payload.contains("ch1_energy") && !device.payload.contains("ch1_power"));
}

/// The order by which history stays, both ways, also when nobody was there in between.
#[test]
fn another_form_is_told_on_the_old_topics_first_and_they_are_cleared_last() {
    let (mut before, _) = announcer(Some(Form::Component), Kept::default());
    hear(&mut before, "house");
    let old = before.kept.topics.len();
    let (again, _) = announcer(Some(Form::Device), before.kept);
    let (mut after, work) = announcer(Some(Form::Device), again.kept);
    let place = |wanted: &str| work.messages.iter().position(|one| one.payload.contains(wanted));
    assert_eq!(work.messages.iter().filter(|one| one.payload == MIGRATE).count(), old);
    assert_eq!(place("cmps"), Some(old), "all that is old comes before all that is new");
    assert!(work.messages.iter().all(|one| !one.payload.is_empty()), "nothing is cleared yet");
    assert_eq!(after.overview()["moving"], old);
    // The news comes back to us, and is nobody's deletion.
    after.published(&work.messages[0].topic, MIGRATE.as_bytes(), Instant::now());
    assert_eq!(after.take_work(), Work::default());

    let work = birth(&mut after);
    let cleared: Vec<_> = work.messages.iter().skip_while(|one| !one.payload.is_empty()).collect();
    assert_eq!(cleared.len(), old, "behind everything that was announced again");
    assert!(cleared.iter().all(|one| one.payload.is_empty()));
    assert_eq!(after.overview()["moving"], 0);
    assert_eq!(after.kept.topics.len(), 2);

    let (mut back, work) = announcer(Some(Form::Component), after.kept);
    assert!(work.messages[..2].iter().all(|one| one.payload == MIGRATE));
    assert_eq!(work.messages.len(), 2 + old);
    let work = birth(&mut back);
    assert_eq!(work.messages.len(), old + 2);
    assert!(work.messages[old..].iter().all(|one| one.payload.is_empty()));
}

#[test]
fn a_form_that_is_changed_back_before_anybody_saw_it_moves_back() {
    let (mut before, _) = announcer(Some(Form::Device), Kept::default());
    hear(&mut before, "house");
    let (between, _) = announcer(Some(Form::Component), before.kept);
    let (mut after, work) = announcer(Some(Form::Device), between.kept);
    let last = |topic: &str| work.messages.iter().rfind(|one| one.topic == topic).unwrap();
    assert!(last(&topic()).payload.contains("cmps"));
    birth(&mut after);
    assert_eq!(after.kept.topics.len(), 2);
    assert!(after.kept.topics.values().all(|out| !out.migrating));
}

#[test]
fn none_and_another_prefix_take_back_what_is_out() {
    let (mut before, _) = announcer(Some(Form::Device), Kept::default());
    hear(&mut before, "house");
    let (mut none, work) = announcer(None, before.kept.clone());
    assert_eq!(work.messages.len(), 2);
    assert!(work.messages.iter().all(|one| one.payload.is_empty()));
    assert_eq!(hear(&mut none, "house"), Work::default());
    assert_eq!(none.offer(None, Instant::now()), Err(OfferError::Off));

    let mut elsewhere = Announcer::new(
        Settings { prefix: "other".into(), ..settings(Some(Form::Device)) },
        before.kept,
    );
    elsewhere.begin(Instant::now());
    let work = elsewhere.take_work();
    let cleared = work.messages.iter().filter(|one| one.payload.is_empty());
    assert!(
        cleared
            .map(|one| &*one.topic)
            .eq(["ha/device/meterbridge_bridge/config", &topic()].into_iter().rev())
    );
    assert!(work.messages.iter().any(|one| one.topic == topic().replace("ha/", "other/")));
}

#[test]
fn what_a_channel_cannot_be_any_more_goes_and_a_lost_probe_stays() {
    use crate::model::{Quantity, Role};
    let (mut announcer, _) = announcer(Some(Form::Device), Kept::default());
    let Update::Readings(set) = readings("house") else { panic!() };
    let mut probed = ReadingSet::clone(&set);
    let mut device = Device::clone(&set.device);
    let probe = device.sensors.last_mut().unwrap();
    (probe.channel, probe.quantity) = (Channel::T(1), Quantity::Temperature);
    probed.device = Arc::new(device);
    announcer.readings(&probed, Instant::now());
    announcer.readings(&probed, Instant::now());
    announcer.take_work();

    let mut less = Device::clone(&probed.device);
    less.sensors.retain(|sensor| sensor.quantity != Quantity::PMinus);
    less.sensors.retain(|sensor| !matches!(sensor.channel, Channel::Ch(3) | Channel::T(1)));
    less.sensors.iter_mut().for_each(|sensor| sensor.role = Role::Load);
    announcer.described(&Arc::new(less), Instant::now());
    let document = announcer.kept.documents[&meter_id()].document().unwrap();
    for gone in ["balance", "ch1_energy_export", "ch3_power", "ch3_ct_type"] {
        assert!(document.removed.contains_key(gone), "{gone}");
    }
    assert!(document.components.contains_key("t1_temperature"));
    assert!(document.components.contains_key("ch2_power"));
    announcer.take_work();
    let work = birth(&mut announcer);
    assert!(work.messages[1].payload.contains(r#""ch1_energy_export":{"p":"sensor"}"#));
    assert!(!announcer.kept.documents[&meter_id()].removes, "told, and so forgotten");
}

#[test]
fn the_energy_set_counts_nothing_twice() {
    let (mut announcer, _) = announcer(Some(Form::Device), Kept::default());
    hear(&mut announcer, "house");
    let overview = announcer.overview();
    let set = &overview["energy"][0];
    let id = meter_id();
    assert_eq!(set["grid"][0]["from"], format!("{id}_ch1_energy"));
    assert_eq!(set["grid"][0]["to"], format!("{id}_ch1_energy_export"));
    let devices = set["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 2, "loads are behind the grid");
    let text = set.to_string();
    for key in announcer.kept.documents[&id].document().unwrap().components.keys() {
        assert!(text.matches(&format!("\"{id}_{key}\"")).count() <= 1, "{key}");
    }
}
