//! Samples that come apart from the connection that commands go by: as datagrams, or from the device's
//! own stream port. The [`Session`](super::session) says what it wishes; this has the sockets.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;

use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Duration, timeout};

/// What a session wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// A port for datagrams of this device, 0: any.
    Datagrams { port: u16, device: IpAddr },
    /// A connection to the device's own stream port.
    Port { host: String, port: u16 },
    /// Nothing any more.
    Nothing,
}

/// What came.
#[derive(Debug)]
pub(super) enum Piece {
    /// One datagram of the device, empty when it has stopped.
    Datagram(Vec<u8>),
    /// The stream port has taken the connection.
    Open,
    /// Samples of the stream port.
    Bytes(Vec<u8>),
    /// Nothing will come any more, and why.
    Over(String),
}

/// Where samples come from.
#[derive(Default)]
pub(super) enum Apart {
    /// From nowhere but the connection.
    #[default]
    Nowhere,
    Datagrams {
        socket: UdpSocket,
        device: IpAddr,
        buffer: Vec<u8>,
    },
    Connecting(Pin<Box<dyn Future<Output = Result<TcpStream, String>> + Send>>),
    Port {
        stream: TcpStream,
        buffer: Vec<u8>,
    },
}

impl Apart {
    /// A port where datagrams of the device are received, and its number.
    ///
    /// # Errors
    /// When the port is not to be had.
    pub(super) fn datagrams(port: u16, device: IpAddr) -> io::Result<(Apart, u16)> {
        let any = match device {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = std::net::UdpSocket::bind(SocketAddr::new(any, port))?;
        socket.set_nonblocking(true)?;
        // As much as the system allows: what waits here is not lost. It serves with less as well.
        let _ = SockRef::from(&socket).set_recv_buffer_size(DATAGRAMS_HELD);
        let port = socket.local_addr()?.port();
        let socket = UdpSocket::from_std(socket)?;
        Ok((Apart::Datagrams { socket, device, buffer: vec![0; LARGEST_DATAGRAM] }, port))
    }

    /// The device's own stream port.
    pub(super) fn port(host: String, port: u16) -> Apart {
        Apart::Connecting(Box::pin(async move {
            let connect = TcpStream::connect((host.as_str(), port));
            match timeout(CONNECT_DEADLINE, connect).await {
                Ok(Ok(stream)) => {
                    crate::transport::prepare(&stream);
                    Ok(stream)
                }
                Ok(Err(error)) => Err(format!("its stream port {port} cannot be reached: {error}")),
                Err(_) => Err(format!("its stream port {port} does not answer")),
            }
        }))
    }

    /// Waits for what comes next. Safe to cancel.
    pub(super) async fn next(&mut self) -> Piece {
        match self {
            Apart::Nowhere => std::future::pending().await,
            Apart::Datagrams { socket, device, buffer } => datagram(socket, *device, buffer).await,
            Apart::Connecting(connecting) => match connecting.await {
                Ok(stream) => {
                    *self = Apart::Port { stream, buffer: vec![0; READ_BUFFER] };
                    Piece::Open
                }
                Err(error) => self.over(error),
            },
            Apart::Port { stream, buffer } => match stream.read(buffer).await {
                Ok(length @ 1..) => Piece::Bytes(buffer[..length].to_vec()),
                Ok(0) => self.over("it closed the connection to its stream port".to_owned()),
                Err(error) => {
                    self.over(format!("the connection to its stream port broke: {error}"))
                }
            },
        }
    }

    /// What is there already, without waiting.
    pub(super) fn waiting(&mut self) -> Option<Piece> {
        let Apart::Datagrams { socket, device, buffer } = self else { return None };
        loop {
            let (length, from) = socket.try_recv_from(buffer).ok()?;
            if is_of(from, *device) {
                return Some(Piece::Datagram(buffer[..length].to_vec()));
            }
        }
    }

    fn over(&mut self, reason: String) -> Piece {
        *self = Apart::Nowhere;
        Piece::Over(reason)
    }
}

async fn datagram(socket: &UdpSocket, device: IpAddr, buffer: &mut [u8]) -> Piece {
    loop {
        match socket.recv_from(buffer).await {
            Ok((length, from)) if is_of(from, device) => {
                return Piece::Datagram(buffer[..length].to_vec());
            }
            // Somebody else's: no word of the device.
            Ok(_) => {}
            // What an earlier datagram of ours has caused; nothing is sent here.
            Err(error) => tracing::debug!(%error, "a datagram could not be received"),
        }
    }
}

fn is_of(from: SocketAddr, device: IpAddr) -> bool {
    from.ip().to_canonical() == device.to_canonical()
}

impl std::fmt::Debug for Apart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Apart::Nowhere => "Nowhere",
            Apart::Datagrams { .. } => "Datagrams",
            Apart::Connecting(_) => "Connecting",
            Apart::Port { .. } => "Port",
        })
    }
}

/// Twenty seconds of a SmartMeter at 8 kHz, where the system gives so much.
const DATAGRAMS_HELD: usize = 4 << 20;
const LARGEST_DATAGRAM: usize = 65_536;
const READ_BUFFER: usize = 64 * 1024;
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
