//! Attempts in traces: where each of them goes back to, and what it has come to.

use busway_event::AnyEvent;
use busway_middleware::{Delivery, Outcome};
use busway_observability::trace::Place;

use super::DurableCore;
use super::window::{Started, Verdict};

impl DurableCore {
    /// The place of an attempt, if its event is in a trace.
    #[inline]
    pub(super) fn place_of(&self, started: &Started<AnyEvent>) -> Option<Place> {
        match self.services.is_traced(&started.event) {
            true => self.services.traced(&self.traced_delivery(started)),
            false => None,
        }
    }

    /// The place of a call for several events, if one of them is in a trace.
    pub(super) fn place_of_all(&self, batch: &[Started<AnyEvent>]) -> Option<Place> {
        if !batch.iter().any(|started| self.services.is_traced(&started.event)) {
            return None;
        }
        let deliveries: Vec<Delivery> = batch.iter().map(|started| self.traced_delivery(started)).collect();
        self.services.all_traced(&deliveries)
    }

    /// What a tracing system is told of an attempt.
    fn traced_delivery(&self, started: &Started<AnyEvent>) -> Delivery {
        let mut delivery = self.delivery(started, 0, None);
        if started.replay
            && let Some(redrive) = self.redrive_of(started)
        {
            delivery.insert(redrive);
        }
        delivery
    }
}

/// Says in its place what an attempt has come to, and what follows.
pub(super) fn concluded(
    place: Option<&Place>,
    started: &Started<AnyEvent>,
    outcome: &Outcome,
    verdict: &Verdict,
) {
    let Some(place) = place else { return };
    place.ended(outcome);
    let attempt = started.attempt.get();
    match verdict {
        Verdict::Park { delay, .. } => place.retried(attempt, *delay),
        Verdict::Dead { .. } | Verdict::Discarded => place.given_up(attempt),
        _ => {}
    }
}
