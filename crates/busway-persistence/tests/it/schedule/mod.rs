//! The schedule: what waits is published once, when it is due, whatever happens in between.

mod damage;
mod firing;
mod model;
mod recurring;
mod refusals;

use std::sync::mpsc;
use std::time::Duration;

use busway_event::{AnyEvent, EventId, Timestamp};
use busway_persistence::{AppendError, Entry, Fired, ReadLimits, Recurring, RequestError, Rest, Store};

use crate::world::{at, event, number_of};

/// An event that waits until so many seconds are over; scheduled at 0.
fn later(store: &Store, number: u64, due: i64) -> Entry {
    store.entry(event("a.b", number, 8), false, at(0)).unwrap().wait_until(at(due), None)
}

/// The store's verbs of the schedule, waiting for their answers.
trait Scheduling {
    /// Stores entries together, and says when each is due, if it waits.
    fn schedule(&self, entries: Vec<Entry>) -> Result<Vec<Option<Timestamp>>, AppendError>;
    fn fire_from(&self, until: i64, limit: usize, rest: Option<Rest>) -> Result<Fired, RequestError>;
    fn take_back(&self, id: EventId) -> Result<Option<Timestamp>, RequestError>;
    fn clock_is(&self, now: i64) -> Result<(), RequestError>;
    fn change(
        &self,
        name: &str,
        expected: Option<Recurring>,
        new: Option<Recurring>,
        entries: Vec<Entry>,
    ) -> Result<usize, RequestError>;

    /// Fires everything that is due, and says how many events that were.
    fn fire_all(&self, until: i64) -> usize {
        let (mut events, mut rest) = (0, None);
        loop {
            let fired = self.fire_from(until, 100, rest).unwrap();
            events += fired.events;
            match fired.rest {
                Some(more) => rest = Some(more),
                None => return events,
            }
        }
    }
}

impl Scheduling for Store {
    fn schedule(&self, entries: Vec<Entry>) -> Result<Vec<Option<Timestamp>>, AppendError> {
        let (answer, answered) = mpsc::channel();
        self.append_batch(entries, Box::new(move |result| answer.send(result).unwrap())).unwrap();
        Ok(answered.recv().unwrap()?.entries().iter().map(Entry::due).collect())
    }

    fn fire_from(&self, until: i64, limit: usize, rest: Option<Rest>) -> Result<Fired, RequestError> {
        let (answer, answered) = mpsc::channel();
        self.fire(at(until), at(until), limit, rest, Box::new(move |result| answer.send(result).unwrap()));
        answered.recv().unwrap()
    }

    fn take_back(&self, id: EventId) -> Result<Option<Timestamp>, RequestError> {
        let (answer, answered) = mpsc::channel();
        self.unschedule(id, Box::new(move |result| answer.send(result).unwrap()));
        answered.recv().unwrap()
    }

    fn clock_is(&self, now: i64) -> Result<(), RequestError> {
        let (answer, answered) = mpsc::channel();
        self.redate(at(now), Box::new(move |result| answer.send(result).unwrap()));
        answered.recv().unwrap()
    }

    fn change(
        &self,
        name: &str,
        expected: Option<Recurring>,
        new: Option<Recurring>,
        entries: Vec<Entry>,
    ) -> Result<usize, RequestError> {
        let (answer, answered) = mpsc::channel();
        self.recur(name, expected, new, entries, Box::new(move |result| answer.send(result).unwrap()));
        Ok(answered.recv().unwrap()?.len())
    }
}

/// The numbers of the events in the log, in their order.
fn published(store: &Store, partition: u32) -> Vec<u64> {
    let page = store.read(partition, 0, None, ReadLimits { events: 10_000, bytes: 1 << 30 }).unwrap();
    page.events.iter().map(|stored| number_of(&stored.event)).collect()
}

/// The due times of what waits, in seconds.
fn waiting(store: &Store) -> Vec<i64> {
    let page = store.scheduled(10_000).unwrap();
    assert_eq!(page.damaged, []);
    page.events.iter().map(|event| seconds(event.due)).collect()
}

fn seconds(time: Timestamp) -> i64 {
    i64::try_from(time.saturating_since(at(0)).as_secs()).unwrap()
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn id_of(event: &AnyEvent) -> EventId {
    event.id()
}
