//! One reader's connection.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until, timeout};

use super::Relay;
use super::talk::Talk;
use super::tap::{Over, Portion, Tap};
use crate::bus::{Wave, WaveQueue};
use crate::metrics::Counter;
use crate::model::{StreamInfo, Timestamp};

/// What belongs to one connection.
pub(super) struct Reader<'a> {
    relay: &'a Relay,
    peer: SocketAddr,
    manner: Manner,
    /// Where pieces wait for it, while it wants any.
    queue: Option<WaveQueue>,
    /// Pieces that it was too slow for, and how many of these are counted with everybody's.
    dropped: Counter,
    counted: u64,
    /// What it has said and is no whole line yet.
    said: Vec<u8>,
    /// It has said all that it ever will.
    closed: bool,
    /// When it is to have been answered.
    deadline: Option<Instant>,
}

/// How it wants its samples.
enum Manner {
    Bare(Tap),
    Talking(Box<Talk>),
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Left {
    #[error("it left")]
    Gone,
    #[error(transparent)]
    Over(#[from] Over),
    #[error("it took nothing for {} s", PATIENCE.as_secs())]
    Stuck,
    #[error("what it says makes no sense")]
    Nonsense,
    #[error("the connection failed: {0}")]
    Failed(#[from] std::io::Error),
}

impl<'a> Reader<'a> {
    pub(super) fn new(relay: &'a Relay, peer: SocketAddr) -> Reader<'a> {
        Reader {
            relay,
            peer,
            manner: Manner::Bare(Tap::bare(None)),
            queue: None,
            dropped: Counter::default(),
            counted: 0,
            said: Vec::new(),
            closed: false,
            deadline: None,
        }
    }

    /// Serves it until it leaves, or cannot be served any more.
    pub(super) async fn attend(mut self, mut stream: TcpStream) {
        let local = stream.local_addr().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |at| at.ip());
        let (mut from, mut to) = stream.split();
        let Err(left) = self.serve(&mut from, &mut to, local.to_canonical()).await;
        let (_, sent, missing) = self.counts();
        let (peer, meter, dropped) = (self.peer, &*self.relay.bound.name, self.dropped.get());
        match left {
            Left::Gone if dropped == 0 => {
                tracing::debug!(%peer, meter, sent, missing, "a reader of samples has left");
            }
            left => tracing::warn!(
                %peer, meter, sent, missing, dropped, reason = %left,
                "a reader of samples has left, or was too slow for some of them"
            ),
        }
    }

    fn counts(&self) -> (u64, u64, u64) {
        match &self.manner {
            Manner::Bare(tap) => tap.counts(),
            Manner::Talking(talk) => talk.counts(),
        }
    }

    async fn serve(
        &mut self,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
        local: IpAddr,
    ) -> Result<std::convert::Infallible, Left> {
        // Samples are kept for it from here on, should it say nothing.
        self.subscribe();
        let first = timeout(COURTESY, from.read_buf(&mut self.said)).await;
        match first {
            Ok(read) => self.note_end(read?)?,
            Err(_) => tracing::debug!(peer = %self.peer, "a silent reader gets bare samples"),
        }
        let mut waves = VecDeque::new();
        loop {
            if !self.said.is_empty() {
                self.answer(to, local).await?;
            }
            let (queue, listens) = (self.queue.clone(), self.listens());
            let drained = async {
                match &queue {
                    Some(queue) if listens => queue.drain(&mut waves).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                read = from.read_buf(&mut self.said), if !self.closed => self.note_end(read?)?,
                _ = drained => {}
                () = at(self.deadline) => self.give_up(to).await?,
            }
            for wave in waves.drain(..) {
                self.hand_on(&wave, to).await?;
            }
            self.count();
        }
    }

    fn count(&mut self) {
        let dropped = self.dropped.get();
        self.relay.metrics.relay_dropped.add(dropped.saturating_sub(self.counted));
        self.counted = dropped;
    }

    /// Who has closed its side may still read, as `nc` does; nobody who talks does that.
    fn note_end(&mut self, read: usize) -> Result<(), Left> {
        if read > 0 {
            return Ok(());
        }
        self.closed = true;
        // Found out by writing; without samples, after a while.
        self.deadline = Some(Instant::now() + FAREWELL);
        match self.manner {
            Manner::Bare(_) => Ok(()),
            Manner::Talking(_) => Err(Left::Gone),
        }
    }

    fn listens(&self) -> bool {
        match &self.manner {
            Manner::Bare(_) => true,
            Manner::Talking(talk) => talk.listens(),
        }
    }

    fn subscribe(&mut self) {
        let whose = &self.relay.bound.whose;
        let queue = self.relay.waveforms.subscribe_to(whose, QUEUE, self.dropped.clone());
        self.queue = Some(queue);
    }

    fn running(&self) -> Option<Arc<StreamInfo>> {
        self.relay.waveforms.running(&self.relay.bound.whose)
    }

    /// Answers the lines that are whole. The first word makes a client of a silent reader.
    async fn answer(&mut self, to: &mut WriteHalf<'_>, local: IpAddr) -> Result<(), Left> {
        if let Manner::Bare(_) = self.manner {
            let mut talk = Box::new(Talk::new(Arc::clone(&self.relay.bound.name), local));
            write(to, &talk.greeting(self.running().as_ref(), Timestamp::now())).await?;
            (self.manner, self.queue, self.deadline) = (Manner::Talking(talk), None, None);
        }
        while let Some(line) = next_line(&mut self.said) {
            let running = self.running();
            let Manner::Talking(talk) = &mut self.manner else { return Ok(()) };
            let was_busy = talk.is_busy();
            let answer = talk.hear(&line, running.as_ref(), Timestamp::now());
            let (is_busy, nonsense) = (talk.is_busy(), talk.makes_no_sense());
            if is_busy && !was_busy {
                self.subscribe();
                self.deadline = Some(Instant::now() + FIRST_SAMPLES);
            } else if !is_busy {
                (self.queue, self.deadline) = (None, None);
            }
            write(to, &answer).await?;
            if nonsense {
                return Err(Left::Nonsense);
            }
        }
        if self.closed { Err(Left::Gone) } else { Ok(()) }
    }

    async fn hand_on(&mut self, wave: &Wave, to: &mut WriteHalf<'_>) -> Result<(), Left> {
        let Wave::Piece(piece) = wave else { return Ok(()) };
        let mut out = Portion::default();
        match &mut self.manner {
            Manner::Bare(tap) => tap.take(piece, &mut out)?,
            Manner::Talking(talk) => {
                talk.take(piece, &mut out)?;
                if !talk.awaits_samples() {
                    self.deadline = None;
                }
            }
        }
        if self.closed {
            self.deadline = Some(Instant::now() + FAREWELL);
        }
        let mut left = out.zeros;
        while left > 0 {
            // Not more than the array has.
            let some = left.min(ZEROS.len() as u64) as usize;
            write(to, &ZEROS[..some]).await?;
            left -= some as u64;
        }
        write(to, &out.bytes).await
    }

    /// What was waited for did not come.
    async fn give_up(&mut self, to: &mut WriteHalf<'_>) -> Result<(), Left> {
        self.deadline = None;
        match &mut self.manner {
            Manner::Talking(talk) if talk.awaits_samples() => {
                let answer = talk.give_up();
                self.queue = None;
                write(to, &answer).await
            }
            Manner::Talking(_) => Ok(()),
            Manner::Bare(_) => Err(Left::Gone),
        }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.count();
    }
}

async fn write(to: &mut WriteHalf<'_>, bytes: &[u8]) -> Result<(), Left> {
    match timeout(PATIENCE, to.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if is_farewell(&error) => Err(Left::Gone),
        Ok(Err(error)) => Err(Left::Failed(error)),
        Err(_) => Err(Left::Stuck),
    }
}

fn is_farewell(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The next whole line, without its end. A single `?` or `!` is one, and a line that never ends is
/// taken as far as a meter would take it.
fn next_line(said: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = said.iter().position(|byte| *byte == b'\n');
    let (line, taken) = match (end, said.first()) {
        (Some(end), _) => (end, end + 1),
        (None, Some(b'?' | b'!')) => (1, 1),
        (None, _) if said.len() > LONGEST_LINE => (said.len(), said.len()),
        (None, _) => return None,
    };
    let mut line = said[..line.min(LONGEST_LINE)].trim_ascii().to_vec();
    line.shrink_to_fit();
    said.drain(..taken);
    Some(line)
}

/// What stands for lost samples, in pieces of this size.
static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];
/// How long a reader has to speak before it is taken for one that never does.
const COURTESY: Duration = Duration::from_millis(300);
/// Pieces that may wait for a reader, about a tenth of a second each; shared among all readers.
const QUEUE: usize = 256;
/// A reader that takes nothing for so long is cut off.
const PATIENCE: Duration = Duration::from_secs(60);
/// A reader that has closed its side is thought gone when there was nothing to write for so long.
const FAREWELL: Duration = Duration::from_secs(15);
/// How long `sample` waits for the first piece; clients wait ten seconds.
const FIRST_SAMPLES: Duration = Duration::from_secs(5);
/// A SmartMeter keeps as many bytes of a line.
const LONGEST_LINE: usize = 599;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_they_do_for_a_meter() {
        let mut said = b"?!\r\n{\"cmd\":\"info\"} \r\n{\"cmd".to_vec();
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut said) {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["?!", "{\"cmd\":\"info\"}"]);
        assert_eq!(said, b"{\"cmd");
        assert_eq!(next_line(&mut b"?".to_vec()).unwrap(), b"?");
        assert_eq!(next_line(&mut vec![b'x'; 5000]).unwrap().len(), LONGEST_LINE);
        assert_eq!(next_line(&mut vec![b'x'; 500]), None);
    }
}
