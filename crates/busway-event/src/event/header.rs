//! What an event carries beside its payload.

use std::time::Duration;

use crate::draft::{Invalid, Stamp};
use crate::event_type::EventType;
use crate::id::EventId;
use crate::key::Key;
use crate::metadata::Metadata;
use crate::priority::Priority;
use crate::timestamp::Timestamp;
use crate::topic::Topic;

/// All that an event carries beside its payload. Always valid.
// In the order of the memory: what differs from event to event first, see `Typed`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    pub(crate) id: EventId,
    pub(crate) time: Timestamp,
    pub(crate) priority: Priority,
    pub(crate) key: Option<Key>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) topic: Topic,
    pub(crate) metadata: Metadata,
    pub(crate) origin_id: Option<Box<str>>,
}

impl Header {
    /// The header of an event that says nothing but its topic.
    pub(crate) fn plain<T: EventType>(topic: &Topic, key: Option<Key>, stamp: &Stamp<'_>) -> Self {
        Self {
            id: stamp.id,
            time: stamp.time,
            priority: Priority::default(),
            key,
            ttl: None,
            topic: topic.clone(),
            metadata: stamp.metadata.with_version(T::VERSION),
            origin_id: None,
        }
    }

    /// Becomes [`plain`](Self::plain) but for the key, and leaves alone what is so already: writing a shared pointer anew would count it
    /// down and up, and make its cache line travel.
    #[inline]
    pub(crate) fn renew<T: EventType>(&mut self, topic: &Topic, stamp: &Stamp<'_>) {
        self.at(stamp.id, stamp.time);
        if self.priority != Priority::default() {
            self.priority = Priority::default();
        }
        if self.ttl.is_some() {
            self.ttl = None;
        }
        if !self.topic.is(topic) {
            self.topic = topic.clone();
        }
        if !self.metadata.is(stamp.metadata, T::VERSION) {
            self.metadata = stamp.metadata.with_version(T::VERSION);
        }
        if self.origin_id.is_some() {
            self.origin_id = None;
        }
    }

    /// Is that of another event which says the same.
    #[inline]
    pub(crate) const fn at(&mut self, id: EventId, time: Timestamp) {
        self.id = id;
        self.time = time;
    }

    /// Takes a key, or none. Apart from the rest, so that a key which is none for certain is not put down to be read again.
    #[inline]
    pub(crate) fn set_key(&mut self, key: Option<Key>) {
        match key {
            Some(key) => self.key = Some(key),
            None if self.key.is_some() => self.key = None,
            None => {}
        }
    }

    /// Checks what only the payload can break, and takes its key.
    #[inline]
    pub(crate) fn key_of<T: EventType>(
        payload: &T,
        payload_bytes_max: usize,
    ) -> Result<Option<Key>, Invalid> {
        let key = payload.key().map(Key::new).transpose()?;
        Stamp::check_length(payload, payload_bytes_max)?;
        Ok(key)
    }

    /// The identity.
    #[must_use]
    #[inline]
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
    #[inline]
    pub const fn topic(&self) -> &Topic {
        &self.topic
    }

    /// What orders it.
    #[must_use]
    #[inline]
    pub const fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// How urgent it is.
    #[must_use]
    #[inline]
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// How long it may wait, when its publisher said so.
    #[must_use]
    #[inline]
    pub const fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// Producer, version, trace and free pairs.
    #[must_use]
    #[inline]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The id that another system gave it, when that was no UUID; exported again in its place.
    #[must_use]
    pub fn origin_id(&self) -> Option<&str> {
        self.origin_id.as_deref()
    }
}
