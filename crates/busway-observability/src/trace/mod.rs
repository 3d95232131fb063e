//! Traces: what caused an event, and what it caused, as spans that a tracing system puts together.
//!
//! An event bears the W3C context in which it was published ([`TraceContext`], and a [`Baggage`] beside it), also in a store: a consumer that runs days later
//! still says what it goes back to.
//!
//! | span | kind | when |
//! |---|---|---|
//! | `publish` | producer | an event is published by itself; it lasts until the publish is over, the wait for the disk included |
//! | `create` | producer | an event is one of several: of a batch, of a transaction, or returned by a handler |
//! | `send` | client | a batch is published, linked to the `create` of each event; it lasts until the publish is over |
//! | `process <filter>` | consumer | each attempt of a handler, with what it emits and commits; [linked](Relation) to the publish, or to those of a batch (up to 128) |
//! | `redrive` | client | dead letters are given again, linked to the publish of each (up to 128); attempts that come of it are linked to it |
//!
//! A `process` span bears its own `trace_id` and `span_id`, for lines that are written within it. Inside of it are the moments `busway.retry` and `busway.dead_letter`. Names are those of OpenTelemetry's conventions for messaging
//! (status: development, schema 1.42), all in one file of this room. Topics, ids and keys are attributes, never a part of a span's name.
//!
//! **Who decides.** Where a trace begins it is decided whether it is recorded: an event that is published inside of a span follows that one, one that is not
//! is chosen by [`Tracing::sample`]. Those after it follow: what is handled for an event that is not recorded makes no span, and events that are
//! published meanwhile carry the same `traceparent` on, with its flag at 0. An event without a trace is handled without one.
//!
//! **Costs.** A bus without [`Tracing`] pays a look at a pointer. Spans are `tracing` spans of the target `busway::trace` and the level `INFO`: whoever filters
//! them out has none, and events then carry on what they came with; so they do where spans are made for logs and the tracing system does not know them.
//!
//! A context that its publisher has put into the metadata is kept as it is: it is the one in which the event was created. [`Tracer`] says what a
//! tracing system has to do; the feature `otel` has the one for OpenTelemetry.

mod baggage;
mod place;
mod spans;
mod tracer;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use busway_event::{DraftHead, EventId, Metadata, Topic, TraceContext};
use busway_middleware::Delivery;
use tracing::Span;

pub use self::baggage::{Baggage, BaggageMember};
pub use self::place::{Entered, Place, Sending, within};
pub use self::spans::SCHEMA_URL;
pub use self::tracer::{Carried, Carrier, Relation, Tracer};

use self::tracer::contained;

/// How a bus is traced. Clones are the same; one may serve several buses.
///
/// ```
/// use busway_observability::trace::{Carried, Carrier, Relation, Tracer, Tracing};
/// use busway_event::TraceContext;
/// use tracing::Span;
///
/// /// Of a program whose tracing system is its own.
/// struct Mine;
///
/// impl Tracer for Mine {
///     fn current(&self) -> Option<Carried> {
///         None
///     }
///
///     fn context_of(&self, _: &Span) -> Option<TraceContext> {
///         TraceContext::new([7; 16], [7; 8], 1)
///     }
///
///     fn join(&self, _: &Span, _: Relation, _: &[Carried]) {}
///
///     fn carry(&self, _: &Carried) -> Option<Box<dyn Carrier>> {
///         None
///     }
///
///     fn capture(&self) -> Option<Box<dyn Carrier>> {
///         None
///     }
/// }
///
/// let tracing = Tracing::new(Mine).relation(Relation::Parent).sample(0.01);
/// ```
#[derive(Clone)]
pub struct Tracing {
    tracer: Arc<dyn Tracer>,
    relation: Relation,
    share: f64,
}

/// Of how many an event is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// One.
    Alone,
    /// Several at once.
    OneOfMany,
}

/// The span in which a dead letter was given again. Its attempts, which bear it as a value of their delivery, are linked to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redriven(Arc<TraceContext>);

impl Tracing {
    /// Traces with this system: consumers [link](Relation::Link) to the publish, and each publish outside of a span begins a trace.
    #[must_use]
    pub fn new(tracer: impl Tracer) -> Self {
        Self { tracer: Arc::new(tracer), relation: Relation::Link, share: 1.0 }
    }

