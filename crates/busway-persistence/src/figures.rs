//! Figures: what can be measured of a store, for who watches it. Nothing here decides anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::Store;

/// A store at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Bytes of the file that hold something, or did: it does not shrink, and what is freed is used again.
    pub used_bytes: u64,
    /// Bytes that the file may have before its map grows.
    pub map_bytes: u64,
    /// Commits since it was opened.
    pub commits: u64,
    /// Requests that these have stored; more than one share a commit.
    pub requests: u64,
    /// Read transactions that are open.
    pub readers: u64,
    /// For how long the oldest of them has been open: what was freed meanwhile is not used again before it ends.
    pub oldest_reader: Option<Duration>,
}

/// A commit that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// From its first record to the end of its sync.
    pub took: Duration,
    /// Requests that it stored, each a publish, of one event or of a batch, a settlement or a transaction.
    pub requests: usize,
    /// Events that these have stored: not those that were there already. One that waits for its time is stored once more when that comes.
    pub events: usize,
}

pub(crate) type OnCommitted = Box<dyn Fn(Commit) + Send + Sync>;

/// Commits of an opening.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    commits: AtomicU64,
    requests: AtomicU64,
}

impl Commits {
    pub(crate) fn note(&self, requests: usize) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(u64::try_from(requests).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Read transactions that are open, in the order in which they were begun.
#[derive(Debug, Default)]
pub(crate) struct Readers(Mutex<Begun>);

#[derive(Debug, Default)]
struct Begun {
    next: u64,
    begun: BTreeMap<u64, Instant>,
}

/// One of them. Dropped, it has ended.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    readers: &'a Readers,
    number: u64,
}

impl Readers {
    pub(crate) fn begin(&self) -> Reader<'_> {
        let now = now();
        let mut begun = self.0.lock();
        let number = begun.next;
        begun.next += 1;
        begun.begun.insert(number, now);
        Reader { readers: self, number }
    }

    fn figures(&self) -> (u64, Option<Duration>) {
        let begun = self.0.lock();
        let oldest = begun.begun.first_key_value().map(|(_, begun)| begun.elapsed());
        (u64::try_from(begun.begun.len()).unwrap_or(u64::MAX), oldest)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.readers.0.lock().begun.remove(&self.number);
    }
}

impl Store {
    /// What can be measured of it now. A glance: it waits for nobody.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let gate = &self.shared.gate;
        let (readers, oldest_reader) = gate.readers().figures();
        let Commits { commits, requests } = &self.shared.commits;
        Figures {
            used_bytes: gate.used_bytes(),
            map_bytes: u64::try_from(gate.map_size()).unwrap_or(u64::MAX),
            commits: commits.load(Ordering::Relaxed),
            requests: requests.load(Ordering::Relaxed),
            readers,
            oldest_reader,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "measures for who watches; decides nothing")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_reader_is_the_one_that_began_first_and_has_not_ended() {
        let readers = Readers::default();
        assert_eq!(readers.figures(), (0, None));
        let (first, second) = (readers.begin(), readers.begin());
        let [oldest, newest] = [&first, &second].map(|reader| readers.0.lock().begun[&reader.number]);
        assert!(oldest <= newest);
        assert_eq!(readers.figures().0, 2);
        drop(first);
        let (count, age) = readers.figures();
        assert!(count == 1 && age.unwrap() <= newest.elapsed());
        drop(second);
        assert_eq!(readers.figures(), (0, None));
    }
}
