//! What senders and receivers of a transport share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::TransportError;
use busway_event::Topic;
use busway_persistence::Stream;
use parking_lot::{Mutex, RwLock};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, Producer as _};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{Quiet, Settings, Trouble};
use crate::fault::{ended, of_fatal};
use crate::transaction::Writer;

/// A way to brokers.
pub(crate) struct Link {
    pub(crate) settings: Settings,
    pub(crate) trouble: Trouble,
    /// For what is sent outside of transactions: events, where there are none, and always what is put off or given up.
    plain: Mutex<Plain>,
    /// For transactions, one at a time: held by who has one under way.
    pub(crate) transactional: Option<Arc<tokio::sync::Mutex<Writer>>>,
    /// Of those that were prepared. Few, so that they are looked through.
    pub(crate) streams: RwLock<Vec<Stream>>,
    pub(crate) closed: watch::Sender<bool>,
    /// Held by who closes: whoever closes too waits until it is done. A tokio mutex, for it is held over the last answers.
    pub(crate) closing: tokio::sync::Mutex<()>,
    /// The last of the fields, so that it is the last to let go of the producers.
    aside: Aside,
}

/// Producers, once more: the last of each is let go of in a thread, for it blocks until its records are thrown out and its own threads have ended, and a link may be dropped
/// anywhere.
struct Aside(Mutex<[Option<FutureProducer<Quiet>>; 2]>);

impl Aside {
    /// Keeps another one in the place of the first.
    fn exchange(&self, plain: FutureProducer<Quiet>) {
        let [first, _] = &mut *self.0.lock();
        let_go(first.replace(plain));
    }

    /// The same of the second.
    fn exchange_transactional(&self, transactional: FutureProducer<Quiet>) {
        let [_, second] = &mut *self.0.lock();
        let_go(second.replace(transactional));
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let_go(std::mem::take(self.0.get_mut()));
    }
}

fn let_go<T: Send + 'static>(producers: T) {
    if let Err(error) = thread(move || drop(producers)) {
        tracing::debug!(%error, "producers were let go of where their last user was");
    }
}

/// A producer and when it was made.
struct Plain {
    producer: FutureProducer<Quiet>,
    made: Instant,
}

impl Link {
    /// Makes clients, and waits for a broker that answers.
    pub(crate) fn connect(settings: Settings) -> Result<Self, TransportError> {
        let trouble = Trouble::new(2 * settings.timeout);
        let plain = settings.producer(None, &trouble)?;
        answered(&settings, &trouble, &plain)?;
        let transactional = match settings.transactional.as_deref() {
            None => None,
            Some(id) => Some(begun(&settings, &trouble, id)?),
        };
        let aside = Aside(Mutex::new([Some(plain.clone()), transactional.clone()]));
        let plain = Mutex::new(Plain { producer: plain, made: Instant::now() });
        let transactional =
            transactional.map(|producer| Arc::new(tokio::sync::Mutex::new(Writer::new(producer))));
        Ok(Self {
            settings,
            trouble,
            plain,
            transactional,
            streams: RwLock::default(),
            closed: watch::channel(false).0,
            closing: tokio::sync::Mutex::default(),
            aside,
        })
    }

    pub(crate) fn is_open(&self) -> Result<(), TransportError> {
        match *self.closed.borrow() {
            true => Err(TransportError::Closed),
            false => Ok(()),
        }
    }

    /// The producer that writes outside of transactions. One that has come to its end is of no use any more: it was refused the right to write, whatever it is granted later, or its brokers
    /// have lost what it was told, as where a leader is elected that was not in sync. Another one is in its place then, which asks anew; what the first had on its way may be there twice.
    /// Not more often than once a second, for each has threads and connections.
    pub(crate) async fn plain(self: &Arc<Self>) -> Result<FutureProducer<Quiet>, TransportError> {
        let producer = self.current();
        if !has_ended(&producer) {
            return Ok(producer);
        }
        let link = Arc::clone(self);
        blocking(move || {
            // Whoever comes meanwhile waits for the same.
            let mut plain = link.plain.lock();
            if has_ended(&plain.producer) && plain.made.elapsed() >= ANOTHER_EVERY {
                let producer = link.settings.producer(None, &link.trouble)?;
                link.aside.exchange(producer.clone());
                *plain = Plain { producer, made: Instant::now() };
                tracing::info!("a Kafka producer that had come to its end is made anew");
            }
            Ok(plain.producer.clone())
        })
        .await
    }

    /// Another producer of transactions, in the place of one that has come to its end. A transaction that the first left open is aborted by it. Blocks.
    pub(crate) fn transactional_anew(&self) -> Result<FutureProducer<Quiet>, TransportError> {
        let id = self.settings.transactional.as_deref().ok_or(TransportError::Closed)?;
        let producer = begun(&self.settings, &self.trouble, id)?;
        self.aside.exchange_transactional(producer.clone());
        tracing::info!("a Kafka producer of transactions that had come to its end is made anew");
        Ok(producer)
    }

