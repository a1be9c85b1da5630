//! A WebSocket as the stream of bytes that MQTT wants.
//!
//! MQTT packets may span binary frames and share them (MQTT 5, section 6.0), so frames mean nothing
//! here: what arrives is strung together, and each write becomes one message.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::Error as WebSocketError;
use tungstenite::error::ProtocolError;

use crate::broker::Complaints;

/// The bytes of a WebSocket's binary messages.
pub(super) struct Frames {
    socket: WebSocket,
    /// What is left of the last message.
    rest: Bytes,
    ended: bool,
    complaints: Complaints,
}

impl Frames {
    pub(super) fn new(socket: WebSocket, complaints: Complaints) -> Self {
        Self { socket, rest: Bytes::new(), ended: false, complaints }
    }

    /// Ends the stream; the client is told why with a close frame, which goes out when the
    /// connection is shut down.
    fn refuse(&mut self, code: u16, reason: &str) -> io::Error {
        self.ended = true;
        self.complaints.refused(reason);
        // A control frame takes 125 bytes, two of them for the code.
        let end = reason.floor_char_boundary(LONGEST_REASON);
        let frame = CloseFrame { code, reason: reason[..end].into() };
        // Fails when the connection is broken, and then there is nobody to tell.
        let _ = Pin::new(&mut self.socket).start_send(Message::Close(Some(frame)));
        io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
    }
}

impl AsyncRead for Frames {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() && !self.ended {
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                // Pings are answered below.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => self.ended = true,
                Some(Ok(Message::Text(_))) => {
                    let reason = "a text frame: MQTT comes in binary frames";
                    return Poll::Ready(Err(self.refuse(close_code::UNSUPPORTED, reason)));
                }
                Some(Err(error)) => match fault(error) {
                    Some((code, reason)) => return Poll::Ready(Err(self.refuse(code, &reason))),
                    None => self.ended = true,
                },
            }
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Frames {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(context)).map_err(io::Error::other)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        socket.start_send(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context).map_err(io::Error::other)
    }
}

/// What the client did wrong, with the code to close with; `None` when it only went away.
fn fault(error: axum::Error) -> Option<(u16, String)> {
    let error = error.into_inner();
    let code = match error.downcast_ref::<WebSocketError>() {
        Some(
            WebSocketError::ConnectionClosed
            | WebSocketError::AlreadyClosed
            | WebSocketError::Io(_)
            | WebSocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake),
        ) => return None,
        Some(WebSocketError::Capacity(_)) => close_code::SIZE,
        _ => close_code::PROTOCOL,
    };
    Some((code, format!("websocket: {error}")))
}

const LONGEST_REASON: usize = 123;
