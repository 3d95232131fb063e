//! A delivery: one attempt to hand one event to one subscription.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use busway_event::AnyEvent;

use crate::scope::{Scope, States};

/// One attempt to hand one event to one subscription. Cheap to clone; as an extractor it is such a clone.
///
/// Middleware sees it before the handler and may leave values for it ([`Delivery::insert`]); nobody can change the event.
#[derive(Clone)]
pub struct Delivery {
    event: AnyEvent,
    scope: Arc<Scope>,
    attempt: NonZeroU32,
    position: Option<Position>,
    replay: Replay,
    lagged: u64,
    extensions: Option<Arc<States>>,
}

impl Delivery {
    /// The first attempt at a live event.
    #[must_use]
    #[inline]
    pub fn new(event: AnyEvent, scope: Arc<Scope>) -> Self {
        Self::live(event, scope, 0)
    }

    /// As [`new`](Self::new), after which so many events of the subscription were lost, see [`lagged`](Self::lagged).
    #[must_use]
    #[inline]
    pub fn live(event: AnyEvent, scope: Arc<Scope>, lagged: u64) -> Self {
        Self {
            event,
            scope,
            attempt: NonZeroU32::MIN,
            position: None,
            replay: Replay::Live,
            lagged,
            extensions: None,
        }
    }

    /// The event and the scope, when the attempt is over: a worker uses the scope for its next delivery.
    #[must_use]
    #[inline]
    pub fn into_parts(self) -> (AnyEvent, Arc<Scope>) {
        (self.event, self.scope)
    }

    /// Sets how many events of this subscription were lost since the last delivery.
    #[inline]
    pub fn with_lagged(mut self, lagged: u64) -> Self {
        self.lagged = lagged;
        self
    }

    /// Sets the number of the attempt, from 1.
    pub fn with_attempt(mut self, attempt: NonZeroU32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Sets where a stream holds the event.
    pub fn with_position(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// Marks a delivery that repeats an old event on purpose.
    pub fn with_replay(mut self, replay: Replay) -> Self {
        self.replay = replay;
        self
    }

    /// The event.
    #[must_use]
    #[inline]
    pub const fn event(&self) -> &AnyEvent {
        &self.event
    }

    /// What all deliveries of the subscription share.
    #[must_use]
    #[inline]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The number of this attempt, from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt.get()
    }

    /// Where the stream holds the event; `None` on an ephemeral subscription.
    #[must_use]
    pub const fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// The offset in the stream's partition; `None` on an ephemeral subscription.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.position.as_ref().map(|position| position.offset)
    }

    /// Whether an old event is repeated on purpose: handlers with outside effects may want to refuse it.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.replay == Replay::Repeated
    }

    /// How many events of this subscription were dropped since the delivery before this one: 0 means that nothing is
    /// missing in between.
    #[must_use]
    pub const fn lagged(&self) -> u64 {
        self.lagged
    }

    /// Says that events before this one are gone, see [`gap`](Self::gap).
    pub fn with_gap(mut self, gap: Gap) -> Self {
        self.insert(gap);
        self
    }

    /// Events of the partition that were gone before the subscription had settled them, because their stream has a cap and drops the oldest: told
    /// once, with the first delivery behind them. `None` on an ephemeral subscription, see [`lagged`](Self::lagged).
    #[must_use]
    pub fn gap(&self) -> Option<&Gap> {
        self.get()
    }

    /// Leaves a value for what comes after: inner middleware and the handler (as `Extension<V>`).
    pub fn insert<V: Send + Sync + 'static>(&mut self, value: V) {
        Arc::make_mut(self.extensions.get_or_insert_default()).insert(value);
    }

    /// A value that outer middleware left.
    #[must_use]
    pub fn get<V: Send + Sync + 'static>(&self) -> Option<&V> {
        self.extensions.as_ref()?.get()
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("subscription", &self.scope.subscription())
            .field("event", &self.event)
            .field("attempt", &self.attempt)
            .field("position", &self.position)
            .field("replay", &self.replay)
            .field("lagged", &self.lagged)
            .finish_non_exhaustive()
    }
}

/// Events of a partition that are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The stream's name.
    pub stream: Arc<str>,
    /// The partition, from 0.
    pub partition: u16,
    /// The first offset that is gone.
    pub from: u64,
    /// The first offset behind it that is there.
    pub to: u64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{} to {}", self.stream, self.partition, self.from, self.to)
    }
}

/// Where a stream holds an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The stream's name.
    pub stream: Arc<str>,
    /// The partition, from 0.
    pub partition: u16,
    /// The position in the partition, never reused.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.stream, self.partition, self.offset)
    }
}

/// Whether a delivery is the event's own or repeats an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replay {
    /// The event is delivered for the first time, or again because it was not settled.
    #[default]
    Live,
    /// A settled event is delivered again because somebody asked for it.
    Repeated,
}
