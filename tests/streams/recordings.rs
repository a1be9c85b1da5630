//! Files on disk: rotation, gaps, limits, and a disk that does not take them.

use std::path::Path;
use std::time::Duration;

use meterbridge::bus::Wave;
use meterbridge::streams::RecordSettings;

use crate::stage::{
    SERIAL, Stage, Wav, later, numbered, recordings, settings, side, stream, until,
};

/// All samples of all files, in their order.
fn all_samples(directory: &Path) -> Vec<f32> {
    recordings(directory).iter().flat_map(|path| Wav::read(path).samples).collect()
}

fn expected(frames: impl Iterator<Item = u64>) -> Vec<f32> {
    frames.flat_map(|frame| [frame as f32 + 1.0, -(frame as f32) - 1.0]).collect()
}

#[tokio::test]
async fn files_follow_each_other_without_losing_a_sample() {
    let dir = tempfile::tempdir().unwrap();
    let settings = RecordSettings {
        // 700 frames, and by size 512 + 1000 × 8.
        rotate: Duration::from_millis(700),
        rotate_size: 8512,
        ..settings(&dir.path().join("not/there/yet"))
    };
    let files = settings.directory.clone();
    let stage = Stage::open(Some(settings)).await;
    let info = stream(1, 1000.0, 1);
    for first in (0..5000).step_by(90) {
        stage.send(&numbered(&info, first, first + 90));
    }
    let all = 5040;
    until("the samples", || stage.metrics.recorded_bytes.get() == all * 8).await;
    stage.close().await;
    assert_eq!(all_samples(&files), expected(0..all));
    let names: Vec<String> = recordings(&files)
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.len(), 8);
    assert_eq!(names[..2], ["mains_20261121T210000.000Z.wav", "mains_20261121T210000.700Z.wav"]);
    let second = side(&recordings(&files)[1]);
    assert_eq!((&second["frames"], &second["rate_hz"]), (&700.into(), &1000.0.into()));
    assert_eq!(second["start"], 1_795_294_800.7);
    assert_eq!(second["start_utc"], "2026-11-21T21:00:00.700Z");
    assert_eq!(second["channels"][1]["unit"], "mA");
    assert!(second["ended"].as_str().unwrap().contains("full"));
    let last = side(recordings(&files).last().unwrap());
    assert_eq!((&last["frames"], &last["ended"]), (&140.into(), &"the gateway stopped".into()));
}

#[tokio::test]
async fn losses_are_listed_and_another_layout_or_a_long_pause_is_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::open(Some(settings(dir.path()))).await;
    let info = stream(1, 1000.0, 1);
    for (first, end) in [(0, 100), (150, 200), (200, 250)] {
        stage.send(&numbered(&info, first, end));
    }
    stage.send(&Wave::Ended(info, 250));
    // The meter comes back after a short while, after an hour, and with another rate.
    stage.send(&numbered(&later(2, 1000.0, 1, 300), 0, 100));
    stage.send(&numbered(&later(3, 1000.0, 1, 3_600_000), 0, 100));
    stage.send(&numbered(&later(4, 2000.0, 1, 3_601_000), 0, 100));
    until("the samples", || {
        stage.metrics.recordings.get() == 1 && recordings(dir.path()).len() == 3
    })
    .await;
    stage.close().await;
    let files = recordings(dir.path());
    let first = side(&files[0]);
    assert_eq!(first["gaps"], serde_json::json!([[100, 150], [250, 300]]));
    assert_eq!(first["frames"], 400);
    let streams = serde_json::json!([
        {"first": 0, "start": 1_795_294_800.0}, {"first": 300, "start": 1_795_294_800.3}
    ]);
    assert_eq!(first["streams"], streams);
    let samples = Wav::read(&files[0]).samples;
    assert_eq!(samples[200..300], [0.0; 100]);
    assert_eq!(samples[600..], expected(0..100));
    assert_eq!((Wav::read(&files[1]).rate, Wav::read(&files[2]).rate), (1000, 2000));
    let why: Vec<String> = files.iter().map(|file| side(file)["ended"].to_string()).collect();
    assert!(why[0].contains("ten minutes") && why[1].contains("rate"), "{why:?}");
}

#[tokio::test]
async fn the_oldest_of_its_own_files_go_when_all_take_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = ["house_20200101T000000.000Z.wav", "mains_20200101.wav", "notes.txt"];
    for name in theirs {
        std::fs::write(dir.path().join(name), [0; 4000]).unwrap();
    }
    let settings = RecordSettings {
        rotate: Duration::from_millis(100),
        size: 5 * (512 + 800),
        ..settings(dir.path())
    };
    let stage = Stage::open(Some(settings)).await;
    let info = stream(1, 1000.0, 1);
    stage.send(&numbered(&info, 0, 2000));
    // Files are closed one after the other; what is too much goes before more is written.
    until("twenty files", || recordings(dir.path()).len() == 22).await;
    stage.send(&numbered(&info, 2000, 2100));
    until("the oldest to go", || stage.metrics.record_removed.get() >= 15).await;
    stage.close().await;
    let left = recordings(dir.path());
    assert!((7..=8).contains(&left.len()), "{left:?}");
    assert!(theirs.iter().all(|name| dir.path().join(name).exists()));
    let newest = left.iter().rfind(|path| path.to_string_lossy().contains("mains_2026"));
    assert!(newest.unwrap().to_string_lossy().ends_with("mains_20261121T210002.000Z.wav"));
    let sides = std::fs::read_dir(dir.path()).unwrap().filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "json")
    });
    assert_eq!(sides.count(), left.len() - 2, "nothing is left of what went");
}

#[tokio::test]
async fn nothing_is_written_to_a_disk_that_is_nearly_full() {
    let dir = tempfile::tempdir().unwrap();
    let settings = RecordSettings { keep_free: 1 << 62, ..settings(dir.path()) };
    let stage = Stage::open(Some(settings)).await;
    stage.send(&numbered(&stream(1, 1000.0, 1), 0, 100));
    until("the pause", || stage.metrics.record_lost.get() == 100).await;
    assert_eq!(stage.metrics.record_paused.get(), 1);
    stage.close().await;
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let files = dir.path().join("recordings");
    std::fs::write(&files, "in the way").unwrap();
    let stage = Stage::open(Some(settings(&files))).await;
    let info = stream(1, 1000.0, 1);
    stage.send(&numbered(&info, 0, 100));
    until("the failure", || stage.metrics.record_failures.get() == 1).await;
    std::fs::remove_file(&files).unwrap();
    let mut frame = 100;
    while recordings(&files).is_empty() {
        stage.send(&numbered(&info, frame, frame + 1));
        frame += 1;
        let wanted = || stage.waveforms.wanted(SERIAL);
        until("the recorder", wanted).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(frame < 1000, "it is not tried again");
    }
    stage.close().await;
    let file = &recordings(&files)[0];
    let begin = Wav::read(file).samples[0];
    assert!(begin > 100.0, "{begin}");
    assert!((side(file)["start"].as_f64().unwrap() - 1_795_294_800.1) < 60.0);
}
