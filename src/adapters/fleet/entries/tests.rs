//! Who gets which entry and which name.

use super::*;
use crate::registry::record::{Changed, Record};
use crate::store::MeterRow;

fn entry(name: &str, serial: Option<&str>, link: usize) -> MeterSettings {
    let adopted = MeterSettings::adopted(name.into(), LinkId(link));
    MeterSettings { serial: serial.map(str::to_owned), ..adopted }
}

fn row(serial: &str, name: &str) -> MeterRow {
    let (serial, name) = (serial.to_owned(), name.to_owned());
    MeterRow { make: Make::Brultech, serial, name, state: Vec::new() }
}

fn make(settings: &[MeterSettings], rows: &[MeterRow]) -> Entries {
    Entries::new(settings, rows, Registry::new(Make::Brultech))
}

fn names(entries: &mut Entries, heard: &[(&str, usize)]) -> Vec<String> {
    heard
        .iter()
        .map(|(serial, link)| {
            let claim = entries.claim(&Arc::from(*serial), Model::Gem, LinkId(*link));
            claim.map_or_else(|reason| reason.as_str().into(), |one| one.settings.name.to_string())
        })
        .collect()
}

fn put(entries: &mut Entries, serial: &str, record: Record) {
    entries.registry.put(serial, record, &mut Changes::default());
}

#[test]
fn serial_numbers_bind_the_first_left_over_fills_a_free_entry_and_the_rest_is_adopted() {
    let settings = [entry("any", None, 0), entry("bound", Some("B"), 0), entry("far", None, 1)];
    assert_eq!(
        names(&mut make(&settings, &[]), &[("B", 0), ("A", 0), ("C", 0), ("D", 1), ("A", 0)]),
        ["bound", "any", "gem-C", "far", "any"]
    );
}

#[test]
fn an_entry_stays_with_its_meter_over_a_restart() {
    let mut entries = make(&[entry("any", None, 0)], &[row("A", "any")]);
    assert_eq!(names(&mut entries, &[("B", 0), ("A", 0)]), ["gem-B", "any"]);
}

#[test]
fn a_name_that_an_entry_has_is_not_given_to_an_adopted_meter() {
    let mut entries = make(&[entry("gem-A", Some("B"), 0)], &[]);
    assert_eq!(names(&mut entries, &[("A", 0)]), ["gem-A-new"]);
}

#[test]
fn a_renamed_meter_keeps_its_entry_and_its_name() {
    let mut registry = Registry::new(Make::Brultech);
    let changed = Changed { now: Some("main".into()), file: Some("any".into()) };
    let record = Record { name: Some(changed), ..Record::default() };
    registry.put("A", record, &mut Changes::default());
    let rows = [row("A", "main"), row("B", "gem-B")];
    let settings = [entry("any", None, 0)];
    let mut entries = Entries::new(&settings, &rows, registry.clone());
    assert_eq!(names(&mut entries, &[("B", 0), ("A", 0)]), ["gem-B", "main"]);
    // Edited since: the file wins, and it is said once.
    let mut entries = Entries::new(&[entry("home", None, 0)], &rows, registry);
    assert_eq!(names(&mut entries, &[("A", 0)]), ["home"]);
    assert_eq!(entries.registry.get("A"), Record::default());
    let kinds: Vec<NoticeKind> = entries.notices.iter().map(|notice| notice.kind).collect();
    assert_eq!(kinds, [NoticeKind::Overruled]);
}

#[test]
fn who_is_blocked_replaced_or_not_permitted_is_turned_away_and_told_once() {
    let mut entries = make(&[entry("house", Some("A"), 0)], &[row("K", "gem-K")]);
    put(&mut entries, "B", Record { blocked: true, ..Record::default() });
    put(&mut entries, "R", Record { replaced_by: Some("A".into()), ..Record::default() });
    put(&mut entries, "W", Record { accepted: true, ..Record::default() });
    entries.registry.permit(false, &mut Changes::default());
    let heard = ["A", "K", "B", "R", "U", "U", "W"].map(|serial| (serial, 0));
    assert_eq!(
        names(&mut entries, &heard),
        ["house", "gem-K", "blocked", "replaced", "not_permitted", "not_permitted", "gem-W"]
    );
    let blocked = entries.notices.iter().filter(|one| one.kind == NoticeKind::Blocked);
    assert_eq!(blocked.count(), 3);
}

#[test]
fn a_successor_has_the_entry_of_the_meter_before_it() {
    let mut registry = Registry::new(Make::Brultech);
    let replaced = Record { replaced_by: Some("B".into()), ..Record::default() };
    registry.put("A", replaced, &mut Changes::default());
    let settings = [entry("house", Some("A"), 0)];
    let mut entries = Entries::new(&settings, &[], registry.clone());
    assert_eq!(names(&mut entries, &[("B", 0), ("A", 0)]), ["house", "replaced"]);
    // The file has caught up.
    let mut entries = Entries::new(&[entry("house", Some("B"), 0)], &[], registry);
    assert_eq!(names(&mut entries, &[("B", 0), ("A", 0)]), ["house", "replaced"]);
}
