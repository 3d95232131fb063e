//! Sending: events go to the server in transactions, one behind the other over one connection.

use std::sync::Arc;

use busway_engine::transport::{SendError, Sender, Sent, TransportError, TransportFuture};
use busway_event::AnyEvent;
use tokio::time::Instant;

use super::adding::{self, Chunk, Outgoing};
use super::error::unmappable;
use super::message::Fields;
use super::shared::Shared;
use super::transaction::unsaid;

/// Sends in transactions of some events each, all of them under way at once over one connection, in order.
#[derive(Debug)]
pub(super) struct RedisSender(pub(super) Arc<Shared>);

/// What became of an event; of an error also whether it is certain that the event is not there.
pub(super) type Answer = Result<Sent, (TransportError, bool)>;

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
            for (at, answer) in adding::add(&self.0, &chunks).await {
                set(&mut answers, at, answer);
            }
            self.trim(&chunks).await;
            drop(chunks);
            events
                .into_iter()
                .zip(answers)
                .map(|(event, answer)| told(event, answer.unwrap_or_else(|| Err((unsaid(), false)))))
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
    fn outgoing<'a>(&self, at: usize, event: &'a AnyEvent) -> Result<Outgoing<'a>, TransportError> {
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

    /// Streams that events went to, when it is time to.
    async fn trim(&self, chunks: &[Chunk<'_>]) {
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
}

/// Events of one stream and one transaction each, by partition, in their order: the server does nothing else meanwhile.
fn chunks(outgoing: Vec<Outgoing<'_>>) -> Vec<Chunk<'_>> {
    let (mut chunks, mut bytes) = (Vec::<Chunk<'_>>::new(), 0);
    for message in outgoing {
        let len = message.fields.len();
        let has_room = |chunk: &Chunk<'_>| {
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
    chunks.iter_mut().for_each(|chunk| chunk.sort_by_key(|message| message.partition));
    chunks
}

/// Scripts pass on that many ids at once, with a value each; Lua can take some thousand.
const EVENTS_MAX: usize = 256;
const BYTES_MAX: usize = 1 << 20;
