//! The part of a draft that all payload types share.

use std::time::Duration;

use super::{Due, Invalid};
use crate::durability::Durability;
use crate::id::EventId;
use crate::metadata::MetadataDraft;
use crate::priority::Priority;
use crate::timestamp::Timestamp;
use crate::topic::Topic;

/// The part of a draft that does not depend on the payload's type: what publish middleware sees and may change.
#[derive(Debug, Clone)]
pub struct DraftHead {
    pub(super) topic: Result<Topic, Invalid>,
    pub(super) type_name: &'static str,
    pub(super) key: Option<String>,
    pub(super) priority: Priority,
    pub(super) ttl: Option<Duration>,
    pub(super) id: Option<EventId>,
    pub(super) origin_id: Option<Box<str>>,
    pub(super) time: Option<Timestamp>,
    pub(super) due: Option<Due>,
    pub(super) durability: Option<Durability>,
    pub(super) metadata: MetadataDraft,
}

impl DraftHead {
    /// The topic, or why the text given is none.
    ///
    /// # Errors
    /// [`Invalid::Topic`] or [`Invalid::TopicMissing`].
    pub fn topic(&self) -> Result<&Topic, &Invalid> {
        self.topic.as_ref()
    }

    /// The topic, when nothing else is set that the event itself bears, or that has to be checked.
    pub(super) fn only_topic(&self) -> Option<&Topic> {
        let topic = self.topic.as_ref().ok()?;
        let plain = self.key.is_none()
            && self.priority == Priority::default()
            && self.ttl.is_none()
            && self.id.is_none()
            && self.origin_id.is_none()
            && self.time.is_none()
            && self.due.is_none()
            && self.metadata.is_default();
        plain.then_some(topic)
    }

    /// Sends the event to another topic.
    pub fn set_topic(&mut self, topic: Topic) {
        self.topic = Ok(topic);
    }

    /// The name of the payload's type.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// The key that the publisher gave, not validated yet.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Sets the key.
    pub fn set_key(&mut self, key: impl Into<String>) {
        self.key = Some(key.into());
    }

    /// The priority.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// Sets the priority.
    pub fn set_priority(&mut self, priority: Priority) {
        self.priority = priority;
    }

    /// The time to live that the publisher gave.
    #[must_use]
    pub const fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// Sets the time to live.
    pub fn set_ttl(&mut self, ttl: Duration) {
        self.ttl = Some(ttl);
    }

    /// When the publisher wants the event to be published; `None`: at once.
    #[must_use]
    pub const fn due(&self) -> Option<Due> {
        self.due
    }

    /// What the publisher wants the event to survive; `None`: what its stream or its bus says.
    #[must_use]
    pub const fn durability(&self) -> Option<Durability> {
        self.durability
    }

    /// Says what the event is to survive.
    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = Some(durability);
    }

    /// The id that the publisher gave.
    #[must_use]
    pub const fn id(&self) -> Option<EventId> {
        self.id
    }

    /// The metadata so far.
    #[must_use]
    pub const fn metadata(&self) -> &MetadataDraft {
        &self.metadata
    }

    /// The metadata, to add to.
    #[must_use]
    pub const fn metadata_mut(&mut self) -> &mut MetadataDraft {
        &mut self.metadata
    }
}
