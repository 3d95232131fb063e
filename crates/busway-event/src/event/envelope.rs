//! What an event is in memory: a value, or bytes.

use std::any::Any;
use std::sync::OnceLock;

use super::Header;
use crate::codec::EncodeError;
use crate::event_type::{Encoded, EventType};

/// What all events can do, whatever they hold.
pub(super) trait Envelope: Any + Send + Sync {
    fn header(&self) -> &Header;
    fn type_name(&self) -> &str;
    fn encoded(&self, limit: usize) -> Result<Encoded, EncodeError>;
    /// The bytes, if they exist already.
    fn at_hand(&self) -> Option<&Encoded>;
    fn payload_weight(&self) -> usize;
}

/// An event that holds a value.
pub(super) struct Typed<T> {
    pub(super) header: Header,
    pub(super) payload: T,
    pub(super) encoded: OnceLock<Encoded>,
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

    fn at_hand(&self) -> Option<&Encoded> {
        self.encoded.get()
    }

    fn payload_weight(&self) -> usize {
        self.payload.weight()
    }
}

/// An event that holds bytes.
pub(super) struct Wire {
    pub(super) header: Header,
    pub(super) encoded: Encoded,
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

    fn at_hand(&self) -> Option<&Encoded> {
        Some(&self.encoded)
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
