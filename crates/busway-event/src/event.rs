//! The event: an immutable fact, shared and never copied.
//!
//! A typed event travels through the process as one shared allocation that holds the value itself. Bytes are
//! made once, when the first reader of another type, a log or a transport asks for them, and kept. An event that came
//! from outside starts as bytes and is decoded for each handler that wants a type.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::codec::{DecodeError, EncodeError, PAYLOAD_BYTES_MAX};
use crate::draft::{Draft, IntoTopic, Invalid};
use crate::event_type::{Encoded, EventType};
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

/// An event with a payload of type `T`. Cheap to clone; dereferences to its [`Header`].
pub struct Event<T> {
    inner: Arc<Typed<T>>,
}

impl<T: EventType> Event<T> {
    /// Starts an event: a [`Draft`] for `publish`, which validates it.
    #[expect(clippy::new_ret_no_self, reason = "an Event is always valid; what a publisher writes is a draft of one")]
    pub fn new(topic: impl IntoTopic, payload: T) -> Draft<T> {
        Draft::new(topic.into_topic().map_err(Invalid::from), payload)
    }

    /// Starts an event on the topic that its type names ([`EventType::TOPIC`]).
    pub fn of(payload: T) -> Draft<T> {
        let topic = match T::TOPIC {
            Some(topic) => Topic::new(topic).map_err(Invalid::from),
            None => Err(Invalid::TopicMissing { type_name: T::NAME }),
        };
        Draft::new(topic, payload)
    }

    pub(crate) fn from_parts(header: Header, payload: T) -> Self {
        Self { inner: Arc::new(Typed { header, payload, encoded: OnceLock::new() }) }
    }

    /// Back to a draft with the same header and id, without a copy.
    ///
    /// # Errors
    /// The event itself when somebody else holds it too.
    pub fn into_draft(self) -> Result<Draft<T>, Self> {
        match Arc::try_unwrap(self.inner) {
            Ok(typed) => Ok(Draft::of_event(typed.header, typed.payload)),
            Err(inner) => Err(Self { inner }),
        }
    }
}

impl<T> Event<T> {
    /// All but the payload.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.inner.header
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &T {
        &self.inner.payload
    }
}

impl<T: EventType + Clone> Event<T> {
    /// A new draft with the same payload, topic, key, priority and metadata, but an id and time of its own: what a
    /// handler needs to send an event on.
    #[must_use]
    pub fn to_draft(&self) -> Draft<T> {
        let mut draft = Event::new(self.topic(), self.payload().clone()).priority(self.priority());
        if let Some(key) = self.key() {
            draft = draft.key(key.as_str());
        }
        *draft.head_mut().metadata_mut() = self.metadata().into();
        draft.head_mut().metadata_mut().set_version(T::VERSION);
        draft
    }
}

impl<T> Clone for Event<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> Deref for Event<T> {
    type Target = Header;

    fn deref(&self) -> &Header {
        self.header()
    }
}

impl<T: fmt::Debug> fmt::Debug for Event<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("header", self.header()).field("payload", self.payload()).finish()
    }
}

/// An event whose payload's type is not known here. Cheap to clone; dereferences to its [`Header`].
#[derive(Clone)]
pub struct AnyEvent {
    inner: Arc<dyn Envelope>,
}

impl AnyEvent {
    /// An event that arrived as bytes. Its header is valid by construction; the payload is decoded when a handler
    /// asks for a type.
    #[must_use]
    pub fn from_encoded(header: Header, encoded: Encoded) -> Self {
        Self { inner: Arc::new(Wire { header, encoded }) }
    }

    /// All but the payload.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.inner.header()
    }

    /// The name of the payload's type.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.inner.type_name()
    }

    /// The event with a payload of type `T`. Free when it was published as a `T` in this process; otherwise its bytes
    /// are made (once for all readers) and decoded, upcasting older versions.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn typed<T: EventType>(&self) -> Result<Event<T>, DecodeError> {
        let any: Arc<dyn Any + Send + Sync> = self.inner.clone();
        match any.downcast::<Typed<T>>() {
            Ok(inner) => Ok(Event { inner }),
            Err(_) => {
                let encoded = self.encoded(PAYLOAD_BYTES_MAX).map_err(DecodeError::Encode)?;
                T::read(&encoded).map(|payload| Event::from_parts(self.header().clone(), payload))
            }
        }
    }

    /// The payload as bytes, with its type's name, version and codec. Made on the first call and kept.
    ///
    /// # Errors
    /// [`EncodeError`]; a failure is not kept, so a later call with a higher limit may succeed.
    pub fn encoded(&self, limit: usize) -> Result<Encoded, EncodeError> {
        self.inner.encoded(limit)
    }

    /// Bytes that the event counts for in a queue's byte budget: payload ([`EventType::weight`]) and metadata.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.inner.payload_weight().saturating_add(self.header().metadata.size())
    }
}

impl Deref for AnyEvent {
    type Target = Header;

    fn deref(&self) -> &Header {
        self.header()
    }
}

impl fmt::Debug for AnyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyEvent").field("type_name", &self.type_name()).field("header", self.header()).finish()
    }
}

impl<T: EventType> From<Event<T>> for AnyEvent {
    fn from(event: Event<T>) -> Self {
        Self { inner: event.inner }
    }
}

/// What all events can do, whatever they hold.
trait Envelope: Any + Send + Sync {
    fn header(&self) -> &Header;
    fn type_name(&self) -> &str;
    fn encoded(&self, limit: usize) -> Result<Encoded, EncodeError>;
    fn payload_weight(&self) -> usize;
}

