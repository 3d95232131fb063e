//! Extractors of what the event says.

use std::fmt;
use std::ops::Deref;

use busway_event::{AnyEvent, Event, EventType, Metadata, Topic};

use super::{ExtractError, FromDelivery, Loan, Requirements, loan};
use crate::delivery::Delivery;
use crate::mode::Mode;

/// The payload of the event, shared with all other readers; dereferences to `T`.
pub struct Payload<T> {
    /// `None` only when it has been taken out, by who consumes the payload.
    event: Option<Event<T>>,
    /// Of one that is lent, see [`loan`](super::loan): gives the event back. A function, because the drop knows nothing of `T`.
    give_back: Option<fn(Event<T>)>,
}

impl<T> Payload<T> {
    /// The event that the payload belongs to.
    #[must_use]
    #[expect(clippy::unreachable, reason = "only what consumes the payload takes its event out")]
    pub fn into_event(mut self) -> Event<T> {
        match self.event.take() {
            Some(event) => event,
            None => unreachable!("a payload without an event"),
        }
    }

    #[inline]
    #[expect(clippy::unreachable, reason = "only what consumes the payload takes its event out")]
    fn event(&self) -> &Event<T> {
        match &self.event {
            Some(event) => event,
            None => unreachable!("a payload without an event"),
        }
    }
}

impl<T> Deref for Payload<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.event().payload()
    }
}

/// A clone shares the event, also that of a payload which is lent.
impl<T> Clone for Payload<T> {
    fn clone(&self) -> Self {
        Self { event: self.event.clone(), give_back: None }
    }
}

impl<T> Drop for Payload<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(give_back) = self.give_back
            && let Some(event) = self.event.take()
        {
            give_back(event);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Payload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Payload").field(self.event().payload()).finish()
    }
}

impl<M: Mode, T: EventType> FromDelivery<M> for Payload<T> {
    const LENT: bool = true;

    #[inline]
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        Ok(Self { event: Some(delivery.event().typed()?), give_back: None })
    }

    #[inline]
    fn from_loan(mut loan: Loan<'_>) -> Option<Self> {
        Some(Self { event: Some(loan.take()?), give_back: Some(loan::give_back::<T>) })
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
