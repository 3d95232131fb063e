//! The end of an attempt: who is told of it, what becomes of its event, and where that is taken down.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use busway_event::AnyEvent;
use busway_middleware::Outcome;
use busway_middleware::builtin::log_text;
use busway_observability::Signal;
use busway_persistence::Position;
use busway_reliability::FailureClass;

use super::DurableCore;
use super::hand::Hand;
use super::member::Member;
use super::once::{Claimed, note_key};
use super::recovery::Recovery;
use super::verdict::verdict;
use super::window::{Made, Moment, Started, Verdict};
use crate::shown::labelled;
use crate::stats::LastFailure;

/// Whether the store knows already what became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storing {
    ToBe,
    Is,
}

/// How an attempt has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending<'a> {
    pub(super) outcome: &'a Outcome,
    pub(super) class: FailureClass,
    pub(super) storing: Storing,
    /// The step of its middleware that did not let it through.
    pub(super) cut_by: Option<&'a str>,
}

impl<'a> Ending<'a> {
    /// One that is to be stored, and was cut short by no step.
    pub(super) const fn of(outcome: &'a Outcome, class: FailureClass) -> Self {
        Self { outcome, class, storing: Storing::ToBe, cut_by: None }
    }
}

/// Tells of an attempt that has ended, decides what becomes of its event, and counts it. Not under the lock: the text of an error is the user's code.
pub(super) fn judge(
    core: &DurableCore,
    member: &Member,
    started: &Started<AnyEvent>,
    &Ending { outcome, class, storing, cut_by }: &Ending<'_>,
    at: Moment,
) -> Verdict {
    let error = report(core, &started.event, outcome, cut_by);
    // Told to stop, it has stopped: as if it had been cut short.
    let is_left = storing == Storing::ToBe && !core.settles_first(started);
    if is_left && core.stopping.is_cancelled() && may_pass(outcome, class) {
        core.counts.cut_short.fetch_add(1, Ordering::Relaxed);
        return Verdict::Later { delay: Duration::ZERO };
    }
    let verdict = match storing {
        Storing::Is => Verdict::Stored,
        Storing::ToBe => {
            let (attempt, random) = (started.attempt.get(), fastrand::u64(..));
            let Recovery { retry, .. } = &core.recovery;
            verdict((outcome, class, error), attempt, retry, random, at.utc, member.handler.info().name)
        }
    };
    if started.replay {
        core.replay_ended(started.place, outcome);
    }
    let (verdict, is_given_up) = match verdict {
        Verdict::Dead { error, reason, handler } => (core.given_up(started, error, (reason, handler)), true),
        verdict => (verdict, false),
    };
    if matches!(verdict, Verdict::Park { .. }) {
        let (subscription, event, attempt) = (&*core.name, &started.event, started.attempt.get());
        core.services.signals.tell(&Signal::Retried { subscription, event, attempt });
    }
    if started.replay {
        match verdict {
            Verdict::Settled
            | Verdict::Stored
            | Verdict::Discarded
            | Verdict::Gone
            | Verdict::Dead { .. } => {
                core.forget_redrive(started.place);
            }
            Verdict::Park { .. } | Verdict::Wait(_) | Verdict::Later { .. } | Verdict::NoRoom { .. } => {}
        }
    }
    let counter = match (&verdict, outcome) {
        // One that is not given up after all, for there is no room for its letter, is one more attempt that failed.
        (Verdict::Park { .. } | Verdict::NoRoom { .. }, _) => &core.counts.failed,
        _ if is_given_up => &core.counts.dead,
        (_, Outcome::Skip) => &core.counts.skipped,
        _ => &core.counts.done,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    verdict
}

/// Whether it is a failure that another attempt may not have.
fn may_pass(outcome: &Outcome, class: FailureClass) -> bool {
    matches!(outcome, Outcome::Failed(_) | Outcome::RetryAt(_)) && class != FailureClass::Permanent
}

/// Tells of an attempt that has ended. What it returns is the error as it may be shown, empty where there is none: the texts of errors are read once.
pub(super) fn report(
    core: &DurableCore,
    event: &AnyEvent,
    outcome: &Outcome,
    cut_by: Option<&str>,
) -> String {
    core.services.signals.tell(&Signal::Settled { subscription: &core.name, event, outcome });
    if matches!(outcome, Outcome::Done | Outcome::Skip) {
        return String::new();
    }
    let text = core.services.shown.error_text(outcome);
    let error = labelled(outcome, &text);
    tracing::warn!(
        subscription = &*core.name,
        topic = event.topic().as_str(),
        event_id = %event.id(),
        cut_by,
        error = log_text(&error),
        "event not handled"
    );
    core.failed(LastFailure { event: event.id(), error, at: core.services.clock.utc() });
    text
}

impl DurableCore {
    /// A handler has come to its end, if that is timed.
    pub(super) fn handled(&self, event: &AnyEvent, outcome: &Outcome, begun: Option<Instant>) {
        let Some(begun) = begun else { return };
        let clock = &self.services.clock;
        let took = clock.now().saturating_duration_since(begun);
        let since_published = clock.utc().saturating_since(event.time());
        let subscription = &*self.name;
        self.services.signals.tell(&Signal::Handled { subscription, event, outcome, took, since_published });
    }

    /// An event has come to a decision: takes it down, with its key if that is done. The caller lets that go behind this.
    pub(super) fn decided(
        self: &Arc<Self>,
        place: Position,
        (verdict, made): (Verdict, Made),
        claimed: Option<&mut Claimed<'_>>,
        at: Moment,
    ) {
        self.decided_under(&mut self.hand.lock(), place, (verdict, made), claimed, at);
        self.flow.bell.notify_one();
    }

    /// The same for who has the lock, and rings behind it.
    pub(super) fn decided_under(
        self: &Arc<Self>,
        hand: &mut Hand,
        place: Position,
        (verdict, made): (Verdict, Made),
        claimed: Option<&mut Claimed<'_>>,
        at: Moment,
    ) {
        note_key(hand, place, &verdict, claimed, at);
        hand.ended(self, place, (verdict, made), at);
    }
}
