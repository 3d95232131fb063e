//! A broker that does what a test says, and keeps what it is told.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::{
    Capabilities, Capability, DeliveryId, Received, Receiver, Reception, Sender, Transport, TransportError,
    TransportFuture, Unreadable, Verdict,
};
use busway_engine::{Clock as _, Stream, SystemClock};
use busway_event::{AnyEvent, CodecId, Durability, Encoded, EventId, Metadata, Parts, Topic};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

/// See the module. A clone is the same one.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    pub(crate) capabilities: Capabilities,
    pub(crate) post: Arc<Post>,
}

#[derive(Debug, Default)]
pub(crate) struct Post {
    coming: Mutex<VecDeque<Result<Vec<Received>, TransportError>>>,
    told: Mutex<Vec<(u64, Verdict)>>,
    renewed: Mutex<Vec<u64>>,
    /// The most that was asked for at once.
    asked_max: Mutex<usize>,
    /// What is told is not heard.
    pub(crate) is_deaf: Mutex<bool>,
    pub(crate) is_closed: Mutex<bool>,
    /// Somebody waits for what comes.
    is_asked: Mutex<bool>,
    /// Who has joined, in order.
    pub(crate) members: Mutex<Vec<String>>,
    rung: Notify,
}

impl Scripted {
    pub(crate) fn able() -> Self {
        let capabilities = Capabilities::new(Durability::Synced).native(Capability::ALL);
        Self { capabilities, post: Arc::default() }
    }

    pub(crate) fn deliver(&self, received: impl IntoIterator<Item = Received>) {
        self.post.coming.lock().push_back(Ok(received.into_iter().collect()));
        self.post.rung.notify_one();
    }

    pub(crate) fn fail(&self, error: TransportError) {
        self.post.coming.lock().push_back(Err(error));
        self.post.rung.notify_one();
    }

    /// Waits until so many verdicts have come; gives back all there are.
    pub(crate) async fn told(&self, count: usize) -> Vec<(u64, Verdict)> {
        until(|| self.post.told.lock().len() >= count).await;
        self.post.told.lock().clone()
    }

    pub(crate) fn told_now(&self) -> Vec<(u64, Verdict)> {
        self.post.told.lock().clone()
    }

    pub(crate) fn renewed(&self) -> Vec<u64> {
        self.post.renewed.lock().clone()
    }

    /// What lies at the broker still.
    pub(crate) fn undelivered(&self) -> Vec<u64> {
        self.post.coming.lock().iter().flatten().flatten().map(|received| received.id.0).collect()
    }

    pub(crate) fn is_asked(&self) -> bool {
        *self.post.is_asked.lock()
    }

    pub(crate) fn asked_max(&self) -> usize {
        *self.post.asked_max.lock()
    }
}

pub(crate) async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), wait).await.unwrap();
}

pub(crate) fn parts(id: &str, key: Option<&str>) -> Parts {
    let (topic, time) = (Topic::new("orders.made").unwrap(), SystemClock.utc());
    let mut parts = Parts::new(EventId::foreign("shop", id), time, topic, Metadata::draft("shop", 1));
    parts.key = key.map(Into::into);
    parts
}

pub(crate) fn of(parts: Parts, payload: &str) -> AnyEvent {
    let bytes = payload.to_owned().into();
    let encoded = Encoded { type_name: "raw".into(), version: 1, codec: CodecId::Raw, bytes };
    AnyEvent::receive(parts, encoded).unwrap()
}

/// A delivery whose event has this id, and a payload that is the id too.
pub(crate) fn delivery(number: u64, id: &str, key: Option<&str>) -> Received {
    Received::new(DeliveryId(number), Ok(of(parts(id, key), id))).at(number)
}

pub(crate) fn no_event(number: u64) -> Received {
    let unreadable = Unreadable::new("orders.made", "?".into(), "no ce-id");
    Received::new(DeliveryId(number), Err(Box::new(unreadable)))
}

impl Transport for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    fn prepare<'a>(&'a self, _: &'a [Stream]) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(async { Ok(()) })
    }

    fn sender(&self) -> TransportFuture<'_, Result<Arc<dyn Sender>, TransportError>> {
        Box::pin(async { Err(TransportError::Closed) })
    }

    fn receiver<'a>(
        &'a self,
        reception: &'a Reception,
    ) -> TransportFuture<'a, Result<Arc<dyn Receiver>, TransportError>> {
        *self.post.is_closed.lock() = false;
        self.post.members.lock().push(reception.member.clone());
        let post = Arc::clone(&self.post) as Arc<dyn Receiver>;
        Box::pin(async { Ok(post) })
    }

    fn remove<'a>(&'a self, _: &'a str, _: &'a str) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(async { Ok(()) })
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Somebody who waits, until this is gone.
struct Asked<'a>(&'a Post);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        *self.0.is_asked.lock() = false;
    }
}

impl Post {
    fn next(&self) -> Option<Result<Vec<Received>, TransportError>> {
        self.coming.lock().pop_front()
    }
}

impl Receiver for Post {
    fn receive(&self, max: usize) -> TransportFuture<'_, Result<Vec<Received>, TransportError>> {
        let mut asked = self.asked_max.lock();
        *asked = max.max(*asked);
        drop(asked);
        Box::pin(async move {
            *self.is_asked.lock() = true;
            let _asked = Asked(self);
            loop {
                let next = self.next();
                match next {
                    Some(Ok(mut events)) => {
                        // A broker gives no more than it was asked for.
                        let later = events.split_off(events.len().min(max));
                        if !later.is_empty() {
                            self.coming.lock().push_front(Ok(later));
                        }
                        return Ok(events);
                    }
                    Some(Err(error)) => return Err(error),
                    None => self.rung.notified().await,
                }
            }
        })
    }

    fn settle(
        &self,
        verdicts: Vec<(DeliveryId, Verdict)>,
    ) -> TransportFuture<'_, Vec<Result<(), TransportError>>> {
        let count = verdicts.len();
        let deaf = *self.is_deaf.lock();
        if !deaf {
            self.told.lock().extend(verdicts.into_iter().map(|(id, verdict)| (id.0, verdict)));
        }
        let answer = move |_| match deaf {
            true => Err(down()),
            false => Ok(()),
        };
        Box::pin(async move { (0..count).map(answer).collect() })
    }

    fn renew<'a>(&'a self, deliveries: &'a [DeliveryId]) -> TransportFuture<'a, Result<(), TransportError>> {
        self.renewed.lock().extend(deliveries.iter().map(|id| id.0));
        Box::pin(async { Ok(()) })
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        *self.is_closed.lock() = true;
        Box::pin(async { Ok(()) })
    }
}

pub(crate) fn down() -> TransportError {
    TransportError::Unreachable { address: "broker:1".to_owned(), reason: "it is down".to_owned() }
}

/// Delivered for the how-manieth time.
pub(crate) fn again(received: Received, attempt: u32) -> Received {
    assert!(NonZeroU32::new(attempt).is_some());
    received.attempt(attempt)
}
