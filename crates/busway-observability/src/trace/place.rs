//! Places in traces: where an attempt runs, and how a publish went.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use busway_middleware::chain::attempt::{Around, Attempted};
use busway_middleware::{Delivery, Outcome};
use tracing::Span;

use super::spans;
use super::tracer::{Carrier, contained};

/// A place in a trace: code that runs [`within`] it is in that trace.
pub struct Place {
    span: Span,
    carrier: Option<Box<dyn Carrier>>,
    /// What its span is around.
    attempted: Option<Attempted>,
}

impl Place {
    pub(super) const fn of(span: Span) -> Self {
        Self { span, carrier: None, attempted: None }
    }

    pub(super) const fn carrying(span: Span, carrier: Box<dyn Carrier>) -> Self {
        Self { span, carrier: Some(carrier), attempted: None }
    }

    /// Its span is around an attempt at this, or at several of which it is the first.
    pub(super) fn around(self, delivery: &Delivery) -> Self {
        Self { attempted: Some(Attempted::of(delivery)), ..self }
    }

    /// Enters it on this thread, until what is returned is dropped. Not to be held across an await: [`within`] is for futures.
    #[must_use = "dropped, it is left"]
    pub fn enter(&self) -> Entered<'_> {
        let carried = self.carrier.as_ref().and_then(|carrier| contained(|| carrier.enter()));
        let around = self.attempted.map(Attempted::enter);
        let span = (!self.span.is_disabled()).then(|| self.span.enter());
        Entered { _span: span, _around: around, _carried: carried }
    }

    /// An attempt in it has come to this.
    pub fn ended(&self, outcome: &Outcome) {
        if !self.span.is_disabled() {
            spans::ended(&self.span, outcome);
        }
    }

    /// An attempt in it has failed, and there is another behind this delay.
    pub fn retried(&self, attempt: u32, delay: Duration) {
        if !self.span.is_disabled() {
            spans::retried(&self.span, attempt, delay);
        }
    }

    /// The event is given up behind an attempt in it.
    pub fn given_up(&self, attempt: u32) {
        if !self.span.is_disabled() {
            spans::given_up(&self.span, attempt);
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("span", &self.span).finish_non_exhaustive()
    }
}

/// A place that was entered. Dropped, it is left.
pub struct Entered<'a> {
    // In this order they are left: what was entered last first.
    _span: Option<tracing::span::Entered<'a>>,
    _around: Option<Around>,
    _carried: Option<Box<dyn Any>>,
}

impl fmt::Debug for Entered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entered")
    }
}

/// Drives a future in a place, or as it is where there is none.
///
/// # Cancel safety
/// That of the future.
pub async fn within<F: Future>(place: Option<&Place>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _entered = place.map(Place::enter);
        future.as_mut().poll(context)
    })
    .await
}

/// A publish that is under way, if it has a span. The span ends when this is dropped.
#[must_use = "dropped, the span of the publish ends"]
pub struct Sending(Option<Box<Span>>);

impl Sending {
    /// Without a span.
    pub const fn none() -> Self {
        Self(None)
    }

    pub(super) fn of(span: Span) -> Self {
        Self((!span.is_disabled()).then(|| Box::new(span)))
    }

    /// The publish has failed for a reason of this kind: a word, and not the text of an error.
    pub fn failed(&self, kind: &'static str) {
        if let Some(span) = &self.0 {
            spans::failed(span, kind);
        }
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sending").field(&self.0.is_some()).finish()
    }
}
