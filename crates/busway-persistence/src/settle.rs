//! Settling: what durable subscriptions store about the events that they were given.

use std::sync::Arc;

use busway_event::Timestamp;
use serde::{Deserialize, Serialize};

use crate::attempts::{Attempts, ERROR_BYTES_MAX, boundary};
use crate::attendance::{Mark, Quarantine};
use crate::cursor::Cursor;
use crate::done::DoneKeys;
use crate::error::RequestError;

/// What a subscription has decided about events of a partition. All of it is stored in one commit, or nothing of it.
#[derive(Debug, Clone, Default)]
pub struct Settlement {
    /// Runs of offsets, start and end (excluded), that are finished for the subscription.
    pub settled: Vec<(u64, u64)>,
    /// Events that failed and wait for another attempt, or again for another one. The cursor may pass them, retention may
    /// not.
    pub parked: Vec<Parked>,
    /// Parked events that wait no longer: they are finished too.
    pub released: Vec<u64>,
    /// Parked events that are given up and let go: finished too. When one was a dead letter that was given again, its letter is let go with it.
    pub discarded: Vec<u64>,
    /// Events that the subscription gives up on: kept with their history, and finished.
    pub dead: Vec<DeadLetter>,
    /// Keys of idempotency that are done with it.
    pub done: DoneKeys,
    /// Nothing of it is the end of an attempt: it passes events that the subscription does not want, or that are gone. Then it does not say
    /// that the subscription has got on. Default `false`.
    pub passes_only: bool,
    /// Somebody waits until it is stored. Settlements that nobody waits for are stored within a millisecond, with what comes meanwhile. Default `false`.
    pub is_awaited: bool,
}

impl Settlement {
    /// Whether it decides nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.done.keys.is_empty()
            && self.settled.is_empty()
            && self.parked.is_empty()
            && self.released.is_empty()
            && self.discarded.is_empty()
            && self.dead.is_empty()
    }
}

/// An event that failed and waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Its position in the partition.
    pub offset: u64,
    /// When it is to be attempted again, wall clock.
    pub due: Timestamp,
    /// Its lane: later events of the same lane wait behind it.
    pub lane: u64,
    /// The attempts so far.
    pub attempts: Attempts,
    /// How many there were in all. 0 for one that waits behind another of its lane.
    pub attempt_count: u32,
}

impl DeadLetter {
    /// Without what is not kept.
    pub(crate) fn bounded(&self) -> Self {
        let (reason, handler) = (cut(&self.reason, ERROR_BYTES_MAX), cut(&self.handler, ERROR_BYTES_MAX));
        Self { reason, handler, ..self.clone() }
    }
}

/// At most so many bytes of a text, whole characters.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    text.get(..boundary(text, limit)).unwrap_or_default().to_owned()
}

/// An event that a subscription gave up on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its position in the partition.
    pub offset: u64,
    /// When the subscription gave it up, wall clock.
    pub at: Timestamp,
    /// Why, at most [`ERROR_BYTES_MAX`] bytes.
    pub reason: String,
    /// The name of the handler that failed.
    pub handler: String,
    /// The attempts that failed.
    pub attempts: Attempts,
    /// How many there were in all.
    pub attempt_count: u32,
}

/// Called by the writer's thread when a settlement is stored or has failed. It must be quick, and must not wait for the store.
pub type OnSettled = Box<dyn FnOnce(Result<(), RequestError>) + Send>;

pub(crate) struct Settle {
    pub(crate) subscription: u32,
    pub(crate) partition: u32,
    pub(crate) settlement: Arc<Settlement>,
    pub(crate) done: Option<OnSettled>,
}

/// A durable subscription as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its number in the store.
    pub number: u32,
    /// Whether the store knew it before.
    pub known: bool,
    /// Where it stands in each of its partitions.
    pub places: Vec<Place>,
    /// Processes that died one after the other, while they handled events of it, without getting on. What counts is said in the guide to
    /// operating a store.
    pub deaths: u32,
    /// The event that the last of them [marked](crate::Store::mark) and had not settled.
    pub mark: Option<Mark>,
}

/// Where a subscription stands in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The partition's number in the store.
    pub partition: u32,
    /// What it has settled.
    pub cursor: Cursor,
    /// What failed and waits, in the order of the offsets.
    pub parked: Vec<Parked>,
    /// Of the parked ones: those that are dead letters given again, in the order of the offsets. Read them with
    /// [`redriven_event`](crate::Store::redriven_event).
    pub redriven: Vec<u64>,
}

/// Called by the writer's thread when a subscription is registered, or is not.
pub type OnRegistered = Box<dyn FnOnce(Result<Registered, RequestError>) + Send>;

pub(crate) struct Register {
    pub(crate) name: String,
    pub(crate) filter: String,
    /// Each of its partitions, and where a cursor that is made now begins.
    pub(crate) starts: Vec<(u32, u64)>,
    pub(crate) done: Option<OnRegistered>,
}

/// Sets a mark.
pub(crate) struct Marking {
    pub(crate) subscription: u32,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) attempt: u32,
    pub(crate) at: Timestamp,
    pub(crate) done: Option<OnSettled>,
}

/// Sets an event aside.
pub(crate) struct Quarantining {
    pub(crate) subscription: u32,
    pub(crate) partition: u32,
    pub(crate) letter: DeadLetter,
    pub(crate) quarantine: Quarantine,
    pub(crate) done: Option<OnSettled>,
}

/// Removes a subscription.
pub(crate) struct Remove {
    pub(crate) name: String,
    pub(crate) done: Option<OnSettled>,
}

/// Sets a subscription's cursor: everything before the offset is settled, everything from it on is not.
pub(crate) struct Seek {
    pub(crate) subscription: u32,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) done: Option<OnSettled>,
}

/// A subscription's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubscriptionRow {
    pub(crate) number: u32,
    pub(crate) filter: String,
}

/// Bytes of a durable subscription's name.
pub const SUBSCRIPTION_NAME_BYTES_MAX: usize = 255;
