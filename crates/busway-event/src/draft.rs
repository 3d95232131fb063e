//! A draft: an event as its publisher writes it, not valid yet.
//!
//! Building a draft never fails, so that an event is one expression; publishing validates it and gives it back inside
//! the error when a rule is broken. What the publisher left out is filled in from the [`Stamp`]: id, time, producer.

use std::fmt;
use std::time::Duration;

use crate::codec::PAYLOAD_BYTES_MAX;
use crate::event::{AnyEvent, Event, Header};
use crate::event_type::EventType;
use crate::id::EventId;
use crate::key::{Key, KeyError};
use crate::metadata::{Metadata, MetadataDraft, MetadataError};
use crate::priority::Priority;
use crate::timestamp::Timestamp;
use crate::topic::{Topic, TopicError};

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

    /// Names the event. Default: a new version 7 UUID.
    pub fn id(mut self, id: impl Into<EventId>) -> Self {
        self.head.id = Some(id.into());
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
            Ok(header) => Ok(Event::from_parts(header, self.payload)),
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
        if let Some(len) = self.payload.encoded_len().filter(|len| *len > stamp.payload_bytes_max) {
            return Err(Invalid::PayloadTooLarge { len, limit: stamp.payload_bytes_max });
        }
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

/// The part of a draft that does not depend on the payload's type: what publish middleware sees and may change.
#[derive(Debug, Clone)]
pub struct DraftHead {
    topic: Result<Topic, Invalid>,
    type_name: &'static str,
    key: Option<String>,
    priority: Priority,
    ttl: Option<Duration>,
    id: Option<EventId>,
    origin_id: Option<Box<str>>,
    time: Option<Timestamp>,
    metadata: MetadataDraft,
}

impl DraftHead {
    /// The topic, or why the text given is none.
    ///
    /// # Errors
    /// [`Invalid::Topic`] or [`Invalid::TopicMissing`].
    pub fn topic(&self) -> Result<&Topic, &Invalid> {
        self.topic.as_ref()
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

/// What the engine fills in where a draft says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The id of an event without one.
    pub id: EventId,
    /// The time of an event without one.
    pub time: Timestamp,
    /// Metadata of an event without any: its producer is the bus's.
    pub metadata: &'a Metadata,
    /// The limit of an encoded payload, [`PAYLOAD_BYTES_MAX`] by default. Checked here for payloads whose encoded length
    /// is known beforehand (`Raw`, `Proto`), and for all others when they are encoded.
    pub payload_bytes_max: usize,
}

impl<'a> Stamp<'a> {
    /// A stamp with the default payload limit.
    #[must_use]
    pub const fn new(id: EventId, time: Timestamp, metadata: &'a Metadata) -> Self {
        Self { id, time, metadata, payload_bytes_max: PAYLOAD_BYTES_MAX }
    }
}

/// A draft of any payload type: what a handler returns to be published with its settlement.
pub struct AnyDraft(Box<dyn ErasedDraft>);

impl AnyDraft {
    /// What can be seen without knowing the payload's type.
    #[must_use]
    pub fn head(&self) -> &DraftHead {
        self.0.head()
    }

    /// What can be changed without knowing the payload's type.
    #[must_use]
    pub fn head_mut(&mut self) -> &mut DraftHead {
        self.0.head_mut()
    }

    /// Validates the draft, see [`Draft::finish`].
    ///
    /// # Errors
    /// The first rule that is broken, with the unchanged draft.
    pub fn finish(self, stamp: &Stamp<'_>) -> Result<AnyEvent, (Self, Invalid)> {
        self.0.finish(stamp)
    }
}

impl fmt::Debug for AnyDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyDraft").field(self.head()).finish()
    }
}

impl<T: EventType> From<Draft<T>> for AnyDraft {
    fn from(draft: Draft<T>) -> Self {
        Self(Box::new(draft))
    }
}

/// Why a draft is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The topic breaks a rule.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// `Event::of` was used with a type that names no topic.
    #[error("\"{type_name}\" names no topic: use Event::new with one, or give the type a topic")]
    TopicMissing {
        /// The payload's type.
        type_name: &'static str,
    },
    /// The key breaks a rule.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The metadata breaks a rule.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A time to live of zero: the event would expire before it could be handled.
    #[error("the time to live is zero: leave it out, or give the event time to be handled")]
    TtlZero,
    /// The encoded payload is known to be too large.
    #[error("the encoded payload has {len} bytes, more than {limit}: send a reference, or raise the limit")]
    PayloadTooLarge {
        /// Its length.
        len: usize,
        /// The limit in force.
        limit: usize,
    },
}

/// What can be the topic of a new event: a [`Topic`], which is valid already, or text, which is checked when the event is
/// published.
pub trait IntoTopic {
    /// The topic, or the rule that the text breaks.
    ///
    /// # Errors
    /// [`TopicError`].
    fn into_topic(self) -> Result<Topic, TopicError>;
}

impl IntoTopic for Topic {
    fn into_topic(self) -> Result<Topic, TopicError> {
        Ok(self)
    }
}

impl IntoTopic for &Topic {
    fn into_topic(self) -> Result<Topic, TopicError> {
        Ok(self.clone())
    }
}

impl IntoTopic for &str {
    fn into_topic(self) -> Result<Topic, TopicError> {
        Topic::new(self)
    }
}

impl IntoTopic for String {
    fn into_topic(self) -> Result<Topic, TopicError> {
        Topic::new(self)
    }
}

impl IntoTopic for &String {
    fn into_topic(self) -> Result<Topic, TopicError> {
        Topic::new(self.as_str())
    }
}

trait ErasedDraft: Send + Sync {
    fn head(&self) -> &DraftHead;
    fn head_mut(&mut self) -> &mut DraftHead;
    fn finish(self: Box<Self>, stamp: &Stamp<'_>) -> Result<AnyEvent, (AnyDraft, Invalid)>;
}

impl<T: EventType> ErasedDraft for Draft<T> {
    fn head(&self) -> &DraftHead {
        &self.head
    }

    fn head_mut(&mut self) -> &mut DraftHead {
        &mut self.head
    }

    fn finish(self: Box<Self>, stamp: &Stamp<'_>) -> Result<AnyEvent, (AnyDraft, Invalid)> {
        match Self::finish(*self, stamp) {
            Ok(event) => Ok(event.into()),
            Err((draft, reason)) => Err((AnyDraft(draft), reason)),
        }
    }
}
