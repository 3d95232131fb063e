//! A NATS server of a test: started on a free port with an empty folder, ended by its id when it is dropped.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::{Received, Receiver, Reception, Sender, Sent, Transport, Verdict};
use busway_event::{AnyEvent, CodecId, Encoded, EventId, Filter, Metadata, Parts, Timestamp, Topic};
use busway_nats::{NatsBuilder, NatsTransport};
use busway_persistence::Stream;
use busway_testkit::free_address;
use tempfile::TempDir;

/// Names the program.
const PROGRAM: &str = "BUSWAY_NATS_SERVER";
/// For what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// For what must not come.
pub(crate) const A_WHILE: Duration = Duration::from_millis(400);

pub(crate) struct Server {
    child: Option<Child>,
    folder: TempDir,
    configuration: String,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// With `JetStream`, for everybody.
    pub(crate) fn start() -> Self {
        Self::with("jetstream { store_dir: \"{folder}\" }\n")
    }

    /// With these settings; `{folder}` is its own.
    pub(crate) fn with(settings: &str) -> Self {
        loop {
            let folder = tempfile::tempdir().unwrap();
            let address = free_address();
            // Its folder's name is nobody else's.
            let path = folder.path().to_str().unwrap();
            let mut configuration = format!("listen: \"{address}\"\nserver_name: \"{path}\"\n");
            write!(configuration, "{}", settings.replace("{folder}", path)).unwrap();
            let mut server = Self { child: None, folder, configuration, address };
            // The port was free a moment ago. Another test's server may have it by now.
            if server.begin() {
                return server;
            }
        }
    }

    /// With the data of before.
    pub(crate) fn start_again(&mut self) {
        assert!(self.begin(), "another server has taken the port {}", self.address);
    }

    /// Starts it; returns whether it is the one that answers.
    fn begin(&mut self) -> bool {
        assert!(self.child.is_none(), "it runs");
        let program = std::env::var_os(PROGRAM).unwrap_or_else(|| panic!("{PROGRAM} names no nats-server"));
        let file = self.folder.path().join("server.conf");
        std::fs::write(&file, &self.configuration).unwrap();
        let log = File::create(self.folder.path().join("server.log")).unwrap();
        let child = Command::new(program)
            .arg("--config")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        loop {
            if let Some(info) = said_by(self.address) {
                return info.contains(self.folder.path().to_str().unwrap());
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let log = || std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
            if ended.is_some() && log().contains("address already in use") {
                return false;
            }
            assert!(ended.is_none(), "the server has ended: {ended:?} {}", log());
            std::thread::yield_now();
        }
    }

    /// Outright, by its id.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    pub(crate) fn builder(&self) -> NatsBuilder {
        builder_to(self.address)
    }

    pub(crate) async fn transport(&self) -> NatsTransport {
        self.builder().connect().await.unwrap()
    }

    /// Another program's connection, without busway.
    pub(crate) async fn plain(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(async_nats::connect(self.url()).await.unwrap())
    }
}

