//! Adding events to partitions, each once.
//!
//! A chunk of events is one transaction: the commands that add them, and behind them a script that is given their ids alone. It remembers the ids, and removes what
//! was there already; nobody sees anything between. So the events themselves never pass through a script.
//!
//! # When it breaks off
//! | where | what is there |
//! |---|---|
//! | the connection ends before the whole transaction has come | nothing: the server forgets what it has queued |
//! | the server says no to one of the commands when it queues them | nothing: it runs none |
//! | the stream is not there | nothing, and no id of its partition is remembered |
//! | the ids cannot be remembered | nothing: what was added is removed again, unless that fails too; then nobody knows |
//! | the server ends | all or nothing: a transaction is one piece of its append-only file |
//! | the answer is lost | all; sent again they are told to be there already |

use std::sync::Arc;

use busway_engine::transport::{Sent, TransportError};
use redis::{Cmd, Pipeline, Value};

use super::declaration::Declared;
use super::first;
use super::message::Fields;
use super::place::Place;
use super::sender::Answer;
use super::shared::Shared;
use super::transaction::{self, executed, unsaid};

/// An event that is to be sent.
pub(super) struct Outgoing<'a> {
    /// Which of the events that were handed over.
    pub(super) at: usize,
    pub(super) declared: Arc<Declared>,
    pub(super) partition: usize,
    pub(super) id: [u8; 16],
    pub(super) fields: Fields<'a>,
}

/// Events of one stream, by partition, and in their order within each.
pub(super) type Chunk<'a> = Vec<Outgoing<'a>>;

