//! File, environment and flags over each other, and where a value came from.

use std::path::Path;

use meterbridge::config::Origin;
use meterbridge::config::link::Link;
use meterbridge::config::meter::Timeout;
use meterbridge::config::secret::Secret;
use meterbridge::config::size::ByteSize;
use meterbridge::journal::Commit;
use meterbridge::model::Role;

use crate::{given, meter};

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "broker: {listen: 127.0.0.1:1}\nweb: {listen: 127.0.0.1:2}\ndata_dir: /a\n";
    let given = given(file)
        .env("METERBRIDGE__BROKER__LISTEN", "127.0.0.1:11")
        .env("METERBRIDGE__WEB__LISTEN", "[127.0.0.1:12, \"[::1]:12\"]")
        .env("PATH", "/bin")
        .set("broker.listen=127.0.0.1:21");
    let loaded = given.loaded();
    assert_eq!(loaded.config.broker.listen.0, ["127.0.0.1:21".parse().unwrap()]);
    assert_eq!(loaded.config.web.listen.0.len(), 2);
    assert_eq!(loaded.config.data_dir, Path::new("/a"));
    assert_eq!(loaded.origin("broker.listen"), Origin::Flag);
    assert_eq!(loaded.origin("web.listen"), Origin::Environment("METERBRIDGE__WEB__LISTEN".into()));
    assert_eq!(loaded.origin("data_dir"), Origin::File(given.path("config.yaml"), 3));
    assert_eq!(loaded.origin("web.base_path"), Origin::Default);
}

#[test]
fn sizes_come_from_any_layer_and_are_shown_as_written() {
    let given = given("journal: {sync: always, size: 2GB}\n")
        .env("METERBRIDGE__JOURNAL__SIZE", "500MB")
        .set("journal.sync=group");
    let loaded = given.loaded();
    assert_eq!(loaded.config.journal.size, ByteSize(500_000_000));
    assert_eq!(loaded.config.journal.sync, Commit::Group);
    let listing = loaded.listing();
    assert!(listing.contains("journal.size: 500MB "), "{listing}");
}

#[test]
fn flags_and_environment_reach_into_lists() {
    let given = given(&meter("    channels: {ch1: {role: grid}}\n"))
        .env("METERBRIDGE__METERS__0__SERIAL_NUMBER", "00200604")
        .env("METERBRIDGE__METERS__1__NAME", "barn")
        .set("meters.1.kind=brultech")
        .set("meters[1].link={connect: nas:5000}")
        .set("meters.0.channels.ch2.name=2")
        .set("meters.0.timeout=null");
    let loaded = given.loaded();
    let [house, barn] = loaded.config.meters.as_slice() else { panic!("two meters") };
    assert_eq!(house.serial_number.as_deref(), Some("00200604"));
    assert_eq!(house.channels["ch1"].role, Role::Grid);
    assert_eq!(house.channels["ch2"].name.as_deref(), Some("2"));
    assert_eq!(house.timeout, Timeout::Auto);
    assert_eq!(barn.link, Link::Connect("nas:5000".parse().unwrap()));
    assert_eq!(loaded.origin("meters.0.name"), Origin::File(given.path("config.yaml"), 2));
    assert_eq!(loaded.origin("meters.1.link.connect"), Origin::Flag);
    let variable = "METERBRIDGE__METERS__0__SERIAL_NUMBER";
    assert_eq!(loaded.origin("meters.0.serial_number"), Origin::Environment(variable.into()));
}

