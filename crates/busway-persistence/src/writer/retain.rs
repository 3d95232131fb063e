//! Retention: whole segments go, in the transaction of a batch.

use heed::RwTxn;

use super::state::State;
use crate::audit;
use crate::layout::slot_key;
use crate::segment::{Log, Segment};
use crate::shared::Shared;

/// Frees what retention lets go, in every partition, up to so many segments: time passes in those too that nobody writes to.
pub(super) fn free_expired(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    at_most: usize,
) -> heed::Result<()> {
    let mut left = at_most;
    for partition in partitions(shared) {
        left -= free_expired_of(shared, state, txn, partition, left)?;
    }
    Ok(())
}

/// Whether there is something that it would let go.
pub(super) fn has_expired(shared: &Shared, state: &State) -> bool {
    partitions(shared).any(|partition| expired(shared, state, partition) > 0)
}

fn partitions(shared: &Shared) -> impl Iterator<Item = u32> + use<> {
    0..u32::try_from(shared.partitions.len()).unwrap_or(u32::MAX)
}

/// How many segments of a partition may go.
fn expired(shared: &Shared, state: &State, partition: u32) -> usize {
    let Some(retention) = shared.retention_of(partition) else { return 0 };
    let Some(log) = state.log(partition) else { return 0 };
    let now = shared.aged_at_most.bound(state.now);
    // Most of the time nothing has expired, whatever is settled; that is cheaper to ask.
    match log.expired(&retention, u64::MAX, now) {
        0 => 0,
        _ => log.expired(&retention, state.needed_from(partition), now),
    }
}

/// The same in one partition; says how many.
pub(super) fn free_expired_of(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    partition: u32,
    at_most: usize,
) -> heed::Result<usize> {
    let expired = expired(shared, state, partition).min(at_most);
    for _ in 0..expired {
        free_oldest(shared, state, txn, partition)?;
    }
    Ok(expired)
}

/// Frees what nobody needs in a partition that is at its cap, until it is below it with so many bytes more.
pub(super) fn free_settled_of(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    partition: u32,
    needed: u64,
) -> heed::Result<()> {
    let Some(retention) = shared.retention_of(partition) else { return Ok(()) };
    let (settled, now) = (state.needed_from(partition), shared.aged_at_most.bound(state.now));
    let may_go = state.log(partition).map_or(0, |log| log.settled_at_cap(&retention, settled, now));
    for _ in 0..may_go {
        if !is_over_cap(shared, state, partition, needed) {
            break;
        }
        free_oldest(shared, state, txn, partition)?;
    }
    Ok(())
}

/// Whether a partition has a cap, and is above it with so many bytes more.
pub(super) fn is_over_cap(shared: &Shared, state: &State, partition: u32, needed: u64) -> bool {
    let Some((_, cap)) = shared.cap_of_partition(partition) else { return false };
    state.log(partition).is_some_and(|log| log.bytes() + needed > cap.bytes)
}

/// Empties the oldest segment of a partition, unless there is nothing in it: says whether it did.
pub(super) fn free_oldest(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    partition: u32,
) -> heed::Result<bool> {
    let Some(log) = state.log(partition) else { return Ok(false) };
    let is_only = log.segments().len() == 1;
    if is_only {
        // Its records may not lie in it yet, and would be put where another segment begins.
        super::records::flush(shared, state, txn)?;
    }
    let Some(freed) = state.log_mut(partition).and_then(Log::drop_oldest_or_only) else {
        return Ok(false);
    };
    state.staged.touched.remove(&(partition, freed.slot));
    empty(shared, txn, partition, freed)?;
    if let (true, Some(newest)) = (is_only, state.log(partition).and_then(Log::newest)) {
        // Without its row the offsets would begin anew after a crash.
        state.staged.touched.insert((partition, newest.slot));
    }
    audit::removed(shared, state, txn, partition, freed.next)?;
    Ok(true)
}

fn empty(shared: &Shared, txn: &mut RwTxn<'_>, partition: u32, segment: Segment) -> heed::Result<()> {
    if let Some(database) = shared.databases.segment(partition, segment.slot) {
        database.clear(txn)?;
    }
    let key = slot_key(partition, segment.slot);
    shared.databases.segments.delete(txn, &key)?;
    let ids = shared.databases.segment_ids.prefix_iter(txn, &key)?;
    let ids: Vec<Vec<u8>> = ids.map(|id| Ok(id?.0.to_vec())).collect::<heed::Result<_>>()?;
    for id in ids {
        // The same id may have been published again since, behind its window: then its row points elsewhere.
        let given = id.get(key.len()..).unwrap_or_default();
        let row = shared.databases.ids.get(txn, given)?;
        let row = row.and_then(|row| crate::row::decode::<super::records::GivenRow>("id", given, row).ok());
        if row.is_none_or(|row| row.partition == partition && row.offset < segment.next) {
            shared.databases.ids.delete(txn, given)?;
        }
        shared.databases.segment_ids.delete(txn, &id)?;
    }
    Ok(())
}
