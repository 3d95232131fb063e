//! What is damaged: a small store with all that a store may hold.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use busway_event::{AnyEvent, Event, EventId, Filter, Metadata, Raw, Stamp, Timestamp};
use busway_persistence::{
    DeadLetter, OnSettled, Parked, Registered, Retention, Settlement, Store, StoreOptions, Stream,
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
            let (answer, answered) = mpsc::channel();
            let done = Box::new(move |result| answer.send(result).unwrap());
            store.append_batch(entries.collect(), done).map_err(|_| "busy").unwrap();
            answered.recv().unwrap().unwrap();
        }
        let subscription = join(&store).unwrap().number;
        decide(&store, subscription, settlement());
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
    let stream = Stream::new("all").capture("#").retention(Retention::forever().count(EVENTS / 2));
    let options = StoreOptions::new().stream(stream).map_bytes(2 << 20).reserve_bytes(0).tail(1, 1);
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

/// What the subscription has decided.
fn settlement() -> Settlement {
    let letter = DeadLetter {
        offset: SETTLED + 7,
        at: at(1),
        reason: "no such order".to_owned(),
        handler: "reserve".to_owned(),
        attempts: Vec::new(),
        attempt_count: 1,
    };
    Settlement {
        settled: vec![(0, SETTLED), (SETTLED + 3, SETTLED + 5)],
        parked: parked(),
        dead: vec![letter],
        ..Settlement::default()
    }
}

pub(crate) fn parked() -> Vec<Parked> {
    let parked = |offset| Parked { offset, due: at(1), lane: 3, attempts: Vec::new(), attempt_count: 2 };
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

/// Of all sizes, some in chunks.
pub(crate) fn event(number: u64) -> AnyEvent {
    let len = if number.is_multiple_of(40) { 9_000 } else { 20 + number * 37 % 700 };
    let payload = (0..len).map(|at| u8::try_from((at * 31 + number * 7) % 251).unwrap());
    let metadata = Metadata::draft("damage", 1).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("damage", &number.to_string()), at(number), &metadata);
    let draft = Event::new(format!("topic.t{}", number % 7), Raw::from(payload.collect::<Vec<_>>()));
    draft.key(format!("key-{}", number % 11)).finish(&stamp).unwrap().into()
}

pub(crate) const DATA: &str = "data.mdb";
/// In the log, but for the segments that retention took.
pub(crate) const EVENTS: u64 = 600;
const SETTLED: u64 = 300;
const BATCH: usize = 6;
