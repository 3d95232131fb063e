//! What is given up: kept in a stream of its own, as it came, with the reason in its headers.
//!
//! # What does not fit
//! A message of another program may leave no room for the reason within the server's `max_payload`, or within the 64 KiB that headers may have. Its letter is kept in several messages then if need be, and nothing of it is left out: the first
//! part is the letter, with the headers, the reason and `Busway-Dead-Parts`; the others follow it in the count of `Busway-Dead-Part`, and bear its payload on. Where the headers of the message alone
//! leave no room beside ours, they stand before the payload, as many bytes as `Busway-Dead-Headers-Bytes` says.
//!
//! # Crash points
//! Between the letter and the word to the server that its event is done with: the event is delivered again. Given up again within two minutes it is the same
//! letter, for its message id names subscription, stream and sequence. Parts are written before their letter, which is the last: a letter that is there is whole. Parts
//! without one are of an event that is not done with.

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use busway_engine::transport::{Letter, TransportError};
use bytes::Bytes;

use crate::consumer::Plan;
use crate::desk::Delivery;
use crate::encoding::encoded;
use crate::link::{DEAD_ROOM, Link};
use crate::message::{MESSAGE_ID, headers_len, put};
use crate::{fault, partition, stream};

/// A message of a letter.
type Part = (HeaderMap, Bytes);

/// Keeps a delivery as a dead letter: returns when the server has it.
pub(crate) async fn keep(
    link: &Link,
    plan: &Plan,
    delivery: &Delivery,
    letter: &Letter,
) -> Result<(), TransportError> {
    let of = partition::plain(&delivery.message.subject);
    let subject = format!("{}.{}.{of}", link.dead_stream, plan.subscription);
    for part in parts(plan, delivery, letter, link.client.max_payload())? {
        keep_part(link, &subject, part).await?;
    }
    Ok(())
}

async fn keep_part(link: &Link, subject: &str, part: Part) -> Result<(), TransportError> {
    match publish(link, subject, part.clone()).await {
        Ok(()) => Ok(()),
        // Somebody has removed the stream.
        Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
            stream::prepare(link, &stream::dead(link)).await?;
            let again = publish(link, subject, part).await;
            again.map_err(|error| fault::request(&link.address, "keeping a dead letter", &error))
        }
        Err(error) => Err(fault::request(&link.address, "keeping a dead letter", &error)),
    }
}

async fn publish(link: &Link, subject: &str, (headers, payload): Part) -> Result<(), PublishError> {
    let message = PublishMessage::build().payload(payload).headers(headers);
    link.context.send_publish(subject.to_owned(), message).await?.await.map(drop)
}

/// The messages of a letter in the order in which they are written: one where it fits, or its parts from the last to the first.
fn parts(
    plan: &Plan,
    delivery: &Delivery,
    letter: &Letter,
    limit: usize,
) -> Result<Vec<Part>, TransportError> {
    let (theirs, payload) = (kept(delivery), delivery.message.payload.clone());
    let ours = named(plan, delivery, letter)?;
    let mut whole = theirs.clone();
    add(&mut whole, &ours);
    let (headers_max, taken) = (limit.min(HEADERS_BYTES_MAX), headers_len(&whole) + REASON_LINE);
    if let Some(room) = limit.saturating_sub(payload.len()).min(headers_max).checked_sub(taken) {
        put(&mut whole, REASON, &reason(letter, room))?;
        return Ok(vec![(whole, payload)]);
    }
    // Theirs in the payload where nothing else would have room beside them.
    let (mut first, content) = match headers_len(&whole) + DEAD_ROOM <= headers_max {
        true => (whole, payload),
        false => {
            let lines = lines(&theirs);
            let mut ours = ours;
            put(&mut ours, "Busway-Dead-Headers-Bytes", &lines.len().to_string())?;
            (ours, [&lines, payload.as_ref()].concat().into())
        }
    };
    let len = headers_len(&first) + REASON_LINE + PARTS_LINE;
    let Some(room) = headers_max.checked_sub(len + 1) else {
        return Err(TransportError::TooLarge { len: len + 1, limit });
    };
    put(&mut first, REASON, &reason(letter, room / 2))?;
    let (head, rest) = cut_off(&content, limit.saturating_sub(headers_len(&first) + PARTS_LINE));
    let mut parts = followers(plan, delivery, rest, limit)?;
    if !parts.is_empty() {
        put(&mut first, PARTS, &(parts.len() + 1).to_string())?;
    }
    parts.reverse();
    parts.push((first, head));
    Ok(parts)
}

