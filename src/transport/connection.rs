//! One connection to a meter, whoever opened it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

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
}

/// When a connection was last heard, shared with whoever must choose one to give up.
#[derive(Debug, Clone)]
pub(super) struct LastHeard(Arc<AtomicI64>);

impl LastHeard {
    pub(super) fn now() -> LastHeard {
        LastHeard(Arc::new(AtomicI64::new(Timestamp::now().0)))
    }

    pub(super) fn get(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn touch(&self) {
        self.0.store(Timestamp::now().0, Ordering::Relaxed);
    }
}

/// What a connection waits for.
enum Event {
    /// The peer said something, failed, or was silent for too long.
    Read(Result<std::io::Result<usize>, Elapsed>),
    /// The conversation has something to say.
    Words(Vec<u8>),
}

/// Reads from the peer until the connection ends.
pub(super) async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut conversation: impl Conversation,
    idle: Option<Duration>,
    heard: &LastHeard,
) -> End {
    let mut buffer = vec![0; READ_BUFFER];
    let mut last = Instant::now();
    let mut pending = false;
    loop {
        // Pauses are counted from the last byte heard, whatever was said in between.
        let wait = if pending { conversation.patience() } else { idle.unwrap_or(FOREVER) };
        let event = tokio::select! {
            read = timeout_at(last + wait, stream.read(&mut buffer)) => Event::Read(read),
            words = conversation.speak() => Event::Words(words),
        };
        let reply = match event {
            Event::Words(words) => words,
            Event::Read(Ok(Ok(0))) => {
                conversation.quiet().await;
                return End::Closed;
            }
            Event::Read(Ok(Ok(length))) => {
                (last, pending) = (Instant::now(), true);
                heard.touch();
                conversation.received(&buffer[..length]).await
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
            match timeout(REPLY_DEADLINE, stream.write_all(&reply)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return End::Failed(error.to_string()),
                Err(_) => return End::Failed("the peer does not take our answer".to_owned()),
            }
        }
    }
}

const READ_BUFFER: usize = 4096;
const FOREVER: Duration = Duration::from_secs(365 * 86_400);
const REPLY_DEADLINE: Duration = Duration::from_secs(5);
