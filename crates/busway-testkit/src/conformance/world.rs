//! What cases stand on: a broker, names of the case's own, and what is done in every other one of them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway_engine::transport::{
    Capabilities, DeliveryId, Received, Receiver, Reception, SendError, Sender, Sent, Transport,
    TransportError, Verdict,
};
use busway_engine::{Clock as _, Stream, SystemClock};
use busway_event::{AnyEvent, CodecId, Encoded, EventId, Filter, Metadata, Parts, Timestamp, Topic};
use tokio::time::timeout;

use super::{Broker, Case, Harness};

pub(super) type CaseFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// See the module.
pub(super) struct World {
    broker: Box<dyn Broker>,
    stream: Stream,
    name: String,
    transport: Arc<dyn Transport>,
    capabilities: Capabilities,
    next: AtomicU64,
}

impl World {
    /// A broker with one stream, which captures the case's topics.
    pub(super) async fn begin(harness: &dyn Harness, case: &Case) -> Self {
        let name = own_name(case);
        let stream = Stream::new(name.clone()).capture(&format!("{name}.#")).partitions(harness.partitions());
        let broker = harness.broker(vec![stream.clone()]).await;
        let transport = connected(&*broker, &stream).await;
        let capabilities = transport.capabilities();
        Self { broker, stream, name, transport, capabilities, next: AtomicU64::new(0) }
    }

    pub(super) fn kind(&self) -> &'static str {
        self.transport.kind()
    }

    pub(super) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    pub(super) fn broker(&self) -> &dyn Broker {
        &*self.broker
    }

    pub(super) async fn end(self) {
        // What it says of its end is no promise of this case.
        drop(self.transport.close().await);
    }

    /// A connection of its own, as of another process.
    pub(super) async fn another(&self) -> Arc<dyn Transport> {
        connected(&*self.broker, &self.stream).await
    }

    /// A topic of the case's.
    pub(super) fn topic(&self, rest: &str) -> String {
        format!("{}.{rest}", self.name)
    }

    /// A member of the subscription `name` that wants all of the case's topics.
    pub(super) fn reception(&self, name: &str) -> Reception {
        self.reception_of(name, "#")
    }

    /// The same, of topics that match this behind the case's own first segment.
    pub(super) fn reception_of(&self, name: &str, rest: &str) -> Reception {
        let filter = Filter::new(self.topic(rest)).unwrap_or_else(|error| panic!("{error}"));
        Reception::new(self.stream.name(), format!("{}-{name}", self.name), filter).ack_wait(ACK_WAIT)
    }

    pub(super) async fn receiver(&self, reception: &Reception) -> Arc<dyn Receiver> {
        receiver_on(&*self.transport, reception).await
    }

    pub(super) async fn sender(&self) -> Arc<dyn Sender> {
        match self.transport.sender().await {
            Ok(sender) => sender,
            Err(error) => panic!("no sender: {error}"),
        }
    }

    /// An event that says its number.
    pub(super) fn event(&self, topic: &str, key: Option<&str>) -> AnyEvent {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.event_with(topic, key, number.to_string().into_bytes())
    }

    pub(super) fn event_with(&self, topic: &str, key: Option<&str>, payload: Vec<u8>) -> AnyEvent {
        let (mut parts, encoded) = self.parts(topic, payload);
        parts.key = key.map(Into::into);
        received(parts, encoded)
    }

    /// What an event of the case's is made of.
    pub(super) fn parts(&self, topic: &str, payload: Vec<u8>) -> (Parts, Encoded) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = EventId::foreign(&self.name, &format!("id-{number}"));
        let topic = Topic::new(self.topic(topic)).unwrap_or_else(|error| panic!("{error}"));
        let parts = Parts::new(id, utc(), topic, Metadata::draft("conformance", 1));
        let encoded =
            Encoded { type_name: "numbered".into(), version: 1, codec: CodecId::Raw, bytes: payload.into() };
        (parts, encoded)
    }

    /// So many events without a key on one topic.
    pub(super) fn events(&self, count: usize) -> Vec<AnyEvent> {
        (0..count).map(|_| self.event("event", None)).collect()
    }
}

pub(super) fn received(parts: Parts, encoded: Encoded) -> AnyEvent {
    match AnyEvent::receive(parts, encoded) {
        Ok(event) => event,
        Err(error) => panic!("{error}"),
    }
}

async fn connected(broker: &dyn Broker, stream: &Stream) -> Arc<dyn Transport> {
    let transport = broker.connect().await;
    match transport.prepare(std::slice::from_ref(stream)).await {
        Ok(()) => transport,
        Err(error) => panic!("the stream cannot be prepared: {error}"),
    }
}

