//! Events that are attempted by themselves, and those that are set aside: see [`attendance`](crate::attendance).

use heed::RwTxn;

use super::apply::Outcome;
use super::records::QUARANTINE;
use super::state::{At, State};
use super::subscriptions::settle;
use crate::attendance::Mark;
use crate::error::RequestError;
use crate::layout::{ATTENDED, MARK, numbered_key, place_key};
use crate::row;
use crate::settle::{Marking, Quarantining, Settle, Settlement};
use crate::shared::Shared;

/// Sets a subscription's mark.
pub(super) fn mark(shared: &Shared, state: &mut State, request: &Marking) -> Outcome {
    let Marking { subscription, partition, offset, attempt, at, .. } = *request;
    if state.position((subscription, partition)).is_none() {
        return Outcome::Failed(RequestError::UnknownSubscription { number: subscription });
    }
    let mark = Mark { opening: *shared.opening.as_bytes(), partition, offset, attempt, at };
    state.attendances.set_mark(subscription, Some(mark));
    Outcome::Done
}

/// Sets an event aside: a dead letter, with what it is in quarantine for.
pub(super) fn quarantine(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    request: &Quarantining,
) -> heed::Result<Outcome> {
    let Quarantining { subscription, partition, letter, quarantine, .. } = request;
    let (subscription, partition) = (*subscription, *partition);
    let settlement = Settlement { dead: vec![letter.clone()], ..Settlement::default() }.into();
    let outcome = settle(shared, state, txn, &Settle { subscription, partition, settlement, done: None })?;
    if !matches!(outcome, Outcome::Done) {
        return Ok(outcome);
    }
    let key = place_key(subscription, partition, letter.offset);
    // None, when the event was finished before.
    if shared.databases.dead.get(txn, &key)?.is_some() {
        let key = [&key[..], &[QUARANTINE]].concat();
        shared.databases.dead.put(txn, &key, &row::encode(&key, quarantine)?)?;
    }
    state.attendances.forgive(subscription);
    state.attendances.set_mark(subscription, None);
    Ok(Outcome::Done)
}

/// Nobody attends a subscription any longer.
pub(super) fn leave(state: &mut State, number: u32) {
    if state.has_subscription(number) {
        state.attendances.attend(number, state.now, None);
    }
    // Nothing of it runs here any more: a death from now on is none of an event that was marked.
    if state.attendances.mark_of(number).is_some() {
        state.attendances.set_mark(number, None);
    }
    state.attendances.leave(number);
}

/// Something of a subscription is stored. The mark of an event falls with what is decided about it.
pub(super) fn got_on(shared: &Shared, state: &mut State, at: At, settlement: &Settlement) {
    let opening = (!settlement.passes_only).then_some(*shared.opening.as_bytes());
    state.attendances.attend(at.0, state.now, opening);
    if let Some(mark) = state.attendances.mark_of(at.0)
        && mark.partition == at.1
        && decides(settlement, mark.offset)
    {
        state.attendances.set_mark(at.0, None);
    }
}

fn decides(settlement: &Settlement, offset: u64) -> bool {
    let Settlement { settled, parked, released, discarded, dead, .. } = settlement;
    settled.iter().any(|&(start, end)| (start..end).contains(&offset))
        || parked.iter().any(|parked| parked.offset == offset)
        || released.contains(&offset)
        || discarded.contains(&offset)
        || dead.iter().any(|letter| letter.offset == offset)
}

/// Writes marks, and the rows of attendance when something else is written too.
pub(super) fn write_rows(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    stores: bool,
) -> heed::Result<()> {
    let meta = shared.databases.meta;
    for (number, mark) in state.attendances.staged_marks() {
        let key = numbered_key(MARK, number);
        match mark {
            Some(mark) => meta.put(txn, &key, &row::encode(&key, &mark)?)?,
            None => _ = meta.delete(txn, &key)?,
        }
    }
    if !stores || !state.attendances.is_waiting() {
        return Ok(());
    }
    for (number, row) in state.attendances.take_unstored() {
        let key = numbered_key(ATTENDED, number);
        match row {
            Some(row) => meta.put(txn, &key, &row::encode(&key, &row)?)?,
            None => _ = meta.delete(txn, &key)?,
        }
    }
    Ok(())
}