#[test]
fn mistakes_outside_the_file_name_their_variable_or_flag() {
    let given = given(&meter(""))
        .env("METERBRIDGE__BROKR__LISTEN", "x")
        .env("METERBRIDGE__WEB__LISTEN", "here")
        .env("METERBRIDGE__", "x")
        .env("METERBRIDGE__BROKER____LISTEN", "x")
        .env("METERBRIDGE__METERS__5__NAME", "x")
        .env("METERBRIDGE__BROKER__EXTERNAL__PASSWORD_FILE", "/nowhere/at/all")
        .set("meters.0.name=a b")
        .set("log.level")
        .set("meters.first.name=x");
    let mistakes = given.mistakes();
    let expected = [
        "environment METERBRIDGE__: is not the name of a key",
        "environment METERBRIDGE__BROKER__EXTERNAL__PASSWORD_FILE: broker.external.password: /nowhere/at/all cannot be read",
        "environment METERBRIDGE__BROKER____LISTEN: is not the name of a key",
        "environment METERBRIDGE__BROKR__LISTEN: brokr: unknown key; did you mean `broker`?",
        "environment METERBRIDGE__METERS__5__NAME: meters[5].name: meters has 1 entr",
        "environment METERBRIDGE__WEB__LISTEN: web.listen: \"here\" is not an address",
        "--set log.level: has no \"=\"",
        "--set meters.0.name: meters[0].name: \"a b\" is not a name",
        "--set meters.first.name: meters.first.name: meters is a list: \"first\" must be a number from 0 to 1",
    ];
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    for (mistake, expected) in mistakes.iter().zip(expected) {
        assert!(mistake.starts_with(expected), "{mistake}\n{expected}");
    }
}

#[test]
fn a_variable_may_name_a_file_with_the_value() {
    let there = given("");
    std::fs::write(there.path("listen"), "127.0.0.1:7\r\n").unwrap();
    let path = there.path("listen").display().to_string();
    let there = there.env("METERBRIDGE__BROKER__LISTEN_FILE", &path);
    let loaded = there.loaded();
    assert_eq!(loaded.config.broker.listen.0[0].port(), 7);
    let variable = "METERBRIDGE__BROKER__LISTEN_FILE";
    assert_eq!(loaded.origin("broker.listen"), Origin::Environment(variable.into()));
    let mistakes = there.env("METERBRIDGE__BROKER__LISTEN", "127.0.0.1:8").mistakes();
    assert!(
        mistakes[0].contains("gives the same key as METERBRIDGE__BROKER__LISTEN"),
        "{mistakes:?}"
    );
}

/// What YAML takes for a number is text where text is meant, as it is spelled.
#[test]
fn numbers_are_text_where_text_is_meant() {
    let text = meter(
        "    serial_number: 01100603\n    channels: {ch1: {name: 0x10}, ch2: {name: no}, ch3: {name: 1.50}}\n",
    );
    let config = given(&text).set("data_dir=007").config();
    let meter = &config.meters[0];
    assert_eq!(meter.serial_number.as_deref(), Some("01100603"));
    let names: Vec<_> =
        meter.channels.values().map(|channel| channel.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["0x10", "no", "1.50"]);
    assert_eq!(config.data_dir, Path::new("007"));
}

#[test]
fn the_key_of_a_port_is_masked_and_may_come_from_a_file() {
    let key = "8F14E45FCEEA167A5A36DEDD4BEA2543";
    // YAML takes the second for a number.
    for key in [key, "12345678901234567890123456789012", "00000000000000000000000000001e10"] {
        let there = given(&meter(&format!("    key: {key}\n")).replace("brultech", "p1"));
        let loaded = there.loaded();
        let kept = loaded.config.meters[0].key.as_ref().map(Secret::reveal);
        assert_eq!(kept, Some(key));
        let shown = format!("{}{:?}", loaded.listing(), loaded.config);
        assert!(shown.contains("meters.0.key: ***") && !shown.contains(key), "{shown}");
    }
    let there = given(&meter("").replace("brultech", "p1"));
    std::fs::write(there.path("key"), format!("{key}\n")).unwrap();
    let path = there.path("key").display().to_string();
    let there = there.env("METERBRIDGE__METERS__0__KEY_FILE", &path);
    let kept = there.config().meters[0].key.as_ref().map(|key| key.reveal().to_owned());
    assert_eq!(kept.as_deref(), Some(key));
}

#[test]
fn a_wrong_key_is_explained_without_it() {
    for key in ["8F14E45FCEEA167A5A36DEDD4BEA254", "[8F14E45FCEEA167A5A36DEDD4BEA2543]", "hunter22"]
    {
        let there = given(&meter(&format!("    key: {key}\n")).replace("brultech", "p1"));
        for mistake in there.mistakes() {
            assert!(mistake.contains("key"), "{mistake}");
            assert!(!mistake.contains("8F14") && !mistake.contains("hunter22"), "{mistake}");
        }
        assert_eq!(there.mistakes().len(), 1);
    }
}
