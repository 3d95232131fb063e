//! Publishers: handles for publishing, outside of handlers and inside of them.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};

use busway_event::{Draft, Event, EventType, Topic};
use busway_middleware::chain::attempt;
use busway_middleware::{Delivery, ExtractError, FromDelivery, FromScope, Mode, Requirements, Scope};

use super::dispatch::Source;
use super::offering::receipt;
use super::publish::{Later, Now, Patience};
use super::stamping::Wall;
use super::{BusCore, PublishError, Receipt, Refused};
use crate::idle::IdleWatch;

/// Publishes: [`Publisher<T>`] payloads of one type to one topic, [`Publisher`] (an extractor) anything from inside a
/// handler.
///
/// `bus.publisher::<T>(topic)` checks the topic once; its subscriptions are found in the thread's match cache. It keeps neither
/// the bus alive nor what handlers hold. As an extractor, what it publishes still passes while the
/// bus shuts down.
pub struct Publisher<T = AnyPublisher> {
    kind: Kind,
    payload: PhantomData<fn(T)>,
}

/// Marks a [`Publisher`] that publishes events of any type to any topic.
#[derive(Debug, Clone, Copy)]
pub enum AnyPublisher {}

enum Kind {
    Topic {
        core: Weak<BusCore>,
        topic: Topic,
        /// Looked at behind the claim on the bus.
        idle: Arc<IdleWatch>,
        /// `None` where all is for a log, which takes no payloads.
        wall: Option<Wall>,
    },
    Handler {
        core: Weak<BusCore>,
        subscription: u64,
    },
}

impl<T: EventType> Publisher<T> {
    pub(crate) fn new(core: &Arc<BusCore>, topic: Topic) -> Self {
        let idle = Arc::clone(&core.services.idle);
        let wall = core.log.is_none().then(|| core.wall.clone());
        Self { kind: Kind::Topic { core: Arc::downgrade(core), topic, idle, wall }, payload: PhantomData }
    }

    /// The topic that it publishes to.
    #[must_use]
    pub fn topic(&self) -> Option<&Topic> {
        match &self.kind {
            Kind::Topic { topic, .. } => Some(topic),
            Kind::Handler { .. } => None,
        }
    }

    /// A draft on this publisher's topic, to give it a key, a priority, metadata.
    pub fn draft(&self, payload: T) -> Draft<T> {
        match self.topic() {
            Some(topic) => Event::new(topic, payload),
            None => Event::of(payload),
        }
    }

    /// Publishes a payload, see [`Bus::publish`](crate::Bus::publish).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn publish(&self, payload: T) -> Result<Receipt, PublishError<Draft<T>>> {
        let now: Now<T> = self.publish_now(payload, Patience::Waits, Ok, Err);
        // Nothing of it lives across the wait: what does is put down in the future and read back.
        let later = match now {
            Ok(receipt) => return Ok(receipt),
            Err(later) => later,
        };
        later.end().await
    }

    /// Publishes a draft, as [`draft`](Publisher::draft) makes it or on any other topic.
    ///
    /// # Errors
    /// As [`Bus::publish`](crate::Bus::publish).
    ///
    /// # Cancel safety
    /// As there.
    pub async fn publish_event(&self, draft: Draft<T>) -> Result<Receipt, PublishError<Draft<T>>> {
        let now = match self.core() {
            Some(core) => core.publish(draft, Source::Outside, Patience::Waits),
            None => Err(closed(draft).into()),
        };
        match now {
            Ok(receipt) => Ok(receipt),
            Err(later) => later.end().await,
        }
    }

    /// Publishes a payload without waiting, see [`Bus::try_publish`](crate::Bus::try_publish).
    ///
    /// # Errors
    /// As there.
    pub fn try_publish(&self, payload: T) -> Result<Receipt, PublishError<Draft<T>>> {
        self.publish_now(payload, Patience::Never, Ok, |later| later.end_now())
    }

    /// Publishes as far as it goes without waiting. What it comes to is told to one of the two, at the end of each way: a receipt that is handed on is
    /// put down in one shape and read back in another, which stalls.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the same of a receipt that is handed through a call")]
    fn publish_now<R>(
        &self,
        payload: T,
        patience: Patience,
        done: impl FnOnce(Receipt) -> R,
        later: impl FnOnce(Box<Later<T>>) -> R,
    ) -> R {
        let Kind::Topic { core, topic, idle, wall: Some(wall) } = &self.kind else {
            return self.publish_draft_now(payload, patience).map_or_else(later, done);
        };
        // Before the claim on the bus: an exchange waits for all that comes before it, and the one that comes before this is
        // the end of the last publish, beside which the processor's counter is read meanwhile. And lent from here on, to be looked into behind an exchange: what was put down in words a moment ago is
        // slow to be read in one piece.
        let moment = wall.moment();
        let Some(core) = core.upgrade() else { return later(closed(self.draft(payload)).into()) };
        let desk = core.desk();
        let way = match core.takes_payloads_now() && !attempt::is_wanted() {
            true => desk.ways.to(topic, core.router.generation()),
            false => None,
        };
        let Some(straight) = &way else {
            if !core.takes_payloads() {
                return core
                    .publish(Event::new(topic, payload), Source::Outside, patience)
                    .map_or_else(later, done);
            }
            let stamp = core.stamp_of(&moment);
            return match core.publish_payload(desk, topic, payload, &stamp, patience) {
                Ok(offered) => done(receipt(stamp.id, offered)),
                Err(left) => later(left),
            };
        };
        match core.go_straight(desk, straight, payload, &moment) {
            Ok(()) => {
                let id = moment.id;
                drop(way);
                drop(core);
                // Letting go of the bus was an exchange, behind the count of the event.
                idle.touch_behind_exchange();
                done(receipt(id, 1))
            }
            Err(astray) => {
                drop(way);
                core.go_around(desk, topic, astray, moment.id, patience).map_or_else(later, done)
            }
        }
    }

    /// The same as a draft.
    #[inline(never)]
    fn publish_draft_now(&self, payload: T, patience: Patience) -> Now<T> {
        let draft = self.draft(payload);
        match self.core() {
            Some(core) => core.publish(draft, Source::Outside, patience),
            None => Err(closed(draft).into()),
        }
    }

    fn core(&self) -> Option<Arc<BusCore>> {
        match &self.kind {
            Kind::Topic { core, .. } | Kind::Handler { core, .. } => core.upgrade(),
        }
    }
}

