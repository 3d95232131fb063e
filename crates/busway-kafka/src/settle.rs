//! Settling: what became of deliveries, by the dozen.
//!
//! | verdict | |
//! |---|---|
//! | done | the position is committed, as far as it goes, with a bitmap of what is settled above it |
//! | again, with a key or in less than a second | it waits in the member's memory, the later ones of its key behind it; Kafka is told nothing |
//! | again, without a key | written to `<stream>.retry.<tier>`, then as done |
//! | back | as again at once, uncharged |
//! | dead | written to `<stream>.dead`, then as done |
//!
//! # Crash points
//! A process that dies between the write to another topic and the commit leaves both: the event is put off, or given up, twice. Nothing is committed before the write has been
//! acknowledged by all replicas in sync. What waits in memory comes again when its member is gone, with its attempts counted anew.

use std::time::Duration;

use busway_engine::transport::{DeliveryId, Letter, TransportError, Verdict};
use busway_engine::{Clock as _, SystemClock};
use futures_util::future::join_all;
use rdkafka::message::OwnedHeaders;
use tokio::time::Instant;

use crate::message::{ATTEMPTS, HANDLER, NOT_BEFORE, ORIGIN, REASON, Record, SUBSCRIPTION, TIME, with};
use crate::names;
use crate::part::{Heard, Ticket};
use crate::produce::{Destination, produce};
use crate::receiver::KafkaReceiver;

/// What is left to do for a verdict.
enum Step {
    Said(Result<(), TransportError>),
    Heard(Ticket),
    Write(DeliveryId, Box<Elsewhere>),
}

/// A record that is written to another topic.
struct Elsewhere {
    record: Record,
    topic: String,
    headers: OwnedHeaders,
}

impl KafkaReceiver {
    pub(crate) async fn settle_all(
        &self,
        verdicts: Vec<(DeliveryId, Verdict)>,
    ) -> Vec<Result<(), TransportError>> {
        let steps: Vec<_> = verdicts.into_iter().map(|(id, verdict)| self.begin(id, verdict)).collect();
        self.hurry();
        join_all(steps.into_iter().map(|step| async {
            match step {
                Step::Said(said) => said,
                Step::Heard(ticket) => self.heard(ticket).await,
                Step::Write(id, elsewhere) => self.write(id, *elsewhere).await,
            }
        }))
        .await
    }

    fn begin(&self, id: DeliveryId, verdict: Verdict) -> Step {
        let mut desk = self.core().desk.lock();
        let Some((record, attempt)) = desk.record(id) else { return Step::Said(Err(gone(id))) };
        let said = |is_out| Step::Said(if is_out { Ok(()) } else { Err(gone(id)) });
        let step = match verdict {
            Verdict::Done => desk.done(id).map_or_else(|| said(false), Step::Heard),
            Verdict::Again(delay) => match self.tier(&record, delay) {
                Some(topic) => {
                    let headers = self.put_off(&record, attempt, delay);
                    Step::Write(id, Box::new(Elsewhere { record, topic, headers }))
                }
                None => said(desk.put_off(id, Some(Instant::now() + delay.min(DELAY_MAX)))),
            },
            Verdict::Dead(letter) => {
                let headers = self.given_up(&record, &letter);
                let topic = names::dead(&self.reception.stream);
                Step::Write(id, Box::new(Elsewhere { record, topic, headers }))
            }
            // Given back is also what nobody knows a word for yet.
            _ => said(desk.put_off(id, None)),
        };
        drop(desk);
        self.core().arrived.notify_one();
        step
    }

    /// Where an event waits that is put off so long, if not in memory.
    fn tier(&self, record: &Record, delay: Duration) -> Option<String> {
        let tier = names::tier(delay).filter(|_| record.key.is_none())?;
        let topic = names::retry(&self.reception.stream, tier);
        self.topics.retries.contains(&topic).then_some(topic)
    }

    fn put_off(&self, record: &Record, attempt: u32, delay: Duration) -> OwnedHeaders {
        let due = SystemClock.utc().saturating_add(delay).as_millis();
        let headers = self.stamped(record, attempt);
        with(headers, NOT_BEFORE, due.to_string().as_bytes())
    }

