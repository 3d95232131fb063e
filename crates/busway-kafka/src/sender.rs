//! Sending: all events are on their way before the first answer is waited for.

use std::fmt;
use std::sync::Arc;

use busway_engine::transport::{SendError, Sender, Sent, TransportError, TransportFuture};
use busway_event::{AnyEvent, Durability};
use busway_persistence::partition_of;
use rdkafka::producer::FutureProducer;
use rdkafka::producer::future_producer::{Delivery, DeliveryFuture};

use crate::client::Quiet;
use crate::link::Link;
use crate::message::Outgoing;
use crate::produce::{Destination, Unwritten, answer, hand_over};
use crate::transaction;

pub(crate) struct KafkaSender(pub(crate) Arc<Link>);

/// What became of each event, in order.
pub(crate) type Answers = Vec<Result<Delivery, Unwritten>>;

impl Sender for KafkaSender {
    fn send(&self, events: Vec<AnyEvent>) -> TransportFuture<'_, Vec<Result<Sent, SendError>>> {
        Box::pin(async move {
            let answers = match &self.0.transactional {
                None => {
                    let built: Vec<_> = events.iter().map(|event| build(&self.0, event)).collect();
                    match self.0.plain().await {
                        Ok(producer) => send_all(&self.0, &producer, built).await,
                        Err(reason) => built.iter().map(|_| Err((reason.clone(), true))).collect(),
                    }
                }
                Some(writer) => transaction::send(&self.0, writer, &events).await,
            };
            events.into_iter().zip(answers).map(|(event, answer)| said(event, answer)).collect()
        })
    }
}

fn said(event: AnyEvent, answer: Result<Delivery, Unwritten>) -> Result<Sent, SendError> {
    match answer {
        Ok(delivery) => {
            let sent = Sent::new(DURABILITY);
            Ok(u64::try_from(delivery.offset).map_or(sent, |offset| sent.at(offset)))
        }
        Err((reason, true)) => Err(SendError::refused(event, reason)),
        Err((reason, false)) => Err(SendError::unknown(event, reason)),
    }
}

/// An event as a record that may be handed to a producer.
pub(crate) struct Built<'a> {
    topic: String,
    partition: i32,
    key: Option<&'a [u8]>,
    outgoing: Outgoing,
}

/// Makes a record of an event. What is refused here is refused before anybody hears of it.
pub(crate) fn build<'a>(link: &Link, event: &'a AnyEvent) -> Result<Built<'a>, TransportError> {
    link.is_open()?;
    let topic = event.topic();
    let Some((stream, count)) = link.capturing(topic) else {
        return Err(TransportError::Refused(format!(
            "no stream that was prepared captures {topic}; declare one and prepare it"
        )));
    };
    let outgoing = Outgoing::of(event, &link.settings)?;
    let key = event.key().map(|key| key.as_str().as_bytes());
    Ok(Built { topic: stream, partition: partition(event, count), key, outgoing })
}

/// Sends with a producer, and waits for all answers.
pub(crate) async fn send_all(
    link: &Link,
    producer: &FutureProducer<Quiet>,
    records: Vec<Result<Built<'_>, TransportError>>,
) -> Answers {
    let mut begun = Vec::with_capacity(records.len());
    let mut down: Option<TransportError> = None;
    for record in records {
        // Where one found no room, those behind it would wait as long, each.
        begun.push(match (record, &down) {
            (Err(reason), _) => Err((reason, true)),
            (_, Some(reason)) => Err((reason.clone(), true)),
            (Ok(record), None) => begin(link, producer, record).await,
        });
        if let Some(Err((reason, _))) = begun.last()
            && reason.is_transient()
        {
            down = Some(reason.clone());
        }
    }
    let mut answers = Vec::with_capacity(begun.len());
    for one in begun {
        answers.push(match one {
            Ok((topic, len, delivery)) => answer(link, producer, &topic, len, delivery).await,
            Err(unwritten) => Err(unwritten),
        });
    }
    answers
}

async fn begin(
    link: &Link,
    producer: &FutureProducer<Quiet>,
    record: Built<'_>,
) -> Result<(String, usize, DeliveryFuture), Unwritten> {
    let Built { topic, partition, key, outgoing: Outgoing { headers, body, timestamp, len } } = record;
    let to = Destination {
        topic: &topic,
        partition: Some(partition),
        key,
        value: Some(&body),
        timestamp: Some(timestamp),
        headers,
    };
    let delivery = hand_over(link, producer, to).await?;
    Ok((topic, len, delivery))
}

/// The partition of an event: that of its key, and without one that of its id, as in the embedded store. Kafka's own rule would put keys elsewhere than the store does.
fn partition(event: &AnyEvent, count: u16) -> i32 {
    match event.key() {
        Some(key) => i32::from(partition_of(key, count)),
        None => i32::try_from(event.id().as_uuid().as_u128() % u128::from(count.max(1))).unwrap_or(0),
    }
}

impl fmt::Debug for KafkaSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSender").field("brokers", &self.0.settings.brokers).finish_non_exhaustive()
    }
}

/// All replicas in sync have it, in their memory or on their disks.
pub(crate) const DURABILITY: Durability = Durability::Written;
