//! Another attempt of an event in memory.
//!
//! The worker that has the event waits with it: its lane stays closed, no queue grows but the subscription's own, which is bounded, and a
//! subscription that handles one event at a time waits as a whole. Nothing of it is stored: a crash loses the event as it loses those that
//! wait, and a shutdown whose grace is over ends the wait with the failure that there was.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use busway_event::{AnyEvent, Timestamp};
use busway_middleware::chain::run;
use busway_middleware::{Delivery, Outcome};
use busway_observability::trace::{Place, within};
use busway_reliability::{FailureClass, Retry};

use super::attempt::{Slot, finish, hands_back, let_go};
use crate::classify::Classifier;
use crate::clock::WAIT_MAX;
use crate::settings::{Origin, Setting};
use crate::subscription::{Member, SubscriptionCore};
use crate::traced::ended;

/// What a member does about failures, when somebody asked for it.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) retry: Retry,
    pub(crate) classify: Classifier,
}

impl Again {
    /// What is in force, for people.
    pub(crate) fn described(&self) -> Setting {
        Setting { name: "retry", value: self.retry.to_string(), origin: Origin::Subscription }
    }

    /// An error that will not pass is no failure that may.
    fn classified(&self, outcome: Outcome) -> (Outcome, Option<Timestamp>) {
        match (self.classify.class_of(&outcome), outcome) {
            (FailureClass::Permanent, Outcome::Failed(error)) => (Outcome::Dead(error), None),
            (FailureClass::RetryAt(time), outcome) => (outcome, Some(time)),
            (_, Outcome::RetryAt(time)) => (Outcome::RetryAt(time), Some(time)),
            (_, outcome) => (outcome, None),
        }
    }

    /// How long to wait behind this attempt; `None`: it was the last one.
    fn delay(
        &self,
        outcome: &Outcome,
        attempt: u32,
        at: Option<Timestamp>,
        utc: Timestamp,
    ) -> Option<Duration> {
        if !matches!(outcome, Outcome::Failed(_) | Outcome::RetryAt(_)) {
            return None;
        }
        let delay = self.retry.after(attempt, fastrand::u64(..))?;
        Some(at.map_or(delay, |time| time.saturating_since(utc)))
    }
}

/// Goes on behind an attempt that was not done, until one is, or none is left.
pub(super) async fn attempts_again(
    core: &SubscriptionCore,
    member: &Member,
    slot: &mut Slot,
    event: &AnyEvent,
    (mut outcome, mut place): (Outcome, Option<Place>),
) -> Outcome {
    let Some(again) = slot.again.clone() else { return outcome };
    let (clock, mut attempt) = (Arc::clone(&core.services.clock), NonZeroU32::MIN);
    loop {
        let at;
        (outcome, at) = again.classified(outcome);
        let Some(delay) = again.delay(&outcome, attempt.get(), at, clock.utc()) else { return outcome };
        core.retried.fetch_add(1, Ordering::Relaxed);
        // Its span ends here: the wait is of no attempt.
        if let Some(place) = place.take() {
            place.retried(attempt.get(), delay);
        }
        tracing::warn!(
            subscription = &*core.name,
            topic = event.topic().as_str(),
            event_id = %event.id(),
            attempt,
            ?delay,
            error = core.services.shown.log_text(&core.services.shown.failure_text(&outcome)),
            "event not handled, and to be attempted again"
        );
        if let Some(feed) = &core.feed {
            feed.survived(event.id());
        }
        let one_more = async {
            clock.sleep_until(clock.now() + delay.min(WAIT_MAX)).await;
            if let Some(budget) = &core.budget {
                budget.granted(&*clock).await;
            }
        };
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return outcome,
            () = one_more => {}
        }
        let_go(outcome);
        attempt = attempt.saturating_add(1);
        let scope = Arc::clone(member.scope(core));
        let shown = core.feed.as_ref().map_or(attempt, |feed| feed.attempted_again(event.id(), attempt));
        let mut delivery = Delivery::live(event.clone(), scope, 0).with_attempt(shown);
        place = core.services.traced(&delivery);
        let Slot { invocation, progress, chain, .. } = &mut *slot;
        let chain = chain.get(member, &core.services.middleware);
        let one_more = async {
            let outcome = run(chain, &mut delivery, &mut **invocation, progress).await;
            if let Some(trace) = progress.take_trace() {
                core.keep_trace(trace);
            }
            finish(core, &delivery, outcome, progress.take_emits()).await
        };
        outcome = within(place.as_ref(), one_more).await;
        ended(place.as_ref(), &outcome);
        if hands_back(core, member, &delivery) {
            return outcome;
        }
    }
}
