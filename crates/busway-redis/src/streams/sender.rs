//! Sending.

use std::sync::Arc;

use busway_engine::transport::{SendError, Sender, Sent, TransportError, TransportFuture};
use busway_event::AnyEvent;
use redis::{Pipeline, RedisError, RedisResult, Script};
use tokio::time::Instant;

use super::declaration::Declared;
use super::error::{answered, late, unmappable};
use super::message::Fields;
use super::place::Place;
use super::shared::Shared;

/// Sends in scripts of some events each, all of them under way at once over one connection, in order.
#[derive(Debug)]
pub(super) struct RedisSender(pub(super) Arc<Shared>);

/// An event that is to be sent, as the script wants it.
struct Outgoing {
    /// Which of the events that were handed over.
    at: usize,
    declared: Arc<Declared>,
    partition: usize,
    id: [u8; 16],
    fields: Fields,
}

type Answer = Result<Sent, (TransportError, bool)>;

impl Sender for RedisSender {
    fn send(&self, events: Vec<AnyEvent>) -> TransportFuture<'_, Vec<Result<Sent, SendError>>> {
        Box::pin(async move {
            let mut answers: Vec<Option<Answer>> = events.iter().map(|_| None).collect();
            let mut outgoing = Vec::with_capacity(events.len());
            for (at, event) in events.iter().enumerate() {
                match self.outgoing(at, event) {
                    Ok(message) => outgoing.push(message),
                    Err(error) => set(&mut answers, at, Err((error, true))),
                }
            }
            let chunks = chunks(outgoing);
            let results = self.exchange(&chunks).await;
            for (chunk, result) in chunks.iter().zip(results) {
                self.answer(chunk, result, &mut answers);
            }
            let unsaid =
                || Err((TransportError::Refused("the server has not said anything".to_owned()), false));
            events
                .into_iter()
                .zip(answers)
                .map(|(event, answer)| told(event, answer.unwrap_or_else(unsaid)))
                .collect()
        })
    }
}

fn told(event: AnyEvent, answer: Answer) -> Result<Sent, SendError> {
    answer.map_err(|(reason, is_refused)| match is_refused {
        true => SendError::refused(event, reason),
        false => SendError::unknown(event, reason),
    })
}

fn set(answers: &mut [Option<Answer>], at: usize, answer: Answer) {
    if let Some(slot) = answers.get_mut(at) {
        *slot = Some(answer);
    }
}

impl RedisSender {
    fn outgoing(&self, at: usize, event: &AnyEvent) -> Result<Outgoing, TransportError> {
        self.0.is_closed()?;
        let topic = event.topic();
        let declared = self.0.capturing(topic).ok_or_else(|| {
            unmappable(
                topic.as_str(),
                "no stream that was prepared captures this topic; declare one that does",
            )
        })?;
        let partition = declared.partition(event);
        let id = *event.id().as_uuid().as_bytes();
        Ok(Outgoing { at, declared, partition, id, fields: Fields::of(event)? })
    }

    /// All chunks on their way, and then their answers. Trims the streams behind them when it is time to.
    async fn exchange(&self, chunks: &[Vec<Outgoing>]) -> Vec<Result<Vec<String>, TransportError>> {
        if chunks.is_empty() {
            return Vec::new();
        }
        let all: Vec<_> = chunks.iter().collect();
        let mut results = self.pipeline(&all).await;
        // The server has lost the script: none of these was done.
        let lost: Vec<usize> =
            results.iter().enumerate().filter(|(_, result)| is_no_script(result)).map(|(at, _)| at).collect();
        if !lost.is_empty() {
            let mut connection = self.0.link.connection.clone();
            if self.0.scripts.send.load_async(&mut connection).await.is_ok() {
                let again: Vec<_> = lost.iter().filter_map(|at| chunks.get(*at)).collect();
                for (at, result) in lost.into_iter().zip(self.pipeline(&again).await) {
                    if let Some(slot) = results.get_mut(at) {
                        *slot = result;
                    }
                }
            }
        }
        self.trim(chunks).await;
        let said =
            |result: Chunked| result.map_err(|error| error.unwrap_or_else(|error| self.0.said(&error)));
        results.into_iter().map(said).collect()
    }

    async fn trim(&self, chunks: &[Vec<Outgoing>]) {
        let now = Instant::now();
        for declared in chunks.iter().filter_map(|chunk| Some(&chunk.first()?.declared)) {
            // Once it was trimmed it is not due for a while.
            if let Some(kept) = declared.retention_due(now)
                && let Err(error) = self.0.run::<u64>(&self.0.trimming(declared, kept)).await
            {
                tracing::warn!(stream = declared.name(), %error, "a stream was not trimmed");
            }
        }
    }

