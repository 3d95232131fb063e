//! Room in the map: how far the file may grow, and for whom.
//!
//! LMDB writes every page that changes in another place, so that taking away needs room too: a settlement some pages, and a segment that
//! retention lets go as many as its ids lie on, and the list of what it leaves free. A store that is full to its last page could do
//! neither, and would stay full. So above the limit there is a reserve, for those alone that do not add:
//!
//! | who | how far |
//! |---|---|
//! | everybody | the store's limit |
//! | what does not add, when a batch of it found no room: first without what retention lets go. A transaction that finishes events and appends nothing is of it: what it leaves in tables is bounded by this half | half of the reserve |
//! | of that what keeps no copy of an event (settlements without dead letters, seeks, removals); then retention, a segment a commit | all of the reserve |
//!
//! The reserve is an eighth of the limit, and a MiB at least. Before the next batch that adds, the map is as large as the limit again, or as
//! the file where that is larger: LMDB gives no page back to the disk, but uses those that were left. So in a file that is larger than the
//! limit the map bounds nobody, and while it is beyond the limit a batch may only be committed if what *lives* in the file is below its mark
//! ([`fits`]). That is asked too where the map could not shrink because somebody reads, a backup for minutes. Half of the reserve is then free
//! whenever retention needs it: dead letters and tables cannot use it up, and what adds cannot either.
//!
//! What a commit leaves free is used by the second one behind it, because a crash falls back to the one before. Where all publishers wait
//! for room there is no commit in between, and none between two segments that go; so before either finds no room, one is made that
//! changes nothing ([`take_what_was_left`]).
//!
//! # A crash
//!
//! The size of a map is this process's address space. What is in the file is decided by commits alone, and an opening maps what the file
//! has, beyond the limit too. A crash between growing and the commit leaves a file that was never that large.

use heed::{MdbError, RwTxn};

use crate::layout::STORE_ID;
use crate::shared::{MAP_STEP, Shared};

/// How much of the reserve a batch may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reserve {
    None,
    /// What does not add, and transactions that settle and append nothing.
    Half,
    /// What takes away, and retention.
    All,
}

/// Makes the map larger: it doubles, up to the limit, and grows by the reserve that may be used. `false` when it is there.
pub(super) fn grow(shared: &Shared, reserve: Reserve) -> heed::Result<bool> {
    let now = shared.gate.map_size();
    let next = match reserve {
        Reserve::None => now.saturating_mul(2).min(end(shared, reserve)),
        Reserve::Half | Reserve::All => end(shared, reserve),
    };
    if next <= now {
        return Ok(false);
    }
    shared.gate.grow(next)?;
    match reserve {
        Reserve::None => tracing::info!(from = now, to = next, "the store's map has grown"),
        Reserve::Half | Reserve::All => {
            tracing::warn!(limit = shared.bytes_max(), "the store is full; what takes away uses its reserve");
        }
    }
    Ok(true)
}

/// Whether the map has some of the reserve, or is that of a file which has.
pub(super) fn is_beyond_limit(shared: &Shared) -> bool {
    shared.gate.map_size() > end(shared, Reserve::None)
}

/// Takes the reserve back, unless somebody reads: all of it but what the file has.
pub(super) fn keep_to_limit(shared: &Shared) -> heed::Result<()> {
    match shared.gate.map_size() > used(shared) {
        true => shared.gate.shrink(end(shared, Reserve::None)),
        false => Ok(()),
    }
}

/// One commit that changes nothing, so that the next one may use what the last one left free. Of its own it needs a few pages of the reserve.
pub(super) fn take_what_was_left(shared: &Shared, reserve: Reserve) -> heed::Result<()> {
    shared.gate.grow(end(shared, if reserve == Reserve::All { reserve } else { Reserve::Half }))?;
    let committed = shared.gate.write(|mut txn| {
        let meta = shared.databases.meta;
        if let Some(id) = meta.get(&txn, STORE_ID)?.map(<[u8]>::to_vec) {
            meta.put(&mut txn, STORE_ID, &id)?;
        }
        txn.commit()
    })?;
    match committed {
        // Then there is no room for a publish either, which is told so.
        Err(heed::Error::Mdb(MdbError::MapFull)) => {}
        committed => committed?,
    }
    match reserve {
        Reserve::None if is_beyond_limit(shared) => keep_to_limit(shared),
        Reserve::None | Reserve::Half | Reserve::All => Ok(()),
    }
}

/// Whether a batch leaves as much free as it has to.
pub(super) fn fits(shared: &Shared, txn: &RwTxn<'_>, reserve: Reserve) -> heed::Result<bool> {
    if reserve == Reserve::All || !is_beyond_limit(shared) {
        return Ok(true);
    }
    let end = u64::try_from(end(shared, reserve)).unwrap_or(u64::MAX);
    Ok(shared.databases.live_bytes(txn)? <= end)
}

/// Where the map ends.
fn end(shared: &Shared, reserve: Reserve) -> usize {
    let limit = shared.bytes_max();
    let whole = (limit / RESERVE_SHARE).max(RESERVE_MIN);
    let above = match reserve {
        Reserve::None => 0,
        Reserve::Half => whole / 2,
        Reserve::All => whole,
    };
    usize::try_from(limit.saturating_add(above)).unwrap_or(usize::MAX) / MAP_STEP * MAP_STEP
}

/// Bytes of the file, as the map is measured.
fn used(shared: &Shared) -> usize {
    let used = usize::try_from(shared.gate.used_bytes()).unwrap_or(usize::MAX);
    used.checked_next_multiple_of(MAP_STEP).unwrap_or(usize::MAX)
}

const RESERVE_SHARE: u64 = 8;
const RESERVE_MIN: u64 = 1 << 20;
