//! Transactions: all events of a send are there, or none is.
//!
//! A transaction is begun, filled, and committed or aborted by a task of its own, so that a send that is given up leaves none open. One is under way at a time: they are those of one
//! transactional id.
//!
//! # Crash points
//! A process that dies in the middle leaves a transaction open, which the brokers abort after its time, or as soon as a producer of the same id begins. Until then
//! receivers, which read what is committed, do not get past it.
//!
//! # An end that is not confirmed
//! Where no broker answers in time, nobody knows whether a transaction has ended, and librdkafka takes no other call until the same end has been asked for again: it is remembered
//! with the producer, and asked for before the next transaction begins.
//!
//! # A producer that has come to its end
//! Another one of the same id comes in its place, and the transaction that the first left open is aborted by that. Not where the end is another producer of the id: then its sender is
//! [`Closed`](TransportError::Closed), for two that shut each other out would get nowhere.

use std::sync::Arc;

use busway_engine::transport::TransportError;
use busway_event::AnyEvent;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaError};
use rdkafka::producer::{FutureProducer, Producer as _};
use tokio::time::Instant;

use crate::client::Quiet;
use crate::fault::{is_shut_out, of_fatal};
use crate::link::{ANOTHER_EVERY, Link, blocking};
use crate::produce::Unwritten;
use crate::sender::{Answers, build, send_all};

/// The producer of transactions, and the end of the last one if it is not confirmed.
pub(crate) struct Writer {
    producer: FutureProducer<Quiet>,
    open: Option<End>,
    /// When it was made, or another was asked for in its place.
    made: Instant,
}

/// How a transaction is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Abort,
}

impl Writer {
    pub(crate) fn new(producer: FutureProducer<Quiet>) -> Self {
        Self { producer, open: None, made: Instant::now() }
    }
}

/// Sends events in one transaction.
pub(crate) async fn send(
    link: &Arc<Link>,
    writer: &Arc<tokio::sync::Mutex<Writer>>,
    events: &[AnyEvent],
) -> Answers {
    if events.is_empty() {
        return Vec::new();
    }
    let (link, writer, all) = (Arc::clone(link), Arc::clone(writer), events.to_vec());
    #[expect(
        clippy::disallowed_methods,
        reason = "a client's own task: a transaction that was begun is ended, whoever waits for it"
    )]
    let task = tokio::spawn(async move {
        // A tokio mutex, held over the whole of a transaction: that is what makes them one at a time.
        let mut writer = writer.lock().await;
        let begun = Instant::now();
        let answers = whole(&link, &mut writer, &all).await;
        // librdkafka may throw out what follows an aborted transaction with what was in it (seen with 2.12.1). None of it is there: once more costs nothing.
        match is_repeatable(&answers) && begun.elapsed() < link.settings.timeout / 2 {
            true => whole(&link, &mut writer, &all).await,
            false => answers,
        }
    });
    let ended = || events.iter().map(|_| Err((TransportError::Closed, false))).collect();
    task.await.unwrap_or_else(|_| ended())
}

/// Whether none of it is there, and all of it may be another time.
fn is_repeatable(answers: &Answers) -> bool {
    answers.iter().all(|answer| matches!(answer, Err((reason, true)) if reason.is_transient()))
}

async fn whole(link: &Arc<Link>, writer: &mut Writer, events: &[AnyEvent]) -> Answers {
    let all = |unwritten: &Unwritten| events.iter().map(|_| Err(unwritten.clone())).collect();
    let built: Vec<_> = events.iter().map(|event| build(link, event)).collect();
    if let Some(reason) = built.iter().find_map(|built| built.as_ref().err()) {
        // Nobody has heard of any of it: there is nothing to abort.
        let others = beside(link, reason);
        let answer = |built| match built {
            Ok(_) => Err((others.clone(), true)),
            Err(reason) => Err((reason, true)),
        };
        return built.into_iter().map(answer).collect();
    }
    if let Err(reason) = begin(link, writer).await {
        return all(&(reason, true));
    }
    let answers = send_all(link, &writer.producer, built).await;
    let failed = || answers.iter().filter_map(|answer| answer.as_ref().err());
    let culprit = failed().find(|(reason, _)| !reason.is_transient()).or_else(|| failed().next()).cloned();
    if let Some((reason, _)) = culprit {
        let is_aborted = end(link, writer, End::Abort).await.is_ok();
        let others = beside(link, &reason);
        // What fails for itself says why; of the others, nothing is there.
        let answer = |answer| match answer {
            Err((reason, is_certain)) => Err((reason, is_certain || is_aborted)),
            Ok(_) => Err((others.clone(), is_aborted)),
        };
        return answers.into_iter().map(answer).collect();
    }
    match end(link, writer, End::Commit).await {
        Ok(()) => answers,
        Err(unwritten) => all(&unwritten),
    }
}