    /// Adds the call of the script for a chunk, whose events are of one stream.
    fn call(&self, pipe: &mut Pipeline, chunk: &[Outgoing]) {
        let script: &Script = &self.0.scripts.send;
        let Some(Outgoing { declared, .. }) = chunk.first() else { return };
        pipe.cmd("EVALSHA").arg(script.get_hash()).arg(declared.partitions.len() + 1);
        declared.partitions.iter().for_each(|key| _ = pipe.arg(key));
        pipe.arg(self.0.names.ids(declared.name()));
        pipe.arg(u64::try_from(self.0.window.as_millis()).unwrap_or(u64::MAX).clamp(1, WINDOW_MS_MAX));
        for message in chunk {
            // The script counts from 1.
            pipe.arg(message.partition + 1).arg(&message.id[..]).arg(message.fields.count());
            message.fields.each(|value| _ = pipe.arg(value));
        }
    }

    async fn pipeline(&self, chunks: &[&Vec<Outgoing>]) -> Vec<Chunked> {
        let mut pipe = redis::pipe();
        chunks.iter().for_each(|chunk| self.call(&mut pipe, chunk));
        let mut connection = self.0.link.connection.clone();
        let sending = pipe.ignore_errors().query_async::<Vec<RedisResult<Vec<String>>>>(&mut connection);
        match tokio::time::timeout(self.0.timeout, sending).await {
            Ok(Ok(results)) => results.into_iter().map(|result| result.map_err(Err)).collect(),
            Ok(Err(error)) => chunks.iter().map(|_| Err(Err(error.clone()))).collect(),
            Err(_) => chunks.iter().map(|_| Err(Ok(late(&self.0.link.server, self.0.timeout)))).collect(),
        }
    }

    fn answer(
        &self,
        chunk: &[Outgoing],
        result: Result<Vec<String>, TransportError>,
        answers: &mut [Option<Answer>],
    ) {
        match result {
            Ok(texts) => {
                for (message, text) in chunk.iter().zip(texts) {
                    set(answers, message.at, self.read(message, &text));
                }
            }
            Err(error) => {
                // Whoever is not let in, and a server that says no to a whole script, have done nothing.
                let is_refused = !error.is_transient();
                chunk.iter().for_each(|message| set(answers, message.at, Err((error.clone(), is_refused))));
            }
        }
    }

    fn read(&self, message: &Outgoing, text: &str) -> Answer {
        if text == "-GONE" {
            let stream = message.declared.partitions.get(message.partition).map_or("", String::as_str);
            let reason = "the server has lost it, or somebody has removed it; prepare it again".to_owned();
            return Err((TransportError::Gone { what: format!("stream {stream}"), reason }, true));
        }
        if let Some(reason) = text.strip_prefix('-') {
            return Err((answered(&self.0.link.server, reason), true));
        }
        let (place, is_duplicate) = match text.strip_prefix('=') {
            Some(place) => (place, true),
            None => (text, false),
        };
        let sent = Sent::new(self.0.capabilities.durability()).duplicate(is_duplicate);
        Ok(match Place::parse(place).and_then(Place::offset) {
            Some(offset) => sent.at(offset),
            None => sent,
        })
    }
}

/// What a chunk came to: an error of this side, or what the server or the connection said.
type Chunked = Result<Vec<String>, Result<TransportError, RedisError>>;

fn is_no_script(result: &Chunked) -> bool {
    matches!(result, Err(Err(error)) if error.code() == Some("NOSCRIPT"))
}

/// Events of one stream and one script each: the server does nothing else meanwhile.
fn chunks(outgoing: Vec<Outgoing>) -> Vec<Vec<Outgoing>> {
    let (mut chunks, mut bytes) = (Vec::<Vec<Outgoing>>::new(), 0);
    for message in outgoing {
        let len = message.fields.len();
        let has_room = |chunk: &Vec<Outgoing>| {
            chunk.first().is_some_and(|first| Arc::ptr_eq(&first.declared, &message.declared))
                && chunk.len() < EVENTS_MAX
                && bytes + len <= BYTES_MAX
        };
        if let Some(chunk) = chunks.last_mut().filter(|chunk| has_room(chunk)) {
            bytes += len;
            chunk.push(message);
        } else {
            bytes = len;
            chunks.push(vec![message]);
        }
    }
    chunks
}

const EVENTS_MAX: usize = 64;
const BYTES_MAX: usize = 1 << 20;
/// A century: numbers of a script are exact up to there, twice over.
const WINDOW_MS_MAX: u64 = 100 * 365 * 86_400_000;
