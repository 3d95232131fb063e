//! Applying a batch: each request in turn, then what they have in common.

use heed::RwTxn;

use super::Request;
use super::marks::{self, leave, mark, quarantine};
use super::records::{self, check};
use super::retain;
use super::state::State;
use super::subscriptions::{may_finish, may_settle, register, remove, seek, settle};
use crate::audit;
use crate::dead;
use crate::error::{Refusal, RequestError};
use crate::layout::{pair_key, slot_key};
use crate::row;
use crate::schedule;
use crate::settle::{Registered, Settle};
use crate::shared::Shared;
use crate::table;
use crate::transact::{self, Done, Transact, TransactError};

/// What became of a request, to be told when the batch is stored.
pub(super) enum Outcome {
    Done,
    Appended,
    Registered(Registered),
    Refused(Refusal),
    Failed(RequestError),
    Transacted,
    Aborted(TransactError),
}

impl From<Result<(), RequestError>> for Outcome {
    fn from(result: Result<(), RequestError>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) => Self::Failed(error),
        }
    }
}

impl Outcome {
    pub(super) fn into_result(self) -> Result<(), RequestError> {
        match self {
            Self::Done | Self::Appended | Self::Registered(_) | Self::Transacted | Self::Aborted(_) => Ok(()),
            Self::Refused(refusal) => Err(refusal.into()),
            Self::Failed(error) => Err(error),
        }
    }
}

/// Applies all of a batch within a transaction, and lets go up to so many segments. A request that is refused has stored nothing of its own; with
/// `no_room` a transaction that appends is.
pub(super) fn apply(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    batch: &mut [Request],
    (segments, no_room): (usize, Option<&Refusal>),
) -> heed::Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut stores = false;
    for request in batch {
        outcomes.push(match request {
            Request::Append(append) => match check(shared, state, txn, &mut append.entries)? {
                Err(refusal) => Outcome::Refused(refusal),
                Ok(()) => {
                    records::write(shared, state, txn, &mut append.entries)?;
                    Outcome::Appended
                }
            },
            Request::Settle(request) => settle(shared, state, txn, request)?,
            Request::Register(request) => register(shared, state, txn, request)?,
            Request::Remove(request) => remove(shared, state, txn, request)?,
            Request::Seek(request) => seek(shared, state, txn, request)?,
            Request::Transact(request) => transact(shared, state, txn, (request, no_room))?,
            Request::Schedule(request) => schedule::apply(shared, state, txn, request)?.into(),
            Request::Mark(request) => mark(shared, state, request),
            Request::Quarantine(request) => quarantine(shared, state, txn, request)?,
            Request::Operate(part) => dead::operate(shared, state, txn, part)?.into(),
            Request::Leave(number, now) => {
                state.time_is(*now);
                leave(state, *number);
                Outcome::Done
            }
            Request::Retain(now) => {
                state.time_is(*now);
                state.attend_unknown();
                Outcome::Done
            }
            Request::Flush(_) => Outcome::Done,
            Request::End => {
                state.attendances.attend_all(state.now);
                Outcome::Done
            }
        });
        stores |= request.stores();
    }
    records::flush(shared, state, txn)?;
    audit::write(shared, state, txn)?;
    retain::free_expired(shared, state, txn, segments)?;
    dead::write_counts(shared, state, txn)?;
    stores |= write_rows(shared, state, txn)?;
    marks::write_rows(shared, state, txn, stores)?;
    Ok(outcomes)
}

/// Runs a transaction. All that it leaves to be stored is checked before anything of it is.
fn transact(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    (request, no_room): (&mut Transact, Option<&Refusal>),
) -> heed::Result<Outcome> {
    request.entries.clear();
    let Done { writes, mut entries, settlements, finished } =
        match transact::run(shared, txn, &mut request.work)? {
            Ok(done) => done,
            Err(error) => return Ok(Outcome::Aborted(error)),
        };
    let settlements: Vec<Settle> = settlements
        .into_iter()
        .map(|(subscription, partition, settlement)| Settle {
            subscription,
            partition,
            settlement: settlement.into(),
            done: None,
        })
        .collect();
    if let Err(error) = may_finish(state, &finished) {
        return Ok(Outcome::Aborted(TransactError::Aborted(error)));
    }
    if let Err(error) = may_settle(state, &settlements) {
        return Ok(Outcome::Aborted(error.into()));
    }
    if let Some(no_room) = no_room
        && (!entries.is_empty() || finished.is_empty())
    {
        return Ok(Outcome::Refused(no_room.clone()));
    }
    if let Err(refusal) = check(shared, state, txn, &mut entries)? {
        return Ok(Outcome::Aborted(refusal.into()));
    }
    for (key, value) in writes.iter() {
        match value {
            Some(value) => shared.databases.tables.put(txn, key, &table::dressed(key, value))?,
            None => _ = shared.databases.tables.delete(txn, key)?,
        }
    }
    records::write(shared, state, txn, &mut entries)?;
    for request in &settlements {
        settle(shared, state, txn, request)?;
    }
    request.entries = entries;
    Ok(Outcome::Transacted)
}

/// Writes what the requests of the batch have in common: new names, rows of segments and cursors. Says whether cursors were.
fn write_rows(shared: &Shared, state: &mut State, txn: &mut RwTxn<'_>) -> heed::Result<bool> {
    for (number, text) in shared.names.unstored() {
        let key = number.to_be_bytes();
        shared.databases.names.put(txn, &key, &row::encode(&key, &*text)?)?;
        state.staged.names = number;
    }
    for &(partition, slot) in &state.staged.touched {
        let segment =
            state.log(partition).and_then(|log| log.segments().find(|segment| segment.slot == slot));
        if let Some(segment) = segment {
            let key = slot_key(partition, slot);
            shared.databases.segments.put(txn, &key, &row::encode(&key, &segment.to_row())?)?;
        }
    }
    let mut has_moved = false;
    for ((subscription, partition), position) in state.moved() {
        has_moved = true;
        let key = pair_key(subscription, partition);
        shared.databases.cursors.put(txn, &key, &row::encode(&key, &position.cursor.to_words())?)?;
    }
    Ok(has_moved)
}
