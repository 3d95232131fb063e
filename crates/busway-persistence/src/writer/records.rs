//! Writing records: which entries may be stored, where they go, and what lies beside them.

use std::collections::{BTreeMap, HashSet};

use busway_event::codec::PAYLOAD_BYTES_MAX;
use busway_event::{EventId, Timestamp};
use heed::{PutFlags, RwTxn};
use serde::{Deserialize, Serialize};

use super::retain;
use super::state::State;
use crate::append::{Entry, Position};
use crate::audit;
use crate::error::Refusal;
use crate::layout::{chunk_key, place_key};
use crate::record::{Packing, Place, Recorded, body_hash};
use crate::row;
use crate::schedule;
use crate::segment::Log;
use crate::shared::Shared;
use crate::stored::Unreadable;
use crate::stream::AtCap;

/// Where an event lies whose publisher gave the id, or that came into the log at another time than its id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenRow {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) appended: Timestamp,
    /// The hash of its body.
    pub(crate) body: u64,
}

/// Whether all entries may be stored. Those that are there already are marked with their first place. Makes room where the
/// stream says that old events go.
pub(crate) fn check(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    entries: &mut [Entry],
) -> heed::Result<Result<(), Refusal>> {
    if entries.iter().any(|entry| entry.opening != shared.opening) {
        return Ok(Err(Refusal::OtherOpening));
    }
    if let Err(refusal) = check_ids(shared, txn, entries)? {
        return Ok(Err(refusal));
    }
    if let Err(refusal) = schedule::check_room(shared, state.waiting(), entries) {
        return Ok(Err(refusal));
    }
    if let Some(latest) = entries.iter().map(|entry| entry.appended).max() {
        state.time_is(latest);
    }
    make_room(shared, state, txn, entries)
}

fn check_ids(shared: &Shared, txn: &RwTxn<'_>, entries: &mut [Entry]) -> heed::Result<Result<(), Refusal>> {
    let mut ids = HashSet::new();
    for entry in entries.iter_mut() {
        let Some(body) = entry.given else { continue };
        let id = entry.id();
        if !ids.insert((entry.stream, id)) {
            return Ok(Err(Refusal::TwiceInBatch { id }));
        }
        (entry.first_place, entry.first_due) = (None, None);
        if let Some((due, first)) = schedule::first_due(shared, txn, entry.stream, id)? {
            if first != Some(body) {
                return Ok(Err(Refusal::ConflictScheduled { id, due }));
            }
            entry.first_due = Some(due);
            continue;
        }
        let key = given_key(entry.stream, id);
        let Some(row) = shared.databases.ids.get(txn, &key)? else { continue };
        // A damaged row says nothing: the event is stored anew, as it would be behind the window.
        let Ok(first) = row::decode::<GivenRow>("id", &key, row) else { continue };
        let age = shared.aged_at_most.bound(entry.appended).saturating_since(first.appended);
        if age > shared.id_window {
            continue;
        }
        let place = Position { partition: first.partition, offset: first.offset };
        if first.body != body {
            return Ok(Err(Refusal::Conflict { id, first: place }));
        }
        entry.first_place = Some(place);
    }
    Ok(Ok(()))
}

/// Holds each partition to its cap. Events that are needed go only when all entries have room then.
pub(crate) fn make_room(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    entries: &[Entry],
) -> heed::Result<Result<(), Refusal>> {
    let mut needed: BTreeMap<u32, u64> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.is_new() && entry.wait.is_none()) {
        if shared.cap_of(entry.stream).is_some() {
            *needed.entry(entry.partition).or_default() += entry.bytes() as u64;
        }
    }
    for (&partition, &needed) in &needed {
        let Some((stream, cap)) = shared.cap_of_partition(partition) else { continue };
        // What can never fit must not cost the others their place.
        let can_fit = needed <= cap.bytes;
        if !retain::is_over_cap(shared, state, partition, needed) {
            continue;
        }
        retain::free_expired_of(shared, state, txn, partition, usize::MAX)?;
        if can_fit && cap.then == AtCap::RefusePublish {
            retain::free_settled_of(shared, state, txn, partition, needed)?;
        }
        let may_drop = can_fit && cap.then == AtCap::DropOldest;
        if retain::is_over_cap(shared, state, partition, needed) && !may_drop {
            return Ok(Err(shared.capped(partition, (stream, cap))));
        }
    }
    for (partition, needed) in needed {
        while retain::is_over_cap(shared, state, partition, needed)
            && retain::free_oldest(shared, state, txn, partition)?
        {}
    }
    Ok(Ok(()))
}

/// Writes all entries that are not there yet. Their records may stay in hand until [`flush`].
pub(crate) fn write(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    entries: &mut [Entry],
) -> heed::Result<()> {
    for entry in entries.iter_mut().filter(|entry| entry.is_new()) {
        if entry.wait.is_some() {
            schedule::put(shared, state, txn, entry)?;
            continue;
        }
        let Some(log) = state.log_mut(entry.partition) else { continue };
        let before = log.newest().filter(|newest| newest.count() > 0).map(|newest| newest.slot);
        let (slot, offset, is_behind) = log.place(entry.bytes() as u64, entry.appended);
        if before != Some(slot) {
            let begun_and_full = [Some(slot), before].into_iter().flatten();
            state.staged.touched.extend(begun_and_full.map(|slot| (entry.partition, slot)));
        }
        entry.offset = offset;
        let place = Place { partition: entry.partition, offset };
        write_record(shared, state, txn, (place, slot), &mut entry.recorded)?;
        if let Some(hash) = &entry.hash {
            audit::take(shared, state, (entry.partition, slot), offset, hash);
        }
        if let Some(body) = entry.given {
            index_id(shared, txn, entry, slot, body)?;
        } else if entry.is_out_of_time || is_behind {
            index_late(shared, txn, entry, slot)?;
        }
    }
    Ok(())
}

