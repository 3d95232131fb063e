//! Extractors of what the event says.

use std::fmt;
use std::ops::Deref;

use busway_event::{AnyEvent, Event, EventType, Metadata, Topic};

use super::{ExtractError, FromDelivery, Requirements};
use crate::delivery::Delivery;
use crate::mode::Mode;

/// The payload of the event, shared with all other readers; dereferences to `T`.
pub struct Payload<T>(Event<T>);

impl<T> Payload<T> {
    /// The event that the payload belongs to.
    #[must_use]
    pub fn into_event(self) -> Event<T> {
        self.0
    }
}

impl<T> Deref for Payload<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.payload()
    }
}

impl<T> Clone for Payload<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Payload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Payload").field(self.0.payload()).finish()
    }
}

impl<M: Mode, T: EventType> FromDelivery<M> for Payload<T> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        Ok(Self(delivery.event().typed()?))
    }

    fn require(requirements: &mut Requirements) {
        requirements.payload(T::NAME);
    }
}

impl<M: Mode, T: EventType> FromDelivery<M> for Event<T> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        Ok(delivery.event().typed()?)
    }

    fn require(requirements: &mut Requirements) {
        requirements.payload(T::NAME);
    }
}

impl<M: Mode> FromDelivery<M> for AnyEvent {
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        Ok(delivery.event().clone())
    }
}

impl<M: Mode> FromDelivery<M> for Topic {
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        Ok(delivery.event().topic().clone())
    }
}

/// The event's metadata; dereferences to [`Metadata`].
#[derive(Debug, Clone)]
pub struct Meta(Metadata);

impl Deref for Meta {
    type Target = Metadata;

    fn deref(&self) -> &Metadata {
        &self.0
    }
}

impl<M: Mode> FromDelivery<M> for Meta {
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        Ok(Self(delivery.event().metadata().clone()))
    }
}
