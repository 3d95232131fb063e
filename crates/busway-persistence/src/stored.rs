//! What a store holds when it is opened: its streams, names, segments, subscriptions and cursors, read into memory.

use std::collections::HashMap;

use heed::{DatabaseStat, RoTxn};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::audit::AuditRow;
use crate::corrupt::Corrupt;
use crate::cursor::Cursor;
use crate::dead::{LetterKey, REDRIVEN, load_counts};
use crate::layout::{AUDIT, Databases, STREAM, TABLE};
use crate::lmdb::Db;
use crate::names::Names;
use crate::record::{Place, Record, records_bytes};
use crate::records;
use crate::row;
use crate::schedule;
use crate::segment::{Log, Segment, SegmentRow, SegmentSize};
use crate::settle::{Parked, SubscriptionRow};
use crate::shared::StoredStream;
use crate::stream::Retention;
use crate::table::{self, TableId};
use crate::writer::{Position, State, Subscription};

/// A stream's row in `meta`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamRow {
    /// The number of its first partition.
    pub(crate) first: u32,
    pub(crate) partitions: u16,
    /// Databases in the ring of each partition.
    pub(crate) slots: u16,
}

/// Why a store's rows cannot be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    Corrupt(Corrupt),
    Storage(heed::Error),
}

impl From<heed::Error> for Unreadable {
    fn from(error: heed::Error) -> Self {
        Self::Storage(error)
    }
}

