//! Opening: from a directory to a store that may be written to.
//!
//! 1. The streams are looked at: all that is wrong with them is listed, before anything is touched.
//! 2. The directory is claimed, see [`open`](crate::open): locked, its file system, manifest and header looked at.
//! 3. The streams that lie there are read from `meta`, through an environment that has no other database: how many databases
//!    there are has to be known before the file is mapped for good.
//! 4. The file is mapped; databases that are missing are made, and the rows of new streams written, in one transaction.
//! 5. Names, segments, subscriptions and cursors are read; the last records of each partition are checked.
//! 6. A new store's manifest says that it is ready, and the file that lies there while a store is open takes the place of what a death
//!    has left, see [`attendance`](crate::attendance).
//!
//! # A crash
//! Before the transaction of step 4 is synced nothing of a new stream is there. In a new store the manifest says until
//! step 6 that it is being made: what lies there is thrown away by the next open, and nobody was ever acknowledged. After step
//! 4 and before step 6 it holds its id and no event.

use std::collections::HashMap;
use std::path::Path;

use heed::types::Bytes as Blob;
use heed::{CommitOrAbort, RwTxn};
use uuid::Uuid;

use crate::aging::AgedAtMost;
use crate::attendance;
use crate::audit::{self, AuditRow};
use crate::dead::Rooms;
use crate::figures::Commits;
use crate::layout::{Databases, META, STORE_ID, STREAM, TABLE};
use crate::lmdb::Gate;
use crate::names::Names;
use crate::open::{Claimed, Needs, OpenError, State as Found, claim};
use crate::options::{StoreOptions, stream_problems};
use crate::record::{Place, Record};
use crate::records;
use crate::row;
use crate::segment::Log;
use crate::shared::{Limits, MAP_STEP, Partition, Shared, StoredStream};
use crate::stored::{self, StreamRow, Unreadable};
use crate::stream::{Stream, StreamProblem};
use crate::table::{self, TableId};
use crate::tail::Tail;
use crate::writer::State;

/// See the module.
pub(crate) fn open(path: &Path, options: StoreOptions) -> Result<(Shared, State, Claimed), OpenError> {
    let problems = stream_problems(&options.streams);
    if !problems.is_empty() {
        return Err(OpenError::Streams { path: path.to_owned(), problems });
    }
    let max_readers = options.readers_max;
    let mut claimed =
        claim(path, &Needs { max_readers, free_for_new: options.reserve_bytes, free_for_existing: 0 })?;
    let map_bytes = map_bytes(&options, &claimed);
    let rows = known_streams(&claimed, map_bytes, options.readers_max)?;
    let mut streams = plan(&claimed, rows, &options.streams)?;
    let rings: Vec<u16> =
        streams.iter().flat_map(|stream| (0..stream.partitions).map(|_| stream.slots)).collect();
    let gate = Gate::open(&claimed.dir, map_bytes, Databases::count(&rings), options.readers_max)
        .map_err(|error| storage(&claimed.dir, "map", &error))?;
    let databases = create(&gate, &claimed, &streams, &rings, &options.tables)?;
    let (names, tables, mut state) = load(&gate, &claimed.dir, &databases, &streams)?;
    load_audits(&gate, &claimed, &databases, &mut streams, &mut state)?;
    let partitions = partitions(&streams, &state, &options);
    let shared = Shared {
        path: claimed.dir.clone(),
        store_id: claimed.store_id,
        opening: Uuid::new_v4(),
        value_bytes_max: page_size(&gate).saturating_sub(PAGE_HEADER_BYTES),
        gate,
        databases,
        names,
        streams,
        tables,
        partitions,
        fault: std::sync::OnceLock::new(),
        aged_at_most: AgedAtMost::default(),
        id_window: options.id_window,
        limits: Limits {
            bytes_max: options.bytes_max,
            reserve: options.reserve_bytes,
            scheduled_events: options.scheduled_events,
            scheduled_bytes: options.scheduled_bytes,
        },
        on_commit: options.on_commit,
        on_committed: options.on_committed,
        commits: Commits::default(),
        on_audit_head: options.on_audit_head,
        rooms: Rooms::of(&state.letters),
    };
    verify(&shared, &state, options.verified)?;
    claimed.ready()?;
    let death = claimed.begin_life(shared.opening);
    attendance::take_up(&shared, &mut state, death.as_ref())
        .map_err(|error| storage(&shared.path, "read", &error))?;
    Ok((shared, state, claimed))
}

/// As much address space as is asked for, within the store's limit, and as the file needs already.
fn map_bytes(options: &StoreOptions, claimed: &Claimed) -> usize {
    let needed = match claimed.state {
        Found::Fresh => 0,
        Found::Unfinished(header) | Found::Existing(header) => {
            let pages = header.last_page.saturating_add(1);
            usize::try_from(pages.saturating_mul(u64::from(header.page_size))).unwrap_or(usize::MAX)
        }
    };
    let limit = usize::try_from(options.bytes_max).unwrap_or(usize::MAX);
    options.map_bytes.min(limit).max(needed).max(MAP_STEP).next_multiple_of(MAP_STEP)
}

