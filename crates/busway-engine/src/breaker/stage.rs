//! The breaker of an ephemeral subscription: a middleware in [`Stage::Breaker`](busway_middleware::Stage::Breaker).

use std::sync::Arc;

use busway_event::AnyDraft;
use busway_middleware::{Delivery, Middleware, Next, Outcome, Pass, PassMiddleware};
use busway_reliability::{CallEnd, Generation};

use super::channel::{Channel, PLACES};
use super::guard::{Call, Guard, NoCall};
use super::met::Met;
use super::substitute::Substitute;
use crate::classify::Classifier;
use crate::idempotency::Kept;

/// See the module. What is inside of it is a call: middleware of the stages behind it, and the handler.
#[derive(Debug)]
pub(crate) struct BreakerStage {
    guard: Arc<Guard>,
    met: Met,
    /// What its subscription says of errors.
    classify: Classifier,
}

/// A call that is being made. Dropped before it ends, it was cancelled: that is a failure.
struct Made<'a> {
    guard: &'a Guard,
    call: Option<Call>,
}

impl BreakerStage {
    pub(crate) fn new(guard: Arc<Guard>, classify: Classifier) -> Self {
        Self { guard, met: Met::new(), classify }
    }

    fn ask(&self, delivery: &Delivery) -> Result<Call, NoCall> {
        self.guard.permit(self.met.channel(&self.guard, delivery.event().topic()))
    }

    async fn call(&self, call: Call, delivery: &mut Delivery, next: &mut Next<'_>) -> Outcome {
        let mut made = Made { guard: &self.guard, call: Some(call) };
        let outcome = next.run(delivery).await;
        if let Some(call) = made.call.take() {
            self.ended(call.made(), delivery, &outcome, next.emits());
        }
        outcome
    }

    /// Counts a success that changes nothing else, as most do; `false`: it may, and is not counted.
    #[inline]
    fn only_counts(&self, pass: &Pass) -> bool {
        let (generation, place) = placed(pass.number());
        !pass.is_shared()
            && self.guard.copier().is_none()
            && self.met.at(place).is_some_and(|channel| channel.only_counts(generation))
    }

    #[inline]
    fn came_back(&self, pass: Pass, end: impl FnOnce((&Channel, Generation))) {
        let (generation, place) = placed(pass.number());
        let own = pass.into_shared::<Channel>();
        if let Some(channel) = own.as_ref().or_else(|| self.met.at(place)) {
            end((channel, generation));
        }
    }

    #[inline]
    fn ended(
        &self,
        made: (&Channel, Generation),
        delivery: &Delivery,
        outcome: &Outcome,
        emits: &[AnyDraft],
    ) {
        self.guard.ended(made, Some((outcome, self.classify.class_of(outcome))));
        if let Some(copier) = self.guard.copier() {
            self.guard.remember(delivery.event(), copier.copy(outcome, emits));
        }
    }

    /// What is done in the place of the call; `None`: the event waits.
    fn fall_back(&self, channel: &Channel, delivery: &Delivery, next: &mut Next<'_>) -> Option<Outcome> {
        let outcome = match self.guard.substitute(delivery) {
            Substitute::Wait => return None,
            Substitute::WaitAside => match self.guard.put_aside(delivery) {
                true => Outcome::Done,
                false => {
                    return Some(Outcome::failed("the circuit is open, and there is no room to retry later"));
                }
            },
            Substitute::Answer(reply) => next.answer(reply),
        };
        Kept::substituted(delivery);
        self.guard.fell_back(channel, delivery.event(), self.guard.breaker().fallback.kind());
        Some(outcome)
    }
}

impl Middleware for BreakerStage {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        let refused = match self.ask(delivery) {
            Ok(call) => return self.call(call, delivery, &mut next).await,
            Err(refused) => refused,
        };
        // Asked once: a degrade function has said what it has to say.
        if let Some(outcome) = self.fall_back(&refused.channel, delivery, &mut next) {
            return outcome;
        }
        loop {
            // Anew each time: it may have been forgotten while this waited, and another one is asked and forced in its place.
            let channel = self.met.channel(&self.guard, delivery.event().topic());
            let waits = channel.waits();
            self.guard.may_pass(&channel).await;
            drop(waits);
            // While it waited: a lease of a shared store may have been lost.
            if Kept::is_over(delivery, self.guard.services().clock.now()) {
                return Outcome::Skip;
            }
            // One that is sure to be refused is not asked: that would be counted.
            if self.guard.room(delivery.event().topic()).has_any()
                && let Ok(call) = self.ask(delivery)
            {
                return self.call(call, delivery, &mut next).await;
            }
        }
    }
}

/// While a channel is closed its events pass; what is asked of one that is not is asked in the async form.
impl PassMiddleware for BreakerStage {
    fn try_pass(&self, delivery: &Delivery) -> Option<Pass> {
        let topic = delivery.event().topic();
        match self.met.find(&self.guard, topic) {
            Some((place, channel)) => Some(Pass::of(numbered(place, channel.permit_closed()?))),
            None => {
                let channel = self.guard.channel(topic);
                let generation = channel.permit_closed()?;
                Some(Pass::of(numbered(0, generation)).with(channel))
            }
        }
    }

    #[inline]
    fn passed(&self, pass: Pass, delivery: &Delivery, outcome: Outcome, emits: &[AnyDraft]) -> Outcome {
        if outcome.is_done() && self.only_counts(&pass) {
            return outcome;
        }
        self.came_back(pass, |made| self.ended(made, delivery, &outcome, emits));
        outcome
    }

    fn dropped(&self, pass: Pass) {
        self.came_back(pass, |made| self.guard.record(made, CallEnd::Failure));
    }
}

/// A generation, and a place where its channel is unless the pass bears that.
#[inline]
fn numbered(place: usize, generation: Generation) -> u64 {
    generation.0 * PLACES as u64 + place as u64
}

#[inline]
fn placed(number: u64) -> (Generation, usize) {
    let place = usize::try_from(number % PLACES as u64).unwrap_or(0);
    (Generation(number / PLACES as u64), place)
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.guard.record(call.made(), CallEnd::Failure);
        }
    }
}
