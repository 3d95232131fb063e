//! The event: an immutable fact, shared and never copied.
//!
//! A typed event travels through the process as one shared allocation that holds the value itself. Bytes are
//! made once, when the first reader of another type, a log or a transport asks for them, and kept. An event that came
//! from outside starts as bytes and is decoded for each handler that wants a type.

mod any;
mod envelope;
mod form;
mod header;
mod receive;
mod recycle;

pub use self::any::AnyEvent;
pub use self::form::{Form, Moment};
pub use self::header::Header;
pub use self::receive::{ORIGIN_ID_BYTES_MAX, Parts, TYPE_NAME_BYTES_MAX};
pub use self::recycle::{BATCH, Empty, Envelopes, HOMES_MAX, KEPT_MAX, Spent};

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use self::envelope::Typed;
use crate::draft::{Draft, IntoTopic, Invalid};
use crate::event_type::EventType;
use crate::topic::Topic;

/// An event with a payload of type `T`. Cheap to clone; dereferences to its [`Header`].
pub struct Event<T> {
    inner: Arc<Typed<T>>,
}

impl<T: EventType> Event<T> {
    /// Starts an event: a [`Draft`] for `publish`, which validates it.
    #[expect(
        clippy::new_ret_no_self,
        reason = "an Event is always valid; what a publisher writes is a draft of one"
    )]
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

    /// An event in an envelope of its own.
    pub(crate) fn once(header: Header, payload: T, payload_bytes_max: usize) -> Self {
        Self { inner: Arc::new(Typed::new(header, payload, payload_bytes_max, None)) }
    }

    /// Back to a draft with the same header and id, without a copy.
    ///
    /// # Errors
    /// The event itself when somebody else holds it too.
    pub fn into_draft(self) -> Result<Draft<T>, Self> {
        match Arc::try_unwrap(self.inner) {
            Ok(Typed { header, payload: Some(payload), .. }) => Ok(Draft::of_event(header, payload)),
            Ok(empty) => Err(Self { inner: Arc::new(empty) }),
            Err(inner) => Err(Self { inner }),
        }
    }
}

impl<T: EventType> Event<T> {
    /// Bytes that the event counts for in a queue's byte budget, see [`AnyEvent::weight`].
    #[must_use]
    #[inline]
    pub fn weight(&self) -> usize {
        self.payload().weight().saturating_add(self.header().metadata().size())
    }
}

impl<T> Event<T> {
    /// All but the payload.
    #[must_use]
    #[inline]
    pub fn header(&self) -> &Header {
        &self.inner.header
    }

    /// The payload.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &T {
        self.inner.payload()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::codec::{Bounded, CodecId, DecodeError, EncodeError, PAYLOAD_BYTES_MAX};
    use crate::draft::Stamp;
    use crate::id::EventId;
    use crate::key::Key;
    use crate::metadata::Metadata;
    use crate::raw::Raw;
    use crate::timestamp::Timestamp;

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
    fn bytes_are_written_where_they_are_wanted_and_count_alone() {
        let event = publish(Event::new("orders", Order { id: 7 })).unwrap();
        let frame = || vec![1, 2, 3];
        let mut out = Bounded::behind(frame(), 8);
        assert_eq!(event.encode_to(&mut out).unwrap(), (2, CodecId::Json));
        assert_eq!(out.into_bytes(), b"\x01\x02\x03{\"id\":7}");
        let wire = AnyEvent::from_encoded(event.header().clone(), event.encoded(64).unwrap());
        for event in [event, wire] {
            let mut out = Bounded::behind(frame(), 7);
            assert_eq!(event.encode_to(&mut out), Err(EncodeError::TooLarge { len: 8, limit: 7 }));
        }
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
