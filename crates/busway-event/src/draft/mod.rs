//! A draft: an event as its publisher writes it, not valid yet.
//!
//! Building a draft never fails, so that an event is one expression; publishing validates it and gives it back inside
//! the error when a rule is broken. What the publisher left out is filled in from the [`Stamp`]: id, time, producer.

mod any;
mod head;
mod into_topic;
mod invalid;
mod stamp;

pub use self::any::AnyDraft;
pub use self::head::DraftHead;
pub use self::into_topic::IntoTopic;
pub use self::invalid::Invalid;
pub use self::stamp::Stamp;

use std::fmt;
use std::time::Duration;

use crate::event::{Envelopes, Event, Header};
use crate::event_type::EventType;
use crate::id::EventId;
use crate::key::Key;
use crate::metadata::MetadataDraft;
use crate::priority::Priority;
use crate::timestamp::Timestamp;
use crate::topic::Topic;

/// An event that is not validated yet. Made by [`Event::new`]; `publish` takes it.
#[derive(Clone)]
pub struct Draft<T> {
    head: DraftHead,
    payload: T,
}

impl<T: EventType> Draft<T> {
    pub(crate) fn new(topic: Result<Topic, Invalid>, payload: T) -> Self {
        let mut metadata = MetadataDraft::default();
        metadata.set_version(T::VERSION);
        let head = DraftHead {
            topic,
            type_name: T::NAME,
            key: None,
            priority: Priority::default(),
            ttl: None,
            id: None,
            origin_id: None,
            time: None,
            metadata,
        };
        Self { head, payload }
    }

    /// A draft of an event that was valid once: keeps all of its header.
    pub(crate) fn of_event(header: Header, payload: T) -> Self {
        let mut draft = Self::new(Ok(header.topic), payload);
        draft.head.key = header.key.map(|key| key.as_str().to_owned());
        draft.head.priority = header.priority;
        draft.head.ttl = header.ttl;
        draft.head.id = Some(header.id);
        draft.head.origin_id = header.origin_id;
        draft.head.time = Some(header.time);
        draft.head.metadata = MetadataDraft::from(&header.metadata);
        draft.head.metadata.set_version(T::VERSION);
        draft
    }

    /// Orders this event behind earlier ones with the same key. Default: what [`EventType::key`] says, usually none.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.head.key = Some(key.into());
        self
    }

    /// Default: [`Priority::P2`].
    pub fn priority(mut self, priority: Priority) -> Self {
        self.head.priority = priority;
        self
    }

    /// How long the event may wait before its handler starts; more than zero. Default: what the subscription says for
    /// the priority.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.head.ttl = Some(ttl);
        self
    }

    /// Adds a metadata pair; the last value of a name wins. `producer` and `traceparent` set the fixed fields of that
    /// name. Limits: [`crate::metadata`].
    pub fn meta(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.head.metadata.set(name.as_ref(), value.as_ref());
        self
    }

    /// Names the event. Default: a new version 7 UUID. An id that another system gave it is forgotten.
    pub fn id(mut self, id: impl Into<EventId>) -> Self {
        self.head.id = Some(id.into());
        self.head.origin_id = None;
        self
    }

    /// When it happened. Default: when it is published.
    pub fn time(mut self, time: Timestamp) -> Self {
        self.head.time = Some(time);
        self
    }

    /// The payload.
    #[must_use]
    pub const fn payload(&self) -> &T {
        &self.payload
    }

    /// Gives the payload back.
    #[must_use]
    pub fn into_payload(self) -> T {
        self.payload
    }

    /// What can be seen and changed without knowing the payload's type.
    #[must_use]
    pub const fn head(&self) -> &DraftHead {
        &self.head
    }

    /// What can be seen and changed without knowing the payload's type.
    #[must_use]
    pub const fn head_mut(&mut self) -> &mut DraftHead {
        &mut self.head
    }

    /// Validates the draft and fills in what is missing.
    ///
    /// # Errors
    /// The first rule that is broken, with the unchanged draft.
    pub fn finish(self, stamp: &Stamp<'_>) -> Result<Event<T>, (Box<Self>, Invalid)> {
        match self.header(stamp) {
            Ok(header) => Ok(Event::once(header, self.payload, stamp.payload_bytes_max)),
            Err(reason) => Err((Box::new(self), reason)),
        }
    }

    /// As [`finish`](Self::finish), in an envelope that is used again if there is one.
    ///
    /// # Errors
    /// As there.
    pub fn finish_in(
        self,
        stamp: &Stamp<'_>,
        envelopes: &mut Envelopes<T>,
    ) -> Result<Event<T>, (Box<Self>, Invalid)> {
        // Most drafts say nothing but their topic: what such an event shares with the one before in its envelope stays there.
        if let Some(topic) = self.head.only_topic() {
            return match envelopes.event(&mut None, topic, self.payload, stamp) {
                Ok(event) => Ok(event),
                Err(refused) => {
                    let (payload, reason) = *refused;
                    Err((Box::new(Self { head: self.head, payload }), reason))
                }
            };
        }
        match self.header(stamp) {
            Ok(header) => Ok(envelopes.fill(header, self.payload, stamp.payload_bytes_max)),
            Err(reason) => Err((Box::new(self), reason)),
        }
    }

    fn header(&self, stamp: &Stamp<'_>) -> Result<Header, Invalid> {
        let head = &self.head;
        let topic = head.topic.clone()?;
        let key = match &head.key {
            Some(key) => Some(Key::new(key.as_str())?),
            None => self.payload.key().map(Key::new).transpose()?,
        };
        if head.ttl == Some(Duration::ZERO) {
            return Err(Invalid::TtlZero);
        }
        stamp.check_payload(&self.payload)?;
        let metadata = if head.metadata.is_default() {
            stamp.metadata.with_version(T::VERSION)
        } else {
            let mut draft = head.metadata.clone();
            if draft.producer().is_none() {
                draft.set("producer", stamp.metadata.producer());
            }
            draft.build()?
        };
        Ok(Header {
            id: head.id.unwrap_or(stamp.id),
            time: head.time.unwrap_or(stamp.time),
            topic,
            key,
            priority: head.priority,
            ttl: head.ttl,
            metadata,
            origin_id: head.origin_id.clone(),
        })
    }
}

impl<T: fmt::Debug> fmt::Debug for Draft<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("head", &self.head).field("payload", &self.payload).finish()
    }
}
