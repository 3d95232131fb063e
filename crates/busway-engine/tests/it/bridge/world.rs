//! Two buses, and a way between them that fails when it is told to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use busway_engine::transport::{
    Capabilities, LocalTransport, Receiver, Reception, SendError, Sender, Sent, Transport, TransportError,
    TransportFuture,
};
use busway_engine::{Bus, StartAt, Stream};
use busway_event::{AnyEvent, Draft, Event, EventId, Raw};
use busway_middleware::Delivery;
use busway_reliability::Order;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::time::timeout;

/// A bus with a store and one stream of `orders.#`.
pub(super) struct Place {
    pub(super) folder: TempDir,
    pub(super) bus: Bus,
}

impl Place {
    pub(super) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bus = open(&folder).await;
        Self { folder, bus }
    }

    /// Handles all that the stream has from its beginning, and keeps it in the order in which it came.
    pub(super) async fn seen(&self) -> Seen {
        self.seen_in(Order::default()).await
    }

    /// The same in the order of keys, whatever the priorities.
    pub(super) async fn seen_by_key(&self) -> Seen {
        self.seen_in(Order::Key).await
    }

    async fn seen_in(&self, order: Order) -> Seen {
        let seen = Seen::default();
        let into = seen.clone();
        let keep = move |delivery: Delivery| {
            into.0.lock().push(delivery.event().clone());
            async {}
        };
        let seeing = self.bus.subscribe("orders.#").durable("seen").order(order).start_at(StartAt::Earliest);
        seeing.to(keep).await.unwrap();
        seen
    }
}

pub(super) async fn open(folder: &TempDir) -> Bus {
    let stream = Stream::new("orders").capture("orders.#");
    Bus::open(folder.path()).stream(stream).producer("shop").start().await.unwrap()
}

#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<AnyEvent>>>);

impl Seen {
    /// Waits until so many have come.
    pub(super) async fn reaches(&self, count: usize) -> Vec<AnyEvent> {
        until(|| self.0.lock().len() >= count).await;
        self.0.lock().clone()
    }

    pub(super) fn now(&self) -> Vec<AnyEvent> {
        self.0.lock().clone()
    }
}

pub(super) async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), wait).await.unwrap();
}

pub(super) fn order(number: u32, key: Option<&str>) -> Draft<Raw> {
    let draft = Event::new("orders.made", Raw::from(number.to_string()));
    match key {
        Some(key) => draft.key(key),
        None => draft,
    }
}

pub(super) fn by_key(events: &[AnyEvent]) -> HashMap<String, Vec<EventId>> {
    let mut keys: HashMap<String, Vec<EventId>> = HashMap::new();
    for event in events {
        let key = event.key().map(|key| key.as_str().to_owned()).unwrap_or_default();
        keys.entry(key).or_default().push(event.id());
    }
    keys
}

/// The way to a bus. What is sent on it may fail in each of the ways in which it can.
#[derive(Debug)]
pub(super) struct Way {
    to: LocalTransport,
    pub(super) faults: Arc<Faults>,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Nothing passes.
    pub(super) is_down: AtomicBool,
    /// One of so many events is not taken, and another one is taken and nobody hears it; 0: none.
    pub(super) one_of: AtomicU64,
    /// Why nothing is taken, until somebody puts it right.
    pub(super) refusing: Mutex<Option<TransportError>>,
    /// Nothing is said of events.
    pub(super) is_silent: AtomicBool,
    /// Payloads that the other side refuses for good.
    pub(super) refused: Mutex<Vec<String>>,
    sends: AtomicU64,
}

impl Way {
    pub(super) fn to(bus: &Bus) -> Self {
        Self { to: LocalTransport::new(bus), faults: Arc::default() }
    }
}

impl Transport for Way {
    fn kind(&self) -> &'static str {
        "way"
    }

    fn capabilities(&self) -> Capabilities {
        self.to.capabilities()
    }

    fn prepare<'a>(&'a self, streams: &'a [Stream]) -> TransportFuture<'a, Result<(), TransportError>> {
        self.to.prepare(streams)
    }

    fn sender(&self) -> TransportFuture<'_, Result<Arc<dyn Sender>, TransportError>> {
        Box::pin(async {
            let to = self.to.sender().await?;
            Ok(Arc::new(FaultySender { to, faults: Arc::clone(&self.faults) }) as Arc<dyn Sender>)
        })
    }

    fn receiver<'a>(
        &'a self,
        reception: &'a Reception,
    ) -> TransportFuture<'a, Result<Arc<dyn Receiver>, TransportError>> {
        self.to.receiver(reception)
    }

    fn remove<'a>(
        &'a self,
        stream: &'a str,
        name: &'a str,
    ) -> TransportFuture<'a, Result<(), TransportError>> {
        self.to.remove(stream, name)
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        self.to.close()
    }
}

#[derive(Debug)]
struct FaultySender {
    to: Arc<dyn Sender>,
    faults: Arc<Faults>,
}

impl FaultySender {
    async fn send_one(&self, event: AnyEvent) -> Result<Sent, SendError> {
        let down =
            || TransportError::Unreachable { address: "way".to_owned(), reason: "it is down".to_owned() };
        let payload = event.encoded(usize::MAX).unwrap().bytes;
        if self.faults.refused.lock().iter().any(|refused| refused.as_bytes() == &payload[..]) {
            return Err(SendError::refused(event, TransportError::Refused("never".to_owned())));
        }
        if let Some(why) = self.faults.refusing.lock().clone() {
            return Err(SendError::refused(event, why));
        }
        let one_of = self.faults.one_of.load(Ordering::SeqCst);
        let turn = self.faults.sends.fetch_add(1, Ordering::SeqCst);
        if self.faults.is_down.load(Ordering::SeqCst) || (one_of > 0 && turn.is_multiple_of(one_of)) {
            return Err(SendError::refused(event, down()));
        }
        let sent = self.to.send(vec![event.clone()]).await.remove(0);
        match one_of > 0 && turn % one_of == 1 {
            true => Err(SendError::unknown(event, down())),
            false => sent,
        }
    }
}

impl Sender for FaultySender {
    fn send(&self, events: Vec<AnyEvent>) -> TransportFuture<'_, Vec<Result<Sent, SendError>>> {
        Box::pin(async move {
            let mut results = Vec::new();
            if self.faults.is_silent.load(Ordering::SeqCst) {
                return results;
            }
            for event in events {
                results.push(self.send_one(event).await);
            }
            results
        })
    }
}
