//! What events of one publisher have in common: all but payload, key, id and time.
//!
//! An envelope that comes back to the same publisher says all of that already. To find so out, each form has a [`Mark`], which is put into the
//! envelope that was filled by it and taken away by whoever writes something else there. Nobody changes an event, so what the mark says holds for as long as it is
//! there.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Header;
use crate::draft::{Invalid, Stamp};
use crate::event_type::EventType;
use crate::id::EventId;
use crate::key::Key;
use crate::metadata::Metadata;
use crate::timestamp::Timestamp;
use crate::topic::Topic;

/// See the module. To be made once and kept.
#[derive(Debug)]
pub struct Form {
    topic: Topic,
    metadata: Metadata,
    payload_bytes_max: usize,
    mark: Mark,
}

/// What events of a form differ in, beside their payloads and keys.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The identity.
    pub id: EventId,
    /// When it happened.
    pub time: Timestamp,
}

/// Tells a form from all others of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(NonZeroU64);

impl Form {
    /// Events on `topic` that say nothing beside, with what a [`Stamp`] adds to them.
    #[must_use]
    pub fn new(topic: &Topic, metadata: &Metadata, payload_bytes_max: usize) -> Self {
        Self { topic: topic.clone(), metadata: metadata.clone(), payload_bytes_max, mark: Mark::next() }
    }

    /// Their topic.
    #[must_use]
    #[inline]
    pub const fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The stamp of one of them.
    #[must_use]
    #[inline]
    pub const fn stamp(&self, moment: &Moment) -> Stamp<'_> {
        let Moment { id, time } = *moment;
        Stamp { id, time, metadata: &self.metadata, payload_bytes_max: self.payload_bytes_max }
    }

    /// The key of a payload, which keeps all rules that only payloads can break.
    ///
    /// # Errors
    /// The rule that it breaks.
    #[inline]
    pub fn key_of<T: EventType>(&self, payload: &T) -> Result<Option<Key>, Invalid> {
        Header::key_of(payload, self.payload_bytes_max)
    }

    #[inline]
    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }
}

impl Mark {
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let last = LAST.fetch_add(1, Ordering::Relaxed);
        // It would take centuries to run over.
        Self(NonZeroU64::MIN.saturating_add(last))
    }
}
