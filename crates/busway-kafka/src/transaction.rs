//! Transactions: all events of a send are there, or none is.
//!
//! A transaction is begun, filled, and committed or aborted by a task of its own, so that a send that is given up leaves none open. One is under way at a time: they are those of one
//! transactional id.
//!
//! # Crash points
//! A process that dies in the middle leaves a transaction open, which the brokers abort after its time, or as soon as a producer of the same id begins. Until then
//! receivers, which read what is committed, do not get past it.

use std::sync::Arc;

use busway_engine::transport::TransportError;
use busway_event::AnyEvent;
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, Producer as _};
use tokio::time::Instant;

use crate::client::Quiet;
use crate::link::{Link, blocking};
use crate::produce::Unwritten;
use crate::sender::{Answers, send_all};

/// Sends events in one transaction.
pub(crate) async fn send(
    link: &Arc<Link>,
    producer: &Arc<tokio::sync::Mutex<FutureProducer<Quiet>>>,
    events: &[AnyEvent],
) -> Answers {
    if events.is_empty() {
        return Vec::new();
    }
    let (link, producer, all) = (Arc::clone(link), Arc::clone(producer), events.to_vec());
    #[expect(
        clippy::disallowed_methods,
        reason = "a client's own task: a transaction that was begun is ended, whoever waits for it"
    )]
    let task = tokio::spawn(async move {
        let producer = producer.lock().await;
        let begun = Instant::now();
        let answers = whole(&link, &producer, &all).await;
        // librdkafka may throw out what follows an aborted transaction with what was in it (seen with 2.12.1). None of it is there: once more costs nothing.
        match is_repeatable(&answers) && begun.elapsed() < link.settings.timeout / 2 {
            true => whole(&link, &producer, &all).await,
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

async fn whole(link: &Arc<Link>, producer: &FutureProducer<Quiet>, events: &[AnyEvent]) -> Answers {
    let all = |unwritten: &Unwritten| events.iter().map(|_| Err(unwritten.clone())).collect();
    if let Err(error) = producer.begin_transaction() {
        return all(&(link.said("beginning a transaction", &error), true));
    }
    let answers = send_all(link, producer, events).await;
    let failed = answers.iter().find_map(|answer| answer.as_ref().err()).cloned();
    if let Some((reason, _)) = failed {
        let aborted = abort(link, producer).await;
        let others = TransportError::Refused(format!("another event of its transaction failed: {reason}"));
        // What fails for itself says why; of the others, nothing is there.
        return answers
            .into_iter()
            .map(|answer| match answer {
                Err((reason, _)) => Err((reason, aborted.is_ok())),
                Ok(_) if reason.is_transient() => Err((reason.clone(), aborted.is_ok())),
                Ok(_) => Err((others.clone(), aborted.is_ok())),
            })
            .collect();
    }
    match commit(link, producer).await {
        Ok(()) => answers,
        Err(unwritten) => all(&unwritten),
    }
}

async fn commit(link: &Arc<Link>, producer: &FutureProducer<Quiet>) -> Result<(), Unwritten> {
    let (at, committing) = (Arc::clone(link), producer.clone());
    let committed = blocking(move || {
        // Committing may be tried on where its answer did not come; it is the same transaction.
        let mut result = committing.commit_transaction(at.settings.timeout);
        if let Err(KafkaError::Transaction(error)) = &result
            && error.is_retriable()
        {
            result = committing.commit_transaction(at.settings.timeout);
        }
        Ok(result)
    })
    .await
    .map_err(|closed| (closed, false))?;
    let Err(error) = committed else { return Ok(()) };
    let reason = link.said("committing a transaction", &error);
    let is_aborted = match &error {
        KafkaError::Transaction(error) if error.txn_requires_abort() => abort(link, producer).await.is_ok(),
        _ => false,
    };
    Err((reason, is_aborted))
}

async fn abort(link: &Arc<Link>, producer: &FutureProducer<Quiet>) -> Result<(), TransportError> {
    let (at, aborting) = (Arc::clone(link), producer.clone());
    let aborted = blocking(move || {
        aborting
            .abort_transaction(at.settings.timeout)
            .map_err(|error| at.said("aborting a transaction", &error))
    })
    .await;
    if let Err(error) = &aborted {
        tracing::warn!(%error, "a transaction could not be aborted; the brokers do it after its time");
    }
    aborted
}
