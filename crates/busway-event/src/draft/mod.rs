//! A draft: an event as its publisher writes it, not valid yet.
//!
//! Building a draft never fails, so that an event is one expression; publishing validates it and gives it back inside
//! the error when a rule is broken. What the publisher left out is filled in from the [`Stamp`]: id, time, producer.

mod any;
mod due;
mod head;
mod into_topic;
mod invalid;
mod left_out;
mod stamp;

pub use self::any::AnyDraft;
pub use self::due::{DELAY_MAX, Due};
pub use self::head::DraftHead;
pub use self::into_topic::IntoTopic;
pub use self::invalid::Invalid;
pub use self::left_out::LeftOut;
pub use self::stamp::Stamp;

use std::fmt;
use std::time::Duration;

use crate::durability::Durability;
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
            due: None,
            durability: None,
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
    /// the priority. In memory it runs from when the event was offered, in a store from when that took it, which is when a delayed one was due.
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

    /// Publishes the event so much later, at most [`DELAY_MAX`]; zero is at once. Of this and [`at`](Self::at) the last one
    /// called holds. Default: at once.
    ///
    /// The wish is the draft's: an event that is due is one like any other, and its [`time`](Self::time) is when `publish` was
    /// called, unless it was set. Only a topic that a stream captures takes delayed events: they have to be stored until
    /// they are due.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.head.due = Some(Due::After(delay));
        self
    }

    /// Publishes the event at this time, at most [`DELAY_MAX`] from now; one that is past is now. As
    /// [`delay`](Self::delay) otherwise.
    pub fn at(mut self, due: Timestamp) -> Self {
        self.head.due = Some(Due::At(due));
        self
    }

    /// What the event is to survive when `publish` returns. Default: what the stream that captures its topic says, else the bus, else
    /// [`Durability::Synced`]; a topic that no stream captures is in memory.
    ///
    /// With [`Durability::Memory`] a publish to such a stream returns when the event is accepted, and not when it is stored: it is stored with
    /// the next commit, and a process that ends before loses it. Asking for more than memory where no stream captures the topic is refused. The wish
    /// is the draft's: the event itself does not bear it.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.head.durability = Some(durability);
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
            return match envelopes.event(topic, self.payload, stamp) {
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
        if let Some(due) = head.due {
            due.check(stamp.time)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Metadata;
    use crate::raw::Raw;

    #[test]
    fn of_delay_and_at_the_last_one_holds_and_a_wait_that_is_too_long_comes_back() {
        let metadata = Metadata::draft("test", 1).build().unwrap();
        let now = Timestamp::from_nanos(1_800_000_000_000_000_000);
        let stamp = Stamp::new(EventId::foreign("test", "1"), now, &metadata);
        let minute = Duration::from_secs(60);
        let draft = Event::new("a", Raw::from("x")).delay(DELAY_MAX * 2).at(now);
        assert_eq!(draft.head().due(), Some(Due::At(now)));
        let event = draft.finish(&stamp).unwrap();
        assert_eq!(event.time(), now);
        // The wish is the draft's: what was an event once says nothing of it.
        assert_eq!(event.into_draft().unwrap().head().due(), None);

        let draft = Event::new("a", Raw::from("x")).at(now).delay(DELAY_MAX + minute).id(stamp.id);
        let (draft, reason) = draft.finish(&stamp).unwrap_err();
        assert_eq!(reason, Invalid::DelayTooLong { delay: DELAY_MAX + minute, limit: DELAY_MAX });
        assert_eq!(draft.head().due(), Some(Due::After(DELAY_MAX + minute)));
    }
}