impl From<Corrupt> for Unreadable {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// The streams that `meta` tells of, by name.
pub(crate) fn streams(txn: &RoTxn<'_>, meta: Db<'_>) -> Result<Vec<(String, StreamRow)>, Unreadable> {
    listed(txn, meta, (STREAM, "stream"), row::decode)
}

/// The audits that `meta` tells of, by the names of their streams.
pub(crate) fn audits(txn: &RoTxn<'_>, meta: Db<'_>) -> Result<HashMap<String, AuditRow>, Unreadable> {
    Ok(listed(txn, meta, (AUDIT, "audit"), row::decode)?.into_iter().collect())
}

/// The tables that `meta` tells of, by name.
pub(crate) fn tables(txn: &RoTxn<'_>, meta: Db<'_>) -> Result<HashMap<String, TableId>, Unreadable> {
    Ok(listed(txn, meta, (TABLE, "table"), table::number_of)?.into_iter().collect())
}

/// The rows of `meta` of one kind, by the names that follow their prefix, in the order of these.
fn listed<T>(
    txn: &RoTxn<'_>,
    meta: Db<'_>,
    (prefix, kind): (&[u8], &str),
    read: impl Fn(&str, &[u8], &[u8]) -> Result<T, Corrupt>,
) -> Result<Vec<(String, T)>, Unreadable> {
    let mut rows = Vec::new();
    for entry in meta.prefix_iter(txn, prefix)? {
        let (key, value) = entry?;
        let name = key.get(prefix.len()..).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.ok_or_else(|| damaged(&format!("the list of {kind}s"), "a name is no text"))?;
        rows.push((name.to_owned(), read(kind, key, value)?));
    }
    Ok(rows)
}

/// The rows of `meta` of one kind, by the numbers that follow their prefix. For what the store can do without: a damaged one is told of and left
/// out.
pub(crate) fn numbered<T: DeserializeOwned>(
    txn: &RoTxn<'_>,
    meta: Db<'_>,
    prefix: &[u8],
    kind: &str,
) -> heed::Result<HashMap<u32, T>> {
    let mut rows = HashMap::new();
    for entry in meta.prefix_iter(txn, prefix)? {
        let (key, value) = entry?;
        let number = key.get(prefix.len()..).and_then(|number| number.try_into().ok());
        match (number, row::decode(kind, key, value)) {
            (Some(number), Ok(row)) => _ = rows.insert(u32::from_be_bytes(number), row),
            (None, _) => tracing::error!(kind, "a key of the store ends with no number"),
            (_, Err(corrupt)) => tracing::error!(%corrupt, "a row of the store is damaged, and left out"),
        }
    }
    Ok(rows)
}

/// The partition of a key of `dead`, and what follows its offset.
pub(crate) fn place_of(key: &[u8]) -> Option<(u32, &[u8])> {
    let (at, rest) = key.split_first_chunk::<16>()?;
    let (_, partition) = pair(at.get(..8)?)?;
    Some((partition, rest))
}

/// All names, which have the numbers 1, 2, … without a gap.
pub(crate) fn names(txn: &RoTxn<'_>, databases: &Databases<'_>) -> Result<Names, Unreadable> {
    let mut texts = Vec::new();
    for entry in databases.names.iter(txn)? {
        let (key, value) = entry?;
        let expected = u32::try_from(texts.len() + 1).unwrap_or(u32::MAX);
        if key != expected.to_be_bytes() {
            return Err(damaged("the list of names", &format!("number {expected} is missing")).into());
        }
        texts.push(row::decode::<String>("name", key, value)?);
    }
    Ok(Names::stored(texts.iter().map(String::as_str)))
}

/// The writer's state.
pub(crate) fn state(
    txn: &RoTxn<'_>,
    databases: &Databases<'_>,
    streams: &[StoredStream],
) -> Result<State, Unreadable> {
    let mut logs = Vec::new();
    for stream in streams {
        let retention = stream.declared.as_ref().map_or_else(Retention::forever, |stream| stream.retention);
        let size = SegmentSize::of(&retention, stream.slots);
        for partition in stream.first..stream.first + u32::from(stream.partitions) {
            let mut rows = segments(txn, databases, partition)?;
            if let Some(newest) = rows.last_mut() {
                complete(txn, databases, partition, newest)?;
                // In pages it may be twice as much: what is let go by bytes would go too early.
                if retention.bytes.is_some() || retention.cap.is_some() {
                    newest.bytes = bytes_of(txn, databases, partition, newest)?;
                }
            }
            let log = Log::of(rows, stream.slots, size);
            let place = || format!("the list of segments of partition {partition}");
            logs.push(log.ok_or_else(|| damaged(&place(), "its rows do not fit each other"))?);
        }
    }
    let mut subscriptions = HashMap::new();
    for entry in databases.subscriptions.iter(txn)? {
        let (key, value) = entry?;
        let SubscriptionRow { number, filter } = row::decode("subscription", key, value)?;
        let name = std::str::from_utf8(key)
            .map_err(|_| damaged("the list of subscriptions", "a name is no text"))?;
        subscriptions.insert(name.to_owned(), Subscription { number, filter });
    }
    let waiting = schedule::held(txn, databases)?;
    let mut state = State::new(logs, subscriptions, positions(txn, databases)?, waiting);
    state.letters = load_counts(txn, databases)?;
    Ok(state)
}

/// The segments of a partition, oldest first. The row of the newest is that of its beginning.
pub(crate) fn segments(
    txn: &RoTxn<'_>,
    databases: &Databases<'_>,
    partition: u32,
) -> Result<Vec<Segment>, Unreadable> {
    let mut segments = Vec::new();
    for entry in databases.segments.prefix_iter(txn, &partition.to_be_bytes())? {
        let (key, value) = entry?;
        segments.push(segment(key, value)?);
    }
    segments.sort_unstable_by_key(|segment| segment.first);
    Ok(segments)
}

/// A row of `segments`.
pub(crate) fn segment(key: &[u8], value: &[u8]) -> Result<Segment, Corrupt> {
    let numbers: SegmentRow = row::decode("segment", key, value)?;
    let slot = key.get(4..).and_then(|slot| Some(u16::from_be_bytes(slot.try_into().ok()?)));
    let segment = slot.and_then(|slot| Segment::from_row(slot, numbers));
    segment.ok_or_else(|| row::corrupt("segment", key, "its numbers are none of a segment".to_owned()))
}

/// Adds to a row what its database tells: where it ends, when that was, and how much it holds, in whole pages.
fn complete(
    txn: &RoTxn<'_>,
    databases: &Databases<'_>,
    partition: u32,
    newest: &mut Segment,
) -> Result<(), Unreadable> {
    let Some(database) = databases.segment(partition, newest.slot) else { return Ok(()) };
    let Some(offset) = last_offset(txn, database, partition, newest)? else { return Ok(()) };
    let DatabaseStat { page_size, leaf_pages, overflow_pages, .. } = database.stat(txn)?;
    newest.next = offset.saturating_add(1);
    newest.bytes = (leaf_pages as u64 + overflow_pages as u64).saturating_mul(u64::from(page_size));
    // A damaged record is told of when it is read; its time is only missed here.
    let place = Place { partition, offset };
    let value = match records::find(database, txn, place) {
        Ok(value) => value,
        Err(Unreadable::Corrupt(_)) => None,
        Err(error) => return Err(error),
    };
    let record = value.and_then(|value| Record::check(place, value).ok());
    newest.found_again(record.map_or(newest.last_at, |record| record.peek().appended));
    Ok(())
}

/// The offset behind the last record of the newest segment as the transaction sees it, which may be more than anybody was told of.
pub(crate) fn end_of(
    txn: &RoTxn<'_>,
    databases: &Databases<'_>,
    partition: u32,
    newest: &Segment,
) -> Result<u64, Unreadable> {
    let Some(database) = databases.segment(partition, newest.slot) else { return Ok(newest.next) };
    let last = last_offset(txn, database, partition, newest)?;
    Ok(last.map_or(newest.next, |last| last.saturating_add(1)))
}

/// The last offset in the newest segment's database; `None` when nothing lies there.
fn last_offset(
    txn: &RoTxn<'_>,
    database: Db<'_>,
    partition: u32,
    newest: &Segment,
) -> Result<Option<u64>, Unreadable> {
    let Some((key, _)) = database.last(txn)? else { return Ok(None) };
    // The last key is that of a record, of a pack's last one, or of a record's last chunk.
    let Some(offset) = key.first_chunk().map(|offset| u64::from_be_bytes(*offset)) else {
        return Err(
            damaged(&format!("the newest segment of partition {partition}"), "a key is too short").into()
        );
    };
    let DatabaseStat { page_size, entries, .. } = database.stat(txn)?;
    // Offsets follow each other, so many of them lie in this many values: another key is no offset, but what a damaged page says.
    let records_max = (entries as u64).saturating_mul(u64::from(page_size) / RECORD_BYTES_MIN);
    if !(newest.first..newest.first.saturating_add(records_max)).contains(&offset) {
        let place = format!("the newest segment of partition {partition}");
        let reason = format!("its last offset cannot be {offset}: it begins at {}", newest.first);
        return Err(damaged(&place, &reason).into());
    }
    Ok(Some(offset))
}

/// How much the values of the newest segment have, behind [`complete`]. Of one with very many values it is an estimate, by
/// those that came last. The pages that they lie in bound it: values fill half of them at least, by how LMDB puts them there.
fn bytes_of(
    txn: &RoTxn<'_>,
    databases: &Databases<'_>,
    partition: u32,
    newest: &Segment,
) -> Result<u64, Unreadable> {
    let Some(database) = databases.segment(partition, newest.slot) else { return Ok(newest.bytes) };
    let entries = database.stat(txn)?.entries as u64;
    let (mut count, mut bytes) = (0, 0);
    // Of a value in pages of its own the first one is read.
    for entry in database.rev_iter(txn)?.take(VALUES_LOOKED_AT) {
        let (key, value) = entry?;
        let len = if key.len() == OFFSET_LEN { records_bytes(value) } else { value.len() };
        (count, bytes) = (count + 1, bytes + len as u64);
    }
    match count {
        0 => Ok(newest.bytes),
        count if count == entries => Ok(bytes),
        count => Ok((bytes / count).saturating_mul(entries).clamp(newest.bytes / 2, newest.bytes)),
    }
}

fn positions(
    txn: &RoTxn<'_>,
    databases: &Databases<'_>,
) -> Result<HashMap<(u32, u32), Position>, Unreadable> {
    let mut positions: HashMap<(u32, u32), Position> = HashMap::new();
    for entry in databases.cursors.iter(txn)? {
        let (key, value) = entry?;
        let (at, cursor) = cursor(key, value)?;
        positions.insert(at, Position { cursor, ..Position::default() });
    }
    for entry in databases.parked.iter(txn)? {
        let (key, value) = entry?;
        let at = pair(key.get(..8).unwrap_or_default());
        let at = at.ok_or_else(|| damaged("the list of parked events", "a key has another length"))?;
        let position = positions.entry(at).or_default();
        match LetterKey::read(key) {
            // Behind the row that it belongs to.
            Some((letter, [REDRIVEN])) => {
                position.parked.remove(&letter.offset);
                position.redriven.insert(letter.offset);
            }
            _ => _ = position.parked.insert(row::decode::<Parked>("parked event", key, value)?.offset),
        }
    }
    Ok(positions)
}

/// A row of `cursors`: of which subscription and partition it is, and what is settled there.
pub(crate) fn cursor(key: &[u8], value: &[u8]) -> Result<((u32, u32), Cursor), Corrupt> {
    let at = pair(key).ok_or_else(|| damaged("the list of cursors", "a key has another length"))?;
    let words: Vec<u64> = row::decode("cursor", key, value)?;
    let cursor = Cursor::from_words(&words);
    let cursor =
        cursor.ok_or_else(|| damaged(&format!("the cursor {}", row::hex(key)), "its runs do not rise"))?;
    Ok((at, cursor))
}

fn pair(key: &[u8]) -> Option<(u32, u32)> {
    let (&[first, second], []) = key.as_chunks::<4>() else { return None };
    Some((u32::from_be_bytes(first), u32::from_be_bytes(second)))
}

fn damaged(place: &str, reason: &str) -> Corrupt {
    Corrupt { place: place.to_owned(), reason: reason.to_owned() }
}

/// A few megabytes of pages at most, and as a rule all of a segment that is one of many below a limit.
const VALUES_LOOKED_AT: usize = 4_096;
/// The key of a record or a pack; that of a chunk is longer.
const OFFSET_LEN: usize = 8;
/// A record has a prefix and the fixed part of a head at least.
const RECORD_BYTES_MIN: u64 = 62;