/// What is said of an event whose transaction failed for another: sent without that one it may succeed.
fn beside(link: &Link, reason: &TransportError) -> TransportError {
    match reason {
        TransportError::Closed => TransportError::Closed,
        reason => TransportError::Unreachable {
            address: link.settings.brokers.clone(),
            reason: format!("another event of its transaction failed: {reason}"),
        },
    }
}

/// Takes another producer where this one has come to its end, but for one of its own id. Not more often than once a second.
async fn revive(link: &Arc<Link>, writer: &mut Writer) -> Result<(), TransportError> {
    let Some((code, said)) = writer.producer.client().fatal_error() else { return Ok(()) };
    if is_shut_out(code) || writer.made.elapsed() < ANOTHER_EVERY {
        return Err(of_fatal(&link.settings.brokers, "beginning a transaction", code, &said, true));
    }
    writer.made = Instant::now();
    let at = Arc::clone(link);
    *writer = Writer::new(blocking(move || at.transactional_anew()).await?);
    Ok(())
}

/// Begins a transaction, when the one before has ended.
async fn begin(link: &Arc<Link>, writer: &mut Writer) -> Result<(), TransportError> {
    revive(link, writer).await?;
    if let Some(open) = writer.open {
        let ended = end(link, writer, open).await;
        // One that turned out to be aborted has ended too.
        if writer.open.is_some() {
            return ended.map_err(|(reason, _)| reason);
        }
    }
    let (at, producer) = (Arc::clone(link), writer.producer.clone());
    let begun = blocking(move || {
        Ok(producer.begin_transaction().map_err(|error| {
            let needs_abort = native(&error).is_some_and(RDKafkaError::txn_requires_abort);
            (at.said_of(&producer, "beginning a transaction", &error), needs_abort)
        }))
    });
    begun.await?.map_err(|(reason, needs_abort)| {
        writer.open = needs_abort.then_some(End::Abort);
        reason
    })
}

/// Ends a transaction. An error says whether nothing of it is there; one that may be cured by asking again stays open.
async fn end(link: &Arc<Link>, writer: &mut Writer, how: End) -> Result<(), Unwritten> {
    let (at, producer) = (Arc::clone(link), writer.producer.clone());
    // Open, until somebody knows better: also where the runtime goes down within it.
    writer.open = Some(how);
    let ended = blocking(move || Ok(ended(&at, &producer, how))).await;
    let (result, open) = ended.map_err(|closed| (closed, false))?;
    writer.open = open;
    if let Err((error, _)) = &result {
        tracing::warn!(%error, ?how, "a transaction has not ended as it was to");
    }
    result
}

/// The end of a transaction, and what of it is open. Blocks.
fn ended(link: &Link, producer: &FutureProducer<Quiet>, how: End) -> (Result<(), Unwritten>, Option<End>) {
    let Err(error) = twice(link, producer, how) else { return (Ok(()), None) };
    let (what, native) = (format!("ending a transaction by {how:?}"), native(&error));
    let reason = link.said_of(producer, &what, &error);
    if native.is_some_and(RDKafkaError::is_retriable) {
        return (Err((reason, false)), Some(how));
    }
    if how == End::Abort || !native.is_some_and(RDKafkaError::txn_requires_abort) {
        return (Err((reason, false)), None);
    }
    match ended(link, producer, End::Abort) {
        (Ok(()), _) => (Err((reason, true)), None),
        (Err(_), open) => (Err((reason, false)), open),
    }
}

/// Once more where the answer did not come: it is the same transaction.
fn twice(link: &Link, producer: &FutureProducer<Quiet>, how: End) -> KafkaResult<()> {
    let once = || match how {
        End::Commit => producer.commit_transaction(link.settings.timeout),
        End::Abort => producer.abort_transaction(link.settings.timeout),
    };
    match once() {
        Err(error) if native(&error).is_some_and(RDKafkaError::is_retriable) => once(),
        ended => ended,
    }
}

/// What librdkafka says of it, which knows more than a code.
const fn native(error: &KafkaError) -> Option<&RDKafkaError> {
    match error {
        KafkaError::Transaction(native) => Some(native),
        _ => None,
    }
}
