//! What a durable subscription does about failures: how often it attempts an event, which errors it does not attempt again, how much of its
//! traffic may be retries, and what becomes of events that it gives up.

use std::error::Error;
use std::sync::atomic::Ordering;

use busway_event::AnyEvent;
use busway_middleware::Outcome;
use busway_observability::Signal;
use busway_persistence::{Position, Store};
use busway_reliability::{BoundAlarm, FailureClass, Retry, RetryBudget};

use super::builder::DurableBuilder;
use super::core::DurableCore;
use super::window::{Started, Verdict};
use crate::classify::Classifier;
use crate::dead_letters::DeadLetterPolicy;
use crate::log::Log;
use crate::settings::{Effective, Levels};
use crate::subscription::SubscribeProblem;

/// See the module.
#[derive(Debug)]
pub(crate) struct Recovery {
    pub(super) retry: Retry,
    pub(super) classify: Classifier,
    pub(crate) letters: DeadLetterPolicy,
    /// Each event is settled before its handler starts.
    pub(super) is_at_most_once: bool,
}

impl DurableBuilder {
    /// How often a failing event is attempted, and how far apart. Default: 16 attempts, 200 ms to 60 s, which is 8 minutes at most. Not longer
    /// than the streams keep events by their age: [`to`](Self::to) says so.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.settings = self.settings.retry(retry);
        self
    }

    /// How much of the subscription's traffic may be retries. What is over it waits: it keeps its place and its lane, and no attempt is charged to it.
    /// `None`: no bound, which is the default. In a group the budget is that of all members together.
    pub fn retry_budget(mut self, budget: impl Into<Option<RetryBudget>>) -> Self {
        self.settings = self.settings.retry_budget(budget);
        self
    }

    /// What kind of failure an error is: asked of every error that a handler, a middleware or a panic ends with, unless it is marked
    /// [`Permanent`](busway_middleware::Permanent). Default: all are transient. It must be quick; when it panics the error counts as transient. In
    /// a group that of the first member holds.
    pub fn classify(
        mut self,
        classify: impl Fn(&(dyn Error + Send + Sync + 'static)) -> FailureClass + Send + Sync + 'static,
    ) -> Self {
        self.classify = Classifier::new(classify);
        self
    }

    /// What becomes of events that are given up. Default: they are kept, for ever and up to 1,000,000.
    pub fn dead_letters(mut self, policy: DeadLetterPolicy) -> Self {
        self.settings = self.settings.dead_letters(policy);
        self
    }
}

impl DurableBuilder {
    /// What was said before it was made durable.
    pub(crate) fn with_recovery(mut self, retry: Option<Retry>, classify: Option<Classifier>) -> Self {
        if let Some(classify) = classify {
            self.classify = classify;
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
    pub(super) fn of(settings: &Effective, classify: Classifier, is_at_most_once: bool) -> Self {
        let (retry, letters) = match is_at_most_once {
            true => (Retry::default().attempts(1), DeadLetterPolicy::discard()),
            false => (settings.retry, settings.dead_letters),
        };
        Self { retry, classify, letters, is_at_most_once }
    }
}

impl DurableBuilder {
    /// Everything that is wrong with what it says about failures, or that streams keep no event long enough for.
    pub(super) fn recovery_problems(&self, levels: &Levels, log: Option<&Log>) -> Vec<SubscribeProblem> {
        let mut problems = self.settings.problems();
        if let (true, Some(log), Ok(filter)) = (problems.is_empty(), log, &self.filter) {
            let Effective { retry, is_retry_said, .. } = &*levels.resolve_shared(filter, &self.settings);
            let kept = log.streams().filter(|(stream, ..)| *is_retry_said && stream.overlaps(filter));
            let kept = kept.filter_map(|(stream, ..)| Some((stream.name(), stream.age_max()?)));
            problems.extend(kept.filter_map(|(stream, age)| retry.problem_with(stream, age)));
        }
        problems.into_iter().map(SubscribeProblem::Retry).collect()
    }
}

impl DurableCore {
    /// What kind of failure an outcome is, as the subscription says: to be asked once an attempt.
    pub(super) fn class_of(&self, outcome: &Outcome) -> FailureClass {
        self.recovery.classify.class_of(outcome)
    }

    /// What becomes of an event that is to be given up: a dead letter when there is room for it, of which somebody is told. A replay is one already, and has its place.
    pub(super) fn given_up(
        &self,
        started: &Started<AnyEvent>,
        error: Option<String>,
        (reason, handler): (String, String),
    ) -> Verdict {
        let event = &started.event;
        let policy = self.recovery.letters;
        // One that is given again was asked for by name, and is kept where others are not.
        let is_kept = started.replay && self.recovery.is_at_most_once;
        if policy.is_discarded() && !is_kept {
            self.counts.discarded.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                subscription = &*self.name,
                "an event is given up, and discarded as its subscription says"
            );
            self.tell_of_letter(event, &reason);
            return Verdict::Discarded;
        }
        if started.replay {
            self.reserve_letter();
        } else if !self.has_room_for_letter(started.place) {
            // No letter yet: that there is no room was told.
            return Verdict::NoRoom { error, reason, handler };
        }
        self.tell_of_letter(event, &reason);
        Verdict::Dead { error, reason, handler }
    }

    /// An event is given up.
    pub(super) fn tell_of_letter(&self, event: &AnyEvent, reason: &str) {
        self.services.signals.tell(&Signal::DeadLetter { subscription: &self.name, event, reason });
    }

    /// Reserves a place for a dead letter. When there is none somebody is told, once until there was room. An event that has a letter already, for its
    /// subscription was sent back before it, has its place.
    pub(super) fn has_room_for_letter(&self, place: Position) -> bool {
        let (number, max) = (self.number, self.recovery.letters.max());
        let letter = self.letter_at(place);
        let reserve = |store: &Store| match store.reserve_dead_letter(number, max) {
            true => Some(store.dead_letter_places(number)),
            false => {
                let has_place = store.has_letter(letter).is_ok_and(|has_letter| has_letter);
                (has_place && store.reserve_dead_letter(number, u64::MAX)).then_some(max)
            }
        };
        let taken = self.log.with(reserve);
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
            self.services.signals.tell(&Signal::DeadLettersFull { subscription: &self.name, max });
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
            self.services.signals.tell(&Signal::ParkedFull { subscription: &self.name, max });
        }
    }

    /// The same for one that is kept in any case.
    pub(super) fn reserve_letter(&self) {
        let number = self.number;
        _ = self.log.with(|store| store.reserve_dead_letter(number, u64::MAX));
    }
}
