//! Firing: what is due goes from the schedule into the log.
//!
//! Each event leaves the schedule in the transaction that puts it into the log, so it is published once whatever happens. One
//! request moves a bounded number, and says where the next one goes on.
//!
//! | what is found at a due place | what becomes of it |
//! |---|---|
//! | an event that is as it was written | it gets its offset, and leaves |
//! | its partition has grown to its cap | it waits on, and with it what is due for that partition behind it, so that nothing overtakes; others go |
//! | no stream captures its topic in this opening | it waits on |
//! | anything that does not fit its checksums | it is set aside with the reason, which is logged; others go |

use std::collections::BTreeSet;
use std::ops::Bound;

use busway_event::codec::PAYLOAD_BYTES_MAX;
use busway_event::{EventId, Timestamp};
use heed::{RoTxn, RwTxn};
use uuid::Uuid;

use super::keys::{
    DAMAGED, DamageRow, HEAD, HeadRow, ID, IdRow, RECORD, SEALED_FOR, Slot, WAITING, chunk_part, id_key,
};
use super::rows::{keys_at, never_fits, take_out};
use crate::append::Entry;
use crate::corrupt::Corrupt;
use crate::error::{EntryError, RequestError};
use crate::record::{Place, Record, StoredEvent};
use crate::row;
use crate::shared::Shared;
use crate::writer::{State, make_room, write_entries};

/// What a request to fire came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fired {
    /// Events that are in the log now.
    pub events: usize,
    /// Due events that wait on because their partition has grown to its cap, or has one now that they are larger than: fire them again when there is room.
    pub held: usize,
    /// Due events that wait on because no stream captures their topic, until a store is opened with one that does.
    pub uncaptured: usize,
    /// Events that were set aside because what is stored of them is damaged.
    pub damaged: usize,
    /// Where the next request goes on; `None` when everything that is due was looked at.
    pub rest: Option<Rest>,
    /// When the first event behind those is due; of use when `rest` is `None`.
    pub next: Option<Timestamp>,
}

/// Where firing goes on. Of use for the same `until` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    behind: Slot,
    /// Partitions that were full: nothing of theirs may overtake what was held.
    full: BTreeSet<u32>,
}

/// Called by the writer's thread when a request to fire is decided. It must be quick, and must not wait for the store.
pub type OnFired = Box<dyn FnOnce(Result<Fired, RequestError>) + Send>;

/// A request to fire.
pub(crate) struct Fire {
    pub(crate) until: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) limit: usize,
    pub(crate) rest: Option<Rest>,
    /// What went into the log.
    pub(crate) entries: Vec<Entry>,
    pub(crate) fired: Fired,
    pub(crate) done: OnFired,
}

/// Moves what is due.
pub(super) fn fire(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    request: &mut Fire,
) -> heed::Result<()> {
    let Fire { until, now, limit, .. } = *request;
    let (behind, full) =
        request.rest.clone().map_or((None, BTreeSet::new()), |rest| (Some(rest.behind), rest.full));
    let mut pass = Pass { now, full, entries: Vec::new(), bytes: 0, fired: Fired::default() };
    let (due, is_all) = due(shared, txn, behind, until)?;
    let mut looked_at = None;
    for &slot in &due {
        if pass.entries.len() >= limit.max(1) || pass.bytes >= FIRED_BYTES {
            break;
        }
        pass.look_at(shared, state, txn, slot)?;
        looked_at = Some(slot);
    }
    state.time_is(now);
    let Pass { full, entries, mut fired, .. } = pass;
    let is_over = looked_at == due.last().copied() && is_all;
    fired.rest = looked_at.filter(|_| !is_over).map(|behind| Rest { behind, full });
    fired.next = next(shared, txn, until)?;
    fired.events = entries.len();
    (request.entries, request.fired) = (entries, fired);
    Ok(())
}

/// One request under way.
struct Pass {
    now: Timestamp,
    full: BTreeSet<u32>,
    entries: Vec<Entry>,
    bytes: usize,
    fired: Fired,
}

