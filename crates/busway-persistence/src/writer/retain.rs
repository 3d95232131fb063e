//! Retention: whole segments go, in the transaction of a batch.

use heed::RwTxn;

use super::state::State;
use crate::audit;
use crate::layout::slot_key;
use crate::segment::Segment;
use crate::shared::Shared;

/// Frees what retention lets go, in every partition: time passes in those too that nobody writes to.
pub(super) fn free_expired(shared: &Shared, state: &mut State, txn: &mut RwTxn<'_>) -> heed::Result<()> {
    for partition in 0..u32::try_from(shared.partitions.len()).unwrap_or(u32::MAX) {
        free_expired_of(shared, state, txn, partition)?;
    }
    Ok(())
}

/// The same in one partition.
pub(super) fn free_expired_of(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    partition: u32,
) -> heed::Result<()> {
    let Some(retention) = shared.retention_of(partition) else { return Ok(()) };
    let Some(log) = state.log(partition) else { return Ok(()) };
    // Most of the time nothing has expired, whatever is settled; that is cheaper to ask.
    if log.expired(&retention, u64::MAX, state.now) == 0 {
        return Ok(());
    }
    for _ in 0..log.expired(&retention, state.needed_from(partition), state.now) {
        free_oldest(shared, state, txn, partition)?;
    }
    Ok(())
}

/// Empties the oldest segment of a partition, unless it is the only one: says whether it did.
pub(super) fn free_oldest(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    partition: u32,
) -> heed::Result<bool> {
    let Some(freed) = state.log_mut(partition).and_then(crate::segment::Log::drop_oldest) else {
        return Ok(false);
    };
    state.staged.touched.remove(&(partition, freed.slot));
    empty(shared, txn, partition, freed)?;
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
