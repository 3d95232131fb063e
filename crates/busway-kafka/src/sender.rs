//! Sending: all events are on their way before the first answer is waited for.

use std::fmt;
use std::sync::Arc;

use busway_engine::transport::{SendError, Sender, Sent, TransportError, TransportFuture};
use busway_event::{AnyEvent, Durability};
use busway_persistence::{Stream, partition_of};
use rdkafka::producer::FutureProducer;
use rdkafka::producer::future_producer::Delivery;

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
                None => send_all(&self.0, &self.0.plain, &events).await,
                Some(producer) => transaction::send(&self.0, producer, &events).await,
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

/// Sends with a producer, and waits for all answers.
pub(crate) async fn send_all(link: &Link, producer: &FutureProducer<Quiet>, events: &[AnyEvent]) -> Answers {
    let mut begun = Vec::with_capacity(events.len());
    let mut down: Option<TransportError> = None;
    for event in events {
        // Where one found no room, those behind it would wait as long, each.
        begun.push(match &down {
            Some(reason) => Err((reason.clone(), true)),
            None => begin(link, producer, event).await,
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
            Ok((topic, len, delivery)) => answer(link, topic.name(), len, delivery).await,
            Err(unwritten) => Err(unwritten),
        });
    }
    answers
}

async fn begin(
    link: &Link,
    producer: &FutureProducer<Quiet>,
    event: &AnyEvent,
) -> Result<(Stream, usize, rdkafka::producer::future_producer::DeliveryFuture), Unwritten> {
    link.is_open().map_err(|closed| (closed, true))?;
    let refused = |reason| (reason, true);
    let Some(stream) = link.capturing(event.topic()) else {
        let topic = event.topic();
        return Err(refused(TransportError::Refused(format!(
            "no stream that was prepared captures {topic}; declare one and prepare it"
        ))));
    };
    let Outgoing { headers, body, timestamp } =
        Outgoing::of(event, link.settings.payload_bytes_max()).map_err(refused)?;
    let to = Destination {
        topic: stream.name(),
        partition: Some(partition(event, stream.partition_count())),
        key: event.key().map(|key| key.as_str().as_bytes()),
        value: Some(&body),
        timestamp: Some(timestamp),
        headers,
    };
    let delivery = hand_over(link, producer, to).await?;
    Ok((stream, body.len(), delivery))
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