impl Publisher<AnyPublisher> {
    /// Publishes an event from inside a handler, see [`Bus::publish`](crate::Bus::publish). It passes while the bus shuts
    /// down. A subscription that blocks is waited for, unless it is the handler's own: that one would wait for itself, so
    /// the event is dropped for it and counted.
    ///
    /// # Errors
    /// As there; [`Refused::Closed`] also when the bus has been dropped.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn publish<T: EventType>(&self, event: Draft<T>) -> Result<Receipt, PublishError<Draft<T>>> {
        let now = match self.open() {
            Some((core, from)) => core.publish(event, from, Patience::Waits),
            None => Err(closed(event).into()),
        };
        match now {
            Ok(receipt) => Ok(receipt),
            Err(later) => later.end().await,
        }
    }

    /// Publishes an event from inside a handler without waiting, see [`Bus::try_publish`](crate::Bus::try_publish).
    ///
    /// # Errors
    /// As there; [`Refused::Closed`] also when the bus has been dropped.
    pub fn try_publish<T: EventType>(&self, event: Draft<T>) -> Result<Receipt, PublishError<Draft<T>>> {
        let now = match self.open() {
            Some((core, from)) => core.publish(event, from, Patience::Never),
            None => Err(closed(event).into()),
        };
        now.or_else(|later| later.end_now())
    }

    fn open(&self) -> Option<(Arc<BusCore>, Source)> {
        match &self.kind {
            Kind::Handler { core, subscription } => Some((core.upgrade()?, Source::Handler(*subscription))),
            Kind::Topic { core, .. } => Some((core.upgrade()?, Source::Outside)),
        }
    }
}

#[cold]
fn closed<T: EventType>(draft: Draft<T>) -> Later<T> {
    Later::Refused(PublishError::refused(draft, Refused::Closed))
}

impl<T> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Topic { topic, .. } => write!(f, "Publisher<{}>({topic})", type_name::<T>()),
            Kind::Handler { .. } => f.write_str("Publisher"),
        }
    }
}

/// What the engine leaves in a subscription's scope for [`Publisher`].
#[derive(Debug, Clone)]
pub(crate) struct PublisherSource {
    pub(crate) core: Weak<BusCore>,
    pub(crate) subscription: u64,
}

impl<M: Mode> FromDelivery<M> for Publisher<AnyPublisher> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        <Self as FromScope<M>>::from_scope(delivery.scope())
    }

    fn require(_requirements: &mut Requirements) {}
}

impl<M: Mode> FromScope<M> for Publisher<AnyPublisher> {
    fn from_scope(scope: &Scope) -> Result<Self, ExtractError> {
        let source = scope.states().get::<PublisherSource>();
        let PublisherSource { core, subscription } =
            source.cloned().ok_or(ExtractError::StateMissing { type_name: "Publisher" })?;
        Ok(Self { kind: Kind::Handler { core, subscription }, payload: PhantomData })
    }
}
