//! A process that is killed in the middle of a recording.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::stage::{Stage, Wav, numbered, recordings, settings, side, stream, until};

const DIRECTORY: &str = "METERBRIDGE_TEST_RECORDINGS";

/// The other process: records until it is killed. Does nothing unless it was started for that.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let stage = Stage::open(Some(settings(Path::new(&directory)))).await;
    let info = stream(1, 1000.0, 1);
    for first in (0..u64::MAX).step_by(100) {
        stage.send(&numbered(&info, first, first + 100));
        until("the samples", || stage.metrics.recorded_bytes.get() >= (first + 100) * 8).await;
        println!("\nwritten {}", first + 100);
    }
}

#[tokio::test]
async fn what_was_written_before_a_kill_can_be_read_and_is_closed_by_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::the_process_that_is_killed", "--nocapture"])
        .env(DIRECTORY, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let written =
        lines.by_ref().filter_map(|line| line.unwrap().strip_prefix("written ")?.parse().ok());
    let enough: usize = written.into_iter().find(|written| *written >= 500).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    let file = recordings(dir.path()).remove(0);
    let samples = Wav::read(&file).samples;
    // All but the batch under way, and whole frames, in order.
    assert!(samples.len() / 2 >= enough - 100, "{} of {enough}", samples.len() / 2);
    let numbers: Vec<usize> = samples.chunks_exact(2).map(|frame| frame[0] as usize - 1).collect();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<usize>>());
    assert!(side(&file)["ended"].is_null());

    let stage = Stage::open(Some(settings(dir.path()))).await;
    until("the file to be closed", || !side(&file)["ended"].is_null()).await;
    assert_eq!(side(&file)["frames"], numbers.len());
    stage.send(&numbered(&stream(2, 1000.0, 1), 0, 10));
    until("the next file", || recordings(dir.path()).len() == 2).await;
    stage.close().await;
    assert_eq!(Wav::read(&file).samples.len(), samples.len(), "it is not written again");
}
