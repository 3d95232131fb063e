//! The writer's part: runs of records become links, in the transaction that stores the records.

use std::collections::BTreeMap;

use busway_event::Timestamp;
use heed::RwTxn;

use super::chain::{Hash, Hashing, Proof, add_to_run, mark};
use super::head::AuditHead;
use super::opening::Audited;
use super::rows::{FloorRow, HeadRow, LinkRow, key, remove_before};
use crate::find::PUBLISH_MAX;
use crate::row;
use crate::shared::Shared;
use crate::writer::State;

/// The end of a partition's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) chain: Hash,
    /// The offset behind the last link.
    pub(crate) next: u64,
    /// Records since the last head.
    pub(crate) since: u64,
    pub(crate) head_at: Option<Timestamp>,
}

/// What a batch has added to chains, by partition. Copied where a part of the batch may be undone.
pub(crate) type Runs = BTreeMap<u32, Run>;

/// What a batch has added to one.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Behind what was linked in this batch.
    pub(crate) tip: Tip,
    /// Linked, and to be written.
    links: Vec<(u64, LinkRow)>,
    /// Not linked yet: the segment, places and hashes, and marks.
    slot: u16,
    /// The offset of the last one.
    last: u64,
    places: Vec<u8>,
    marks: Vec<u64>,
}

impl Run {
    const fn behind(tip: Tip) -> Self {
        Self { tip, links: Vec::new(), slot: 0, last: 0, places: Vec::new(), marks: Vec::new() }
    }

    /// Adds a record. A link ends with its segment, so that retention leaves none that begins in what is gone, and with [`LINK_RECORDS_MAX`] records, whose marks are one row.
    fn add(&mut self, hashing: &Hashing, (partition, slot): (u32, u16), offset: u64, hash: &Hash) {
        if self.slot != slot || self.marks.len() >= LINK_RECORDS_MAX {
            self.close(hashing);
            self.slot = slot;
        }
        add_to_run(&mut self.places, partition, offset, hash);
        self.marks.push(mark(hash));
        self.last = offset;
    }

    /// Makes a link of what is there.
    fn close(&mut self, hashing: &Hashing) {
        if self.marks.is_empty() {
            return;
        }
        let count = self.marks.len() as u64;
        let chain = hashing.link(&self.tip.chain, &self.places);
        self.places.clear();
        self.tip = Tip { chain, next: self.last + 1, since: self.tip.since + count, ..self.tip };
        self.links.push((self.last, LinkRow { chain, marks: std::mem::take(&mut self.marks) }));
    }
}

/// Adds a record that was placed to its partition's chain. Called for each that has a hash, in the order of the offsets.
pub(crate) fn take(
    shared: &Shared,
    state: &mut State,
    (partition, slot): (u32, u16),
    offset: u64,
    hash: &Hash,
) {
    let Some(audited) = shared.audited(partition) else { return };
    let Some(run) = run(state, partition) else { return };
    run.add(&audited.hashing, (partition, slot), offset, hash);
}

fn run(state: &mut State, partition: u32) -> Option<&mut Run> {
    let tip = state.tips.get(&partition)?;
    Some(state.staged.runs.entry(partition).or_insert_with(|| Run::behind(tip.clone())))
}

/// Writes the links of a batch, and the heads that are due.
pub(crate) fn write(shared: &Shared, state: &mut State, txn: &mut RwTxn<'_>) -> heed::Result<()> {
    let partitions: Vec<u32> = state.tips.keys().copied().collect();
    for partition in partitions {
        let Some(audited) = shared.audited(partition) else { continue };
        write_links(shared, state, txn, partition, audited)?;
        let tip = match state.staged.runs.get(&partition) {
            Some(run) => &run.tip,
            None => match state.tips.get(&partition) {
                Some(tip) => tip,
                None => continue,
            },
        };
        // What brings no time has no record either.
        let Some(now) = state.staged.now.filter(|now| audited.is_head_due(tip, *now)) else { continue };
        let head = audited.head(shared, partition, tip, now);
        let head_row = HeadRow { chain: head.chain, time: head.time.as_nanos(), proof: head.proof };
        let place = key(partition, head.offset);
        shared.databases.heads.put(txn, &place, &row::encode(&place, &head_row)?)?;
        if let Some(run) = run(state, partition) {
            (run.tip.since, run.tip.head_at) = (0, Some(now));
        }
        state.staged.heads.push(head);
    }
    Ok(())
}

