//! What senders and receivers of a transport share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::TransportError;
use busway_event::Topic;
use busway_persistence::Stream;
use parking_lot::RwLock;
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, Producer as _};
use tokio::sync::watch;

use crate::client::{Quiet, Settings, Trouble};
use crate::fault::ended;

/// A way to brokers.
pub(crate) struct Link {
    pub(crate) settings: Settings,
    pub(crate) trouble: Trouble,
    /// For what is sent outside of transactions: events, where there are none, and always what is put off or given up.
    pub(crate) plain: FutureProducer<Quiet>,
    /// For transactions, one at a time: held by who has one under way.
    pub(crate) transactional: Option<Arc<tokio::sync::Mutex<FutureProducer<Quiet>>>>,
    /// Of those that were prepared. Few, so that they are looked through.
    pub(crate) streams: RwLock<Vec<Stream>>,
    pub(crate) closed: watch::Sender<bool>,
}

impl Link {
    /// Makes clients, and waits for a broker that answers.
    pub(crate) fn connect(settings: Settings) -> Result<Self, TransportError> {
        let trouble = Trouble::default();
        let plain = settings.producer(None, &trouble)?;
        answered(&settings, &trouble, &plain)?;
        let transactional = match settings.transactional.as_deref() {
            None => None,
            Some(id) => {
                let producer = settings.producer(Some(id), &trouble)?;
                producer.init_transactions(settings.timeout).map_err(|error| {
                    trouble.explain(&settings.brokers, &format!("beginning as transactional id {id}"), &error)
                })?;
                Some(Arc::new(tokio::sync::Mutex::new(producer)))
            }
        };
        let (closed, _) = watch::channel(false);
        Ok(Self { settings, trouble, plain, transactional, streams: RwLock::default(), closed })
    }

    pub(crate) fn is_open(&self) -> Result<(), TransportError> {
        match *self.closed.borrow() {
            true => Err(TransportError::Closed),
            false => Ok(()),
        }
    }

    /// The prepared stream that captures a topic.
    pub(crate) fn capturing(&self, topic: &Topic) -> Option<Stream> {
        self.streams.read().iter().find(|stream| stream.captures(topic)).cloned()
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
            return Err(trouble.explain(&settings.brokers, "connecting", &error));
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
