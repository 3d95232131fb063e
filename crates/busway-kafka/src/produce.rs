//! Writing records, each answered for.

use busway_engine::transport::TransportError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::future_producer::{Delivery, DeliveryFuture};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::time::Instant;

use crate::client::Quiet;
use crate::fault::is_certain;
use crate::link::{Link, pause};

/// A record and where it goes; without a partition, one of its key's or any.
pub(crate) struct Destination<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: OwnedHeaders,
}

/// An error, and whether the record is certainly not in its topic and will not be.
pub(crate) type Unwritten = (TransportError, bool);

/// Hands a record to a producer. It waits while the producer has too many already, no longer than the timeout.
pub(crate) async fn hand_over(
    link: &Link,
    producer: &FutureProducer<Quiet>,
    to: Destination<'_>,
) -> Result<DeliveryFuture, Unwritten> {
    let Destination { topic, partition, key, value, timestamp, headers } = to;
    let len = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
    let mut record =
        FutureRecord { topic, partition, payload: value, key, timestamp, headers: Some(headers) };
    let end = Instant::now() + link.settings.timeout;
    loop {
        let (error, back) = match producer.send_result(record) {
            Ok(delivery) => return Ok(delivery),
            Err(refused) => refused,
        };
        match error.rdkafka_error_code() {
            Some(Code::QueueFull) if Instant::now() < end => {
                record = back;
                pause(FULL).await;
            }
            Some(Code::QueueFull) => return Err((link.late("the producer's queue is full"), true)),
            Some(Code::MessageSizeTooLarge) => {
                let limit = link.settings.elsewhere_bytes_max();
                return Err((TransportError::TooLarge { len, limit }, true));
            }
            _ => return Err((link.said_of(producer, &format!("sending to {topic}"), &error), true)),
        }
    }
}

/// What became of a record that was handed over.
pub(crate) async fn answer(
    link: &Link,
    producer: &FutureProducer<Quiet>,
    topic: &str,
    len: usize,
    delivery: DeliveryFuture,
) -> Result<Delivery, Unwritten> {
    // The producer ends each by itself after the timeout; this is for one that does not.
    let answered = tokio::time::timeout(2 * link.settings.timeout, delivery).await;
    match answered {
        Ok(Ok(Ok(delivery))) => Ok(delivery),
        Ok(Ok(Err((KafkaError::MessageProduction(Code::MessageSizeTooLarge), _)))) => {
            Err((TransportError::TooLarge { len, limit: link.settings.message_bytes_max }, true))
        }
        Ok(Ok(Err((error, _)))) => {
            let certain = error.rdkafka_error_code().is_some_and(is_certain);
            Err((link.said_of(producer, &format!("sending to {topic}"), &error), certain))
        }
        Ok(Err(_)) => Err((TransportError::Closed, false)),
        Err(_) => Err((link.late(&format!("sending to {topic}")), false)),
    }
}

/// Both, for one.
pub(crate) async fn produce(
    link: &Link,
    producer: &FutureProducer<Quiet>,
    to: Destination<'_>,
) -> Result<Delivery, Unwritten> {
    let (topic, len) = (to.topic, to.value.map_or(0, <[u8]>::len));
    let delivery = hand_over(link, producer, to).await?;
    answer(link, producer, topic, len, delivery).await
}

const FULL: std::time::Duration = std::time::Duration::from_millis(5);