fn write_links(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    partition: u32,
    audited: &Audited,
) -> heed::Result<()> {
    let Some(run) = state.staged.runs.get_mut(&partition) else { return Ok(()) };
    run.close(&audited.hashing);
    for (offset, link) in run.links.drain(..) {
        let place = key(partition, offset);
        shared.databases.links.put(txn, &place, &row::encode(&place, &link)?)?;
    }
    Ok(())
}

impl Audited {
    fn is_head_due(&self, tip: &Tip, now: Timestamp) -> bool {
        // One of a time that is yet to come, further than publishers wait, was made by a clock that was ahead: it holds up no other.
        let is_old = |at: Timestamp| {
            now.saturating_since(at) >= self.head_age
                || at.saturating_since(now) >= self.head_age.max(PUBLISH_MAX)
        };
        tip.since > 0 && (tip.since >= self.head_records || tip.head_at.is_none_or(is_old))
    }

    /// The head of a tip, behind which there is at least one record.
    fn head(&self, shared: &Shared, partition: u32, tip: &Tip, time: Timestamp) -> AuditHead {
        let head = AuditHead {
            store: shared.store_id,
            stream: shared.stream_name(partition).to_owned(),
            partition: shared.index_in_stream(partition),
            offset: tip.next.saturating_sub(1),
            chain: tip.chain,
            time,
            proof: [0; 32],
        };
        head.prove(&self.hashing)
    }

    /// What proves that retention removed everything before an offset.
    pub(crate) fn floor(&self, shared: &Shared, partition: u32, first: u64) -> FloorRow {
        let mut bytes = shared.store_id.as_bytes().to_vec();
        bytes.extend(partition.to_be_bytes());
        bytes.extend(first.to_be_bytes());
        FloorRow { first, proof: self.hashing.proof(Proof::Floor, &bytes) }
    }
}

/// Retention has removed everything of a partition before `first`: what spoke of it goes too, but for the last link.
pub(crate) fn removed(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    partition: u32,
    first: u64,
) -> heed::Result<()> {
    let Some(audited) = shared.audited(partition) else { return Ok(()) };
    // The segment may hold records of this very batch.
    write_links(shared, state, txn, partition, audited)?;
    let last = first.saturating_sub(1);
    remove_before(txn, shared.databases.links, partition, last)?;
    remove_before(txn, shared.databases.heads, partition, last)?;
    if first > audited.start_of(shared, partition) {
        let place = partition.to_be_bytes();
        let floor = audited.floor(shared, partition, first);
        shared.databases.heads.put(txn, &place, &row::encode(&place, &floor)?)?;
    }
    Ok(())
}

/// Half a megabyte of marks: far less than a row may have, whatever a batch stores.
const LINK_RECORDS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_records_a_batch_has_each_link_is_a_row() {
        let hashing = Hashing::new(None);
        let mut run = Run::behind(Tip { chain: [0; 32], next: 0, since: 0, head_at: None });
        for offset in 0..600_000 {
            run.add(&hashing, (3, 1), offset, &[7; 32]);
        }
        run.close(&hashing);
        let ends: Vec<_> = run.links.iter().map(|(last, link)| (*last, link.marks.len())).collect();
        assert_eq!(
            (ends.len(), ends.first(), ends.last()),
            (10, Some(&(65_535, 65_536)), Some(&(599_999, 10_176)))
        );
        for (offset, link) in &run.links {
            row::encode(&key(3, *offset), link).unwrap();
        }
        assert_eq!((run.tip.next, run.tip.since), (600_000, 600_000));
    }
}