    /// How consumers go back to the publish. Default [`Relation::Link`].
    pub const fn relation(mut self, relation: Relation) -> Self {
        self.relation = relation;
        self
    }

    /// The share of publishes outside of any span that begin a trace: from 0, none, to 1, all. Default 1. Those that are not chosen bear no
    /// context, and cost next to nothing. What is published inside of a span follows that span, whatever is said here; a sampler of the
    /// tracing system has its say after this one.
    pub const fn sample(mut self, share: f64) -> Self {
        // Not a number is none.
        self.share = if share > 0.0 { share.min(1.0) } else { 0.0 };
        self
    }

    /// Whether a publish at this moment, on this thread, has anything to do with a trace. Asked last before a draft would be made for it: `true` holds for the
    /// [`publish`](Self::publish) that follows, and for `false` none follows, which would draw anew.
    #[must_use]
    pub fn has_part_in(&self) -> bool {
        if contained(|| self.tracer.current()).flatten().is_some() {
            return true;
        }
        let chosen = self.draw();
        CHOSEN.set(chosen);
        chosen
    }

    /// Puts the context into a draft that is about to become the event `id`, and begins its span if there is one.
    pub fn publish(&self, head: &mut DraftHead, id: EventId, publish: Publish) -> Sending {
        let chosen = CHOSEN.take();
        // The creation context that its publisher has put in, or what is wrong with that.
        if head.metadata().names_trace() {
            return Sending::none();
        }
        let Ok(topic) = head.topic().cloned() else { return Sending::none() };
        let current = contained(|| self.tracer.current()).flatten();
        let begins = match &current {
            Some(current) => current.trace.is_sampled(),
            None => chosen || self.draw(),
        };
        if !begins {
            if let Some(current) = current {
                current.put_into(head);
            }
            return Sending::none();
        }
        let span = spans::publish(&topic, head.id().unwrap_or(id), publish);
        let context = match span.is_disabled() {
            true => None,
            false => contained(|| self.tracer.context_of(&span)).flatten(),
        };
        let (current, baggage) = current.map_or((None, None), |one| (Some(one.trace), one.baggage));
        if let Some(trace) = context.or(current) {
            Carried { trace, baggage }.put_into(head);
        }
        Sending::of(span)
    }

