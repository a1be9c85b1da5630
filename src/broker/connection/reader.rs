//! The reading half: bytes in, in buffers that grow and shrink with the traffic.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::handler::Handler;
use super::{BUFFER_BUSY, BUFFER_IDLE, BUFFER_START, Desk, End, Terms};
use crate::broker::Shared;
use crate::broker::clients::Presence;
use crate::broker::wire;

/// Reads one connection.
pub(super) struct Reader<'a, R> {
    stream: R,
    buffer: BytesMut,
    handler: Handler<'a>,
}

impl<'a, R: AsyncRead + Unpin> Reader<'a, R> {
    pub(super) fn new(
        stream: R,
        buffer: BytesMut,
        desk: &'a Desk,
        shared: &'a Shared,
        presence: &Presence,
        terms: &'a Terms,
    ) -> Self {
        let handler = Handler::new(desk, shared, presence, terms);
        Self { stream, buffer, handler }
    }

    /// Reads until the connection ends.
    pub(super) async fn run(&mut self) -> End {
        loop {
            match self.handler.handle_all(&mut self.buffer) {
                ControlFlow::Break(end) => return end,
                ControlFlow::Continue(needed) => {
                    if self.handler.hand_over().await {
                        continue;
                    }
                    match self.read(needed).await {
                        Ok(0) | Err(_) => return End::Closed,
                        Ok(count) => self.handler.note_read(count),
                    }
                    self.let_others_pass().await;
                }
            }
        }
    }

    /// Messages wait until whoever was woken at the same time has been heard. The runtime serves the
    /// last one woken first; so a SUBSCRIBE that came before another client's PUBLISH would be late.
    async fn let_others_pass(&mut self) {
        if self.buffer.first().is_some_and(|first| first >> 4 == wire::PUBLISH) {
            tokio::task::yield_now().await;
        }
    }

    /// Takes what the client still sends, so that closing does not destroy the goodbye on its way:
    /// a socket closed with unread bytes resets the connection.
    pub(super) async fn linger(&mut self, wanted: bool) {
        if !wanted {
            return;
        }
        let swallow = async {
            for _ in 0..LINGER_READS {
                self.buffer.clear();
                self.buffer.reserve(BUFFER_START);
                if matches!(self.stream.read_buf(&mut self.buffer).await, Ok(0) | Err(_)) {
                    return;
                }
            }
        };
        // A client that keeps talking is cut off.
        let _ = tokio::time::timeout(LINGER, swallow).await;
    }

    /// Reads more. `needed`: length of the packet that has begun, where it is known.
    ///
    /// The buffer grows with what arrives, and never past the packet limit, which was checked before
    /// `needed` was known here.
    async fn read(&mut self, needed: Option<usize>) -> std::io::Result<usize> {
        let filled = self.buffer.len() == self.buffer.capacity();
        if let Some(needed) = needed {
            let missing = needed.saturating_sub(self.buffer.len());
            self.buffer.reserve(missing.min(self.buffer.len().max(BUFFER_BUSY)));
        } else if filled || self.buffer.capacity() - self.buffer.len() < BUFFER_START / 4 {
            self.buffer.reserve(BUFFER_START);
        }
        if !self.buffer.is_empty() || self.buffer.capacity() <= BUFFER_START {
            let count = self.stream.read_buf(&mut self.buffer).await?;
            if self.buffer.len() == self.buffer.capacity() && count >= BUFFER_START {
                self.buffer.reserve(BUFFER_BUSY);
            }
            return Ok(count);
        }
        let read = self.stream.read_buf(&mut self.buffer);
        if let Ok(result) = tokio::time::timeout(BUFFER_IDLE, read).await {
            return result;
        }
        self.buffer = BytesMut::with_capacity(BUFFER_START);
        self.stream.read_buf(&mut self.buffer).await
    }
}

const LINGER: Duration = Duration::from_millis(250);
const LINGER_READS: usize = 64;
