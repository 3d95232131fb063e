//! The replay on a store: the departures lie in a stream, and the five subscriptions count in tables, each departure exactly once.
//!
//! Interrupted at any instant and started again, it goes on where it stood. The producer publishes a batch and notes the line that it came to in
//! one transaction; a handler's counts and the settlement of its departure are one commit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use busway::prelude::*;
use busway::{Collector, DurableBuilder, DurableSubscription};
use serde::{Deserialize, Serialize};

use crate::board::{Boards, Carrier, Carriers};
use crate::flight::{Flight, Status};
use crate::rows::{Row, Rows};

/// Counts, by board and what is counted on it.
const COUNTS: Table<(String, String), u64> = Table::new("counts");
const CARRIERS: Table<String, Carrier> = Table::new("carriers");
/// The last row of each aircraft.
const ROWS: Table<String, u64> = Table::new("rows");
const PRODUCER: Table<String, Position> = Table::new("producer");

/// How far the producer came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Tells the file from others.
    file: String,
    /// The last line that was read.
    line: u64,
    pub(crate) bad_rows: u64,
    is_at_end: bool,
}

/// A bus on the store in a directory.
pub(crate) async fn open(store: &Path, collector: Arc<dyn Collector>) -> busway::Result<Bus> {
    let flights = Stream::new("flights").capture("flights.#");
    let bus = Bus::open(store).producer("flights").stream(flights).collector(collector);
    Ok(bus.table(&COUNTS).table(&CARRIERS).table(&ROWS).table(&PRODUCER).start().await?)
}

/// Starts all five, or goes on with them. Each counts on the thread that writes the store, so their commits are shared.
pub(crate) async fn subscribe(bus: &Bus) -> Result<[DurableSubscription; 5], BoxError> {
    Ok([
        durable(bus, "flights.#", "statistics").to(in_store(count)).await?,
        durable(bus, "flights.delayed.+.+", "delay-board").to(in_store(note_delay)).await?,
        durable(bus, "flights.+.jfk.#", "jfk-desk").to(in_store(serve_at_jfk)).await?,
        durable(bus, "flights.cancelled.#", "cancellations").to(in_store(alert)).await?,
        durable(bus, "flights.#", "order-check").order(Order::Key).to(in_store(check_order)).await?,
    ])
}

fn durable(bus: &Bus, filter: &str, name: &str) -> DurableBuilder {
    let limits = Priority::ALL.into_iter();
    let durable = bus.subscribe(filter).durable(name).start_at(StartAt::Earliest).concurrency(SHARED);
    limits.fold(durable, |durable, priority| durable.priority_limit(priority, SHARED_A_PRIORITY))
}

/// A handler that failed has left its events out of the figures: then there are none.
pub(crate) fn check_handled(subscriptions: &[DurableSubscription]) -> Result<u64, BoxError> {
    let mut lost = 0;
    for stats in subscriptions.iter().map(DurableSubscription::stats) {
        let failed = stats.failed + stats.dead + stats.parked;
        if failed > 0 {
            let failure = stats.last_failure.map(|failure| failure.error).unwrap_or_default();
            return Err(
                format!("{} failed to handle {failed} events, the last one: {failure}", stats.name).into()
            );
        }
        lost += stats.lost;
    }
    Ok(lost)
}

/// Where the producer stands with this file.
///
/// # Errors
/// The store was filled from another file.
pub(crate) fn position(bus: &Bus, file: &Path) -> Result<Position, BoxError> {
    let fingerprint = fingerprint(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let Some(position) = bus.read(|tables| tables.get(&PRODUCER, KEY))? else {
        return Ok(Position { file: fingerprint, line: 0, bad_rows: 0, is_at_end: false });
    };
    match position.file == fingerprint {
        true => Ok(position),
        false => {
            let file = file.display();
            Err(format!(
                "the store holds the flights of another file than {file}; give it a new folder with --store"
            )
            .into())
        }
    }
}

/// Publishes what is left of the file, a batch a transaction. `bad` is told of each row that cannot be read.
pub(crate) async fn publish(
    bus: &Bus,
    rows: &mut Rows,
    mut position: Position,
    mut bad: impl FnMut(u64, &str),
) -> Result<Position, BoxError> {
    while !position.is_at_end {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            match rows.next_row()? {
                // Published before.
                Some(Row::Flight { line, .. } | Row::Bad { line, .. }) if line <= position.line => {}
                Some(Row::Flight { line, flight }) => {
                    position.line = line;
                    batch.push((line, flight));
                }
                Some(Row::Bad { line, reason }) => {
                    bad(line, &reason);
                    position.line = line;
                    position.bad_rows += 1;
                }
                None => {
                    position.is_at_end = true;
                    break;
                }
            }
        }
        let noted = position.clone();
        let work = move |tx: &mut StoreTx<'_>| {
            for (line, flight) in &batch {
                let (topic, key) = (flight.topic(), flight.tail_number.clone());
                let event = Event::new(topic, flight.clone()).key(key).priority(flight.priority());
                tx.publish(event.meta("row", line.to_string()))?;
            }
            tx.put(&PRODUCER, KEY, &noted)
        };
        bus.transaction(work).await?;
    }
    Ok(position)
}

