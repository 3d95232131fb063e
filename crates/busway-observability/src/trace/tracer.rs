//! What a tracing system has to do.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use busway_event::TraceContext;
use tracing::Span;

use super::baggage::Baggage;

/// A tracing system: what the spans of a bus, and the contexts that events carry, are to it.
///
/// It is called where events are published and handled: it must be quick and must not wait. A panic in it is contained and logged; the event is
/// published or handled all the same.
pub trait Tracer: Send + Sync + 'static {
    /// The trace in which the caller is at this moment, with the span that is the innermost there; `None` when it is in none. Asked for each publish.
    fn current(&self) -> Option<Carried>;

    /// The context of a span of this bus, which begins with that; `None` when it is no span of this system.
    fn context_of(&self, span: &Span) -> Option<TraceContext>;

    /// Says what a span that has not begun goes back to: one context, or those of a batch, which are always links.
    fn join(&self, span: &Span, relation: Relation, causes: &[Carried]);

    /// Says that a span that has not begun has to do with one that is not its cause: of a dead letter that is given again, with who gave it. Without it there is no such link.
    fn link(&self, span: &Span, to: &TraceContext) {
        _ = (span, to);
    }

    /// A place that carries a context on without a span of this system: of an event that is not recorded, or whose [span](Self::context_of) is none.
    fn carry(&self, carried: &Carried) -> Option<Box<dyn Carrier>>;

    /// Where the caller is, for another thread; `None` when it is in no trace.
    fn capture(&self) -> Option<Box<dyn Carrier>>;
}

/// A place in a trace that can be entered.
pub trait Carrier: Send + Sync {
    /// Enters it on this thread, until what is returned is dropped.
    fn enter(&self) -> Box<dyn Any>;
}

/// How a consumer goes back to the publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Relation {
    /// Each attempt begins a trace of its own, with a link to the publish. What happens days later, ten times or in a batch does not draw the trace of the publish
    /// out: the conventions' default.
    #[default]
    Link,
    /// Each attempt is a child of the publish: one tree. Of a batch of several events the attempt is linked to each.
    Parent,
}

/// The trace that something is in, with what travels beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The trace.
    pub trace: TraceContext,
    /// What travels beside it.
    pub baggage: Option<Baggage>,
}

/// Runs code of the tracing system's; `None` when it panicked.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(work)).ok();
    if done.is_none() {
        panicked();
    }
    done
}

#[cold]
fn panicked() {
    tracing::error!("a tracer panicked: what it was asked for is not traced");
}
