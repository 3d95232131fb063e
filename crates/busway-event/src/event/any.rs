//! An event whose payload's type is not known.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::envelope::{Envelope, Typed, Wire};
use super::{Event, Header};
use crate::codec::{Bounded, CodecId, DecodeError, EncodeError};
use crate::event_type::{Encoded, EventType};

/// An event whose payload's type is not known here. Cheap to clone; dereferences to its [`Header`].
#[derive(Clone)]
pub struct AnyEvent {
    pub(super) inner: Arc<dyn Envelope>,
}

impl AnyEvent {
    /// An event that exists as bytes. Its header is valid by construction; the payload is decoded when a handler
    /// asks for a type. What comes from outside has no header yet: [`AnyEvent::receive`].
    #[must_use]
    pub(crate) fn from_encoded(header: Header, encoded: Encoded) -> Self {
        Self { inner: Arc::new(Wire { header, encoded }) }
    }

    /// All but the payload.
    #[must_use]
    #[inline]
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
    #[inline]
    pub fn typed<T: EventType>(&self) -> Result<Event<T>, DecodeError> {
        let any: Arc<dyn Any + Send + Sync> = self.inner.clone();
        match any.downcast::<Typed<T>>() {
            Ok(inner) => Ok(Event { inner }),
            Err(_) => self.decoded(),
        }
    }

    /// The event itself with a payload of type `T`: moved, not shared.
    ///
    /// # Errors
    /// The event, when it does not hold a `T`: [`typed`](Self::typed) may decode it.
    #[inline]
    #[expect(clippy::unreachable, reason = "what it holds was asked in the line before")]
    pub fn into_typed<T: EventType>(self) -> Result<Event<T>, Self> {
        let held: &dyn Any = &*self.inner;
        // Asked beforehand: what does not fit would come back as something that is no event any more.
        if !held.is::<Typed<T>>() {
            return Err(self);
        }
        let any: Arc<dyn Any + Send + Sync> = self.inner;
        match any.downcast() {
            Ok(inner) => Ok(Event { inner }),
            Err(_) => unreachable!("an event that holds a value and does not"),
        }
    }

    #[cold]
    fn decoded<T: EventType>(&self) -> Result<Event<T>, DecodeError> {
        let encoded = self.encoded_once().map_err(DecodeError::Encode)?;
        let payload = T::read(&encoded)?;
        let mut header = self.header().clone();
        if *encoded.type_name == *T::NAME {
            // The payload may have been upcast. A reader of any type, such as `Raw`, keeps the bytes' version.
            header.metadata = header.metadata.with_version(T::VERSION);
        }
        Ok(Event::once(header, payload, self.inner.payload_bytes_max()))
    }

    /// The payload as bytes, with its type's name, version and codec. Made on the first call and kept.
    ///
    /// # Errors
    /// [`EncodeError`]; a failure is not kept, so a later call with a higher limit may succeed.
    pub fn encoded(&self, limit: usize) -> Result<Encoded, EncodeError> {
        self.inner.encoded(limit)
    }

    /// Appends the payload's bytes to `out`, and says of which schema version and codec they are. Unlike
    /// [`encoded`](Self::encoded) it keeps nothing: for who writes them once, in a place of its own.
    ///
    /// # Errors
    /// [`EncodeError`]; something may have been appended then.
    pub fn encode_to(&self, out: &mut Bounded) -> Result<(u16, CodecId), EncodeError> {
        self.inner.encode_to(out)
    }

    /// The payload as bytes, for a reader that has no limit of its own. Bytes that exist were let in under some limit
    /// and are taken whatever their size; others are made within the limit that the event was published under.
    pub(crate) fn encoded_once(&self) -> Result<Encoded, EncodeError> {
        match self.inner.at_hand() {
            Some(encoded) => Ok(encoded.clone()),
            None => self.encoded(self.inner.payload_bytes_max()),
        }
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
        f.debug_struct("AnyEvent")
            .field("type_name", &self.type_name())
            .field("header", self.header())
            .finish()
    }
}

impl<T: EventType> From<Event<T>> for AnyEvent {
    fn from(event: Event<T>) -> Self {
        Self { inner: event.inner }
    }
}
