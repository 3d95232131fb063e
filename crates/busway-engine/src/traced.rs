//! Traces of a bus: where in the engine the places are that `busway_observability::trace` has for them. What is not traced pays a look.

use busway_event::{AnyDraft, AnyEvent, DraftHead, EventId, Metadata, MetadataDraft, Topic};
use busway_middleware::{Delivery, Outcome};
use busway_observability::Tracing;
use busway_observability::trace::{Place, Publish, Sending};

use crate::bus::{BusBuilder, BusCore, Services};

impl BusBuilder {
    /// Traces what is published and handled: events bear the context of the span in which they were published, and each attempt has a span that goes back to it, see
    /// [`trace`](busway_observability::trace). Default: nothing is traced, and events bear what their publishers put in.
    pub fn tracing(mut self, tracing: &Tracing) -> Self {
        self.tracing = Some(tracing.clone());
        self
    }
}

impl Services {
    /// Whether an attempt at the event has a place in a trace.
    #[inline]
    pub(crate) fn is_traced(&self, event: &AnyEvent) -> bool {
        self.tracing.is_some() && event.metadata().trace().is_some()
    }

    /// The place of an attempt.
    #[inline]
    pub(crate) fn traced(&self, delivery: &Delivery) -> Option<Place> {
        self.tracing.as_ref()?.process(delivery)
    }

    /// The place of an attempt at several events.
    pub(crate) fn all_traced(&self, deliveries: &[Delivery]) -> Option<Place> {
        self.tracing.as_ref()?.process_all(deliveries)
    }

    /// The place of the caller, for another thread.
    #[inline]
    pub(crate) fn place(&self) -> Option<Place> {
        self.tracing.as_ref()?.here()
    }

    /// Whether a publish at this moment has to do with a trace.
    #[inline]
    pub(crate) fn traces_publish(&self) -> bool {
        self.tracing.as_ref().is_some_and(Tracing::has_part_in)
    }

    /// Whether leaving out what the bus fills in makes the draft again as it was given: where [`sending`](Self::sending) puts no trace in beside what is there. One that the
    /// draft names is kept.
    #[inline]
    pub(crate) fn is_put_back(&self, metadata: &MetadataDraft) -> bool {
        metadata.is_default() || metadata.names_trace() || self.tracing.is_none()
    }

    /// Puts the context into a draft.
    #[inline]
    pub(crate) fn sending(&self, head: &mut DraftHead, id: EventId, publish: Publish) -> Sending {
        match &self.tracing {
            Some(tracing) => tracing.publish(head, id, publish),
            None => Sending::none(),
        }
    }

    /// The publish of several events at once, whose contexts they bear.
    #[inline]
    pub(crate) fn sending_all<'a>(
        &self,
        events: impl ExactSizeIterator<Item = (&'a Topic, &'a Metadata)> + Clone,
    ) -> Sending {
        match &self.tracing {
            Some(tracing) => tracing.publish_all(events),
            None => Sending::none(),
        }
    }
}

impl BusCore {
    /// Puts the context in which a handler ran into what it emits: that is published behind it, elsewhere.
    pub(crate) fn create_emits(&self, emits: &mut [AnyDraft]) {
        if self.services.tracing.is_none() {
            return;
        }
        for draft in emits {
            let id = self.stamp().id;
            drop(self.services.sending(draft.head_mut(), id, Publish::OneOfMany));
        }
    }
}

/// What an attempt has come to, in its place.
pub(crate) fn ended(place: Option<&Place>, outcome: &Outcome) {
    if let Some(place) = place {
        place.ended(outcome);
    }
}
