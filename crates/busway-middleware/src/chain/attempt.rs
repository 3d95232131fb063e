//! The span around an attempt: whoever logs in it says which event it is of.
//!
//! It is there when somebody listens, and not within a span that a tracing system has asked for around the same attempt: that one says the same.

use std::cell::Cell;

use busway_event::{EventId, TraceContext};
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Level, Metadata, Span};
use tracing_core::callsite::DefaultCallsite;
use tracing_core::metadata::Kind;

use crate::delivery::Delivery;

/// Around an attempt at one event.
#[inline]
pub(super) fn span(delivery: &Delivery) -> Span {
    match is_wanted() {
        true => make(delivery),
        false => Span::none(),
    }
}

/// Around a call for several events of a subscription.
#[inline]
pub(super) fn span_of_call(deliveries: &[Delivery]) -> Span {
    match deliveries.first().filter(|_| is_wanted()) {
        Some(first) => make_of_call(first, deliveries.len()),
        None => Span::none(),
    }
}

/// Whether somebody may listen to spans around attempts. No subscriber is asked: one whose layers have filters of their own notes for each of them what it said, and counts on the span to follow; where
/// there is one around already none follows, and the next span or event would be missing in a layer that wants no spans of this target.
#[inline]
#[must_use]
pub fn is_wanted() -> bool {
    let level = Level::INFO;
    level <= STATIC_MAX_LEVEL && level <= LevelFilter::current() && !CALLSITE.interest().is_never()
}

#[cold]
fn make(delivery: &Delivery) -> Span {
    let says = |around: &Metadata<'_>| {
        around.target() == TRACED && around.fields().field(MESSAGE).is_some() && is_around(delivery)
    };
    if Span::current().metadata().is_some_and(says) {
        return Span::none();
    }
    let (event, scope) = (delivery.event(), delivery.scope());
    tracing::info_span!(
        target: TARGET,
        NAME,
        event_id = %event.id(),
        subscription = scope.subscription(),
        topic = event.topic().as_str(),
        attempt = delivery.attempt(),
        trace_id = event.metadata().trace().map(TraceContext::trace_id_hex),
    )
}

#[cold]
fn make_of_call(delivery: &Delivery, events: usize) -> Span {
    let says =
        |around: &Metadata<'_>| around.target() == TRACED && around.name() == NAME && is_around(delivery);
    if Span::current().metadata().is_some_and(says) {
        return Span::none();
    }
    let subscription = delivery.scope().subscription();
    tracing::info_span!(target: TARGET, NAME, subscription, attempt = delivery.attempt(), events)
}

/// The attempt, or the call for several events, that a span of a tracing system is around. Handlers run within one another: an inline one within who publishes, of whatever bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempted {
    event: EventId,
    /// The address of what all deliveries of the subscription share: nobody else has it while there is one of them.
    scope: usize,
}

impl Attempted {
    /// The one at this delivery, or the one whose first delivery it is.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Self {
        Self { event: delivery.event().id(), scope: std::ptr::from_ref(delivery.scope()).addr() }
    }

    /// Says that the span which is entered next on this thread is around it, until what is returned is dropped.
    #[must_use = "dropped, it is around no more"]
    pub fn enter(self) -> Around {
        Around(AROUND.replace(Some(self)))
    }
}

/// An [`Attempted`] that was entered, with the one that was before it.
#[derive(Debug)]
pub struct Around(Option<Attempted>);

impl Drop for Around {
    fn drop(&mut self) {
        AROUND.set(self.0);
    }
}

/// Whether the innermost span of a tracing system around an attempt is around this one.
fn is_around(delivery: &Delivery) -> bool {
    AROUND.get() == Some(Attempted::of(delivery))
}

thread_local! {
    static AROUND: Cell<Option<Attempted>> = const { Cell::new(None) };
}

/// The target of the spans that say in logs which event an attempt is of.
pub const TARGET: &str = "busway";
/// The target of spans that a tracing system has asked for.
pub const TRACED: &str = "busway::trace";
/// The field with which they say their event, by OpenTelemetry's conventions for messaging; those of a batch have none.
const MESSAGE: &str = "messaging.message.id";
const NAME: &str = "process";

/// Stands for the span where it is asked who listens: of the same name and fields, which filters may be about.
static CALLSITE: DefaultCallsite = DefaultCallsite::new(&META);
static META: Metadata<'static> = tracing_core::metadata! {
    name: NAME,
    target: TARGET,
    level: Level::INFO,
    fields: &["event_id", "subscription", "topic", "attempt", "trace_id"],
    callsite: &CALLSITE,
    kind: Kind::SPAN,
};
