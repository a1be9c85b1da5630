//! ffmpeg reads from the relay, and reads recordings.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use meterbridge::streams::RecordSettings;

use crate::stage::{Stage, Wav, piece, recordings, rms, sample, settings, stream, until, within};

fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin"]).kill_on_drop(true);
    command.stdin(Stdio::null());
    command
}

fn assert_rms(wav: &Wav, frames: usize) {
    assert_eq!((wav.rate, wav.channels, wav.samples.len()), (8000, 6, frames * 6));
    for channel in 0..6 {
        let (found, expected) = (wav.rms(channel), rms(channel));
        assert!((found / expected - 1.0).abs() < 1e-3, "{channel}: {found} and not {expected}");
    }
}

#[tokio::test]
async fn ffmpeg_records_from_the_relay_what_was_sampled() {
    let (stage, dir) = (Stage::open(None).await, tempfile::tempdir().unwrap());
    let out = dir.path().join("out.wav");
    let from = format!("tcp://{}", stage.relay);
    let mut child = ffmpeg()
        .args(["-f", "f32le", "-ar", "8000", "-ac", "6", "-i", &from, "-t", "5"])
        .args(["-c:a", "pcm_f32le"])
        .arg(&out)
        .spawn()
        .unwrap();
    stage.readers(1).await;
    stage.play(&stream(1, 8000.0, 3), 1234, 1234 + 8000 * 6);
    assert!(within("ffmpeg", child.wait()).await.unwrap().success());
    assert_rms(&Wav::read(&out), 40_000);
    stage.close().await;
}

#[tokio::test]
async fn time_stays_right_for_ffmpeg_where_samples_were_lost() {
    let (stage, dir) = (Stage::open(None).await, tempfile::tempdir().unwrap());
    let out = dir.path().join("out.wav");
    let from = format!("tcp://{}", stage.relay);
    let mut child = ffmpeg()
        .args(["-f", "f32le", "-ar", "8000", "-ac", "2", "-i", &from, "-t", "2"])
        .args(["-c:a", "pcm_f32le"])
        .arg(&out)
        .spawn()
        .unwrap();
    stage.readers(1).await;
    let info = stream(1, 8000.0, 1);
    for (first, end) in [(0, 4000), (6001, 9000), (9000, 17_000)] {
        stage.send(&piece(&info, first, end));
    }
    assert!(within("ffmpeg", child.wait()).await.unwrap().success());
    let wav = Wav::read(&out);
    assert_eq!(wav.samples.len(), 32_000);
    let is_zero = |frame: usize| wav.samples[2 * frame] == 0.0 && wav.samples[2 * frame + 1] == 0.0;
    let zeros: Vec<usize> = (0..16_000).filter(|frame| is_zero(*frame)).collect();
    assert_eq!(zeros, (4000..6001).collect::<Vec<usize>>());
    stage.close().await;
}

#[tokio::test]
async fn ffmpeg_reads_a_recording_also_while_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::open(Some(settings(dir.path()))).await;
    stage.play(&stream(1, 8000.0, 3), 0, 8000 * 3);
    until("the recording", || stage.metrics.recorded_bytes.get() == 24_000 * 24).await;
    until("its head", || frames_of(dir.path()) == 24_000).await;
    let path = &recordings(dir.path())[0];
    let out = dir.path().join("copy.raw");
    let mut child = ffmpeg();
    let child = child.arg("-i").arg(path).args(["-f", "f32le", "-c:a", "pcm_f32le"]).arg(&out);
    let done = within("ffmpeg", child.output()).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let bytes = std::fs::read(&out).unwrap();
    let samples: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_rms(&Wav { rate: 8000, channels: 6, samples: samples.clone() }, 24_000);
    // To the bit, also far beyond ±1.
    assert_eq!(samples, Wav::read(path).samples);
    stage.close().await;
}

fn frames_of(directory: &Path) -> usize {
    recordings(directory).first().map_or(0, |path| {
        let wav = Wav::read(path);
        wav.samples.len() / wav.channels
    })
}

#[tokio::test]
async fn beyond_four_gigabytes_ffmpeg_still_reads_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let settings = RecordSettings { rotate_size: 10_000_000_000, ..settings(dir.path()) };
    let stage = Stage::open(Some(settings)).await;
    // Ten minutes of a million frames a second, nearly all of them lost: a hole in the file.
    let info = stream(1, 1e6, 1);
    let last = 590_000_000;
    stage.send(&piece(&info, 0, 1000));
    stage.send(&piece(&info, last, last + 1000));
    stage.close().await;
    let path = &recordings(dir.path())[0];
    assert_eq!(path.metadata().unwrap().len(), 512 + (last + 1000) * 8);
    let probed = Command::new("ffprobe")
        .args(["-hide_banner", "-loglevel", "error", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=sample_rate,channels,duration_ts"])
        .arg(path)
        .output();
    let probed = within("ffprobe", probed).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&probed.stdout).trim(), "1000000,2,590001000");
    // The samples at its very end.
    let mut child = ffmpeg();
    let child = child.args(["-ss", "590"]).arg("-i").arg(path);
    let read = child.args(["-f", "f32le", "-c:a", "pcm_f32le", "-"]).output();
    let read = within("ffmpeg", read).await.unwrap();
    let begin = f32::from_le_bytes(read.stdout[..4].try_into().unwrap());
    assert_eq!((read.stdout.len(), begin), (8000, sample(last, 0, 1e6)));
}