pub(super) async fn receiver_on(transport: &dyn Transport, reception: &Reception) -> Arc<dyn Receiver> {
    match transport.receiver(reception).await {
        Ok(receiver) => receiver,
        Err(error) => panic!("no receiver: {error}"),
    }
}

/// A name that no other case and no other process has: `c4711-3-order`.
fn own_name(case: &Case) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let first = case.name.split(' ').next().unwrap_or_default();
    let nanos = utc().as_nanos().unsigned_abs() % 1_000_000_000;
    format!("c{}-{}-{nanos}-{first}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn utc() -> Timestamp {
    SystemClock.utc()
}

/// Sends events; what may be there or not is sent again under the same id, until the broker has taken all.
pub(super) async fn send(sender: &dyn Sender, events: &[AnyEvent]) -> Vec<Sent> {
    let mut taken: HashMap<EventId, Sent> = HashMap::new();
    let mut left = events.to_vec();
    while !left.is_empty() {
        let round = std::mem::take(&mut left);
        let results = sender.send(round.clone()).await;
        for (event, result) in round.into_iter().zip(results) {
            match result {
                Ok(sent) => _ = taken.insert(event.id(), sent),
                Err(error) if may_pass(&error) => left.push(error.into_event()),
                Err(error) => panic!("{error}: {}", error.reason()),
            }
        }
        tokio::task::yield_now().await;
    }
    events.iter().filter_map(|event| taken.get(&event.id()).copied()).collect()
}

fn may_pass(error: &SendError) -> bool {
    error.is_transient() || !error.is_refused()
}

/// Receives events until there are so many, or it takes too long; settles none.
pub(super) async fn take(receiver: &dyn Receiver, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    let came = timeout(SOON, async {
        while all.len() < count {
            match receiver.receive(count - all.len()).await {
                Ok(more) => all.extend(more),
                Err(error) if error.is_transient() => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let in_time = came.await.is_ok();
    assert!(in_time, "{} of {count} events came within {SOON:?}", all.len());
    all
}

/// Receives and settles until so many different events are done; says in which order they came for the first time.
pub(super) async fn take_and_settle(receiver: &dyn Receiver, count: usize) -> Vec<AnyEvent> {
    let mut done: Vec<AnyEvent> = Vec::new();
    let came = timeout(SOON, async {
        while done.len() < count {
            let more = match receiver.receive(64).await {
                Ok(more) => more,
                Err(error) if error.is_transient() => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let settled = settle_all(receiver, &more, || Verdict::Done).await;
            for (received, settled) in more.iter().zip(settled) {
                let event = event_of(received);
                if settled.is_ok() && done.iter().all(|known| known.id() != event.id()) {
                    done.push(event);
                }
            }
        }
    });
    let in_time = came.await.is_ok();
    assert!(in_time, "{} of {count} events came within {SOON:?}", done.len());
    done
}

pub(super) async fn settle_all(
    receiver: &dyn Receiver,
    deliveries: &[Received],
    verdict: impl Fn() -> Verdict,
) -> Vec<Result<(), TransportError>> {
    receiver.settle(deliveries.iter().map(|received| (received.id, verdict())).collect()).await
}

pub(super) async fn settle(receiver: &dyn Receiver, id: DeliveryId, verdict: Verdict) {
    for told in receiver.settle(vec![(id, verdict)]).await {
        if let Err(error) = told {
            panic!("not settled: {error}");
        }
    }
}

/// Nothing comes for a while.
pub(super) async fn nothing_comes(receiver: &dyn Receiver, within: Duration) {
    if let Ok(Ok(came)) = timeout(within, receiver.receive(1)).await {
        panic!("something came that must not: {came:?}");
    }
}

pub(super) fn event_of(received: &Received) -> AnyEvent {
    match &received.event {
        Ok(event) => event.clone(),
        Err(unreadable) => panic!("unreadable: {}", unreadable.reason),
    }
}

/// The same events, whatever their order: those without a key have none.
pub(super) fn assert_same_events(came: &[AnyEvent], expected: &[AnyEvent], what: &str) {
    let [mut came, mut expected] = [ids(came), ids(expected)];
    let counts = (came.len(), expected.len());
    came.sort_unstable();
    expected.sort_unstable();
    assert!(came == expected, "{what}: of {} events came {}, and not all of those", counts.1, counts.0);
}

pub(super) fn ids(events: &[AnyEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.id()).collect()
}

pub(super) fn ids_of(received: &[Received]) -> Vec<EventId> {
    received.iter().map(|received| event_of(received).id()).collect()
}

/// Time for what must come.
pub(super) const SOON: Duration = Duration::from_secs(30);
/// How long deliveries may take in these cases.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(1);