/// A connection to a server, or to what stands in front of it, that soon finds out.
pub(crate) fn builder_to(address: SocketAddr) -> NatsBuilder {
    NatsTransport::builder(&format!("nats://{address}"))
        .timeout(Duration::from_secs(3))
        .heartbeat(Duration::from_millis(200))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The first line of the server that answers there, in which its name is.
fn said_by(address: SocketAddr) -> Option<String> {
    let mut line = String::new();
    BufReader::new(TcpStream::connect(address).ok()?).read_line(&mut line).ok()?;
    Some(line).filter(|line| !line.is_empty())
}

/// A server with a stream of all orders, and a connection to it.
pub(crate) async fn orders() -> (Server, NatsTransport) {
    orders_in(1).await
}

/// The same with partitions.
pub(crate) async fn orders_in(partitions: u16) -> (Server, NatsTransport) {
    let server = Server::start();
    let transport = server.transport().await;
    let orders = Stream::new("orders").capture("orders.#").partitions(partitions);
    transport.prepare(&[orders]).await.unwrap();
    (server, transport)
}

/// An event with a number as its payload, and an id made of it.
pub(crate) fn event(topic: &str, number: u32) -> AnyEvent {
    event_of(topic, number, number.to_string().into())
}

pub(crate) fn event_of(topic: &str, number: u32, bytes: bytes::Bytes) -> AnyEvent {
    event_with(topic, None, number, bytes)
}

/// The same with a key.
pub(crate) fn keyed(topic: &str, key: &str, number: u32) -> AnyEvent {
    event_with(topic, Some(key), number, number.to_string().into())
}

fn event_with(topic: &str, key: Option<&str>, number: u32, bytes: bytes::Bytes) -> AnyEvent {
    let id: EventId = format!("0198c7a0-0000-7000-8000-{number:012x}").parse().unwrap();
    let time = Timestamp::from_nanos(1_700_000_000_000_000_000 + i64::from(number));
    let mut parts = Parts::new(id, time, Topic::new(topic).unwrap(), Metadata::draft("shop", 1));
    parts.payload_bytes_max = 64 << 20;
    parts.key = key.map(Into::into);
    let encoded = Encoded { type_name: "order".into(), version: 1, codec: CodecId::Json, bytes };
    AnyEvent::receive(parts, encoded).unwrap()
}

pub(crate) fn number(received: &Received) -> u32 {
    let event = received.event.as_ref().unwrap();
    String::from_utf8(event.encoded(1 << 20).unwrap().bytes.to_vec()).unwrap().parse().unwrap()
}

/// Of orders, from the first event on, with a short wait.
pub(crate) fn reception(name: &str, filter: &str) -> Reception {
    let all = Reception::new("orders", name, Filter::new(filter).unwrap());
    all.start_at(busway_engine::StartAt::Earliest).ack_wait(Duration::from_secs(30))
}

pub(crate) async fn send(sender: &dyn Sender, events: Vec<AnyEvent>) -> Vec<Sent> {
    sender.send(events).await.into_iter().map(Result::unwrap).collect()
}

/// Sends orders with these numbers.
pub(crate) async fn send_numbers(transport: &NatsTransport, numbers: impl IntoIterator<Item = u32>) {
    let events = numbers.into_iter().map(|number| event("orders.created", number)).collect();
    send(&*transport.sender().await.unwrap(), events).await;
}

/// So many, in as many calls as it takes.
pub(crate) async fn receive(receiver: &dyn Receiver, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    let coming = async {
        while all.len() < count {
            match receiver.receive(count - all.len()).await {
                Ok(some) => all.extend(some),
                Err(error) if error.is_transient() => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let came = tokio::time::timeout(PATIENCE, coming).await;
    assert!(came.is_ok(), "{} of {count} came", all.len());
    all
}

pub(crate) async fn nothing_comes(receiver: &dyn Receiver) {
    let came = tokio::time::timeout(A_WHILE, receiver.receive(1)).await;
    assert!(came.is_err(), "{came:?}");
}

pub(crate) async fn settle(receiver: &dyn Receiver, all: &[Received], verdict: &Verdict) {
    let verdicts = all.iter().map(|received| (received.id, verdict.clone())).collect();
    for settled in receiver.settle(verdicts).await {
        settled.unwrap();
    }
}

/// So many, each settled as soon as it comes, by number.
pub(crate) async fn take(receiver: &dyn Receiver, count: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    let coming = async {
        while numbers.len() < count {
            let some = receive(receiver, 1).await;
            settle(receiver, &some, &Verdict::Done).await;
            numbers.extend(some.iter().map(number));
        }
    };
    assert!(tokio::time::timeout(PATIENCE, coming).await.is_ok(), "{} of {count} came", numbers.len());
    numbers
}

pub(crate) async fn join(transport: &NatsTransport, reception: &Reception) -> Arc<dyn Receiver> {
    transport.receiver(reception).await.unwrap()
}
