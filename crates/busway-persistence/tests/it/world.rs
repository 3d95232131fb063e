//! A store in a directory of its own, and the store's verbs as calls that wait.

use std::path::Path;
use std::sync::mpsc;

use busway_event::{AnyEvent, Draft, Event, EventId, Filter, Metadata, Raw, Stamp, Timestamp};
use busway_persistence::{
    AppendError, Entry, Page, Position, ReadError, ReadLimits, Registered, RequestError, Settlement, Store,
    StoreOptions, Stream,
};
use tempfile::TempDir;

/// Small enough that a test of its growth is quick, and that hundreds fit side by side.
pub(crate) const MAP: usize = 1 << 20;

pub(crate) fn options() -> StoreOptions {
    StoreOptions::new().map_bytes(MAP).reserve_bytes(0)
}

/// A store with one stream of one partition that captures everything.
pub(crate) fn one() -> StoreOptions {
    options().stream(Stream::new("all").capture("#"))
}

pub(crate) fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + seconds * 1_000_000_000)
}

pub(crate) fn id(number: u64) -> EventId {
    EventId::foreign("test", &number.to_string())
}

/// An event whose payload is its number, padded to some length.
pub(crate) fn event(topic: &str, number: u64, len: usize) -> AnyEvent {
    let digits = number.to_string();
    let payload = Raw::from(("0".repeat(len.saturating_sub(digits.len())) + &digits).into_bytes());
    let draft = Event::new(topic, payload).key(format!("key-{}", number % 5));
    finished(draft, id(number))
}

pub(crate) fn event_with_id(topic: &str, number: u64, id: EventId) -> AnyEvent {
    finished(Event::new(topic, Raw::from(number.to_string().into_bytes())), id)
}

fn finished(draft: Draft<Raw>, id: EventId) -> AnyEvent {
    let metadata = Metadata::draft("test", 1).build().unwrap();
    draft.finish(&Stamp::new(id, at(0), &metadata)).unwrap().into()
}

pub(crate) fn number_of(event: &AnyEvent) -> u64 {
    let payload = event.typed::<Raw>().unwrap();
    std::str::from_utf8(&payload.payload().0).unwrap().parse().unwrap()
}

pub(crate) fn entry(store: &Store, topic: &str, number: u64) -> Entry {
    store.entry(event(topic, number, 8), false, at(0)).unwrap()
}

/// The store's verbs, waiting for their answers.
pub(crate) trait Waiting {
    fn put(&self, entry: Entry) -> Result<Position, AppendError>;
    fn put_all(&self, entries: Vec<Entry>) -> Result<Vec<Position>, AppendError>;
    fn join(&self, name: &str, filter: &str, starts: Vec<(u32, u64)>) -> Result<Registered, RequestError>;
    fn decide(&self, subscription: u32, settlement: Settlement) -> Result<(), RequestError>;
    fn go_to(&self, subscription: u32, offset: u64) -> Result<(), RequestError>;
    fn leave(&self, name: &str) -> Result<(), RequestError>;
    /// The numbers of all events of a partition from an offset on, with their offsets.
    fn all(&self, partition: u32, from: u64) -> Result<Vec<(u64, u64)>, ReadError>;
    fn page(&self, partition: u32, from: u64, filter: Option<&Filter>) -> Result<Page, ReadError>;
}

impl Waiting for Store {
    fn put(&self, entry: Entry) -> Result<Position, AppendError> {
        let (answer, answered) = mpsc::channel();
        self.append(entry, Box::new(move |result| answer.send(result).unwrap())).unwrap();
        Ok(answered.recv().unwrap()?.positions().next().unwrap())
    }

    fn put_all(&self, entries: Vec<Entry>) -> Result<Vec<Position>, AppendError> {
        let (answer, answered) = mpsc::channel();
        self.append_batch(entries, Box::new(move |result| answer.send(result).unwrap())).unwrap();
        Ok(answered.recv().unwrap()?.positions().collect())
    }

    fn join(&self, name: &str, filter: &str, starts: Vec<(u32, u64)>) -> Result<Registered, RequestError> {
        let (answer, answered) = mpsc::channel();
        let filter = Filter::new(filter).unwrap();
        self.register(name, &filter, starts, Box::new(move |result| answer.send(result).unwrap()));
        answered.recv().unwrap()
    }

    fn decide(&self, subscription: u32, settlement: Settlement) -> Result<(), RequestError> {
        let (answer, answered) = mpsc::channel();
        let done: busway_persistence::OnSettled = Box::new(move |result| answer.send(result).unwrap());
        self.settle(subscription, 0, settlement, Some(done)).map_err(|_| "busy").unwrap();
        answered.recv().unwrap()
    }

    fn go_to(&self, subscription: u32, offset: u64) -> Result<(), RequestError> {
        let (answer, answered) = mpsc::channel();
        self.seek(subscription, 0, offset, Box::new(move |result| answer.send(result).unwrap()));
        answered.recv().unwrap()
    }

    fn leave(&self, name: &str) -> Result<(), RequestError> {
        let (answer, answered) = mpsc::channel();
        self.remove_subscription(name, Box::new(move |result| answer.send(result).unwrap()));
        answered.recv().unwrap()
    }

    fn all(&self, partition: u32, mut from: u64) -> Result<Vec<(u64, u64)>, ReadError> {
        let mut numbers = Vec::new();
        loop {
            let page = self.page(partition, from, None)?;
            numbers.extend(page.events.iter().map(|stored| (stored.offset, number_of(&stored.event))));
            if page.next == from {
                return Ok(numbers);
            }
            from = page.next;
        }
    }

    fn page(&self, partition: u32, from: u64, filter: Option<&Filter>) -> Result<Page, ReadError> {
        self.read(partition, from, filter, ReadLimits::default())
    }
}

pub(crate) fn open(dir: &Path, options: StoreOptions) -> Store {
    Store::open(dir, options).unwrap()
}