    /// Begins the span of a publish of several events at once, which [have their contexts](Self::publish): linked to the creation of each that is recorded, up to 128 of them. Without
    /// a span when none is.
    pub fn publish_all<'a>(
        &self,
        events: impl ExactSizeIterator<Item = (&'a Topic, &'a Metadata)> + Clone,
    ) -> Sending {
        let traces = events.clone().filter_map(|(_, metadata)| metadata.trace());
        let traces = traces.filter(|trace| trace.is_sampled()).take(LINKS_MAX);
        // What travels beside them is no part of this.
        let causes: Vec<Carried> =
            traces.map(|trace| Carried { trace: trace.clone(), baggage: None }).collect();
        if causes.is_empty() {
            return Sending::none();
        }
        let count = events.len();
        let mut topics = events.map(|(topic, _)| topic);
        let first = topics.next();
        let span = spans::send(first.filter(|first| topics.all(|topic| topic == *first)), count);
        if !span.is_disabled() {
            _ = contained(|| self.tracer.join(&span, Relation::Link, &causes));
        }
        Sending::of(span)
    }

    /// Where an attempt at an event runs; `None` when the event bears no trace.
    #[must_use]
    pub fn process(&self, delivery: &Delivery) -> Option<Place> {
        let carried = Carried::of(delivery.event().metadata())?;
        let span = match carried.trace.is_sampled() {
            true => spans::process(delivery),
            false => Span::none(),
        };
        if span.is_disabled() {
            return self.carry(span, &carried);
        }
        _ = contained(|| self.tracer.join(&span, self.relation, std::slice::from_ref(&carried)));
        self.link(&span, delivery.get());
        if self.is_placed(&span) {
            return Some(Place::of(span).around(delivery));
        }
        // A span for logs alone: what is done within goes on with what the event bore.
        spans::borne(&span, &carried.trace);
        let place = self.carry(span.clone(), &carried).unwrap_or_else(|| Place::of(span));
        Some(place.around(delivery))
    }

    /// Where an attempt at several events at once runs, linked to each that is recorded, up to 128 of them; `None` when none is.
    #[must_use]
    pub fn process_all(&self, deliveries: &[Delivery]) -> Option<Place> {
        let [first, _, ..] = deliveries else { return deliveries.first().and_then(|one| self.process(one)) };
        let carried = deliveries.iter().filter_map(|delivery| Carried::of(delivery.event().metadata()));
        let carried: Vec<Carried> =
            carried.filter(|carried| carried.trace.is_sampled()).take(LINKS_MAX).collect();
        if carried.is_empty() {
            return None;
        }
        let span = spans::process_all(first, deliveries.len());
        _ = contained(|| self.tracer.join(&span, Relation::Link, &carried));
        let mut redrives: Vec<&Redriven> = deliveries.iter().filter_map(Delivery::get).collect();
        redrives.dedup();
        redrives.into_iter().for_each(|redrive| self.link(&span, Some(redrive)));
        _ = self.is_placed(&span);
        Some(Place::of(span).around(first))
    }

    /// Tells that dead letters are given again, of which some bear these traces: linked to those that are recorded, up to 128 of them. What is returned is left in the deliveries that come of it; `None` when this is not
    /// recorded.
    pub fn redriven(&self, request: &str, letters: usize, of: &[TraceContext]) -> Option<Redriven> {
        let sampled = of.iter().filter(|trace| trace.is_sampled()).take(LINKS_MAX);
        let carried: Vec<Carried> =
            sampled.map(|trace| Carried { trace: trace.clone(), baggage: None }).collect();
        if carried.is_empty() {
            return None;
        }
        let span = spans::redrive(request, letters);
        _ = contained(|| self.tracer.join(&span, Relation::Link, &carried));
        let context = contained(|| self.tracer.context_of(&span)).flatten();
        context.filter(TraceContext::is_sampled).map(|trace| Redriven(trace.into()))
    }

    /// Where the caller is, to be gone on with on another thread; `None` when it is in no trace.
    #[must_use]
    pub fn here(&self) -> Option<Place> {
        let carrier = contained(|| self.tracer.capture()).flatten()?;
        Some(Place::carrying(Span::current(), carrier))
    }

    /// Whether the span of an attempt, which begins with that, is one of the tracing system. Then it says where it is: a line that is written within has it from there.
    fn is_placed(&self, span: &Span) -> bool {
        let context = contained(|| self.tracer.context_of(span)).flatten();
        if let Some(context) = &context {
            spans::placed(span, context);
        }
        context.is_some()
    }

    fn link(&self, span: &Span, redrive: Option<&Redriven>) {
        if let Some(Redriven(trace)) = redrive {
            _ = contained(|| self.tracer.link(span, trace));
        }
    }

    /// A place with this span that carries the context on.
    fn carry(&self, span: Span, carried: &Carried) -> Option<Place> {
        let way_in = contained(|| self.tracer.carry(carried)).flatten()?;
        Some(Place::carrying(span, way_in))
    }

    fn draw(&self) -> bool {
        self.share >= 1.0 || (self.share > 0.0 && fastrand::f64() < self.share)
    }
}

impl Carried {
    /// What an event bears.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Option<Self> {
        let trace = metadata.trace()?.clone();
        Some(Self { trace, baggage: metadata.get(BAGGAGE).and_then(Baggage::parse) })
    }

    /// Puts it into a draft. A baggage that the draft names itself stays; one that it has no room for is left out, for an event is not refused for what was not asked for. Its
    /// trace is no pair, and always has room.
    fn put_into(self, head: &mut DraftHead) {
        let metadata = head.metadata_mut();
        metadata.set_trace(self.trace);
        let Some(baggage) = self.baggage.filter(|_| metadata.get(BAGGAGE).is_none()) else { return };
        let baggage = baggage.to_string();
        if !metadata.has_room_for(BAGGAGE, &baggage) {
            tracing::debug!(bytes = baggage.len(), "metadata without room for a baggage goes without it");
            return;
        }
        metadata.set(BAGGAGE, &baggage);
    }
}

impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracing")
            .field("relation", &self.relation)
            .field("share", &self.share)
            .finish_non_exhaustive()
    }
}

thread_local! {
    /// What [`Tracing::has_part_in`] has drawn for the publish that follows.
    static CHOSEN: Cell<bool> = const { Cell::new(false) };
}

/// The metadata pair that a baggage is, by its name in W3C Baggage.
pub const BAGGAGE: &str = "baggage";
/// Links of a span: as many as OpenTelemetry keeps.
const LINKS_MAX: usize = 128;
