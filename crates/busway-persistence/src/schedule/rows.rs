//! Writing what waits, finding it by its id, and taking it out; how much may wait.

use std::time::Duration;

use busway_event::{EventId, Timestamp};
use heed::{RoTxn, RwTxn};

use super::keys::{
    DAMAGED, HeadRow, ID, IdRow, RECORD, SEALED_FOR, Slot, WAITING, chunk_part, id_key, id_prefix,
};
use crate::append::Entry;
use crate::corrupt::Corrupt;
use crate::error::Refusal;
use crate::layout::Databases;
use crate::record::Place;
use crate::row;
use crate::shared::Shared;
use crate::writer::State;

/// What waits, in numbers: kept by the writer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    /// The number of the next event.
    pub(super) next: u64,
    /// The latest time at which something that waits [began](IdRow::began).
    pub(super) latest: Timestamp,
}

/// What a store has in its schedule when it is opened. A row that is damaged is told of, and counts as one event.
pub(crate) fn held(txn: &RoTxn<'_>, databases: &Databases<'_>) -> heed::Result<Waiting> {
    let mut waiting = Waiting { latest: Timestamp::from_nanos(i64::MIN), ..Waiting::default() };
    let mut is_damaged = false;
    for entry in databases.schedule.prefix_iter(txn, &[ID])? {
        let (key, value) = entry?;
        waiting.events += 1;
        match row::decode::<IdRow>("scheduled id", key, value) {
            Ok(row) => {
                waiting.bytes += row.bytes;
                waiting.next = waiting.next.max(row.number + 1);
                waiting.latest = waiting.latest.max(row.began());
            }
            Err(corrupt) => {
                is_damaged = true;
                tracing::error!(%corrupt, "an event that waits to be published cannot be found by its id");
            }
        }
    }
    // What is set aside has its number still; so has what no row of an id leads to.
    let kinds = [Some(DAMAGED), is_damaged.then_some(WAITING)];
    for kind in kinds.into_iter().flatten() {
        for entry in databases.schedule.prefix_iter(txn, &[kind])? {
            let number = Slot::of(kind, entry?.0).map_or(0, |(slot, _)| slot.number + 1);
            waiting.next = waiting.next.max(number);
        }
    }
    Ok(waiting)
}

/// Whether there is room for the entries that are to wait, and will be where they are to go.
pub(crate) fn check_room(shared: &Shared, waiting: &Waiting, entries: &[Entry]) -> Result<(), Refusal> {
    let new = || entries.iter().filter(|entry| entry.is_new() && entry.wait.is_some());
    let (events, bytes) =
        new().fold((0, 0), |(events, bytes), entry| (events + 1, bytes + entry.bytes() as u64));
    if let Some(refusal) = new().find_map(|entry| never_fits(shared, entry)) {
        return Err(refusal);
    }
    let limits = shared.limits;
    let fits =
        waiting.events + events <= limits.scheduled_events && waiting.bytes + bytes <= limits.scheduled_bytes;
    if events == 0 || fits {
        return Ok(());
    }
    Err(Refusal::ScheduleFull {
        events: waiting.events,
        events_max: limits.scheduled_events,
        bytes: waiting.bytes,
        bytes_max: limits.scheduled_bytes,
    })
}

/// What is larger by itself than its partition may grow to could never be published.
pub(super) fn never_fits(shared: &Shared, entry: &Entry) -> Option<Refusal> {
    let capped =
        shared.cap_of_partition(entry.partition).filter(|(_, cap)| entry.bytes() as u64 > cap.bytes)?;
    Some(shared.capped(entry.partition, capped))
}

/// When the event with this id is due, if it waits, and the hash of its body. A damaged row says nothing.
pub(crate) fn first_due(
    shared: &Shared,
    txn: &RoTxn<'_>,
    stream: u32,
    id: EventId,
) -> heed::Result<Option<(Timestamp, Option<u64>)>> {
    let key = id_key(id, stream);
    let row = shared.databases.schedule.get(txn, &key)?;
    let row = row.and_then(|row| row::decode::<IdRow>("scheduled id", &key, row).ok());
    Ok(row.map(|row| (row.due, row.body)))
}

/// Lets an entry wait.
pub(crate) fn put(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    entry: &mut Entry,
) -> heed::Result<()> {
    let Some(wait) = entry.wait.as_deref().copied() else { return Ok(()) };
    let waiting = state.waiting_mut();
    let slot = Slot { due: wait.due, number: waiting.next };
    let bytes = entry.bytes() as u64;
    waiting.next += 1;
    waiting.events += 1;
    waiting.bytes += bytes;
    let schedule = shared.databases.schedule;
    entry.recorded.seal(Place { partition: SEALED_FOR, offset: slot.number });
    let head = HeadRow {
        id: *entry.id().as_uuid().as_bytes(),
        stream: entry.stream,
        partition: entry.partition,
        bytes,
    };
    let key = slot.key(WAITING);
    schedule.put(txn, &key, &row::encode(&key, &head)?)?;
    schedule.put(txn, &slot.part(WAITING, &[RECORD]), entry.recorded.value())?;
    for (chunk, number) in entry.recorded.chunks().zip(0..) {
        schedule.put(txn, &slot.part(WAITING, &chunk_part(number)), chunk)?;
    }
    let row = IdRow {
        due: slot.due,
        number: slot.number,
        taken: entry.appended,
        delay: wait.delay.map(nanos),
        body: entry.given,
        bytes,
    };
    let waiting = state.waiting_mut();
    waiting.latest = waiting.latest.max(row.began());
    let key = id_key(entry.id(), entry.stream);
    schedule.put(txn, &key, &row::encode(&key, &row)?)
}

/// Takes out what waits at a place: its row, its record and its chunks.
pub(super) fn take_out(shared: &Shared, txn: &mut RwTxn<'_>, slot: Slot) -> heed::Result<()> {
    for key in keys_at(shared, txn, slot)? {
        shared.databases.schedule.delete(txn, &key)?;
    }
    Ok(())
}

/// The keys of everything that lies at a place.
pub(super) fn keys_at(shared: &Shared, txn: &RoTxn<'_>, slot: Slot) -> heed::Result<Vec<Vec<u8>>> {
    let entries = shared.databases.schedule.prefix_iter(txn, &slot.key(WAITING))?;
    entries.map(|entry| Ok(entry?.0.to_vec())).collect()
}

/// Rows of ids, by their keys.
pub(super) type FoundById = Vec<(Vec<u8>, IdRow)>;

/// The places of the event with this id, in each stream that it waits for.
pub(super) fn by_id(
    shared: &Shared,
    txn: &RoTxn<'_>,
    id: EventId,
) -> heed::Result<Result<FoundById, Corrupt>> {
    let mut found = Vec::new();
    for entry in shared.databases.schedule.prefix_iter(txn, &id_prefix(id))? {
        let (key, value) = entry?;
        match row::decode("scheduled id", key, value) {
            Ok(row) => found.push((key.to_vec(), row)),
            Err(corrupt) => return Ok(Err(corrupt)),
        }
    }
    Ok(Ok(found))
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