/// A stream that lies in the store: its name, its row, and that of its audit.
type Known = (String, StreamRow, Option<AuditRow>);

/// The streams that lie in the store.
fn known_streams(claimed: &Claimed, map_bytes: usize, readers_max: u32) -> Result<Vec<Known>, OpenError> {
    if claimed.state == Found::Fresh {
        return Ok(Vec::new());
    }
    let is_finished = matches!(claimed.state, Found::Existing(_));
    let storage = |error: &heed::Error| storage(&claimed.dir, "look into", error);
    let gate = Gate::open(&claimed.dir, map_bytes, 1, readers_max).map_err(|error| storage(&error))?;
    let streams = {
        let txn = gate.env().read_txn().map_err(|error| storage(&error))?;
        let meta = gate.env().open_databases_and_commit(txn, |opener, txn| {
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(
                opener.open_database::<Blob, Blob>(txn, Some(META))?,
            ))
        });
        let meta = meta.map_err(|error| storage(&error))?.commit().flatten();
        let txn = gate.read().map_err(|error| storage(&error))?;
        match meta {
            Some(meta) => {
                let id = meta.get(&txn, STORE_ID).map_err(|error| storage(&error))?;
                if id.map_or(is_finished, |id| id != claimed.store_id.as_bytes()) {
                    return Err(OpenError::OtherStore { path: claimed.dir.clone() });
                }
                let unreadable = |error| unreadable(&claimed.dir, error);
                let mut audits = stored::audits(&txn, meta).map_err(unreadable)?;
                let streams = stored::streams(&txn, meta).map_err(unreadable)?;
                let known = |(name, row)| (audits.remove(&name), name, row);
                streams.into_iter().map(known).map(|(audit, name, row)| (name, row, audit)).collect()
            }
            None if is_finished => return Err(OpenError::OtherStore { path: claimed.dir.clone() }),
            None => Vec::new(),
        }
    };
    gate.close();
    Ok(streams)
}

/// The streams of the store when it is open: those that lie there and those that are new, by their numbers.
fn plan(claimed: &Claimed, rows: Vec<Known>, declared: &[Stream]) -> Result<Vec<StoredStream>, OpenError> {
    let declared_as = |name: &str| declared.iter().find(|stream| stream.name == name);
    let mut problems = Vec::new();
    let mut streams: Vec<StoredStream> = Vec::new();
    for (name, StreamRow { first, partitions, slots }, audit_row) in rows {
        let declared = declared_as(&name).cloned();
        if let Some(asked) =
            declared.as_ref().map(|stream| stream.partitions).filter(|&asked| asked != partitions)
        {
            problems.push((name.clone(), StreamProblem::OtherPartitions { stored: partitions, asked }));
        }
        let problem = declared
            .as_ref()
            .and_then(|declared| audit::problem(claimed.store_id, declared, audit_row.as_ref()));
        problems.extend(problem.map(|problem| (name.clone(), problem)));
        streams.push(StoredStream { name, first, partitions, slots, declared, audit_row, audited: None });
    }
    if !problems.is_empty() {
        return Err(OpenError::Streams { path: claimed.dir.clone(), problems });
    }
    streams.sort_by_key(|stream| stream.first);
    for stream in declared {
        if streams.iter().all(|known| known.name != stream.name) {
            let first = streams.last().map_or(0, |last| last.first + u32::from(last.partitions));
            let (name, partitions) = (stream.name.clone(), stream.partitions);
            let slots = slots_of(partitions);
            let declared = Some(stream.clone());
            streams.push(StoredStream {
                name,
                first,
                partitions,
                slots,
                declared,
                audit_row: None,
                audited: None,
            });
        }
    }
    Ok(streams)
}

/// Databases in the ring of each partition: many where there are few partitions, so that a segment is a small part of them.
fn slots_of(partitions: u16) -> u16 {
    (RING_DATABASES / partitions.max(1)).clamp(SLOTS_MIN, SLOTS_MAX)
}

fn create(
    gate: &Gate,
    claimed: &Claimed,
    streams: &[StoredStream],
    rings: &[u16],
    tables: &[String],
) -> Result<Databases<'static>, OpenError> {
    let env = gate.env();
    let create_all = || {
        let txn = env.write_txn()?;
        env.create_databases_and_commit(txn, |opener, txn| {
            let databases = Databases::create(opener, txn, rings)?;
            write_streams(&databases, txn, claimed, streams)?;
            write_tables(&databases, txn, tables)?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(databases))
        })
    };
    let mut created = create_all();
    // A store that is nearly as large as its map, and a stream more.
    while matches!(created, Err(heed::Error::Mdb(heed::MdbError::MapFull))) {
        created = gate.grow(gate.map_size().saturating_mul(2)).and_then(|()| create_all());
    }
    let created = created.map_err(|error| storage(&claimed.dir, "make the databases of", &error))?;
    created.commit().ok_or_else(|| OpenError::OtherStore { path: claimed.dir.clone() })
}