/// What was counted, all at one moment.
pub(crate) fn boards(bus: &Bus) -> Result<Boards, BoxError> {
    let (counts, by_carrier) = bus.read(|tables| {
        Ok((tables.range(&COUNTS, .., usize::MAX)?, tables.range(&CARRIERS, .., usize::MAX)?))
    })?;
    let mut carriers = Carriers { by_carrier: by_carrier.into_iter().collect(), ..Carriers::default() };
    let mut others = BTreeMap::new();
    for ((board, of), count) in counts {
        match board.as_str() {
            STATUS => {
                let word = Status::WORDS.into_iter().find(|word| *word == of);
                carriers.by_status.insert(word.ok_or("a status that is none")?, count);
            }
            ORIGIN => _ = carriers.by_origin.insert(of, count),
            _ => _ = others.insert(of, count),
        }
    }
    let other = |of: &str| others.get(of).copied().unwrap_or(0);
    carriers.events = other("events");
    Ok(Boards::of(carriers, [other("delays"), other("jfk-desk"), other("alerts"), other("out-of-order")]))
}

fn add(tx: &mut StoreTx<'_>, board: &str, of: &str) -> Result<(), TxError> {
    let key = (board.to_owned(), of.to_owned());
    let before = tx.get(&COUNTS, &key)?.unwrap_or(0);
    tx.put(&COUNTS, &key, &(before + 1))
}

#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
fn count(flight: Payload<Flight>, tx: &mut StoreTx<'_>) -> Result<(), TxError> {
    add(tx, OTHER, "events")?;
    add(tx, STATUS, flight.status.word())?;
    add(tx, ORIGIN, &flight.origin)?;
    let mut carrier = tx.get(&CARRIERS, flight.carrier.as_str())?.unwrap_or_default();
    carrier.count(&flight);
    tx.put(&CARRIERS, flight.carrier.as_str(), &carrier)
}

#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
fn note_delay(flight: Payload<Flight>, tx: &mut StoreTx<'_>) -> Result<(), TxError> {
    match flight.status {
        Status::Delayed { .. } => add(tx, OTHER, "delays"),
        _ => Ok(()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
fn serve_at_jfk(topic: Topic, tx: &mut StoreTx<'_>) -> Result<(), TxError> {
    match topic.segments().nth(2) {
        Some("jfk") => add(tx, OTHER, "jfk-desk"),
        _ => Ok(()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
fn alert(flight: Event<Flight>, tx: &mut StoreTx<'_>) -> Result<(), TxError> {
    match flight.priority() {
        Priority::P0 => add(tx, OTHER, "alerts"),
        _ => Ok(()),
    }
}

/// The rows of an aircraft must come in the order of the file, whatever their priority.
#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
fn check_order(flight: Payload<Flight>, meta: Meta, tx: &mut StoreTx<'_>) -> Result<(), BoxError> {
    let row: u64 = meta.get("row").ok_or("an event without its row")?.parse()?;
    let before = tx.get(&ROWS, flight.tail_number.as_str())?;
    if before.is_some_and(|before| before >= row) {
        add(tx, OTHER, "out-of-order")?;
    }
    Ok(tx.put(&ROWS, flight.tail_number.as_str(), &row)?)
}

/// Length and FNV-1a hash of a file: tells apart what people mistake for each other.
fn fingerprint(file: &Path) -> io::Result<String> {
    #[expect(clippy::disallowed_methods, reason = "the example reads its input")]
    let mut file = File::open(file)?;
    let (mut buffer, mut len, mut hash) = (vec![0; 64 * 1024], 0, 0xcbf2_9ce4_8422_2325_u64);
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        len += bytes.len();
        hash = bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    }
    Ok(format!("{len}-{hash:016x}"))
}

const KEY: &str = "file";
const STATUS: &str = "status";
const ORIGIN: &str = "origin";
const OTHER: &str = "board";
/// Rows a transaction: it holds up the store for a millisecond.
const BATCH: usize = 256;
/// Departures of a subscription that share a commit.
const SHARED: usize = 256;
const SHARED_A_PRIORITY: u32 = 256;