    /// The same as it is.
    pub(crate) fn current(&self) -> FutureProducer<Quiet> {
        self.plain.lock().producer.clone()
    }

    /// What is said of a record that this producer could not write.
    pub(crate) fn said_of(
        &self,
        producer: &FutureProducer<Quiet>,
        what: &str,
        error: &KafkaError,
    ) -> TransportError {
        said_of(&self.settings, &self.trouble, producer, what, error)
    }

    /// The prepared stream that captures a topic: its name, and how many partitions it has.
    pub(crate) fn capturing(&self, topic: &Topic) -> Option<(String, u16)> {
        let streams = self.streams.read();
        let stream = streams.iter().find(|stream| stream.captures(topic))?;
        Some((stream.name().to_owned(), stream.partition_count()))
    }

    pub(crate) fn said(&self, what: &str, error: &KafkaError) -> TransportError {
        self.trouble.explain(&self.settings.brokers, what, error)
    }

    pub(crate) fn late(&self, what: &str) -> TransportError {
        TransportError::Unreachable {
            address: self.settings.brokers.clone(),
            reason: format!("{what}: no answer within {:?}", self.settings.timeout),
        }
    }
}

/// Whether it writes nothing any more, whatever for.
fn has_ended(producer: &FutureProducer<Quiet>) -> bool {
    producer.client().fatal_error().is_some()
}

fn said_of(
    settings: &Settings,
    trouble: &Trouble,
    producer: &FutureProducer<Quiet>,
    what: &str,
    error: &KafkaError,
) -> TransportError {
    match producer.client().fatal_error() {
        Some((code, said)) => {
            of_fatal(&settings.brokers, what, code, &said, settings.transactional.is_some())
        }
        None => trouble.explain(&settings.brokers, what, error),
    }
}

/// A producer of a transactional id, which has shut out those before it. Blocks.
fn begun(settings: &Settings, trouble: &Trouble, id: &str) -> Result<FutureProducer<Quiet>, TransportError> {
    let producer = settings.producer(Some(id), trouble)?;
    producer.init_transactions(settings.timeout).map_err(|error| {
        said_of(settings, trouble, &producer, &format!("beginning as transactional id {id}"), &error)
    })?;
    Ok(producer)
}

/// Asks in short turns, so that a refusal, which comes on its own, need not wait for the end of the time.
fn answered(
    settings: &Settings,
    trouble: &Trouble,
    producer: &FutureProducer<Quiet>,
) -> Result<(), TransportError> {
    let mut left = settings.timeout;
    loop {
        let turn = left.min(TURN);
        let Err(error) = producer.client().fetch_metadata(None, turn) else { return Ok(()) };
        left = left.saturating_sub(turn);
        if left.is_zero() || trouble.is_denied() {
            let said = trouble.explain(&settings.brokers, "connecting", &error);
            return Err(match said {
                TransportError::Unreachable { address, reason } if trouble.is_denied() => {
                    TransportError::AccessDenied { address, reason }
                }
                said => said,
            });
        }
    }
}

/// Runs what blocks where it may. A task that panicked is told apart from one that the end of its runtime has cut off.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TransportError> + Send + 'static,
) -> Result<T, TransportError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "librdkafka's questions block; each has a bound, and none is of a handler"
    )]
    let task = tokio::task::spawn_blocking(work);
    task.await.map_err(|error| ended(&error))?
}

/// A thread for what blocks for longer than a question.
pub(crate) fn thread(work: impl FnOnce() + Send + 'static) -> Result<(), TransportError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "librdkafka's polls, commits and ends block, and its callbacks ask brokers: threads of this crate's own"
    )]
    let begun = std::thread::Builder::new().name("busway-kafka".to_owned()).spawn(work);
    begun.map(drop).map_err(|error| TransportError::Refused(format!("there is no thread for Kafka: {error}")))
}

/// A wait that is part of what this crate does.
pub(crate) async fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the pace of a client; no handler waits for it")]
    tokio::time::sleep(time).await;
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("settings", &self.settings).finish_non_exhaustive()
    }
}

const TURN: Duration = Duration::from_millis(500);
/// How soon a producer may be made in the place of one.
pub(crate) const ANOTHER_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_not_taken_for_the_end_of_the_transport() {
        let panicking = blocking::<()>(|| panic!("oh no"));
        let error = panicking.await.unwrap_err();
        assert!(matches!(&error, TransportError::Refused(reason) if reason.contains("panicked")), "{error}");
    }
}