/// Adds the events of all chunks, and says of each what became of it. All transactions go through one connection, one behind the other.
///
/// # Cancel safety
/// What was handed to the connection is done, or not, as a whole transaction each.
pub(super) async fn add(shared: &Shared, chunks: &[Chunk<'_>]) -> Vec<(usize, Answer)> {
    if chunks.is_empty() {
        return Vec::new();
    }
    let commands = chunks.iter().map(|chunk| chunk.len() + BESIDE).sum();
    let mut pipe = Pipeline::with_capacity(commands);
    chunks.iter().for_each(|chunk| put(shared, &mut pipe, chunk));
    let mut told = match transaction::tell(shared, &pipe).await {
        Ok(told) => told.into_iter(),
        Err(error) => {
            let is_refused = !error.is_transient();
            let all = chunks.iter().flatten();
            return all.map(|message| (message.at, Err((error.clone(), is_refused)))).collect();
        }
    };
    let (mut answers, mut known) = (Vec::with_capacity(commands), Vec::new());
    for chunk in chunks {
        let told = executed(shared, told.by_ref().take(chunk.len() + BESIDE));
        let read = told.and_then(|values| read(shared, chunk, values, &mut known));
        match read {
            Ok(read) => answers.extend(chunk.iter().map(|message| message.at).zip(read)),
            Err(error) => answers.extend(chunk.iter().map(|message| (message.at, Err(error.clone())))),
        }
    }
    // They stand behind what is said of them above, which is less.
    let places = first::find(shared, &known).await;
    let sent = |place| sent(shared, place).duplicate(true);
    answers.extend(known.iter().zip(places).map(|(message, place)| (message.at, Ok(sent(place)))));
    answers
}

/// Puts in the commands of a chunk, whose events are of one stream.
fn put(shared: &Shared, pipe: &mut Pipeline, chunk: &Chunk<'_>) {
    let Some(Outgoing { declared, .. }) = chunk.first() else { return };
    pipe.cmd("MULTI");
    // Of each partition: its key, and how many events go there.
    let mut partitions = Vec::<(&str, usize)>::new();
    for message in chunk {
        let key = declared.partitions.get(message.partition).map_or("", String::as_str);
        match partitions.last_mut() {
            Some((last, count)) if *last == key => *count += 1,
            _ => partitions.push((key, 1)),
        }
        let (values, bytes) = message.fields.size();
        // Its memory is asked for once, and not at each of some twenty values.
        let mut add = Cmd::with_capacity(values + ADD.len() + 1, bytes + key.len() + ADD_BYTES);
        add.arg(ADD[0]).arg(key).arg(ADD[1]).arg(ADD[2]);
        message.fields.each(|value| _ = add.arg(value));
        pipe.add_command(add);
    }
    // Not by its digest: were that unknown, the events were there already when the server says so.
    pipe.cmd("EVAL").arg(&shared.scripts.remember).arg(partitions.len() + 1);
    partitions.iter().for_each(|(key, _)| _ = pipe.arg(*key));
    pipe.arg(shared.names.ids(declared.name()));
    pipe.arg(u64::try_from(shared.window.as_millis()).unwrap_or(u64::MAX).clamp(1, WINDOW_MS_MAX));
    partitions.iter().for_each(|(_, count)| _ = pipe.arg(*count));
    chunk.iter().for_each(|message| _ = pipe.arg(&message.id[..]));
    pipe.cmd("EXEC");
}

/// What became of the events of a chunk. Of those that were there before nothing is said yet.
fn read<'a>(
    shared: &Shared,
    chunk: &'a Chunk<'a>,
    mut values: Vec<Value>,
    known: &mut Vec<&'a Outgoing<'a>>,
) -> Result<Vec<Answer>, (TransportError, bool)> {
    let doubles = match values.pop() {
        Some(Value::Array(doubles)) => doubles,
        Some(Value::ServerError(error)) => {
            let is_undone = error.code() != NOT_UNDONE;
            return Err((shared.said(&error.into()), is_undone));
        }
        _ => return Err((unsaid(), false)),
    };
    let mut answers: Vec<Answer> =
        chunk.iter().zip(values).map(|(message, value)| added(shared, message, value)).collect();
    for double in doubles.chunks_exact(2) {
        let [Value::Int(event), Value::Int(of)] = double else { continue };
        // The script counts from 1.
        let index = |number: i64| usize::try_from(number).ok()?.checked_sub(1);
        let Some(event) = index(*event) else { continue };
        let first = index(*of).and_then(|of| answers.get(of)).cloned();
        match (first, answers.get_mut(event), chunk.get(event)) {
            (Some(first), Some(slot), _) => *slot = first.map(|sent| sent.duplicate(true)),
            (None, _, Some(message)) => known.push(message),
            _ => {}
        }
    }
    Ok(answers)
}

fn added(shared: &Shared, message: &Outgoing<'_>, value: Value) -> Answer {
    match value {
        Value::BulkString(place) => Ok(sent(shared, std::str::from_utf8(&place).ok().and_then(Place::parse))),
        Value::ServerError(error) => Err((shared.said(&error.into()), true)),
        Value::Nil => {
            let stream = message.declared.partitions.get(message.partition).map_or("", String::as_str);
            let reason = "the server has lost it, or somebody has removed it; prepare it again".to_owned();
            Err((TransportError::Gone { what: format!("stream {stream}"), reason }, true))
        }
        _ => Err((unsaid(), false)),
    }
}

fn sent(shared: &Shared, place: Option<Place>) -> Sent {
    let sent = Sent::new(shared.capabilities.durability());
    match place.and_then(Place::offset) {
        Some(offset) => sent.at(offset),
        None => sent,
    }
}

/// What an event is added with; its stream stands behind the first.
const ADD: [&str; 3] = ["XADD", "NOMKSTREAM", "*"];
const ADD_BYTES: usize = ADD[0].len() + ADD[1].len() + ADD[2].len();
/// What there is beside the events: the beginning, the script and the end.
const BESIDE: usize = 3;
/// How the script begins what it says when it could not remove what was added.
const NOT_UNDONE: &str = "ADDED";
/// A century: numbers of a script are exact up to there, twice over.
const WINDOW_MS_MAX: u64 = 100 * 365 * 86_400_000;
