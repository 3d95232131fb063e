//! What is damaged: a small store with all that a store may hold.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use busway_event::{AnyEvent, Event, EventId, Filter, Metadata, Raw, Stamp, Timestamp};
use busway_persistence::{
    Attempts, Audit, DeadLetter, DoneKey, DoneKeys, Entry, OnSettled, Parked, Registered, Retention,
    Settlement, Store, StoreOptions, Stream, WriteTables as _,
};
use tempfile::TempDir;

/// The store, closed.
pub(crate) struct Original {
    dir: TempDir,
    /// Its data file.
    pub(crate) bytes: Vec<u8>,
    pub(crate) page_size: usize,
}

impl Original {
    #[expect(clippy::disallowed_methods, reason = "LMDB writes its own numbers in the order of the machine")]
    pub(crate) fn make() -> Self {
        let dir = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        let store = open(dir.path()).unwrap();
        for first in (0..EVENTS).step_by(BATCH) {
            let numbers = first..first + BATCH as u64;
            let entries = numbers
                .map(|number| store.entry(event(number), number.is_multiple_of(9), at(number)).unwrap());
            append(&store, entries.collect());
        }
        for number in 0..AUDITED {
            append(&store, vec![store.entry(audited(number), false, at(number)).unwrap()]);
        }
        let waiting = (0..WAITING)
            .map(|number| store.entry(waiting(number), true, at(0)).unwrap().wait_until(due(number), None));
        append(&store, waiting.collect());
        let subscription = join(&store).unwrap().number;
        decide(&store, subscription, settlement());
        for row in 0..DONE {
            decide(&store, subscription, Settlement { done: done(row), ..Settlement::default() });
        }
        for number in 0..VALUES {
            set(&store, number);
        }
        store.close();
        let bytes = fs::read(dir.path().join(DATA)).unwrap();
        // Where LMDB keeps it: the field of the first database in its header.
        let page_size = u32::from_ne_bytes(bytes.get(40..44).unwrap().try_into().unwrap());
        Self { dir, bytes, page_size: usize::try_from(page_size).unwrap() }
    }

    /// Puts a copy with another data file into a folder.
    pub(crate) fn copy_to(&self, folder: &Path, bytes: &[u8]) {
        fs::create_dir_all(folder).unwrap();
        fs::copy(self.dir.path().join("manifest"), folder.join("manifest")).unwrap();
        fs::write(folder.join(DATA), bytes).unwrap();
    }
}

pub(crate) fn open(dir: &Path) -> Result<Store, String> {
    let stream = Stream::new("all").capture("topic.#").retention(Retention::forever().count(EVENTS / 2));
    let ledger = Stream::new("ledger").capture("ledger").audit(Audit::forever());
    let later = Stream::new("later").capture("later");
    let options = StoreOptions::new().stream(stream).stream(ledger).stream(later).table(TABLE);
    let options = options.map_bytes(2 << 20).reserve_bytes(0).tail(1, 1);
    Store::open(dir, options).map_err(|error| error.to_string())
}

/// As the subscription stands, of whom everything is known.
pub(crate) fn join(store: &Store) -> Result<Registered, String> {
    let (answer, answered) = mpsc::channel();
    let filter = Filter::new("#").unwrap();
    store.register("reader", &filter, vec![(0, 0)], Box::new(move |result| answer.send(result).unwrap()));
    answered.recv().unwrap().map_err(|error| error.to_string())
}

fn decide(store: &Store, subscription: u32, settlement: Settlement) {
    let (answer, answered) = mpsc::channel();
    let done: OnSettled = Box::new(move |result| answer.send(result).unwrap());
    store.settle(subscription, 0, settlement, Some(done)).map_err(|_| "busy").unwrap();
    answered.recv().unwrap().unwrap();
}

fn append(store: &Store, entries: Vec<Entry>) {
    let (answer, answered) = mpsc::channel();
    let done = Box::new(move |result: Result<_, _>| answer.send(result.map(drop)).unwrap());
    store.append_batch(entries, done).map_err(|_| "busy").unwrap();
    answered.recv().unwrap().unwrap();
}