impl Pass {
    /// Moves what waits at a place, or says why it stays.
    fn look_at(
        &mut self,
        shared: &Shared,
        state: &mut State,
        txn: &mut RwTxn<'_>,
        slot: Slot,
    ) -> heed::Result<()> {
        let (head, found) = match load(shared, txn, slot)? {
            Ok(found) => found,
            Err(corrupt) => return self.set_aside(shared, state, txn, slot, &corrupt),
        };
        if self.full.contains(&head.partition) {
            self.fired.held += 1;
            return Ok(());
        }
        let entry = shared.entry(found.event, found.given_id, self.now, PAYLOAD_BYTES_MAX);
        let mut entry = match entry.map_err(|refused| refused.1) {
            Ok(entry) => entry,
            Err(EntryError::UnknownStream { .. }) => {
                self.fired.uncaptured += 1;
                return Ok(());
            }
            Err(error) => {
                let corrupt = Corrupt { place: place(slot), reason: error.to_string() };
                return self.set_aside(shared, state, txn, slot, &corrupt);
            }
        };
        if make_room(shared, state, txn, std::slice::from_ref(&entry))?.is_err() {
            self.fired.held += 1;
            // The cap is lower than when it was taken in: it waits for another one, and those behind it do not.
            if never_fits(shared, &entry).is_none() {
                self.full.insert(head.partition);
            }
            return Ok(());
        }
        leave(shared, state, txn, slot, &head)?;
        write_entries(shared, state, txn, std::slice::from_mut(&mut entry))?;
        self.bytes += entry.bytes();
        self.entries.push(entry);
        Ok(())
    }

    fn set_aside(
        &mut self,
        shared: &Shared,
        state: &mut State,
        txn: &mut RwTxn<'_>,
        slot: Slot,
        corrupt: &Corrupt,
    ) -> heed::Result<()> {
        self.fired.damaged += 1;
        set_aside(shared, state, txn, slot, corrupt, self.now)
    }
}

/// The first places whose time has come, behind one, and whether these are all. As many as one request may move: of large events that is few,
/// and the keys of their chunks are not gone through again and again.
fn due(
    shared: &Shared,
    txn: &RwTxn<'_>,
    behind: Option<Slot>,
    until: Timestamp,
) -> heed::Result<(Vec<Slot>, bool)> {
    // Behind all parts of that place: no part is led by this byte.
    let from = behind.map(|slot| slot.part(WAITING, &[u8::MAX]));
    let from = from.as_ref().map_or(Bound::Included(&[WAITING][..]), |from| Bound::Excluded(&from[..]));
    let end = Slot::behind(until).part(WAITING, &[u8::MAX]);
    let (mut due, mut bytes) = (Vec::new(), 0);
    for entry in shared.databases.schedule.range(txn, &(from, Bound::Included(&end[..])))? {
        let (key, value) = entry?;
        match Slot::of(WAITING, key) {
            // What lies at one place is one event, whichever of its parts are there.
            Some((slot, _)) if due.last() != Some(&slot) => {
                if due.len() == LOOKED_AT_MAX || bytes >= FIRED_BYTES {
                    return Ok((due, false));
                }
                due.push(slot);
            }
            _ => {}
        }
        bytes += value.len();
    }
    Ok((due, true))
}

/// When the first event that is not due is.
fn next(shared: &Shared, txn: &RwTxn<'_>, until: Timestamp) -> heed::Result<Option<Timestamp>> {
    let from = Slot::behind(until).part(WAITING, &[u8::MAX]);
    let range = (Bound::Excluded(&from[..]), Bound::Excluded(&[ID][..]));
    let first = shared.databases.schedule.range(txn, &range)?.next().transpose()?;
    Ok(first.and_then(|(key, _)| Slot::of(WAITING, key)).map(|(slot, _)| slot.due))
}

