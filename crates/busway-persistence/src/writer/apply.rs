//! Applying a batch: each request in turn, then what they have in common.

use heed::RwTxn;

use super::Request;
use super::records::{self, check};
use super::retain;
use super::state::{Position, State, Subscription};
use crate::cursor::Cursor;
use crate::error::{Refusal, RequestError};
use crate::layout::{pair_key, place_key, slot_key};
use crate::row;
use crate::settle::{Place, Register, Registered, Seek, Settle, SubscriptionRow};
use crate::shared::Shared;
use crate::transact::{self, Ran, Transact, TransactError};

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

impl Outcome {
    pub(super) fn into_result(self) -> Result<(), RequestError> {
        match self {
            Self::Done | Self::Appended | Self::Registered(_) | Self::Transacted | Self::Aborted(_) => Ok(()),
            Self::Refused(refusal) => Err(refusal.into()),
            Self::Failed(error) => Err(error),
        }
    }
}

/// Applies all of a batch within a transaction. A request that is refused has written nothing.
pub(super) fn apply(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    batch: &mut [Request],
) -> heed::Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(batch.len());
    for request in batch {
        outcomes.push(match request {
            Request::Append(append) => {
                let entries = append.entries.as_mut_slice();
                match check(shared, state, txn, entries)? {
                    Err(refusal) => Outcome::Refused(refusal),
                    Ok(()) => {
                        records::write(shared, state, txn, entries)?;
                        Outcome::Appended
                    }
                }
            }
            Request::Settle(settle) => apply_settle(shared, state, txn, settle)?,
            Request::Register(request) => register(shared, state, txn, request)?,
            Request::Seek(request) => seek(shared, state, txn, request)?,
            Request::Transact(request) => transact(shared, state, txn, request)?,
            Request::Flush(_) => Outcome::Done,
        });
    }
    retain::free_expired(shared, state, txn)?;
    write_rows(shared, state, txn)?;
    Ok(outcomes)
}

/// Runs a transaction nested in that of the batch. What it leaves to be stored is checked before anything is kept.
fn transact(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    request: &mut Transact,
) -> heed::Result<Outcome> {
    request.entries.clear();
    let before = state.staged.logs_as_they_are();
    let mut nested = shared.gate.env().nested_write_txn(txn)?;
    let Ran { mut entries, settlements, ended } = transact::run(shared, &mut nested, &mut request.work)?;
    let refused = match ended {
        Ok(()) => check(shared, state, &mut nested, &mut entries)?.err().map(TransactError::from),
        Err(error) => Some(error),
    };
    if let Some(error) = refused {
        nested.abort();
        state.staged.restore(before);
        return Ok(Outcome::Aborted(error));
    }
    records::write(shared, state, &mut nested, &mut entries)?;
    for (subscription, partition, settlement) in settlements {
        let settle = Settle { subscription, partition, settlement, done: None };
        apply_settle(shared, state, &mut nested, &settle)?;
    }
    nested.commit()?;
    request.entries = entries;
    Ok(Outcome::Transacted)
}

fn apply_settle(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    settle: &Settle,
) -> heed::Result<Outcome> {
    let Settle { subscription, partition, settlement, .. } = settle;
    let at = (*subscription, *partition);
    // Removed meanwhile: there is nobody to settle for.
    let Some(position) = state.positions.get_mut(&at) else { return Ok(Outcome::Done) };
    for &(start, end) in &settlement.settled {
        position.cursor.settle(start, end);
    }
    for parked in &settlement.parked {
        let key = place_key(at.0, at.1, parked.offset);
        if let Some(row) = row::encode(&key, parked) {
            shared.databases.parked.put(txn, &key, &row)?;
        }
        position.parked.insert(parked.offset, parked.clone());
        position.cursor.settle(parked.offset, parked.offset + 1);
    }
    for letter in &settlement.dead {
        let key = place_key(at.0, at.1, letter.offset);
        if let Some(row) = row::encode(&key, letter) {
            shared.databases.dead.put(txn, &key, &row)?;
        }
        records::keep_for_dead_letter(
            shared,
            state.logs.get(usize::try_from(at.1).unwrap_or(usize::MAX)),
            txn,
            at,
            letter.offset,
        )?;
        position.cursor.settle(letter.offset, letter.offset + 1);
    }
    let ended = settlement.released.iter().chain(settlement.dead.iter().map(|letter| &letter.offset));
    for &offset in ended {
        if position.parked.remove(&offset).is_some() {
            shared.databases.parked.delete(txn, &place_key(at.0, at.1, offset))?;
        }
    }
    state.staged.moved.insert(at);
    Ok(Outcome::Done)
}

