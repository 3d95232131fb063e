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

use crate::desk::Desk;
use crate::message::{ATTEMPTS, HANDLER, NOT_BEFORE, ORIGIN, REASON, Record, SUBSCRIPTION, TIME, with};
use crate::names;
use crate::produce::{Destination, produce};
use crate::receiver::KafkaReceiver;
use crate::ticket::{Heard, Ticket};

type Said = Result<(), TransportError>;

/// What is left to do for a verdict.
enum Step {
    Said(Said),
    Heard(Ticket),
    /// The record, and what becomes of it.
    Write(DeliveryId, Box<(Record, Where)>),
}

/// Where a record goes, with the attempts that were made.
enum Where {
    Later { topic: String, attempts: u32, delay: Duration },
    Dead(Letter),
}

impl KafkaReceiver {
    pub(crate) async fn settle_all(&self, verdicts: Vec<(DeliveryId, Verdict)>) -> Vec<Said> {
        let steps = self.begin_all(verdicts);
        self.hurry();
        // What the broker has to hear goes with one commit or a few: all of it has one time, and is waited for together.
        let (mut said, mut tickets, mut writes) = (Vec::with_capacity(steps.len()), Vec::new(), Vec::new());
        for (at, step) in steps.into_iter().enumerate() {
            said.push(match step {
                Step::Said(said) => said,
                Step::Heard(ticket) => {
                    tickets.push((at, ticket));
                    Ok(())
                }
                Step::Write(id, write) => {
                    writes.push(async move { (at, self.write(id, *write).await) });
                    Ok(())
                }
            });
        }
        let (heard, written) = futures_util::join!(self.heard_all(tickets), join_all(writes));
        for (at, one) in heard.into_iter().chain(written) {
            if let Some(said) = said.get_mut(at) {
                *said = one;
            }
        }
        said
    }

    fn begin_all(&self, verdicts: Vec<(DeliveryId, Verdict)>) -> Vec<Step> {
        let mut desk = self.core().desk.lock();
        verdicts.into_iter().map(|(id, verdict)| self.begin(&mut desk, id, verdict)).collect()
    }

    fn begin(&self, desk: &mut Desk, id: DeliveryId, verdict: Verdict) -> Step {
        let said = |is_out| Step::Said(if is_out { Ok(()) } else { Err(gone(id)) });
        match verdict {
            Verdict::Done => desk.done(id).map_or_else(|| said(false), Step::Heard),
            Verdict::Again(delay) => {
                let Some((record, attempts)) = desk.record(id) else { return said(false) };
                match self.tier(&record, delay) {
                    Some(topic) => {
                        Step::Write(id, Box::new((record, Where::Later { topic, attempts, delay })))
                    }
                    None => said(desk.put_off(id, Some(Instant::now() + delay.min(DELAY_MAX)))),
                }
            }
            Verdict::Dead(letter) => match desk.record(id) {
                Some((record, _)) => Step::Write(id, Box::new((record, Where::Dead(letter)))),
                None => said(false),
            },
            // Given back is also what nobody knows a word for yet.
            _ => said(desk.put_off(id, None)),
        }
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
        let here = [record.topic.to_string(), record.partition.to_string(), record.offset.to_string()];
        ORIGIN.iter().zip(here).fold(headers, |headers, (name, here)| {
            let first = record.header(name).map_or(here, str::to_owned);
            with(headers, name, first.as_bytes())
        })
    }

    async fn write(&self, id: DeliveryId, (record, place): (Record, Where)) -> Said {
        // It is not delivered again while it is being written.
        let until = Instant::now() + self.reception.ack_wait.max(WRITE_TIMEOUTS * self.link.settings.timeout);
        if !self.core().desk.lock().renew(id, until) {
            return Err(gone(id));
        }
        let (topic, headers) = match place {
            Where::Later { topic, attempts, delay } => (topic, self.put_off(&record, attempts, delay)),
            Where::Dead(letter) => (names::dead(&self.reception.stream), self.given_up(&record, &letter)),
        };
        let to = Destination {
            topic: &topic,
            partition: None,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            // The present time, whatever the record's is: by it brokers remove what is old, and refuse what is of the future.
            timestamp: None,
            headers,
        };
        let producer = self.link.plain().await?;
        if let Err((error, _)) = produce(&self.link, &producer, to).await {
            if let TransportError::TooLarge { len, .. } = error {
                let Record { topic: of, partition, offset, .. } = &record;
                tracing::error!(
                    of = &**of,
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
        let heard = self.heard_all(vec![(0, ticket)]).await;
        heard.into_iter().try_for_each(|(_, said)| said)
    }

    fn hurry(&self) {
        self.core().room.notify_one();
        self.core().hurry();
        self.core().arrived.notify_one();
    }

    /// Waits until the broker has heard of all of these, or will not.
    async fn heard_all(&self, tickets: Vec<(usize, Ticket)>) -> Vec<(usize, Said)> {
        let mut told = self.core().told.subscribe();
        let (mut open, mut heard) = (tickets, Vec::new());
        let hearing = async {
            loop {
                // Marked as seen before they are looked at: what is told meanwhile is not missed.
                told.borrow_and_update();
                open.retain(|(at, ticket)| {
                    let said = match ticket.heard() {
                        Heard::Yes => Ok(()),
                        Heard::Never => Err(revoked()),
                        Heard::NotYet => return true,
                    };
                    heard.push((*at, said));
                    false
                });
                if open.is_empty() || told.changed().await.is_err() {
                    return;
                }
            }
        };
        // While a group changes its broker answers nobody, and that lasts a session where a member has died.
        let patience = self.link.settings.timeout + self.link.settings.session;
        let is_in_time = tokio::time::timeout(patience, hearing).await.is_ok();
        let left = open.into_iter().map(|(at, _)| {
            let said = if is_in_time { Err(revoked()) } else { Err(self.unheard(patience)) };
            (at, said)
        });
        heard.extend(left);
        heard
    }

    fn unheard(&self, patience: Duration) -> TransportError {
        let why = self.core().uncommitted.lock().as_ref().map(|error| format!(", for {error}"));
        let why = why.unwrap_or_default();
        let reason = format!("committing: not heard within {patience:?}; it is tried on{why}");
        TransportError::Unreachable { address: self.link.settings.brokers.clone(), reason }
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