    fn given_up(&self, record: &Record, letter: &Letter) -> OwnedHeaders {
        let headers = with(self.stamped(record, letter.attempts), REASON, letter.reason.as_bytes());
        with(headers, HANDLER, letter.handler.as_bytes())
    }

    /// Its own headers, whose it is, and where it lay first.
    fn stamped(&self, record: &Record, attempts: u32) -> OwnedHeaders {
        let headers = with(record.own_headers(), SUBSCRIPTION, self.reception.name.as_bytes());
        let headers = with(headers, ATTEMPTS, attempts.to_string().as_bytes());
        let headers = match record.time() {
            Some(millis) => with(headers, TIME, millis.to_string().as_bytes()),
            None => headers,
        };
        let here = [record.topic.clone(), record.partition.to_string(), record.offset.to_string()];
        ORIGIN.iter().zip(here).fold(headers, |headers, (name, here)| {
            let first = record.header(name).map_or(here, str::to_owned);
            with(headers, name, first.as_bytes())
        })
    }

    async fn write(&self, id: DeliveryId, elsewhere: Elsewhere) -> Result<(), TransportError> {
        // It is not delivered again while it is being written.
        let until = Instant::now() + self.reception.ack_wait.max(WRITE_TIMEOUTS * self.link.settings.timeout);
        if !self.core().desk.lock().renew(id, until) {
            return Err(gone(id));
        }
        let Elsewhere { record, topic, headers } = elsewhere;
        let to = Destination {
            topic: &topic,
            partition: None,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            // The present time, whatever the record's is: by it brokers remove what is old, and refuse what is of the future.
            timestamp: None,
            headers,
        };
        if let Err((error, _)) = produce(&self.link, &self.link.plain, to).await {
            if let TransportError::TooLarge { len, .. } = error {
                let Record { topic: of, partition, offset, .. } = &record;
                tracing::error!(
                    of,
                    partition,
                    offset,
                    len,
                    to = topic,
                    "a record is too large to be given up or put off: it comes again until the topic takes it (max.message.bytes)"
                );
            }
            return Err(error);
        }
        let Some(ticket) = self.core().desk.lock().done(id) else { return Err(gone(id)) };
        self.hurry();
        self.heard(ticket).await
    }

    fn hurry(&self) {
        self.core().hurry();
        self.core().arrived.notify_one();
    }

    /// Waits until the broker has heard of it.
    async fn heard(&self, ticket: Ticket) -> Result<(), TransportError> {
        let mut told = self.core().told.subscribe();
        let hearing = async {
            loop {
                match ticket.heard() {
                    Heard::Yes => return Ok(()),
                    Heard::Never => return Err(revoked()),
                    Heard::NotYet if told.changed().await.is_err() => return Err(revoked()),
                    Heard::NotYet => {}
                }
            }
        };
        // While a group changes its broker answers nobody, and that lasts a session where a member has died.
        let patience = self.link.settings.timeout + self.link.settings.session;
        let heard = tokio::time::timeout(patience, hearing).await;
        heard.unwrap_or_else(|_| {
            let why = self.core().uncommitted.lock().as_ref().map(|error| format!(", for {error}"));
            let reason = format!(
                "committing: not heard within {patience:?}; it is tried on{}",
                why.unwrap_or_default()
            );
            Err(TransportError::Unreachable { address: self.link.settings.brokers.clone(), reason })
        })
    }
}

/// A delivery that this member has not, or has no longer.
pub(crate) fn gone(DeliveryId(id): DeliveryId) -> TransportError {
    TransportError::Gone {
        what: format!("delivery {id}"),
        reason: "it is settled, its time was over, or its partition is another member's".to_owned(),
    }
}

fn revoked() -> TransportError {
    TransportError::Gone {
        what: "the delivery".to_owned(),
        reason:
            "its partition went to another member before the broker had heard of it: it is delivered again"
                .to_owned(),
    }
}

/// How often the timeout a write elsewhere may take at most: once for room in the producer, twice for the answer, and once to spare.
const WRITE_TIMEOUTS: u32 = 4;
/// A century: later than that is never, and no clock of this side reaches further.
const DELAY_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);
