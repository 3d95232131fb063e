//! Fetching by the script, which looks at everything: its answer as deliveries. What is only new is fetched without it, in `new`.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::{TransportError, Unreadable};
use busway_event::{AnyEvent, Filter};
use bytes::Bytes;
use redis::Value;
use tokio::time::Instant;

use super::error::late;
use super::held::Delivery;
use super::message::from_fields;
use super::shared::Shared;
use crate::line::Line;

/// A membership: what every question to the server says.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) shared: Arc<Shared>,
    pub(super) stream: String,
    pub(super) group: String,
    pub(super) member: String,
    pub(super) filter: Filter,
    pub(super) ack_wait: Duration,
    /// The incarnation of the stream that was joined.
    pub(super) born: String,
    /// For each partition its stream and its times.
    pub(super) keys: Vec<(String, String)>,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) room: usize,
    /// What the member had before it began, or before an answer was lost.
    pub(super) before: bool,
    /// What lies too long at others.
    pub(super) sweep: bool,
    /// The partition to begin with.
    pub(super) turn: usize,
    pub(super) held: Vec<Delivery>,
    /// Whether what is new is likely to be all there is: without the script then, unless there is less room than there are partitions.
    pub(super) only_new: bool,
}

/// What came.
#[derive(Debug)]
pub(super) struct Fetched {
    /// When it was asked for: not later than the server's own reading.
    pub(super) asked: Instant,
    /// The time until the next one is due again.
    pub(super) due: Option<Duration>,
    pub(super) seen_all: bool,
    /// For each partition the place up to which was read. None when only what is new was asked for.
    pub(super) places: Vec<String>,
    /// Whether as much is new as there was room for, and nothing is due again: more of that is likely to be there.
    pub(super) more_new: bool,
    pub(super) entries: Vec<Entry>,
    /// Entries that the filter leaves out; they are settled.
    pub(super) skipped: usize,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) delivery: Delivery,
    pub(super) event: Result<AnyEvent, Box<Unreadable>>,
}

impl Membership {
    /// Asks the server, and settles what the filter leaves out.
    pub(super) async fn fetch(self: Arc<Self>, question: Question) -> Result<Fetched, TransportError> {
        let mut fetched = match question.room / self.keys.len().max(1) {
            each @ 1.. if question.only_new => self.fetch_new(each).await?,
            _ => self.fetch_all(&question).await?,
        };
        let all = fetched.entries.len();
        let (kept, left_out): (Vec<_>, Vec<_>) = fetched.entries.into_iter().partition(|entry| {
            // Of what cannot be read nobody knows the topic: every subscription gets it.
            entry.event.as_ref().map_or(true, |event| self.filter.matches(event.topic()))
        });
        fetched.entries = kept;
        fetched.skipped = all - fetched.entries.len();
        self.leave_out(&left_out).await;
        Ok(fetched)
    }

    async fn fetch_all(&self, question: &Question) -> Result<Fetched, TransportError> {
        let asked = Instant::now();
        let shared = &self.shared;
        let mut script = shared.scripts.fetch.key(shared.names.declaration(&self.stream));
        for (stream, again) in &self.keys {
            script.key(stream).key(again);
        }
        script.arg(&self.born).arg(&self.group).arg(&self.member).arg(millis(self.ack_wait));
        script
            .arg(question.room)
            .arg(u8::from(question.before))
            .arg(u8::from(question.sweep))
            .arg(question.turn);
        for delivery in &question.held {
            script.arg(format!("{}/{}", delivery.partition, delivery.id));
        }
        let answer: Value = shared.run(&script).await?;
        let mut fetched = self.read(answer, asked).ok_or_else(|| self.unknown())?;
        fetched.more_new = fetched.entries.len() >= question.room && fetched.due != Some(Duration::ZERO);
        Ok(fetched)
    }

    /// When this fails they come again when their time is over, and are left out then.
    async fn leave_out(&self, entries: &[Entry]) {
        if entries.is_empty() {
            return;
        }
        let mut pipe = redis::pipe();
        for (at, (stream, _)) in self.keys.iter().enumerate() {
            let mut ids = entries.iter().filter(|entry| entry.delivery.partition == at).peekable();
            if ids.peek().is_none() {
                continue;
            }
            pipe.cmd("XACK").arg(stream).arg(&self.group);
            ids.for_each(|entry| _ = pipe.arg(&entry.delivery.id));
        }
        let mut connection = self.shared.link.connection.clone();
        let told = tokio::time::timeout(self.shared.timeout, pipe.exec_async(&mut connection)).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::debug!(subscription = self.group, "entries that are left out will come again");
        }
    }

    fn read(&self, answer: Value, asked: Instant) -> Option<Fetched> {
        let [due, seen_all, places, entries] = <[Value; 4]>::try_from(array(answer)?).ok()?;
        let entries = array(entries)?.into_iter().map(|entry| self.entry(entry)).collect::<Option<_>>()?;
        Some(Fetched {
            asked,
            due: u64::try_from(int(&due)?).ok().map(Duration::from_millis),
            seen_all: int(&seen_all)? == 1,
            places: array(places)?.into_iter().map(text).collect::<Option<_>>()?,
            more_new: false,
            entries,
            skipped: 0,
        })
    }

    pub(super) fn unknown(&self) -> TransportError {
        let server = &self.shared.link.server;
        TransportError::Refused(format!("the Redis server {server} answers what was not asked for"))
    }

    fn entry(&self, entry: Value) -> Option<Entry> {
        let [partition, id, count, fields] = <[Value; 4]>::try_from(array(entry)?).ok()?;
        let (partition, id) = (usize::try_from(int(&partition)?).ok()?, text(id)?);
        let count = u32::try_from(int(&count)?).unwrap_or(u32::MAX);
        self.delivered(Delivery { partition, id, count }, fields)
    }

    pub(super) fn delivered(&self, delivery: Delivery, fields: Value) -> Option<Entry> {
        let fields = array(fields)?.into_iter().map(bytes).collect::<Option<Vec<_>>>()?;
        let (stream, _) = self.keys.get(delivery.partition)?;
        let event = from_fields(format!("{stream} {}", delivery.id), fields);
        Some(Entry { delivery, event })
    }

    /// Waits until there is something behind these places, or for a while. Changes nothing at the server.
    pub(super) async fn wait(
        self: Arc<Self>,
        mut connection: Line,
        places: Vec<String>,
    ) -> Result<(), TransportError> {
        let mut question = redis::cmd("XREAD");
        question.arg("COUNT").arg(1).arg("BLOCK").arg(millis(BLOCK)).arg("STREAMS");
        self.keys.iter().for_each(|(stream, _)| _ = question.arg(stream));
        question.arg(&places);
        let limit = BLOCK + self.shared.timeout;
        let answer = tokio::time::timeout(limit, question.query_async::<Value>(&mut connection)).await;
        let answer = answer.map_err(|_| late(&self.shared.link.server, limit))?;
        answer.map(drop).map_err(|error| self.shared.said(&error))
    }
}

pub(super) fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

pub(super) fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(Bytes::from(bytes)),
        Value::SimpleString(text) => Some(Bytes::from(text)),
        _ => None,
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?.into()).ok()
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A question that nobody waits for any longer is over by then.
const BLOCK: Duration = Duration::from_secs(5);
