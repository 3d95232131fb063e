//! busway's store, by itself: events that are encoded, have a header, an id and a checksum, and are answered one by one.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Result, anyhow, ensure};
use busway_event::{AnyEvent, Event, EventId, Metadata, Raw, Stamp, Timestamp, Topic};
use busway_persistence::{AppendError, Appended, Entry, ReadLimits, Store, StoreOptions, Stream};
use bytes::Bytes;
use uuid::Uuid;

use super::event::event;
use super::folder::Folder;
use super::lap::{Holding, SyncedLap, appending, events_max};
use super::written::Written;
use crate::terms::Terms;

/// Appends for one lap with so many events in flight, each answered by itself: when one is stored, the next is handed in.
///
/// # Errors
/// The store fails, or holds something else than it was given.
pub fn lap(terms: &Terms, in_flight: usize) -> Result<SyncedLap> {
    let folder = Folder::fresh("busway-store")?;
    let desk = Desk::open(&folder)?;
    let limit = events_max(terms, in_flight);
    let mut flight = Flight::new(&desk);
    let (first, _) = flight.run(0..limit / 10, in_flight, terms.block / 10)?;
    let commits = desk.commits.load(std::sync::atomic::Ordering::Relaxed);
    let before = Written::so_far();
    let (stored, elapsed) = flight.run(first..limit, in_flight, terms.block)?;
    let written = Written::so_far().zip(before).map(|(now, before)| now.since(before));
    let syncs = desk.commits.load(std::sync::atomic::Ordering::Relaxed).saturating_sub(commits);
    let lap = SyncedLap { events: stored - first, syncs, elapsed, written, stored };
    lap.verified(&desk.holding()?)
}

/// The same through batches of so many events, one after another.
///
/// # Errors
/// As [`lap`].
pub fn batches(terms: &Terms, per_sync: usize) -> Result<SyncedLap> {
    let folder = Folder::fresh("busway-store-batch")?;
    let desk = Desk::open(&folder)?;
    let (answer, answered) = channel();
    let lap = appending(terms, per_sync, |numbers| {
        let entries = numbers.map(|number| desk.entry(number)).collect::<Result<Vec<_>>>()?;
        let answer = answer.clone();
        let done = Box::new(move |result| _ = answer.send(result));
        desk.store.append_batch(entries, done).map_err(|_| anyhow!("the store is busy"))?;
        answered.recv()??;
        Ok(())
    })?;
    lap.verified(&desk.holding()?)
}

/// A store and what its events have in common.
struct Desk {
    store: Store,
    topic: Topic,
    metadata: Metadata,
    commits: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Desk {
    fn open(folder: &Folder) -> Result<Self> {
        let commits = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counted = std::sync::Arc::clone(&commits);
        let options = StoreOptions::new()
            .stream(Stream::new("events").capture("events.#"))
            .on_commit(move || _ = counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        Ok(Self {
            store: Store::open(folder.path(), options)?,
            topic: Topic::new("events.measured")?,
            metadata: Metadata::draft("bench", 1).build()?,
            commits,
        })
    }

    fn entry(&self, number: u64) -> Result<Entry> {
        let now = Timestamp::from_nanos(1_700_000_000_000_000_000 + i64::try_from(number)?);
        let stamp = Stamp::new(EventId::new(Uuid::from_u128(u128::from(number))), now, &self.metadata);
        let payload = Raw(Bytes::copy_from_slice(&event(number)));
        let event = Event::new(&self.topic, payload).finish(&stamp).map_err(|(_, reason)| reason)?;
        Ok(self.store.entry(AnyEvent::from(event), false, now)?)
    }

    fn holding(&self) -> Result<Holding> {
        let (first, next) = self.store.bounds(0).unwrap_or_default();
        ensure!(first == 0, "the log begins at {first}");
        let page = self.store.read(0, next.saturating_sub(1), None, ReadLimits::default())?;
        let last = page.events.last().map(|stored| -> Result<_> {
            Ok((stored.offset, stored.event.typed::<Raw>()?.payload().0.to_vec()))
        });
        Ok(Holding { count: next, last: last.transpose()? })
    }
}

type Answer = Result<Appended, AppendError>;

/// Events on their way.
struct Flight<'a> {
    desk: &'a Desk,
    answer: Sender<Answer>,
    answered: Receiver<Answer>,
}

impl<'a> Flight<'a> {
    fn new(desk: &'a Desk) -> Self {
        let (answer, answered) = channel();
        Self { desk, answer, answered }
    }

    /// Appends until the time is over: the number behind the last one, and how long it took.
    fn run(
        &mut self,
        numbers: Range<u64>,
        in_flight: usize,
        block: std::time::Duration,
    ) -> Result<(u64, std::time::Duration)> {
        let started = std::time::Instant::now();
        let (mut next, mut flying) = (numbers.start, VecDeque::new());
        loop {
            while flying.len() < in_flight && next < numbers.end && started.elapsed() < block {
                let answer = self.answer.clone();
                let done = Box::new(move |result| _ = answer.send(result));
                let sent = self.desk.store.append(self.desk.entry(next)?, done);
                sent.map_err(|_| anyhow!("the store is busy"))?;
                flying.push_back(next);
                next += 1;
            }
            let Some(number) = flying.pop_front() else { break };
            let stored = self.answered.recv()??;
            ensure!(stored.positions().all(|at| at.offset == number), "{number} is at {stored:?}");
        }
        Ok((next, started.elapsed()))
    }
}