fn register(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    request: &Register,
) -> heed::Result<Outcome> {
    let Register { name, filter, starts, .. } = request;
    let known = state.subscriptions.get(name).cloned();
    let number = match &known {
        Some(known) if known.filter != *filter => {
            let (stored, asked) = (known.filter.clone(), filter.clone());
            return Ok(Outcome::Failed(RequestError::OtherFilter { name: name.clone(), stored, asked }));
        }
        Some(known) => known.number,
        None => state.subscriptions.values().map(|known| known.number + 1).max().unwrap_or(1),
    };
    let row = SubscriptionRow { number, filter: filter.clone() };
    if let Some(row) = row::encode(name.as_bytes(), &row) {
        shared.databases.subscriptions.put(txn, name.as_bytes(), &row)?;
    }
    let is_known = known.is_some() && !state.staged.registered.contains(name);
    state.staged.registered.insert(name.clone());
    state.subscriptions.insert(name.clone(), Subscription { number, filter: filter.clone() });
    let mut places = Vec::with_capacity(starts.len());
    for &(partition, start) in starts {
        let Some(log) = state.log(partition) else { continue };
        let start = start.clamp(log.first(), log.next());
        let at = (number, partition);
        let position = state
            .positions
            .entry(at)
            .or_insert_with(|| Position { cursor: Cursor::at(start), ..Position::default() });
        places.push(Place {
            partition,
            cursor: position.cursor.clone(),
            parked: position.parked.values().cloned().collect(),
        });
        state.staged.moved.insert(at);
    }
    Ok(Outcome::Registered(Registered { number, known: is_known, places }))
}

/// Parked events from the offset on are given again with the others, so they wait no longer.
fn seek(shared: &Shared, state: &mut State, txn: &mut RwTxn<'_>, request: &Seek) -> heed::Result<Outcome> {
    let Seek { subscription, partition, offset, .. } = *request;
    let Some((first, next)) = state.log(partition).map(|log| (log.first(), log.next())) else {
        return Ok(Outcome::Done);
    };
    if !(first..=next).contains(&offset) {
        return Ok(Outcome::Failed(RequestError::OutsideOfLog { partition, offset, first, next }));
    }
    let at = (subscription, partition);
    if let Some(position) = state.positions.get_mut(&at) {
        position.cursor = Cursor::at(offset);
        for (parked, _) in position.parked.split_off(&offset) {
            shared.databases.parked.delete(txn, &place_key(subscription, partition, parked))?;
        }
        state.staged.moved.insert(at);
    }
    Ok(Outcome::Done)
}

/// Writes what the requests of the batch have in common: new names, rows of segments and cursors.
fn write_rows(shared: &Shared, state: &mut State, txn: &mut RwTxn<'_>) -> heed::Result<()> {
    for (number, text) in shared.names.unstored() {
        shared.databases.names.put(txn, &number.to_be_bytes(), text.as_bytes())?;
        state.staged.names = number;
    }
    for &(partition, slot) in &state.staged.touched {
        let segment =
            state.log(partition).and_then(|log| log.segments().find(|segment| segment.slot == slot));
        if let Some(segment) = segment {
            shared.databases.segments.put(txn, &slot_key(partition, slot), &segment.to_bytes())?;
        }
    }
    for at in &state.staged.moved {
        if let Some(position) = state.positions.get(at) {
            let key = pair_key(at.0, at.1);
            if let Some(row) = row::encode(&key, &position.cursor.to_words()) {
                shared.databases.cursors.put(txn, &key, &row)?;
            }
        }
    }
    Ok(())
}