/// What waits at a place, checked.
pub(super) fn load(
    shared: &Shared,
    txn: &RoTxn<'_>,
    slot: Slot,
) -> heed::Result<Result<(HeadRow, StoredEvent), Corrupt>> {
    let schedule = shared.databases.schedule;
    let key = slot.key(WAITING);
    let missing = |what: &str| Corrupt { place: place(slot), reason: format!("its {what} is not there") };
    let Some(head) = schedule.get(txn, &key)? else { return Ok(Err(missing("row"))) };
    let head: HeadRow = match row::decode("scheduled event", &key, head) {
        Ok(head) => head,
        Err(corrupt) => return Ok(Err(corrupt)),
    };
    let Some(value) = schedule.get(txn, &slot.part(WAITING, &[RECORD]))? else {
        return Ok(Err(missing("record")));
    };
    let at_place = |corrupt: Corrupt| Corrupt { place: place(slot), ..corrupt };
    let sealed_for = Place { partition: SEALED_FOR, offset: slot.number };
    let record = match Record::check(sealed_for, value) {
        Ok(record) => record,
        Err(corrupt) => return Ok(Err(at_place(corrupt))),
    };
    let mut chunks = Vec::new();
    for number in 0..record.chunks() {
        // One that is missing is found when the record is put together.
        chunks.extend(schedule.get(txn, &slot.part(WAITING, &chunk_part(number)))?);
    }
    let names = shared.names.look();
    let event = record.decode(&chunks, |number| names.get(number)).map_err(at_place);
    Ok(event.map(|event| (head, event)))
}

/// What is published waits no longer.
fn leave(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    slot: Slot,
    head: &HeadRow,
) -> heed::Result<()> {
    take_out(shared, txn, slot)?;
    let id = EventId::new(Uuid::from_bytes(head.id));
    shared.databases.schedule.delete(txn, &id_key(id, head.stream))?;
    state.waits_no_longer(head.bytes);
    Ok(())
}

/// Sets aside what cannot be trusted, with its bytes as they are: it is never published, and blocks nobody.
fn set_aside(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    slot: Slot,
    corrupt: &Corrupt,
    now: Timestamp,
) -> heed::Result<()> {
    tracing::error!(%corrupt, "an event that is due cannot be published; it is set aside");
    let schedule = shared.databases.schedule;
    for key in keys_at(shared, txn, slot)? {
        let part = Slot::of(WAITING, &key).map_or(&[][..], |(_, part)| part);
        let part = if part.is_empty() { &[HEAD] } else { part };
        if let Some(value) = schedule.get(txn, &key)?.map(<[u8]>::to_vec) {
            schedule.put(txn, &slot.part(DAMAGED, part), &value)?;
        }
        schedule.delete(txn, &key)?;
    }
    let key = slot.key(DAMAGED);
    let row = DamageRow { at: now, reason: corrupt.reason.clone() };
    schedule.put(txn, &key, &row::encode(&key, &row)?)?;
    // Its id leads nowhere now: given to the event again, it is stored anew. Rare, so it is looked for among all.
    let leads_here = |entry: heed::Result<(&[u8], &[u8])>| -> heed::Result<Option<(Vec<u8>, u64)>> {
        let (key, value) = entry?;
        let row = row::decode::<IdRow>("scheduled id", key, value).ok();
        let row = row.filter(|row| (row.due, row.number) == (slot.due, slot.number));
        Ok(row.map(|row| (key.to_vec(), row.bytes)))
    };
    let ids = schedule.prefix_iter(txn, &[ID])?.filter_map(|entry| leads_here(entry).transpose());
    let ids: Vec<(Vec<u8>, u64)> = ids.collect::<heed::Result<_>>()?;
    for (key, bytes) in ids {
        schedule.delete(txn, &key)?;
        state.waits_no_longer(bytes);
    }
    Ok(())
}

pub(super) fn place(slot: Slot) -> String {
    format!("scheduled event {}, due {}", slot.number, slot.due)
}

/// Places that one request looks at, due or held: some milliseconds.
const LOOKED_AT_MAX: usize = 4_096;
/// Bytes of the events that one request moves: as much as a commit takes of others.
const FIRED_BYTES: usize = 4 << 20;
