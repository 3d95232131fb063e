//! What tests of streams have in common.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::Stream;
use busway_engine::transport::{Received, Receiver, Reception, Sender, Sent, Transport, Verdict};
use busway_event::{AnyEvent, CodecId, Encoded, EventId, Filter, Metadata, Parts, Timestamp, Topic};
use busway_redis::RedisTransport;

use crate::server::Server;

/// So long nothing takes that is to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// So long is waited for what is not to happen.
pub(crate) const A_WHILE: Duration = Duration::from_millis(400);

pub(crate) fn orders() -> Stream {
    Stream::new("orders").capture("orders.#")
}

pub(crate) async fn connected(server: &Server, stream: Stream) -> RedisTransport {
    let transport = RedisTransport::builder(&server.url()).connect().await.unwrap();
    transport.prepare(&[stream]).await.unwrap();
    transport
}

pub(crate) fn parts(number: u32, topic: &str) -> Parts {
    let time = Timestamp::from_nanos(1_795_000_000_123_456_789);
    let id = EventId::foreign("tests", &number.to_string());
    Parts::new(id, time, Topic::new(topic).unwrap(), Metadata::draft("tests", 1))
}

pub(crate) fn event_of(parts: Parts, bytes: Vec<u8>) -> AnyEvent {
    let encoded =
        Encoded { type_name: "numbered".into(), version: 1, codec: CodecId::Raw, bytes: bytes.into() };
    AnyEvent::receive(parts, encoded).unwrap()
}

pub(crate) fn event(number: u32) -> AnyEvent {
    event_of(parts(number, "orders.created"), number.to_string().into_bytes())
}

pub(crate) async fn send(sender: &dyn Sender, events: Vec<AnyEvent>) -> Vec<Sent> {
    sender.send(events).await.into_iter().map(Result::unwrap).collect()
}

pub(crate) fn reception(member: &str) -> Reception {
    Reception::new("orders", "stock", Filter::new("#").unwrap()).member(member)
}

/// Waits for so many.
pub(crate) async fn take(receiver: &Arc<dyn Receiver>, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    while all.len() < count {
        let some = tokio::time::timeout(PATIENCE, receiver.receive(count - all.len())).await;
        all.extend(some.unwrap_or_else(|_| panic!("{} of {count} came", all.len())).unwrap());
    }
    all
}

pub(crate) async fn nothing_comes(receiver: &Arc<dyn Receiver>) {
    let some = tokio::time::timeout(A_WHILE, receiver.receive(1)).await;
    assert!(some.is_err(), "{some:?}");
}

pub(crate) async fn settle(receiver: &Arc<dyn Receiver>, received: &[Received], verdict: Verdict) {
    let verdicts = received.iter().map(|received| (received.id, verdict.clone())).collect();
    receiver.settle(verdicts).await.into_iter().for_each(|told| told.unwrap());
}

/// The payloads, which are numbers.
pub(crate) fn numbers(received: &[Received]) -> Vec<u32> {
    let number = |received: &Received| {
        let bytes = received.event.as_ref().unwrap().encoded(usize::MAX).unwrap().bytes;
        std::str::from_utf8(&bytes).unwrap().parse().unwrap()
    };
    received.iter().map(number).collect()
}
