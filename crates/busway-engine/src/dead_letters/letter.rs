//! A dead letter as people look at it.

use busway_event::{AnyEvent, Timestamp};
use busway_persistence::{Attempts, Corrupt, LetterKey, LetterState, Quarantine, StoredLetter};

use super::id::DeadLetterId;

/// An event that a durable subscription gave up, with its history.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Which one.
    pub id: DeadLetterId,
    /// The event, its bytes as they were published. An error: they cannot be read, and could not when it was given up.
    pub event: Result<AnyEvent, Corrupt>,
    /// When it was given up.
    pub at: Timestamp,
    /// Why: how often it was attempted, and the last error.
    pub reason: String,
    /// The handler that failed.
    pub handler: String,
    /// The last 16 attempts, oldest first: when each ended, and its error with its causes, at most 4 KiB.
    pub attempts: Attempts,
    /// How many there were in all.
    pub attempt_count: u32,
    /// Of an event that was set aside because processes died of it: what is known of that.
    pub quarantine: Option<Quarantine>,
    /// What somebody made of it, to be given instead.
    pub edited: Option<AnyEvent>,
    /// What was done with it.
    pub state: DeadLetterState,
}

/// What was done with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterState {
    /// Nothing: it waits for somebody.
    Waiting,
    /// It is on its way to its subscription again, since then.
    Redriven {
        /// Since when.
        at: Timestamp,
    },
    /// It was edited, and that is handled. The original is kept until it is discarded or expires.
    Handled {
        /// When.
        at: Timestamp,
    },
}

/// Some dead letters, in the order of subscriptions, partitions and offsets.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetterPage {
    /// At most as many as were asked for, and about 1 MiB with their events. Fewer, also none, do not say that there are no more:
    /// [`next`](Self::next) does.
    pub letters: Vec<DeadLetter>,
    /// Letters whose own row is damaged. They can be discarded, by their id or with all of their subscription or topic.
    pub damaged: Vec<DamagedLetter>,
    /// Where the next page begins; `None`: there is none.
    pub next: Option<PageStart>,
}

/// A dead letter whose row cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedLetter {
    /// Which one.
    pub id: DeadLetterId,
    /// What is wrong with it.
    pub corrupt: Corrupt,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageStart(pub(super) LetterKey);

impl DeadLetter {
    pub(super) fn of(id: DeadLetterId, stored: StoredLetter) -> Self {
        let StoredLetter { letter, quarantine, event, edited, state, .. } = stored;
        Self {
            id,
            event: event.map(|stored| stored.event),
            at: letter.at,
            reason: letter.reason,
            handler: letter.handler,
            attempts: letter.attempts,
            attempt_count: letter.attempt_count,
            quarantine,
            edited,
            state: match state {
                LetterState::Redriven { at, .. } => DeadLetterState::Redriven { at },
                LetterState::Handled { at } => DeadLetterState::Handled { at },
                _ => DeadLetterState::Waiting,
            },
        }
    }
}
