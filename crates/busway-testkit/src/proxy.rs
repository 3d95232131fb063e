//! A network that fails: a proxy between a client and its server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A proxy in front of a server, by which a test cuts, delays and half-closes what is between the two. It ends with all its connections when it is dropped.
///
/// It is for TCP on the loopback address. Bytes are passed on in order or not at all, as TCP does.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: Arc<watch::Sender<Weather>>,
    connections: TaskTracker,
    _ends: DropGuard,
}

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weather {
    /// New connections are refused, and those that there are broken.
    is_cut: bool,
    /// Nothing passes, and nobody is told.
    is_silent: bool,
    /// Nothing of the server's passes any more on connections of before: they are closed for reading, and open for writing.
    half_closed: u64,
    delay: Duration,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

impl Proxy {
    /// A proxy to a server.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.unwrap_or_else(|error| panic!("no free port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address: {error}"));
        let fair = Weather { is_cut: false, is_silent: false, half_closed: 0, delay: Duration::ZERO };
        let (weather, ends) = (Arc::new(watch::Sender::new(fair)), CancellationToken::new());
        let connections = TaskTracker::new();
        let (told, until, tracker) = (Arc::clone(&weather), ends.clone(), connections.clone());
        spawn(&connections, async move {
            let accept = async {
                while let Ok((client, _)) = listener.accept().await {
                    // Refused by closing: a listener that was closed would lose the port.
                    if told.borrow().is_cut {
                        continue;
                    }
                    let (weather, until) = (told.subscribe(), until.clone());
                    spawn(&tracker, async move {
                        _ = until.run_until_cancelled(connect(client, server, weather)).await;
                    });
                }
            };
            _ = until.run_until_cancelled(accept).await;
        });
        Self { address, weather, connections, _ends: ends.drop_guard() }
    }

    /// Where clients find it.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        // One listens.
        self.connections.len().saturating_sub(1)
    }

    /// Breaks all connections, and takes none.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.is_cut = true);
    }

    /// Passes nothing on and tells nobody, as a network that lost its way: connections stay.
    pub fn silence(&self) {
        self.weather.send_modify(|weather| weather.is_silent = true);
    }

    /// Closes the server's half of all connections that there are: clients read their end, and may still write.
    pub fn half_close(&self) {
        self.weather.send_modify(|weather| weather.half_closed += 1);
    }

    /// Holds each piece of bytes for as long, both ways.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// All is well again: neither cut nor silent nor late.
    pub fn heal(&self) {
        self.weather.send_modify(|weather| {
            *weather = Weather { is_cut: false, is_silent: false, delay: Duration::ZERO, ..*weather };
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "tasks of a test; they end with the proxy")]
fn spawn(tracker: &TaskTracker, work: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(tracker.track_future(work)));
}

async fn connect(client: TcpStream, server: SocketAddr, weather: watch::Receiver<Weather>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    // Small answers are not to wait for each other: what is late is so because it was asked for.
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut cut = weather.clone();
    let passing = async {
        tokio::join!(
            pass(from_client, to_server, Way::ToServer, weather.clone()),
            pass(from_server, to_client, Way::ToClient, weather.clone()),
        )
    };
    tokio::select! {
        _ = passing => {}
        _ = cut.wait_for(|weather| weather.is_cut) => {}
    }
}

/// Passes bytes on until one side ends, or this way is closed.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    mut weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    let closed_before = weather.borrow().half_closed;
    let mut closing = weather.clone();
    let is_closed = move |weather: &Weather| way == Way::ToClient && weather.half_closed > closed_before;
    let passing = async {
        let mut bytes = vec![0; PIECE];
        loop {
            let read = from.read(&mut bytes).await?;
            let Some(piece) = bytes.get(..read).filter(|piece| !piece.is_empty()) else { break };
            let delay = weather.borrow().delay;
            if !delay.is_zero() {
                late(delay).await;
            }
            if weather.wait_for(|weather| !weather.is_silent).await.is_err() {
                break;
            }
            to.write_all(piece).await?;
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = passing => ended,
        _ = closing.wait_for(is_closed) => Ok(()),
    };
    to.shutdown().await?;
    ended
}

#[expect(clippy::disallowed_methods, reason = "the time of a network, which no clock of a test drives")]
async fn late(delay: Duration) {
    tokio::time::sleep(delay).await;
}

const PIECE: usize = 16 << 10;
