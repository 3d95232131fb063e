//! What a durable subscription does about failures: how often it attempts an event, which errors it does not attempt again, how much of its
//! traffic may be retries, and what becomes of events that it gives up.

use std::error::Error;
use std::sync::atomic::Ordering;

use busway_event::Filter;
use busway_reliability::{BoundAlarm, FailureClass, Retry, RetryBudget};

use super::builder::DurableBuilder;
use super::core::DurableCore;
use super::window::Verdict;
use crate::classify::Classifier;
use crate::dead_letters::DeadLetterPolicy;
use crate::log::Log;
use crate::observer::tell;
use crate::settings::{Origin, Setting};
use crate::subscription::SubscribeProblem;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recovery {
    pub(super) retry: Retry,
    /// Whether somebody asked for it: what nobody asked for is no mistake.
    is_retry_said: bool,
    pub(super) budget: Option<RetryBudget>,
    pub(super) classify: Classifier,
    pub(crate) letters: DeadLetterPolicy,
    is_letters_said: bool,
}

impl DurableBuilder {
    /// How often a failing event is attempted, and how far apart. Default: 16 attempts, 200 ms to 60 s, which is 8 minutes at most. Not longer
    /// than the streams keep events by their age: [`to`](Self::to) says so.
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.recovery.retry = retry;
        self.recovery.is_retry_said = true;
        self
    }

    /// How much of the subscription's traffic may be retries. What is over it waits: it keeps its place and its lane, and no attempt is charged to it.
    /// Default: no bound. In a group the budget is that of all members together.
    pub const fn retry_budget(mut self, budget: RetryBudget) -> Self {
        self.recovery.budget = Some(budget);
        self
    }

    /// What kind of failure an error is: asked of every error that a handler, a middleware or a panic ends with, unless it is marked
    /// [`Permanent`](busway_middleware::Permanent). Default: all are transient. It must be quick; when it panics the error counts as transient. In
    /// a group that of the first member holds.
    pub fn classify(
        mut self,
        classify: impl Fn(&(dyn Error + Send + Sync + 'static)) -> FailureClass + Send + Sync + 'static,
    ) -> Self {
        self.recovery.classify = Classifier::new(classify);
        self
    }

    /// What becomes of events that are given up. Default: they are kept, for ever and up to 1,000,000.
    pub const fn dead_letters(mut self, policy: DeadLetterPolicy) -> Self {
        self.recovery.letters = policy;
        self.recovery.is_letters_said = true;
        self
    }
}

impl DurableBuilder {
    /// What was said before it was made durable.
    pub(crate) fn with_recovery(mut self, retry: Option<Retry>, classify: Option<Classifier>) -> Self {
        if let Some(classify) = classify {
            self.recovery.classify = classify;
        }
        match retry {
            Some(retry) => self.retry(retry),
            None => self,
        }
    }
}

/// Bounds of which somebody is told.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    letters: BoundAlarm,
    parked: BoundAlarm,
}

impl Recovery {
    /// Everything that is wrong with it.
    pub(super) fn problems(&self, log: Option<&Log>, filter: Option<&Filter>) -> Vec<SubscribeProblem> {
        let mut problems = self.retry.problems();
        problems.extend(self.budget.iter().flat_map(RetryBudget::problems));
        if let (true, Some(log), Some(filter)) = (self.is_retry_said && problems.is_empty(), log, filter) {
            let kept = log.streams().filter(|(stream, ..)| stream.overlaps(filter));
            let kept = kept.filter_map(|(stream, ..)| Some((stream.name(), stream.age_max()?)));
            problems.extend(kept.filter_map(|(stream, age)| self.retry.problem_with(stream, age)));
        }
        problems.into_iter().map(SubscribeProblem::Retry).collect()
    }

    /// What is in force, for people.
    pub(crate) fn described(&self) -> Vec<Setting> {
        let origin = |is_said| if is_said { Origin::Subscription } else { Origin::Default };
        let setting = |name, value, is_said| Setting { name, value, origin: origin(is_said) };
        let budget = self.budget.map_or_else(|| "none".to_owned(), |budget| budget.to_string());
        vec![
            setting("retry", self.retry.to_string(), self.is_retry_said),
            setting("retry_budget", budget, self.budget.is_some()),
            setting("dead_letters", self.letters.to_string(), self.is_letters_said),
        ]
    }
}

impl DurableCore {
    /// What becomes of an event that is to be given up: a dead letter when there is room for it. A replay is one already, and has its place.
    pub(super) fn given_up(
        &self,
        error: Option<String>,
        (reason, handler): (String, String),
        is_replay: bool,
    ) -> Verdict {
        let policy = self.recovery.letters;
        if policy.is_discarded() {
            self.counts.discarded.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                subscription = &*self.name,
                "an event is given up, and discarded as its subscription says"
            );
            return Verdict::Discarded;
        }
        if is_replay {
            self.reserve_letter();
            return Verdict::Dead { error, reason, handler };
        }
        match self.has_room_for_letter() {
            true => Verdict::Dead { error, reason, handler },
            false => Verdict::NoRoom { error, reason, handler },
        }
    }

    /// Reserves a place for a dead letter. When there is none somebody is told, once until there was room.
    pub(super) fn has_room_for_letter(&self) -> bool {
        let (number, max) = (self.number, self.recovery.letters.max());
        let taken = self
            .log
            .with(|store| store.reserve_dead_letter(number, max).then(|| store.dead_letter_places(number)));
        // Closed: what is decided is not stored any more.
        let Some(taken) = taken else { return true };
        // The last place that is taken is neither news nor room.
        if taken.is_none_or(|taken| taken < max) && self.alarms.lock().letters.look(taken.unwrap_or(max), max)
        {
            tracing::error!(
                subscription = &*self.name,
                max,
                "there are as many dead letters as may be kept: lanes stop; redrive or discard some, or keep more"
            );
            tell(self.services.observer.as_deref(), |observer| observer.dead_letters_full(&self.name, max));
        }
        taken.is_some()
    }

    /// Tells somebody when as many events are parked as may be.
    pub(super) fn look_at_parked(&self) {
        let (parked, max) = self.hand.lock().window.parked();
        let [parked, max] = [parked, max].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        if self.alarms.lock().parked.look(parked, max) {
            tracing::error!(
                subscription = &*self.name,
                max,
                "as many events are parked as may be: nothing more is read until some have come to their end"
            );
            tell(self.services.observer.as_deref(), |observer| observer.parked_full(&self.name, max));
        }
    }

    /// The same for one that is kept in any case.
    pub(super) fn reserve_letter(&self) {
        let number = self.number;
        _ = self.log.with(|store| store.reserve_dead_letter(number, u64::MAX));
    }
}
