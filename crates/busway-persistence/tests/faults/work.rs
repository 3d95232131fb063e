//! What the child does, the same each time: makes a store, publishes, settles, parks, counts in a table, lets the map grow and retention
//! free segments, closes, opens again and goes on. It waits for each answer and says what it was.

use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc;

use busway_event::{AnyEvent, Event, EventId, Filter, Metadata, Raw, Stamp, Timestamp};
use busway_persistence::{
    AppendError, Attempts, OnSettled, Parked, Registered, RequestError, Retention, Settlement, Store,
    StoreOptions, Stream, Tx, WriteTables as _,
};

pub(crate) fn work(dir: &Path) {
    // Up to where events were settled, or may have been: those are not parked any more.
    let (mut number, mut settled) = (1, 0);
    for steps in [0..STEPS / 2, STEPS / 2..STEPS] {
        say("OPENING");
        let store = match open(dir) {
            Ok(store) => store,
            Err(error) => return say(&format!("NOT OPENED: {error}")),
        };
        say("OPENED");
        let subscription = match join(&store) {
            Ok(registered) => registered.number,
            Err(error) => return say(&format!("NOT REGISTERED: {error}")),
        };
        say("REGISTERED 1");
        for step in steps {
            publish(&store, number);
            number += BATCH;
            // What was published two steps ago; whatever of it is there.
            let (_, end) = store.bounds(0).unwrap();
            let low = end.saturating_sub(2 * BATCH);
            match step % 3 {
                0 => settle(&store, subscription, low),
                1 if low > settled => park_and_release(&store, subscription, low),
                1 => {}
                _ => count(&store, subscription, low),
            }
            settled = if step % 3 == 1 { settled } else { settled.max(low) };
        }
        say("CLOSING");
        store.close();
    }
}

/// Says in one call, so that a line is whole.
pub(crate) fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Publishes a batch of three and says what became of it.
pub(crate) fn publish(store: &Store, first: u64) {
    let numbers = first..first + BATCH;
    let entries = numbers
        .clone()
        .map(|number| store.entry(event(number), number.is_multiple_of(4), at(number)).unwrap());
    let (answer, answered) = mpsc::channel();
    let done = Box::new(move |result| answer.send(result).unwrap());
    store.append_batch(entries.collect(), done).map_err(|_| "busy").unwrap();
    match answered.recv().unwrap() {
        Ok(appended) => numbers
            .zip(appended.positions())
            .for_each(|(number, place)| say(&format!("ACK {number} {}", place.offset))),
        Err(AppendError::Refused { entries, reason }) => {
            assert_eq!(entries.len() as u64, BATCH, "what is refused comes back");
            numbers.for_each(|number| say(&format!("REFUSED {number} {reason:?}")));
        }
        Err(error) => numbers.for_each(|number| say(&format!("UNKNOWN {number} {error}"))),
    }
}

pub(crate) fn settle(store: &Store, subscription: u32, low: u64) {
    let settlement = Settlement { settled: vec![(0, low)], ..Settlement::default() };
    match decide(store, subscription, settlement) {
        Ok(()) => say(&format!("SETTLED {low}")),
        Err(error) => say(&format!("UNSETTLED {error}")),
    }
}

/// Parks the event before the mark, and says of an earlier one that it waits no longer.
fn park_and_release(store: &Store, subscription: u32, low: u64) {
    let Some(offset) = low.checked_sub(1) else { return };
    let due = at(1_000_000);
    let parked = Parked { offset, due, lane: 7, attempts: Attempts::NONE, attempt_count: 1 };
    let released = offset.checked_sub(3 * BATCH).into_iter().collect();
    say(&format!("PARKING {offset}"));
    let settlement =
        Settlement { settled: vec![(0, offset)], parked: vec![parked], released, ..Settlement::default() };
    match decide(store, subscription, settlement) {
        Ok(()) => say(&format!("PARKED {offset}")),
        Err(error) => say(&format!("UNSETTLED {error}")),
    }
}

/// Settles, and stores the mark in a table, in one transaction.
fn count(store: &Store, subscription: u32, low: u64) {
    let marks = store.table("marks").unwrap();
    let work = move |tx: &mut Tx<'_>| {
        tx.put_bytes(marks, MARK, &low.to_be_bytes())?;
        tx.settle(subscription, 0, Settlement { settled: vec![(0, low)], ..Settlement::default() });
        Ok(())
    };
    let (answer, answered) = mpsc::channel();
    say(&format!("COUNTING {low}"));
    store.transact(Box::new(work), Box::new(move |result| answer.send(result).unwrap())).unwrap();
    match answered.recv().unwrap() {
        Ok(_) => say(&format!("COUNTED {low}")),
        Err(error) => say(&format!("UNCOUNTED {error}")),
    }
}

fn decide(store: &Store, subscription: u32, settlement: Settlement) -> Result<(), RequestError> {
    let (answer, answered) = mpsc::channel();
    let done: OnSettled = Box::new(move |result| answer.send(result).unwrap());
    store.settle(subscription, 0, settlement, Some(done)).map_err(|_| "busy").unwrap();
    answered.recv().unwrap()
}

pub(crate) fn open(dir: &Path) -> Result<Store, String> {
    let stream = Stream::new("all").capture("#").retention(Retention::forever().count(WINDOW));
    let options =
        StoreOptions::new().stream(stream).table("marks").map_bytes(128 << 10).reserve_bytes(0).tail(1, 1);
    Store::open(dir, options).map_err(|error| error.to_string())
}

pub(crate) fn join(store: &Store) -> Result<Registered, RequestError> {
    let (answer, answered) = mpsc::channel();
    let filter = Filter::new("#").unwrap();
    store.register("reader", &filter, vec![(0, 0)], Box::new(move |result| answer.send(result).unwrap()));
    answered.recv().unwrap()
}

pub(crate) fn at(number: u64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + number.cast_signed())
}

/// Some in chunks.
pub(crate) fn event(number: u64) -> AnyEvent {
    let len = if number.is_multiple_of(10) { 9_000 } else { 40 + number % 7 * 150 };
    let payload = number
        .to_be_bytes()
        .into_iter()
        .chain((8..len).map(|at| u8::try_from((at * 31 + number) % 251).unwrap()));
    let metadata = Metadata::draft("faults", 1).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("faults", &number.to_string()), at(number), &metadata);
    let draft = Event::new(format!("topic.t{}", number % 5), Raw::from(payload.collect::<Vec<_>>()));
    draft.finish(&stamp).unwrap().into()
}

/// Key of the mark in the table.
pub(crate) const MARK: &[u8] = b"mark";
/// Events of a batch.
pub(crate) const BATCH: u64 = 3;
/// Publishes, each with something that is settled.
const STEPS: u64 = 24;
/// So many of the newest events are kept at least: segments of a few events come and go.
const WINDOW: u64 = 28;