fn write_streams(
    databases: &Databases<'_>,
    txn: &mut RwTxn<'_>,
    claimed: &Claimed,
    streams: &[StoredStream],
) -> heed::Result<()> {
    if databases.meta.get(txn, STORE_ID)?.is_none() {
        databases.meta.put(txn, STORE_ID, claimed.store_id.as_bytes())?;
    }
    for stream in streams {
        let key = [STREAM, stream.name.as_bytes()].concat();
        if databases.meta.get(txn, &key)?.is_some() {
            continue;
        }
        let StoredStream { first, partitions, slots, .. } = *stream;
        databases.meta.put(txn, &key, &row::encode(&key, &StreamRow { first, partitions, slots })?)?;
    }
    Ok(())
}

/// Gives a number to each table that has none.
fn write_tables(databases: &Databases<'_>, txn: &mut RwTxn<'_>, tables: &[String]) -> heed::Result<()> {
    for name in tables {
        let key = [TABLE, name.as_bytes()].concat();
        if databases.meta.get(txn, &key)?.is_some() {
            continue;
        }
        let count = databases.meta.prefix_iter(txn, TABLE)?.count();
        databases.meta.put(txn, &key, &table::number_row(&key, count))?;
    }
    Ok(())
}

fn load(
    gate: &Gate,
    dir: &Path,
    databases: &Databases<'static>,
    streams: &[StoredStream],
) -> Result<(Names, HashMap<String, TableId>, State), OpenError> {
    let txn = gate.read().map_err(|error| storage(dir, "read", &error))?;
    let names = stored::names(&txn, databases).map_err(|error| unreadable(dir, error))?;
    let state = stored::state(&txn, databases, streams).map_err(|error| unreadable(dir, error))?;
    let tables = stored::tables(&txn, databases.meta).map_err(|error| unreadable(dir, error))?;
    Ok((names, tables, state))
}

/// Which streams are audited from now on, and where their chains end.
fn load_audits(
    gate: &Gate,
    claimed: &Claimed,
    databases: &Databases<'static>,
    streams: &mut [StoredStream],
    state: &mut State,
) -> Result<(), OpenError> {
    let dir = &claimed.dir;
    audit::plan(claimed.store_id, streams, &state.logs);
    audit::store_rows(gate, databases, streams)
        .map_err(|error| storage(dir, "write the audits of", &error))?;
    let txn = gate.read().map_err(|error| storage(dir, "read", &error))?;
    let tips = audit::tips(&txn, databases, claimed.store_id, streams);
    state.tips = tips.map_err(|error| unreadable(dir, error))?;
    Ok(())
}

fn partitions(streams: &[StoredStream], state: &State, options: &StoreOptions) -> Vec<Partition> {
    let numbers = streams.iter().enumerate().flat_map(|(at, stream)| (0..stream.partitions).map(move |_| at));
    let partition = |(stream, log): (usize, &Log)| {
        Partition::new(stream, log, Tail::new(options.tail_events, options.tail_bytes))
    };
    numbers.zip(&state.logs).map(partition).collect()
}

/// Checks the last records of each partition: they are what a crash would have touched.
fn verify(shared: &Shared, state: &State, records: u64) -> Result<(), OpenError> {
    let txn = shared.gate.read().map_err(|error| storage(&shared.path, "read", &error))?;
    for (partition, log) in (0..).zip(&state.logs) {
        let newest = log.segments().next_back().filter(|segment| segment.count() > 0);
        let Some(segment) = newest.or_else(|| log.segments().rev().nth(1)) else { continue };
        let Some(database) = shared.databases.segment(partition, segment.slot) else { continue };
        for offset in segment.next.saturating_sub(records).max(segment.first)..segment.next {
            let place = Place { partition, offset };
            let checked = match records::find(database, &txn, place) {
                Ok(Some(value)) => Record::check(place, value).map(drop),
                Ok(None) => Err(place.corrupt("it is not there")),
                Err(Unreadable::Corrupt(corrupt)) => Err(corrupt),
                Err(Unreadable::Storage(error)) => return Err(storage(&shared.path, "read", &error)),
            };
            // Its neighbours can be read: who reads it is told.
            if let Err(corrupt) = checked {
                tracing::error!(path = %shared.path.display(), %corrupt, "a record of the store is damaged");
            }
        }
    }
    Ok(())
}

fn page_size(gate: &Gate) -> usize {
    usize::try_from(gate.env().unnamed_database_stat().page_size).unwrap_or(usize::MAX)
}

fn storage(dir: &Path, doing: &'static str, error: &heed::Error) -> OpenError {
    OpenError::Lmdb { path: dir.to_owned(), doing, reason: error.to_string() }
}

fn unreadable(dir: &Path, error: Unreadable) -> OpenError {
    match error {
        Unreadable::Corrupt(corrupt) => OpenError::Corrupt { path: dir.to_owned(), corrupt },
        Unreadable::Storage(error) => storage(dir, "read", &error),
    }
}

/// LMDB's own part of a page: a value of what is left needs no second overflow page.
const PAGE_HEADER_BYTES: usize = 16;
/// Databases of all rings of a stream together, within the bounds for one ring.
const RING_DATABASES: u16 = 128;
const SLOTS_MIN: u16 = 4;
const SLOTS_MAX: u16 = 16;