fn set(store: &Store, number: u64) {
    let table = store.table(TABLE).unwrap();
    let (answer, answered) = mpsc::channel();
    let done = Box::new(move |result: Result<_, _>| answer.send(result.map(drop)).unwrap());
    let (key, value) = value(number);
    let work = Box::new(move |tx: &mut busway_persistence::Tx<'_>| tx.put_bytes(table, &key, &value));
    store.transact(work, done).map_err(|_| "busy").unwrap();
    answered.recv().unwrap().unwrap();
}

/// A key of the table, and its value: small ones, and some of several pages.
pub(crate) fn value(number: u64) -> (Vec<u8>, Vec<u8>) {
    let len = if number.is_multiple_of(16) { 9_000 } else { 3 + number * 13 % 200 };
    let value = (0..len).map(|at| u8::try_from((at * 17 + number * 5) % 251).unwrap());
    (format!("key-{number:03}").into_bytes(), value.collect())
}

/// Keys that are done with one settlement.
pub(crate) fn done(row: u64) -> DoneKeys {
    let key = |number: u64| DoneKey { key: u128::from(row * 100 + number).to_be_bytes(), until: at(1 << 50) };
    DoneKeys { keys: (0..20).map(key).collect(), keys_max: 10_000 }
}

/// What its subscription has given up.
pub(crate) fn letter() -> DeadLetter {
    DeadLetter {
        offset: SETTLED + 7,
        at: at(1),
        reason: "no such order".to_owned(),
        handler: "reserve".to_owned(),
        attempts: Attempts::NONE,
        attempt_count: 1,
    }
}

/// What the subscription has decided.
fn settlement() -> Settlement {
    Settlement {
        settled: vec![(0, SETTLED), (SETTLED + 3, SETTLED + 5)],
        parked: parked(),
        dead: vec![letter()],
        ..Settlement::default()
    }
}

pub(crate) fn parked() -> Vec<Parked> {
    let parked = |offset| Parked { offset, due: at(1), lane: 3, attempts: Attempts::NONE, attempt_count: 2 };
    vec![parked(SETTLED + 9), parked(SETTLED + 12)]
}

/// What is settled, as runs: the low mark, then the others.
pub(crate) fn runs() -> (u64, Vec<(u64, u64)>) {
    let at = |from: u64, to: u64| (SETTLED + from, SETTLED + to);
    (SETTLED, vec![at(3, 5), at(7, 8), at(9, 10), at(12, 13)])
}

fn at(number: u64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + number.cast_signed())
}

/// An event that waits is due in years.
pub(crate) fn due(number: u64) -> Timestamp {
    at((1 << 60) + number)
}

/// Of all sizes, some in chunks.
pub(crate) fn event(number: u64) -> AnyEvent {
    event_of(format!("topic.t{}", number % 7), number)
}

/// One of the audit stream.
pub(crate) fn audited(number: u64) -> AnyEvent {
    event_of("ledger".to_owned(), 10_000 + number)
}

/// One that is published later.
pub(crate) fn waiting(number: u64) -> AnyEvent {
    event_of("later".to_owned(), 20_000 + number)
}

fn event_of(topic: String, number: u64) -> AnyEvent {
    let len = if number.is_multiple_of(40) { 9_000 } else { 20 + number * 37 % 700 };
    let payload = (0..len).map(|at| u8::try_from((at * 31 + number * 7) % 251).unwrap());
    let metadata = Metadata::draft("damage", 1).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("damage", &number.to_string()), at(number), &metadata);
    let draft = Event::new(topic, Raw::from(payload.collect::<Vec<_>>()));
    draft.key(format!("key-{}", number % 11)).finish(&stamp).unwrap().into()
}

/// The table.
pub(crate) const TABLE: &str = "values";
pub(crate) const VALUES: u64 = 60;
/// Events of the audit stream, events that wait, and settlements with keys.
pub(crate) const AUDITED: u64 = 50;
pub(crate) const WAITING: u64 = 20;
pub(crate) const DONE: u64 = 8;
pub(crate) const DATA: &str = "data.mdb";
/// In the log, but for the segments that retention took.
pub(crate) const EVENTS: u64 = 600;
const SETTLED: u64 = 300;
const BATCH: usize = 6;
