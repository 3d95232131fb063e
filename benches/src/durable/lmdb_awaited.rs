//! LMDB behind one thread, with publishers on tokio that await each event: what awaiting costs by itself.
//!
//! Nothing is encoded and nothing has an id; a request is a number and a channel for its answer. Unlike a bus, the thread knows how many
//! are under way, and waits for all of them, or for half where they are thousands, as [`busway`](super::busway) does: no log whose events are awaited
//! like this can be expected to do better than that by much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;

use super::awaited::{self, Publish};
use super::flight::{Counts, flying};
use super::folder::Folder;
use super::lap::SyncedLap;
use super::lmdb::Events;
use super::written::Written;
use crate::terms::{Terms, two_workers};

/// Appends for one lap with so many events in flight, each awaited.
///
/// # Errors
/// LMDB fails, or holds something else than it was given.
pub fn lap(terms: &Terms, in_flight: usize) -> Result<SyncedLap> {
    let folder = Folder::fresh("lmdb-awaited")?;
    let events = Events::make(folder.path())?;
    let runtime = two_workers()?;
    let (sender, requests) = bounded(in_flight);
    let commits = Arc::new(AtomicU64::new(0));
    let writer = Writer {
        events: events.clone(),
        requests,
        enough: enough(in_flight),
        next: 0,
        commits: Arc::clone(&commits),
    };
    let writer = thread::spawn(move || writer.work());
    let publisher = Awaits { sender };
    let counts = || Ok(Counts { syncs: commits.load(Ordering::Relaxed), written: Written::so_far() });
    let lap = flying(terms, in_flight, counts, |until| {
        awaited::in_flight(&runtime, publisher.clone(), in_flight, until)
    });
    drop((publisher, runtime));
    writer.join().ok().context("the writer panicked")??;
    lap?.verified(&events.holding(in_flight)?)
}

/// Who are thousands are not all waited for.
const fn enough(in_flight: usize) -> usize {
    match in_flight {
        LARGE.. => in_flight / 2,
        _ => in_flight,
    }
}

struct Request {
    number: u64,
    answer: oneshot::Sender<()>,
}

#[derive(Clone)]
struct Awaits {
    sender: Sender<Request>,
}

impl Publish for Awaits {
    async fn publish(&self, number: u64) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        // There is room for all that are under way.
        self.sender.try_send(Request { number, answer }).ok().context("the writer is gone")?;
        Ok(answered.await?)
    }
}

struct Writer {
    events: Events,
    requests: Receiver<Request>,
    enough: usize,
    /// The place of the next event.
    next: u64,
    commits: Arc<AtomicU64>,
}

impl Writer {
    fn work(mut self) -> Result<()> {
        let mut batch = Vec::new();
        while let Ok(first) = self.requests.recv() {
            batch.push(first);
            let until = Instant::now() + LINGER_MAX;
            while batch.len() < self.enough {
                match self.requests.try_recv() {
                    Ok(request) => batch.push(request),
                    Err(_) if Instant::now() >= until => break,
                    Err(_) => thread::yield_now(),
                }
            }
            batch.extend(self.requests.try_iter());
            self.events.append((self.next..).zip(batch.iter().map(|request| request.number)))?;
            self.next += u64::try_from(batch.len())?;
            self.commits.fetch_add(1, Ordering::Relaxed);
            for request in batch.drain(..) {
                // Whoever waited may be gone: its lap has failed.
                _ = request.answer.send(());
            }
        }
        Ok(())
    }
}

const LARGE: usize = 1_024;
/// Only the last ones of a lap are waited for in vain.
const LINGER_MAX: Duration = Duration::from_millis(1);
