//! Carriers: a broker behind busway's transport, beside the same broker behind its client.
//!
//! Both sides of a pair do the same: the same stream, made by the transport, so that its settings are the same; the same events, with a fresh id and the time of their
//! making; the same attributes in the same headers or fields; as many in flight; and what is acknowledged is confirmed by the server. What is left between them is what
//! busway adds.

pub mod forward;
pub mod instructions;
pub mod kafka;
pub mod nats;
pub mod redis;

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, ensure};
use busway::prelude::*;
use busway::transport::{Received, Receiver, Sender, Verdict};
use busway::{Clock, Metadata, Stream, SystemClock, Topic};
use busway_event::{AnyEvent, EventId, Stamp};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use uuid::Uuid;

use crate::consume::shelf::is_event;
use crate::durable::event::{EVENT_BYTES, event};
use crate::durable::flight::Until;
use crate::durable::lap::{Holding, SyncedLap};
use crate::inproc::on_bus;
use crate::lockfile::version_of;
use crate::report::{Contender, Suite};

/// Who speaks with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The client alone.
    Client,
    /// A transport, which speaks through the same client.
    Busway,
}

/// Makes the events of one lap.
#[derive(Debug)]
struct Maker {
    topic: Topic,
    metadata: Metadata,
}

impl Maker {
    fn new() -> Result<Self> {
        Ok(Self { topic: Topic::new(TOPIC)?, metadata: Metadata::draft(PRODUCER, 1).build()? })
    }

    /// As a bus makes it of a draft.
    fn event(&self, number: u64) -> Result<AnyEvent> {
        let stamp = Stamp::new(EventId::new(id()), SystemClock.utc(), &self.metadata);
        let event = Event::new(&self.topic, Raw(payload(number))).finish(&stamp);
        Ok(event.map_err(|(_, reason)| reason)?.into())
    }
}

/// The same without busway: attributes by name, as a program would write them that knows its own events.
fn attributes(id: &str) -> [(&'static str, String); ATTRIBUTES] {
    [
        ("specversion", "1.0".to_owned()),
        ("id", id.to_owned()),
        ("source", PRODUCER.to_owned()),
        ("type", Raw::NAME.to_owned()),
        ("subject", TOPIC.to_owned()),
        ("time", SystemClock.utc().to_string()),
        ("schemaversion", "1".to_owned()),
        ("priority", "p2".to_owned()),
    ]
}

fn id() -> Uuid {
    Uuid::from_u128(fastrand::u128(..))
}

fn payload(number: u64) -> Bytes {
    Bytes::copy_from_slice(&event(number))
}

impl By {
    /// Of streams and subjects: a server holds those of both sides.
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Busway => "busway",
        }
    }

    /// The stream of all laps.
    fn stream(self) -> Stream {
        Stream::new(self.name()).capture(CAPTURED)
    }
}

/// Keeps sends on their way that come to so many events together.
async fn send(sender: &dyn Sender, in_flight: usize, until: Until) -> Result<()> {
    let (maker, batch) = (Maker::new()?, in_flight.min(BATCH));
    let mut flying = FuturesUnordered::new();
    loop {
        while flying.len() < in_flight / batch
            && let Some(numbers) = until.take(batch).or_else(|| until.take(1))
        {
            flying.push(sender.send(numbers.map(|number| maker.event(number)).collect::<Result<_>>()?));
        }
        let Some(answers) = flying.next().await else { return Ok(()) };
        for sent in answers {
            ensure!(!sent?.duplicate, "an event was there already");
        }
    }
}

/// Receives events in their order, and settles each of them; what is received next does not wait for what the server hears.
async fn receive(member: &Arc<dyn Receiver>, events: u64) -> Result<()> {
    let mut settling = FuturesUnordered::new();
    let mut handled = 0;
    while handled < events {
        let received = tokio::select! {
            biased;
            Some(heard) = settling.next() => {
                all_heard(heard)?;
                continue;
            }
            received = member.receive(PAGE) => received?,
        };
        let mut verdicts = Vec::with_capacity(received.len());
        for Received { id, event, .. } in received {
            let event =
                event.map_err(|reason| anyhow!("event {handled} cannot be read: {}", reason.reason))?;
            let bytes = &event.encoded(EVENT_BYTES)?.bytes;
            ensure!(is_event(handled, bytes), "event {handled} is another one");
            handled += 1;
            verdicts.push((id, Verdict::Done));
        }
        settling.push(member.settle(verdicts));
    }
    while let Some(heard) = settling.next().await {
        all_heard(heard)?;
    }
    Ok(())
}