/// What did not fit into the letter, from its second part on.
fn followers(
    plan: &Plan,
    delivery: &Delivery,
    mut rest: Bytes,
    limit: usize,
) -> Result<Vec<Part>, TransportError> {
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let number = parts.len() + 2;
        let mut headers = HeaderMap::new();
        put(&mut headers, MESSAGE_ID, &format!("{}.{number}", id(plan, delivery)))?;
        put(&mut headers, "Busway-Dead-Part", &number.to_string())?;
        put(&mut headers, "Busway-Dead-Stream", &plan.stream)?;
        put(&mut headers, "Busway-Dead-Sequence", &delivery.sequence.to_string())?;
        let len = headers_len(&headers);
        if len >= limit {
            return Err(TransportError::TooLarge { len: len + 1, limit });
        }
        let (part, left) = cut_off(&rest, limit - len);
        parts.push((headers, part));
        rest = left;
    }
    Ok(parts)
}

/// The first bytes, and all others.
fn cut_off(bytes: &Bytes, room: usize) -> (Bytes, Bytes) {
    let at = room.min(bytes.len());
    (bytes.slice(..at), bytes.slice(at..))
}

/// The headers that it had, but for those that mean something to the server.
fn kept(delivery: &Delivery) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, values) in delivery.message.headers.iter().flat_map(HeaderMap::iter) {
        let text: &str = name.as_ref();
        if !is_reserved(text) {
            values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
        }
    }
    headers
}

/// Ours, but for the reason.
fn named(plan: &Plan, delivery: &Delivery, letter: &Letter) -> Result<HeaderMap, TransportError> {
    let mut headers = HeaderMap::new();
    let handler = cut(&letter.handler, HANDLER_BYTES_MAX);
    put(&mut headers, MESSAGE_ID, &id(plan, delivery))?;
    put(&mut headers, "Busway-Dead-Attempts", &letter.attempts.to_string())?;
    put(&mut headers, "Busway-Dead-Handler", &encoded(handler))?;
    put(&mut headers, "Busway-Dead-Subject", &delivery.message.subject)?;
    put(&mut headers, "Busway-Dead-Stream", &plan.stream)?;
    put(&mut headers, "Busway-Dead-Sequence", &delivery.sequence.to_string())?;
    Ok(headers)
}

/// Each of `some` in the place of what was called so.
fn add(headers: &mut HeaderMap, some: &HeaderMap) {
    for (name, values) in some.iter() {
        values.iter().for_each(|value| headers.insert(name.clone(), value.clone()));
    }
}

fn id(plan: &Plan, delivery: &Delivery) -> String {
    format!("dead.{}.{}.{}", plan.subscription, plan.stream, delivery.sequence)
}

/// The reason, cut to the room that there is.
fn reason(letter: &Letter, room: usize) -> String {
    let whole = encoded(&letter.reason);
    match whole.len() <= room {
        true => whole.into_owned(),
        // A byte becomes three at most.
        false => encoded(cut(&letter.reason, room / 3)).into_owned(),
    }
}

/// Headers as they stand in a message.
fn lines(headers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, values) in headers.iter() {
        let name: &str = name.as_ref();
        for value in values {
            lines.extend([name.as_bytes(), b": ", value.as_str().as_bytes(), b"\r\n"].concat());
        }
    }
    lines
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
const REASON_LINE: usize = REASON.len() + ": \r\n".len();
const PARTS: &str = "Busway-Dead-Parts";
/// With as many digits as a count may have.
const PARTS_LINE: usize = PARTS.len() + ": \r\n".len() + 20;
/// A stream takes no longer headers (seen with 2.15.1): their length is a number of 16 bits there.
const HEADERS_BYTES_MAX: usize = 65_535;
/// As much of a handler's name as fits beside the rest.
const HANDLER_BYTES_MAX: usize = DEAD_ROOM / 16;
