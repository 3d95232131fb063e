//! Dead letters: events that subscriptions gave up, and everything that is done with them.
//!
//! `keys` says where they lie, `letter` reads one, `list` looks through them, `operate` redrives, edits and lets go, `trail` remembers who did
//! so, `count` how many there are. This file marks events and sets them aside.

mod count;
mod keys;
mod letter;
mod list;
mod operate;
mod trail;

use busway_event::Timestamp;

use crate::append::Position;
use crate::attendance::Quarantine;
use crate::error::ReadError;
use crate::row;
use crate::settle::{DeadLetter, Marking, OnSettled, Quarantining};
use crate::shared::Shared;
use crate::store::Store;
use crate::stored::place_of;
use crate::writer::{QUARANTINE, Request};

pub use self::keys::LetterKey;
pub use self::letter::{LetterState, StoredLetter};
pub use self::list::{LetterKeys, LetterPage, LetterQuery};
pub use self::operate::{LetterRequest, OnOperated, Operated, Progressed};
pub use self::trail::{BY_BYTES_MAX, Operation, OperationKind, REQUEST_BYTES_MAX, SELECTION_BYTES_MAX};

pub(crate) use self::count::{Counts, Rooms, load as load_counts, write as write_counts};
pub(crate) use self::keys::{NAME, REDRIVEN, own_key};
pub(crate) use self::operate::{EndsAs, Operate, bury, came_to_its_end, operate, wait_no_longer};

impl Store {
    /// Marks an event: its subscription attempts it from now on, and nothing else. The mark falls with what is decided about the event;
    /// should the process die before, the next [`register`](Self::register) tells of it. A subscription has one mark: a new one takes the place
    /// of the old one. Synced when `done` is called. Waits while the writer is busy.
    pub fn mark(&self, subscription: u32, at: Position, (attempt, now): (u32, Timestamp), done: OnSettled) {
        let Position { partition, offset } = at;
        let done = Some(done);
        self.ask(Request::Mark(Marking { subscription, partition, offset, attempt, at: now, done }));
    }

    /// Sets an event aside, because its subscription's processes die of it: a dead letter that says what for. The deaths before are held
    /// against the subscription no longer. All of it is one commit. Waits while the writer is busy.
    pub fn quarantine(
        &self,
        subscription: u32,
        partition: u32,
        (letter, quarantine): (DeadLetter, Quarantine),
        done: OnSettled,
    ) {
        let done = Some(done);
        let request = Quarantining { subscription, partition, letter, quarantine, done };
        self.ask(Request::Quarantine(Box::new(request)));
    }

    /// Nobody attends a subscription any longer, as [`StoredSubscription::attended`](crate::StoredSubscription) has it. Stored with the next
    /// commit that happens anyway, or when the store is closed. Waits while the writer is busy.
    pub fn detach(&self, subscription: u32, now: Timestamp) {
        self.ask(Request::Leave(subscription, now));
    }

    /// The first dead letters of a subscription, at most `limit`, in the order of partitions and offsets.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn dead_letters(&self, subscription: u32, limit: usize) -> Result<Vec<StoredDeadLetter>, ReadError> {
        self.shared.dead_letters(subscription, limit)
    }
}

/// A dead letter as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredDeadLetter {
    /// The partition's number in the store.
    pub partition: u32,
    /// What its subscription said of the event.
    pub letter: DeadLetter,
    /// What it was set aside for, when that is because its processes died.
    pub quarantine: Option<Quarantine>,
}

impl Shared {
    /// The first of a subscription, in the order of partitions and offsets.
    pub(crate) fn dead_letters(
        &self,
        subscription: u32,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, ReadError> {
        let storage = |error: heed::Error| self.storage(&error);
        let txn = self.gate.read().map_err(storage)?;
        let mut letters: Vec<StoredDeadLetter> = Vec::new();
        for entry in self.databases.dead.prefix_iter(&txn, &subscription.to_be_bytes()).map_err(storage)? {
            let (key, value) = entry.map_err(storage)?;
            let Some((partition, kind)) = place_of(key) else { continue };
            let is_full = letters.len() >= limit;
            match (kind, letters.last_mut()) {
                ([], _) if is_full => break,
                ([], _) => {
                    let letter = row::decode("dead letter", key, value)?;
                    letters.push(StoredDeadLetter { partition, letter, quarantine: None });
                }
                // It lies behind its letter.
                ([QUARANTINE], Some(last)) => {
                    last.quarantine = Some(row::decode("quarantine", key, value)?);
                }
                // The record and its chunks.
                _ => {}
            }
        }
        Ok(letters)
    }
}