/// The lap, if the stream holds what was sent. Calls that are on their way at once come in no order, so any may be the last.
fn verified(lap: SyncedLap, holding: &Holding) -> Result<SyncedLap> {
    ensure!(
        holding.count == lap.stored,
        "{} events are stored of {} that were sent",
        holding.count,
        lap.stored
    );
    let (number, bytes) = holding.last.as_ref().context("the stream has a last event")?;
    ensure!(*number < lap.stored, "the last event is {number} of {}", lap.stored);
    ensure!(*bytes == event(*number), "the last event, {number}, is stored with other bytes");
    Ok(lap)
}

fn all_heard(heard: Vec<Result<(), busway::transport::TransportError>>) -> Result<()> {
    Ok(heard.into_iter().collect::<Result<(), _>>()?)
}

/// How a contender of busway is named in a report: with the client that it speaks through.
fn version(by: By, server: &str, client: &'static str) -> String {
    let client = format!("{client} {}", version_of(client));
    match by {
        By::Client => format!("{server} ({client})"),
        By::Busway => format!("{} ({client}; {server})", on_bus::version()),
    }
}

/// What busway comes to of its client, round by round: both laps of a round ran one after the other.
#[must_use]
pub fn ratios(suite: &Suite, pairs: &[(&'static str, &str)]) -> Option<Suite> {
    let samples = |name: &str| suite.contender(name).map_or(&[][..], Contender::samples);
    let ratio = |(name, client): &(&'static str, &str)| {
        let rounds = samples(name).iter().zip(samples(client)).map(|(own, client)| own / client);
        Contender::new(*name, version_of("busway"), rounds.collect())
    };
    let contenders: Vec<_> = pairs.iter().map(ratio).filter(|contender| contender.runs() > 0).collect();
    let of: Vec<_> = pairs.iter().map(|(name, client)| format!("{name} of {client}")).collect();
    (!contenders.is_empty()).then(|| Suite {
        name: format!("{}-ratio", suite.name),
        unit: "of the client alone".to_owned(),
        higher_is_better: true,
        note: format!("the two laps of each round of {}: {}", suite.name, of.join(", ")),
        contenders,
        curves: Vec::new(),
    })
}

const CAPTURED: &str = "orders.#";
const TOPIC: &str = "orders.us-east.created";
const PRODUCER: &str = "bench";
/// Without the content type, which stands elsewhere.
const ATTRIBUTES: usize = 8;
/// Events that are sent at once.
const BATCH: usize = 256;
/// Events that are received at once, at most.
const PAGE: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_write_the_same_attributes() {
        let event = Maker::new().unwrap().event(7).unwrap();
        let binary = busway_event::cloudevents::to_binary(&event).unwrap();
        let own = attributes(&event.id().to_string());
        assert_eq!(binary.attributes.len(), own.len());
        for ((name, value), (own_name, own_value)) in binary.attributes.iter().zip(&own) {
            assert_eq!(name, own_name);
            assert!(value == own_value || name == "time", "{name}: {value} {own_value}");
        }
        assert_eq!(binary.content_type, nats::CONTENT_TYPE);
        assert_eq!(binary.body, payload(7));
    }

    #[test]
    fn a_ratio_is_that_of_two_laps_of_one_round() {
        let contenders = [("own", vec![9.0, 5.0]), ("client", vec![10.0, 10.0])];
        let suite = Suite {
            name: "test/pair".to_owned(),
            unit: "events/s".to_owned(),
            higher_is_better: true,
            note: String::new(),
            contenders: contenders.map(|(name, samples)| Contender::new(name, "1", samples)).into(),
            curves: Vec::new(),
        };
        let ratio = ratios(&suite, &[("own", "client"), ("absent", "client")]).unwrap();
        assert_eq!((ratio.name.as_str(), ratio.contenders.len()), ("test/pair-ratio", 1));
        assert_eq!(ratio.contenders[0].samples(), [0.9, 0.5]);
        assert!(ratios(&suite, &[("absent", "client")]).is_none());
    }
}