/// Lets an entry be found by its id although nobody gave it and the log is not looked at around when it was taken.
#[cold]
fn index_late(shared: &Shared, txn: &mut RwTxn<'_>, entry: &Entry, slot: u16) -> heed::Result<()> {
    let Ok(encoded) = entry.event.encoded(PAYLOAD_BYTES_MAX) else { return Ok(()) };
    let body = body_hash(&encoded, entry.event.topic(), entry.event.key());
    index_id(shared, txn, entry, slot, body)
}

/// Writes where the event with an id lies, and that this goes with its segment.
fn index_id(shared: &Shared, txn: &mut RwTxn<'_>, entry: &Entry, slot: u16, body: u64) -> heed::Result<()> {
    let Entry { partition, offset, appended, stream, .. } = *entry;
    let row = GivenRow { partition, offset, appended, body };
    let key = given_key(stream, entry.id());
    shared.databases.ids.put(txn, &key, &row::encode(&key, &row)?)?;
    shared.databases.segment_ids.put(txn, &segment_id_key(partition, slot, stream, entry.id()), &[])
}

/// Writes a record with its chunks, or adds one that is small to those in hand.
fn write_record(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    (place, slot): (Place, u16),
    recorded: &mut Recorded,
) -> heed::Result<()> {
    let in_hand = state.staged.in_hand.entry(place.partition).or_default();
    let len = recorded.value().len();
    if in_hand.slot != slot
        || recorded.has_chunks()
        || !in_hand.packing.takes(place, len, shared.value_bytes_max)
    {
        in_hand.put(shared, txn, place.partition)?;
    }
    if !recorded.has_chunks() {
        in_hand.slot = slot;
        in_hand.packing.add(place, |records| recorded.seal_into(place, records));
        return Ok(());
    }
    let Some(database) = shared.databases.segment(place.partition, slot) else { return Ok(()) };
    recorded.seal(place);
    database.put_with_flags(txn, PutFlags::APPEND, &place.offset.to_be_bytes(), recorded.value())?;
    for (chunk, number) in recorded.chunks().zip(0..) {
        database.put_with_flags(txn, PutFlags::APPEND, &chunk_key(place.offset, number), chunk)?;
    }
    Ok(())
}

/// Records of a partition that were given a place in this batch and lie in no database yet.
#[derive(Debug, Default)]
pub(super) struct InHand {
    slot: u16,
    packing: Packing,
}

impl InHand {
    fn put(&mut self, shared: &Shared, txn: &mut RwTxn<'_>, partition: u32) -> heed::Result<()> {
        let Some(database) = shared.databases.segment(partition, self.slot) else { return Ok(()) };
        self.packing.take(shared.pack_bytes(), |last, value| {
            // Offsets only rise: LMDB need not search for the place, and refuses one that does not follow.
            database.put_with_flags(txn, PutFlags::APPEND, &last.offset.to_be_bytes(), value)
        })
    }
}

/// Writes what is in hand: before the log is read, and at the end of the batch.
pub(super) fn flush(shared: &Shared, state: &mut State, txn: &mut RwTxn<'_>) -> heed::Result<()> {
    for (&partition, in_hand) in &mut state.staged.in_hand {
        in_hand.put(shared, txn, partition)?;
    }
    Ok(())
}

/// Keeps a copy of a record beside its dead letter, so that retention does not take it. Everything before it must be [flushed](flush).
pub(super) fn keep_for_dead_letter(
    shared: &Shared,
    log: Option<&Log>,
    txn: &mut RwTxn<'_>,
    (subscription, partition): (u32, u32),
    offset: u64,
) -> heed::Result<()> {
    let slot = log.and_then(|log| log.at(offset)).map(|segment| segment.slot);
    let Some(database) = slot.and_then(|slot| shared.databases.segment(partition, slot)) else {
        return Ok(());
    };
    let key = place_key(subscription, partition, offset);
    let value = match crate::records::find(database, txn, Place { partition, offset }) {
        Ok(Some(value)) => value.to_vec(),
        // Damage is told of when it is read.
        Ok(None) | Err(Unreadable::Corrupt(_)) => return Ok(()),
        Err(Unreadable::Storage(error)) => return Err(error),
    };
    shared.databases.dead.put(txn, &[&key[..], &[RECORD]].concat(), &value)?;
    for number in 0..=u16::MAX {
        let Some(chunk) = database.get(txn, &chunk_key(offset, number))?.map(<[u8]>::to_vec) else { break };
        let key = [&key[..], &[CHUNK], &number.to_be_bytes()].concat();
        shared.databases.dead.put(txn, &key, &chunk)?;
    }
    Ok(())
}

/// The key of a given id: the stream's number, the id.
pub(crate) fn given_key(stream: u32, id: EventId) -> [u8; 20] {
    let mut key = [0; 20];
    let (start, end) = key.split_at_mut(4);
    start.copy_from_slice(&stream.to_be_bytes());
    end.copy_from_slice(id.as_uuid().as_bytes());
    key
}

/// The key that says which ids go with a segment: partition, slot, then the key of the id.
pub(super) fn segment_id_key(partition: u32, slot: u16, stream: u32, id: EventId) -> Vec<u8> {
    [&crate::layout::slot_key(partition, slot)[..], &given_key(stream, id)[..]].concat()
}

/// What follows a dead letter's key for its record and for the chunks of that.
pub(crate) const RECORD: u8 = 0;
pub(crate) const CHUNK: u8 = 1;
/// And for what it is in quarantine for.
pub(crate) const QUARANTINE: u8 = 2;
