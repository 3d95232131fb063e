//! What is given up: kept in a stream of its own, as it came, with the reason in its headers.
//!
//! # Crash points
//! Between the letter and the word to the server that its event is done with: the event is delivered again. Given up again within two minutes it is the same
//! letter, for its message id names subscription, stream and sequence.

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use busway_engine::transport::{Letter, TransportError};

use crate::consumer::Plan;
use crate::desk::Delivery;
use crate::encoding::encoded;
use crate::link::{DEAD_ROOM, Link};
use crate::message::{MESSAGE_ID, headers_len, put};
use crate::{fault, partition, stream};

/// Keeps a delivery as a dead letter: returns when the server has it.
pub(crate) async fn keep(
    link: &Link,
    plan: &Plan,
    delivery: &Delivery,
    letter: &Letter,
) -> Result<(), TransportError> {
    let of = partition::plain(&delivery.message.subject);
    let subject = format!("{}.{}.{of}", link.dead_stream, plan.subscription);
    let limit = link.client.max_payload();
    let headers = headers(plan, delivery, letter, limit)?;
    let len = headers_len(&headers) + delivery.message.payload.len();
    if len > limit {
        return Err(TransportError::TooLarge { len, limit });
    }
    match publish(link, &subject, headers.clone(), delivery).await {
        Ok(()) => Ok(()),
        // Somebody has removed the stream.
        Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
            stream::prepare(link, &stream::dead(link)).await?;
            let again = publish(link, &subject, headers, delivery).await;
            again.map_err(|error| fault::request(&link.address, "keeping a dead letter", &error))
        }
        Err(error) => Err(fault::request(&link.address, "keeping a dead letter", &error)),
    }
}

async fn publish(
    link: &Link,
    subject: &str,
    headers: HeaderMap,
    delivery: &Delivery,
) -> Result<(), PublishError> {
    let message = PublishMessage::build().payload(delivery.message.payload.clone()).headers(headers);
    link.context.send_publish(subject.to_owned(), message).await?.await.map(drop)
}

/// The headers that it had, but for those that mean something to the server, and ours. The reason is cut to the room that is left.
fn headers(
    plan: &Plan,
    delivery: &Delivery,
    letter: &Letter,
    limit: usize,
) -> Result<HeaderMap, TransportError> {
    let mut headers = HeaderMap::new();
    for (name, values) in delivery.message.headers.iter().flat_map(HeaderMap::iter) {
        let text: &str = name.as_ref();
        if !is_reserved(text) {
            values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
        }
    }
    let handler = cut(&letter.handler, HANDLER_BYTES_MAX);
    put(
        &mut headers,
        MESSAGE_ID,
        &format!("dead.{}.{}.{}", plan.subscription, plan.stream, delivery.sequence),
    )?;
    put(&mut headers, "Busway-Dead-Attempts", &letter.attempts.to_string())?;
    put(&mut headers, "Busway-Dead-Handler", &encoded(handler))?;
    put(&mut headers, "Busway-Dead-Subject", &delivery.message.subject)?;
    put(&mut headers, "Busway-Dead-Stream", &plan.stream)?;
    put(&mut headers, "Busway-Dead-Sequence", &delivery.sequence.to_string())?;
    let line = REASON.len() + ": \r\n".len();
    let room = limit.saturating_sub(headers_len(&headers) + delivery.message.payload.len() + line);
    // A byte becomes three at most.
    let whole = encoded(&letter.reason);
    let reason = match whole.len() <= room {
        true => whole,
        false => encoded(cut(&letter.reason, room / 3)),
    };
    put(&mut headers, REASON, &reason)?;
    Ok(headers)
}

/// Whether the server would act on it: an id of its own, an expectation, a time to live.
fn is_reserved(name: &str) -> bool {
    name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("Nats-"))
}

fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

const REASON: &str = "Busway-Dead-Reason";
/// As much of a handler's name as fits beside the rest.
const HANDLER_BYTES_MAX: usize = DEAD_ROOM / 16;
