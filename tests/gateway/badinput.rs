//! What is wrong before the start: the program says what and where, and ends with the code for it.

use std::net::TcpListener;

use crate::process::{ends, program};
use crate::support::{HOUSE, Site};

/// Runs the gateway of a site that cannot run.
async fn fails(site: &Site, arguments: &[&str]) -> (i32, String) {
    ends(program(site, arguments)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named_whoever_wants_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let set = |key: &str| format!("{key}={address}");
    for key in ["broker.listen", "web.listen", "meters.0.link.listen"] {
        for command in ["run", "demo"] {
            let site = Site::new(HOUSE);
            let (code, message) = fails(&site, &[command, "--set", &set(key)]).await;
            assert_eq!(code, 69, "{command} {key}: {message}");
            assert!(message.contains(&address), "{command} {key}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_cannot_be_used_is_named() {
    let site = Site::new(HOUSE);
    let file = site.path().join("occupied");
    std::fs::write(&file, "x").unwrap();
    let data_dir = format!("data_dir={}", file.join("data").display());
    let (code, message) = fails(&site, &["run", "--set", &data_dir]).await;
    assert_eq!(code, 69, "{message}");
    assert!(message.contains("occupied"), "{message}");

    // A database that is none.
    std::fs::create_dir(site.path().join("data")).unwrap();
    std::fs::write(site.path().join("data/meterbridge.db"), "no database").unwrap();
    let (code, message) = fails(&site, &["run"]).await;
    assert_eq!(code, 69, "{message}");
    assert!(message.contains("meterbridge.db"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_cannot_be_read_is_named() {
    let site = Site::bare();
    let (code, message) = fails(&site, &["run", "--config", "nowhere.yaml"]).await;
    assert_eq!(code, 78, "{message}");
    assert!(message.contains("nowhere.yaml"), "{message}");

    std::fs::create_dir(site.path().join("dir.yaml")).unwrap();
    let (code, message) = fails(&site, &["run", "--config", "dir.yaml"]).await;
    assert_eq!(code, 78, "{message}");
    assert!(message.contains("dir.yaml"), "{message}");

    for (text, place) in [
        (&b"meters: [\xFF\xFE]"[..], "config.yaml"),
        (b"meters:\n  - {name: a\nbroker: }", "config.yaml:"),
        (b"\t- tabs", "config.yaml:"),
    ] {
        std::fs::write(site.config_file(), text).unwrap();
        let (code, message) = fails(&site, &["run"]).await;
        assert_eq!(code, 78, "{message}");
        assert!(message.contains(place), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_told_with_their_place_and_all_at_once() {
    let twice = format!("{HOUSE}{}", HOUSE.replace("127.0.0.1:0", "127.0.0.1:19999"));
    let site = Site::new(&format!("{twice}    serail_number: \"01100603\"\n"));
    let (code, message) = fails(&site, &["run"]).await;
    assert_eq!(code, 78, "{message}");
    for part in ["config.yaml:", "\"house\" is used twice", "serail_number", "serial_number"] {
        assert!(message.contains(part), "no {part} in: {message}");
    }
    assert!(!site.path().join("data").exists(), "nothing was started");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_value_from_a_flag_or_the_environment_is_laid_at_its_door() {
    let site = Site::new(HOUSE);
    let (code, message) = fails(&site, &["run", "--set", "broker.listen=everywhere"]).await;
    assert_eq!(code, 78, "{message}");
    assert!(message.contains("--set") && message.contains("everywhere"), "{message}");

    let mut command = program(&site, &["run"]);
    command.env("METERBRIDGE__BROKER__LISTEN", "elsewhere");
    let (code, message) = ends(command).await;
    assert_eq!(code, 78, "{message}");
    assert!(message.contains("METERBRIDGE__BROKER__LISTEN"), "{message}");
    assert!(message.contains("elsewhere"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_arguments_end_with_64() {
    let site = Site::new(HOUSE);
    for arguments in [&["walk"][..], &["run", "--nonsense"], &["run", "--set"], &["demo", "extra"]]
    {
        let (code, message) = fails(&site, arguments).await;
        assert_eq!(code, 64, "{arguments:?}: {message}");
        assert!(!message.is_empty(), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_on_one_port_the_second_says_so_and_the_first_goes_on() {
    let site = Site::new(HOUSE);
    let first = site.start().await;
    let broker = first.broker().to_string();
    let other = Site::new(HOUSE);
    let listen = format!("broker.listen={broker}");
    let (code, message) = fails(&other, &["run", "--set", &listen]).await;
    assert_eq!(code, 69, "{message}");
    assert!(message.contains(&broker), "{message}");
    first.subscriber().await.until("meterbridge/bridge/state", "online").await;
}
