//! What tests have in common.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::{
    Received, Receiver, Reception, Sender, Sent, Transport, TransportError, Verdict,
};
use busway_event::{AnyEvent, CodecId, Encoded, EventId, Filter, Metadata, Parts, Timestamp, Topic};
use busway_kafka::KafkaTransport;
use busway_persistence::Stream;
use tokio::time::timeout;

use crate::cluster::Cluster;

/// So long nothing takes that is to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// So long a broker has to answer, where a test says nothing else.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// So long is waited for what is not to happen.
pub(crate) const A_WHILE: Duration = Duration::from_millis(600);

pub(crate) fn orders(partitions: u16) -> Stream {
    Stream::new("orders").capture("orders.#").partitions(partitions)
}

/// A cluster with the stream of orders, and a connection to it.
pub(crate) async fn with_orders(partitions: u16) -> (Cluster, KafkaTransport) {
    let cluster = Cluster::of(1);
    cluster.make("orders", partitions);
    let transport = cluster.connect().await;
    transport.prepare(&[orders(partitions)]).await.unwrap();
    (cluster, transport)
}

pub(crate) fn parts(number: u32, key: Option<&str>) -> Parts {
    let time = Timestamp::from_nanos(1_795_000_000_123_456_789);
    let id = EventId::foreign("tests", &number.to_string());
    let topic = Topic::new("orders.created").unwrap();
    let mut parts = Parts::new(id, time, topic, Metadata::draft("tests", 1));
    parts.key = key.map(Into::into);
    parts
}

pub(crate) fn event_of(parts: Parts, bytes: Vec<u8>) -> AnyEvent {
    let encoded =
        Encoded { type_name: "numbered".into(), version: 1, codec: CodecId::Raw, bytes: bytes.into() };
    AnyEvent::receive(parts, encoded).unwrap()
}

pub(crate) fn event(number: u32, key: Option<&str>) -> AnyEvent {
    event_of(parts(number, key), number.to_string().into_bytes())
}

pub(crate) fn events(numbers: std::ops::Range<u32>, key: Option<&str>) -> Vec<AnyEvent> {
    numbers.map(|number| event(number, key)).collect()
}

pub(crate) async fn send(transport: &dyn Transport, events: Vec<AnyEvent>) -> Vec<Sent> {
    let sender: Arc<dyn Sender> = transport.sender().await.unwrap();
    let sent = timeout(PATIENCE, sender.send(events)).await.unwrap();
    sent.into_iter().map(|sent| sent.unwrap_or_else(|error| panic!("{error}: {}", error.reason()))).collect()
}

pub(crate) fn reception() -> Reception {
    Reception::new("orders", "stock", Filter::new("#").unwrap())
}

pub(crate) async fn receive(transport: &dyn Transport, reception: &Reception) -> Arc<dyn Receiver> {
    transport.receiver(reception).await.unwrap()
}

/// Waits for so many; what passes by itself is waited through.
pub(crate) async fn take(receiver: &Arc<dyn Receiver>, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    let taking = async {
        while all.len() < count {
            match receiver.receive(count - all.len()).await {
                Ok(some) => all.extend(some),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    };
    let in_time = timeout(PATIENCE, taking).await.is_ok();
    assert!(in_time, "{} of {count} came", all.len());
    all
}

pub(crate) async fn nothing_comes(receiver: &Arc<dyn Receiver>) {
    let some = timeout(A_WHILE, receiver.receive(1)).await;
    assert!(some.is_err(), "{some:?}");
}

pub(crate) async fn told(
    receiver: &Arc<dyn Receiver>,
    received: &[Received],
    verdict: Verdict,
) -> Vec<Result<(), TransportError>> {
    let verdicts = received.iter().map(|received| (received.id, verdict.clone())).collect();
    timeout(PATIENCE, receiver.settle(verdicts)).await.unwrap()
}

pub(crate) async fn settle(receiver: &Arc<dyn Receiver>, received: &[Received], verdict: Verdict) {
    told(receiver, received, verdict).await.into_iter().for_each(|told| told.unwrap());
}

/// The payloads, which are numbers.
pub(crate) fn numbers(received: &[Received]) -> Vec<u32> {
    received.iter().map(number).collect()
}

pub(crate) fn number(received: &Received) -> u32 {
    let bytes = received.event.as_ref().unwrap().encoded(usize::MAX).unwrap().bytes;
    std::str::from_utf8(&bytes).unwrap().parse().unwrap()
}