/// An event that holds a value.
struct Typed<T> {
    header: Header,
    payload: T,
    encoded: OnceLock<Encoded>,
}

impl<T: EventType> Envelope for Typed<T> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn type_name(&self) -> &str {
        T::NAME
    }

    fn encoded(&self, limit: usize) -> Result<Encoded, EncodeError> {
        if self.encoded.get().is_none() {
            let encoded = Encoded::of(&self.payload, limit)?;
            // Two readers may encode at once; the first result stays.
            _ = self.encoded.set(encoded);
        }
        match self.encoded.get() {
            Some(encoded) => within(encoded, limit),
            None => Encoded::of(&self.payload, limit),
        }
    }

    fn payload_weight(&self) -> usize {
        self.payload.weight()
    }
}

/// An event that holds bytes.
struct Wire {
    header: Header,
    encoded: Encoded,
}

impl Envelope for Wire {
    fn header(&self) -> &Header {
        &self.header
    }

    fn type_name(&self) -> &str {
        &self.encoded.type_name
    }

    fn encoded(&self, limit: usize) -> Result<Encoded, EncodeError> {
        within(&self.encoded, limit)
    }

    fn payload_weight(&self) -> usize {
        self.encoded.bytes.len()
    }
}

fn within(encoded: &Encoded, limit: usize) -> Result<Encoded, EncodeError> {
    match encoded.bytes.len() {
        len if len > limit => Err(EncodeError::TooLarge { len, limit }),
        _ => Ok(encoded.clone()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::draft::Stamp;
    use crate::raw::Raw;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Order {
        id: u32,
    }
    impl EventType for Order {
        const NAME: &'static str = "order";
        const VERSION: u16 = 2;
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Invoice {
        id: u32,
    }
    impl EventType for Invoice {
        const NAME: &'static str = "invoice";
    }

    fn publish<T: EventType>(draft: Draft<T>) -> Result<AnyEvent, Invalid> {
        let metadata = Metadata::draft("test", 1).build().unwrap();
        let stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(7), &metadata);
        draft.finish(&stamp).map(AnyEvent::from).map_err(|(_, reason)| reason)
    }

    #[test]
    fn a_typed_reader_shares_the_value_and_another_type_reads_bytes() {
        let event = publish(Event::new("orders.created", Order { id: 7 }).key("k")).unwrap();
        let typed = event.typed::<Order>().unwrap();
        assert!(std::ptr::eq(typed.header(), event.header()));
        assert_eq!(event.typed::<Raw>().unwrap().payload().0, Bytes::from_static(b"{\"id\":7}"));
        let wrong = event.typed::<Invoice>().unwrap_err();
        assert_eq!(wrong, DecodeError::WrongType { expected: "invoice", found: "order".into() });
    }

    #[test]
    fn bytes_are_made_once_and_their_limit_holds_for_each_reader() {
        let event = publish(Event::new("orders", Order { id: 7 })).unwrap();
        assert_eq!(event.encoded(4), Err(EncodeError::TooLarge { len: 5, limit: 4 }));
        let first = event.encoded(64).unwrap();
        assert_eq!(event.encoded(64).unwrap().bytes.as_ptr(), first.bytes.as_ptr());
        assert_eq!(event.encoded(4), Err(EncodeError::TooLarge { len: 8, limit: 4 }));
    }

    #[test]
    fn what_the_draft_left_out_comes_from_the_stamp() {
        let event = publish(Event::new("orders", Order { id: 7 })).unwrap();
        assert_eq!((event.time().as_nanos(), event.metadata().producer()), (7, "test"));
        assert_eq!(event.metadata().version(), 2);
        let named = publish(Event::new("orders", Order { id: 7 }).meta("producer", "shop")).unwrap();
        assert_eq!((named.metadata().producer(), named.metadata().version()), ("shop", 2));
    }

    #[test]
    fn each_rule_of_a_draft_has_its_error_and_the_draft_comes_back() {
        let order = || Order { id: 7 };
        assert!(matches!(publish(Event::new("orders..x", order())), Err(Invalid::Topic(_))));
        assert!(matches!(publish(Event::of(order())), Err(Invalid::TopicMissing { type_name: "order" })));
        assert!(matches!(publish(Event::new("orders", order()).key("")), Err(Invalid::Key(_))));
        let expired = Event::new("orders", order()).ttl(Duration::ZERO);
        assert_eq!(publish(expired).unwrap_err(), Invalid::TtlZero);
        assert!(matches!(publish(Event::new("orders", order()).meta("", "x")), Err(Invalid::Metadata(_))));
        let large = Raw(Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]));
        assert!(matches!(publish(Event::new("orders", large)), Err(Invalid::PayloadTooLarge { .. })));
    }

    #[test]
    fn an_event_that_nobody_else_holds_becomes_a_draft_again() {
        let metadata = Metadata::draft("test", 1).build().unwrap();
        let stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(7), &metadata);
        let event = Event::new("orders", Order { id: 7 }).key("k").finish(&stamp).unwrap();
        let copy = event.clone();
        let event = event.into_draft().expect_err("the copy holds it");
        drop(copy);
        let again = event.into_draft().unwrap().finish(&stamp).unwrap();
        assert_eq!(again.key().map(Key::as_str), Some("k"));
        assert_eq!(again.payload(), &Order { id: 7 });
    }
}
