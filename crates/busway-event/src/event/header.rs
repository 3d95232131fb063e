//! What an event carries beside its payload.

use std::time::Duration;

use crate::id::EventId;
use crate::key::Key;
use crate::metadata::Metadata;
use crate::priority::Priority;
use crate::timestamp::Timestamp;
use crate::topic::Topic;

/// All that an event carries beside its payload. Always valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub(crate) id: EventId,
    pub(crate) time: Timestamp,
    pub(crate) topic: Topic,
    pub(crate) key: Option<Key>,
    pub(crate) priority: Priority,
    pub(crate) ttl: Option<Duration>,
    pub(crate) metadata: Metadata,
    pub(crate) origin_id: Option<Box<str>>,
}

impl Header {
    /// The identity.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.id
    }

    /// When it happened, by its producer's clock.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// What it is about.
    #[must_use]
    pub const fn topic(&self) -> &Topic {
        &self.topic
    }

    /// What orders it.
    #[must_use]
    pub const fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// How urgent it is.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// How long it may wait, when its publisher said so.
    #[must_use]
    pub const fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// Producer, version, trace and free pairs.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The id that another system gave it, when that was no UUID; exported again in its place.
    #[must_use]
    pub fn origin_id(&self) -> Option<&str> {
        self.origin_id.as_deref()
    }
}
