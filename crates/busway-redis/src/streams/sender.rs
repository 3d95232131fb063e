//! Sending.

use std::sync::Arc;

use busway_engine::transport::{SendError, Sender, Sent, TransportError, TransportFuture};
use busway_event::AnyEvent;
use bytes::Bytes;
use redis::{Cmd, RedisError, RedisResult, Script};
use tokio::time::Instant;

use super::declaration::Declared;
use super::error::{answered, late, unmappable};
use super::message::{Fields, to_fields};
use super::place::Place;
use super::shared::Shared;

/// Sends in scripts of some events each, all of them under way at once over one connection, in order.
#[derive(Debug)]
pub(super) struct RedisSender(pub(super) Arc<Shared>);

/// An event that is to be sent, as the script wants it.
struct Outgoing {
    /// Which of the events that were handed over.
    at: usize,
    stream: String,
    id: String,
    fields: Fields,
    bytes: usize,
}

type Answer = Result<Sent, (TransportError, bool)>;

impl Sender for RedisSender {
    fn send(&self, events: Vec<AnyEvent>) -> TransportFuture<'_, Vec<Result<Sent, SendError>>> {
        Box::pin(async move {
            let mut answers: Vec<Option<Answer>> = events.iter().map(|_| None).collect();
            let (mut outgoing, mut streams) = (Vec::new(), Vec::<Arc<Declared>>::new());
            for (at, event) in events.iter().enumerate() {
                match self.outgoing(at, event) {
                    Ok((message, declared)) => {
                        outgoing.push(message);
                        if !streams.iter().any(|known| Arc::ptr_eq(known, &declared)) {
                            streams.push(declared);
                        }
                    }
                    Err(error) => set(&mut answers, at, Err((error, true))),
                }
            }
            let chunks = chunks(outgoing);
            let results = self.exchange(&chunks, &streams).await;
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
    fn outgoing(&self, at: usize, event: &AnyEvent) -> Result<(Outgoing, Arc<Declared>), TransportError> {
        self.0.is_closed()?;
        let topic = event.topic();
        let nowhere = || {
            unmappable(
                topic.as_str(),
                "no stream that was prepared captures this topic; declare one that does",
            )
        };
        let declared = self.0.capturing(topic).ok_or_else(nowhere)?;
        let stream = declared.partition(event).cloned().ok_or_else(nowhere)?;
        let (fields, bytes) = to_fields(event)?;
        let id = self.0.names.id(declared.name(), event.id());
        Ok((Outgoing { at, stream, id, fields, bytes }, declared))
    }

    /// All chunks on their way, and then their answers. Trims the streams behind them when it is time to.
    async fn exchange(
        &self,
        chunks: &[Vec<Outgoing>],
        streams: &[Arc<Declared>],
    ) -> Vec<Result<Vec<String>, TransportError>> {
        if chunks.is_empty() {
            return Vec::new();
        }
        let commands: Vec<Cmd> = chunks.iter().map(|chunk| self.command(chunk)).collect();
        let mut results = self.pipeline(&commands).await;
        // The server has lost the script: none of these was done.
        let lost: Vec<usize> =
            results.iter().enumerate().filter(|(_, result)| is_no_script(result)).map(|(at, _)| at).collect();
        if !lost.is_empty() {
            let mut connection = self.0.link.connection.clone();
            if self.0.scripts.send.load_async(&mut connection).await.is_ok() {
                let again: Vec<Cmd> = lost.iter().filter_map(|at| commands.get(*at).cloned()).collect();
                for (at, result) in lost.into_iter().zip(self.pipeline(&again).await) {
                    if let Some(slot) = results.get_mut(at) {
                        *slot = result;
                    }
                }
            }
        }
        let now = Instant::now();
        for declared in streams {
            if let Some(kept) = declared.retention_due(now)
                && let Err(error) = self.0.run::<u64>(&self.0.trimming(declared, kept)).await
            {
                tracing::warn!(stream = declared.name(), %error, "a stream was not trimmed");
            }
        }
        let said =
            |result: Chunked| result.map_err(|error| error.unwrap_or_else(|error| self.0.said(&error)));
        results.into_iter().map(said).collect()
    }

    fn command(&self, chunk: &[Outgoing]) -> Cmd {
        let script: &Script = &self.0.scripts.send;
        let mut command = redis::cmd("EVALSHA");
        command.arg(script.get_hash()).arg(2 * chunk.len());
        for message in chunk {
            command.arg(&message.stream).arg(&message.id);
        }
        command.arg(u64::try_from(self.0.window.as_millis()).unwrap_or(u64::MAX).max(1));
        for message in chunk {
            command.arg(message.fields.len());
            for value in &message.fields {
                command.arg(AsRef::<[u8]>::as_ref(value as &Bytes));
            }
        }
        command
    }

    async fn pipeline(&self, commands: &[Cmd]) -> Vec<Chunked> {
        let mut pipe = redis::pipe();
        for command in commands {
            pipe.add_command(command.clone());
        }
        let mut connection = self.0.link.connection.clone();
        let sending = pipe.ignore_errors().query_async::<Vec<RedisResult<Vec<String>>>>(&mut connection);
        match tokio::time::timeout(self.0.timeout, sending).await {
            Ok(Ok(results)) => results.into_iter().map(|result| result.map_err(Err)).collect(),
            Ok(Err(error)) => commands.iter().map(|_| Err(Err(error.clone()))).collect(),
            Err(_) => commands.iter().map(|_| Err(Ok(late(&self.0.link.server, self.0.timeout)))).collect(),
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
                    set(answers, message.at, self.read(&message.stream, &text));
                }
            }
            Err(error) => {
                // Whoever is not let in, and a server that says no to a whole script, have done nothing.
                let is_refused = !error.is_transient();
                chunk.iter().for_each(|message| set(answers, message.at, Err((error.clone(), is_refused))));
            }
        }
    }

    fn read(&self, stream: &str, text: &str) -> Answer {
        if text == "-GONE" {
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

/// Events of one script each: the server does nothing else meanwhile.
fn chunks(outgoing: Vec<Outgoing>) -> Vec<Vec<Outgoing>> {
    let (mut chunks, mut bytes) = (Vec::<Vec<Outgoing>>::new(), 0);
    for message in outgoing {
        let is_full = |chunk: &Vec<Outgoing>| chunk.len() >= EVENTS_MAX || bytes + message.bytes > BYTES_MAX;
        match chunks.last_mut().filter(|chunk| !is_full(chunk)) {
            Some(chunk) => {
                bytes += message.bytes;
                chunk.push(message);
            }
            None => {
                bytes = message.bytes;
                chunks.push(vec![message]);
            }
        }
    }
    chunks
}

const EVENTS_MAX: usize = 64;
const BYTES_MAX: usize = 1 << 20;
