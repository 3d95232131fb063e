//! What the writer is asked for about the schedule.

use busway_event::{EventId, Timestamp};
use heed::RwTxn;

use super::fire::{Fire, fire};
use super::keys::{ID, IdRow, Slot, WAITING};
use super::recur::{Recur, recur};
use super::rows::{by_id, keys_at, take_out};
use crate::append::Entry;
use crate::error::RequestError;
use crate::row;
use crate::settle::OnSettled;
use crate::shared::Shared;
use crate::writer::State;

/// Called by the writer's thread when it is decided whether an event was taken back: with the time at which it would have been
/// due, or `None` when it did not wait. It must be quick, and must not wait for the store.
pub type OnUnscheduled = Box<dyn FnOnce(Result<Option<Timestamp>, RequestError>) + Send>;

/// See the module.
pub(crate) enum ScheduleRequest {
    Fire(Fire),
    Unschedule(Unschedule),
    Redate(Redate),
    Recur(Recur),
}

/// Takes back an event that waits.
pub(crate) struct Unschedule {
    pub(crate) id: EventId,
    /// When it would have been due.
    pub(crate) was_due: Option<Timestamp>,
    pub(crate) done: OnUnscheduled,
}

/// Brings delays near that were begun by a clock that was far ahead.
pub(crate) struct Redate {
    pub(crate) now: Timestamp,
    pub(crate) done: OnSettled,
}

impl ScheduleRequest {
    /// Whether it may add to the store without an end: refused when there is no room.
    pub(crate) const fn adds(&self) -> bool {
        match self {
            Self::Fire(_) => true,
            Self::Recur(recur) => !recur.entries.is_empty(),
            Self::Unschedule(_) | Self::Redate(_) => false,
        }
    }

    /// What goes into the log with it.
    pub(crate) fn entries(&self) -> &[Entry] {
        match self {
            Self::Fire(Fire { entries, .. }) | Self::Recur(Recur { entries, .. }) => entries,
            Self::Unschedule(_) | Self::Redate(_) => &[],
        }
    }

    /// The same, to be told to readers.
    pub(crate) fn entries_mut(&mut self) -> &mut [Entry] {
        match self {
            Self::Fire(Fire { entries, .. }) | Self::Recur(Recur { entries, .. }) => entries,
            Self::Unschedule(_) | Self::Redate(_) => &mut [],
        }
    }

    /// Tells what became of it.
    pub(crate) fn answer(self, result: Result<(), RequestError>) {
        match self {
            Self::Fire(Fire { fired, done, .. }) => done(result.map(|()| fired)),
            Self::Unschedule(Unschedule { was_due, done, .. }) => done(result.map(|()| was_due)),
            Self::Redate(Redate { done, .. }) => done(result),
            Self::Recur(Recur { entries, done, .. }) => done(result.map(|()| entries)),
        }
    }
}

/// Carries a request out within the transaction of a batch.
pub(crate) fn apply(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    request: &mut ScheduleRequest,
) -> heed::Result<Result<(), RequestError>> {
    match request {
        ScheduleRequest::Fire(request) => fire(shared, state, txn, request)?,
        ScheduleRequest::Unschedule(request) => return unschedule(shared, state, txn, request),
        ScheduleRequest::Redate(request) => redate(shared, state, txn, request.now)?,
        ScheduleRequest::Recur(request) => return recur(shared, state, txn, request),
    }
    Ok(Ok(()))
}

fn unschedule(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    request: &mut Unschedule,
) -> heed::Result<Result<(), RequestError>> {
    request.was_due = None;
    let found = match by_id(shared, txn, request.id)? {
        Ok(found) => found,
        Err(corrupt) => return Ok(Err(corrupt.into())),
    };
    for (key, row) in found {
        take_out(shared, txn, Slot { due: row.due, number: row.number })?;
        shared.databases.schedule.delete(txn, &key)?;
        state.waits_no_longer(row.bytes);
        request.was_due = Some(request.was_due.map_or(row.due, |first| first.min(row.due)));
    }
    Ok(Ok(()))
}

/// What began later than now, by more than clocks are apart, began by a clock that was wrong: a delay of it
/// begins anew. A time that was named stays.
fn redate(shared: &Shared, state: &mut State, txn: &mut RwTxn<'_>, now: Timestamp) -> heed::Result<()> {
    let ahead = now.saturating_add(CLOCKS_APART);
    if state.waiting().latest <= ahead {
        return Ok(());
    }
    let mut wrong = Vec::new();
    for entry in shared.databases.schedule.prefix_iter(txn, &[ID])? {
        let (key, value) = entry?;
        let Ok(row) = row::decode::<IdRow>("scheduled id", key, value) else { continue };
        if let Some(delay) = row.delay.filter(|_| row.began() > ahead) {
            wrong.push((key.to_vec(), row, delay));
        }
    }
    tracing::warn!(events = wrong.len(), %now, "the clock was set back; delays that had begun later begin anew");
    for (key, row, delay) in wrong {
        let from = Slot { due: row.due, number: row.number };
        let due = now.saturating_add(std::time::Duration::from_nanos(delay));
        let to = Slot { due, ..from };
        move_to(shared, txn, from, to)?;
        let row = IdRow { due, taken: now, ..row };
        shared.databases.schedule.put(txn, &key, &row::encode(&key, &row)?)?;
    }
    state.waiting_mut().latest = now;
    Ok(())
}

/// Moves what waits from one place to another of the same number, for which its record is sealed.
fn move_to(shared: &Shared, txn: &mut RwTxn<'_>, from: Slot, to: Slot) -> heed::Result<()> {
    let schedule = shared.databases.schedule;
    for key in keys_at(shared, txn, from)? {
        let Some(value) = schedule.get(txn, &key)?.map(<[u8]>::to_vec) else { continue };
        schedule.delete(txn, &key)?;
        let part = Slot::of(WAITING, &key).map_or(&[][..], |(_, part)| part);
        let moved = to.part(WAITING, part);
        let value = match part {
            // A damaged row stays damaged, and is found when it is due.
            [] => match row::decode::<super::keys::HeadRow>("scheduled event", &key, &value) {
                Ok(head) => row::encode(&moved, &head)?,
                Err(_) => value,
            },
            _ => value,
        };
        schedule.put(txn, &moved, &value)?;
    }
    Ok(())
}

/// A correction of a clock within this is what clocks do.
const CLOCKS_APART: std::time::Duration = std::time::Duration::from_secs(3_600);
