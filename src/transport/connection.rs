//! One connection to a meter, whoever opened it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Conversation;
use crate::model::Timestamp;

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The peer closed it.
    Closed,
    /// Nothing arrived for the idle time.
    Idle,
    /// The network failed.
    Failed(String),
    /// The conversation was over, for this reason.
    Finished(String),
    /// The gateway wanted it closed.
    Left,
}

/// When a connection was last heard, shared with whoever must choose one to give up.
#[derive(Debug, Clone)]
pub(super) struct LastHeard(Arc<AtomicI64>, Arc<AtomicBool>);

impl LastHeard {
    pub(super) fn now() -> LastHeard {
        LastHeard(Arc::new(AtomicI64::new(Timestamp::now().0)), Arc::default())
    }

    /// Whether anything was heard at all.
    pub(super) fn anything(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn touch(&self) {
        self.0.store(Timestamp::now().0, Ordering::Relaxed);
        self.1.store(true, Ordering::Relaxed);
    }
}

/// What a connection waits for.
enum Event {
    /// The peer said something, failed, or was silent for too long.
    Read(Result<std::io::Result<usize>, Elapsed>),
    /// The conversation has something to say.
    Words(Vec<u8>),
    /// The gateway wants the connection closed.
    Leave,
}

/// Reads from the peer until the connection ends, or is to end by `leave`.
pub(super) async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut conversation: impl Conversation,
    idle: Option<Duration>,
    heard: &LastHeard,
    leave: &CancellationToken,
) -> End {
    let mut buffer = vec![0; conversation.read_buffer()];
    let mut last = Instant::now();
    let mut pending = false;
    loop {
        // Pauses are counted from the last byte heard, whatever was said in between.
        let wait = if pending { conversation.patience() } else { idle.unwrap_or(FOREVER) };
        let event = tokio::select! {
            read = timeout_at(last + wait, stream.read(&mut buffer)) => Event::Read(read),
            words = conversation.speak() => Event::Words(words),
            () = leave.cancelled() => Event::Leave,
        };
        let reply = match event {
            Event::Words(words) => words,
            Event::Leave => {
                // Whoever does not take it in a moment goes without.
                let _ = timeout(FAREWELL, stream.write_all(&conversation.farewell())).await;
                return End::Left;
            }
            Event::Read(Ok(Ok(0))) => {
                conversation.quiet().await;
                return End::Closed;
            }
            Event::Read(Ok(Ok(length))) => {
                (last, pending) = (Instant::now(), true);
                heard.touch();
                // It may wait for others, and the end does not.
                tokio::select! {
                    reply = conversation.received(&buffer[..length]) => reply,
                    () = leave.cancelled() => continue,
                }
            }
            Event::Read(Ok(Err(error))) => {
                conversation.quiet().await;
                return End::Failed(error.to_string());
            }
            Event::Read(Err(_)) if pending => {
                pending = false;
                conversation.quiet().await
            }
            Event::Read(Err(_)) => return End::Idle,
        };
        if !reply.is_empty() {
            // A peer that does not read must not stop its own connection from being read.
            let sending = timeout(REPLY_DEADLINE, stream.write_all(&reply));
            let sent = tokio::select! {
                sent = sending => sent,
                () = leave.cancelled() => return End::Left,
            };
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return End::Failed(error.to_string()),
                Err(_) => return End::Failed("the peer does not take our answer".to_owned()),
            }
        }
        if let Some(reason) = conversation.finished() {
            return End::Finished(reason);
        }
    }
}

const FOREVER: Duration = Duration::from_secs(365 * 86_400);
const REPLY_DEADLINE: Duration = Duration::from_secs(5);
const FAREWELL: Duration = Duration::from_millis(500);
