//! Deadlines of attempts, and handlers that do not keep them.
//!
//! At the deadline an async handler is cancelled. What cannot be cancelled, a blocking handler or one that does not come back from a poll, is
//! *hung*: its place among those that run is given to others, so that other lanes go on, and its own lane stays closed until it has really
//! ended. Its result has come too late then: it is ignored and counted, and the attempt has failed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use busway_middleware::chain::drop_contained;
use busway_middleware::{Outcome, Run};
use busway_observability::Signal;
use busway_persistence::Position;

use super::member::Member;
use super::watch::Overrun;
use super::window::Started;
use super::{DurableBuilder, DurableCore};
use crate::breaker::Call;
use crate::settings::{Origin, Setting};
use crate::stages::Elapsed;
use busway_event::AnyEvent;

impl DurableBuilder {
    /// How long an attempt may take, its middleware included. Default: for ever; at least 1 ms.
    ///
    /// At the deadline a handler is cancelled, and the attempt has failed with [`Elapsed`](crate::stages::Elapsed): it is retried as after any
    /// failure. The lane stays closed until the handler has really stopped: an async one at its next await, before anything else of its lane starts.
    ///
    /// A [`blocking`](busway_middleware::blocking) handler cannot be cancelled. It is *hung* then: that is told as an error in the log, to
    /// [`Signal::Hung`], and in `stats().hung`. Its lane stays closed, and there is never a second attempt beside it; all
    /// other lanes go on, with another thread in its place, for 8 that are hung at once: with more, the subscription waits. When it ends after
    /// all, its result comes too late: it is ignored, counted in `stats().late`, and the attempt has failed. The same is done with an async handler that has not
    /// come back within a second behind its deadline.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// A deadline for people to read, or that there is none.
pub(super) fn shown(deadline: Option<Duration>) -> String {
    deadline.map_or_else(|| "none".to_owned(), |deadline| format!("{deadline:?}"))
}

impl DurableCore {
    /// Its deadline, for people to read.
    pub(crate) fn described_deadline(&self) -> Option<Setting> {
        let value = shown(Some(self.deadline?));
        Some(Setting { name: "deadline", value, origin: Origin::Subscription })
    }

    /// An attempt begins. With a deadline its call is kept here until it ends.
    pub(super) fn watch(
        &self,
        member: &Member,
        started: &Started<AnyEvent>,
        call: Option<Call>,
    ) -> Option<Call> {
        if self.deadline.is_none() {
            return call;
        }
        let what = (started.event.clone(), member.id);
        self.hand.lock().watch.begin(started.place, what, call);
        None
    }

    /// An attempt has ended: gives its call back, if it is not over yet.
    pub(super) fn unwatch(&self, member: &Member, place: Position, call: Option<Call>) -> Option<Call> {
        if self.deadline.is_none() {
            return call;
        }
        let mut hand = self.hand.lock();
        let (kept, was_hung) = hand.watch.end(place);
        if was_hung && let Some(seat) = hand.seat(member) {
            seat.hung = seat.hung.saturating_sub(1);
        }
        call.or(kept)
    }

    /// Runs a handler behind its chain for as long as it may take.
    pub(super) async fn within_deadline(
        &self,
        (member, place): (&Member, Position),
        run: impl Future<Output = Outcome>,
    ) -> Outcome {
        let Some(limit) = self.deadline else { return run.await };
        let grace = match member.handler.run() {
            Run::Blocking => Duration::ZERO,
            _ => HUNG_AFTER,
        };
        let clock = &self.services.clock;
        let until = clock.now().checked_add(limit);
        let Some((until, hung)) = until.and_then(|until| Some((until, until.checked_add(grace)?))) else {
            return run.await;
        };
        if self.hand.lock().watch.run(place, hung) {
            self.flow.bell.notify_one();
        }
        let outcome = tokio::select! {
            biased;
            outcome = run => Some(outcome),
            () = clock.sleep_until(until) => None,
        };
        let now = clock.now();
        let is_late = self.hand.lock().watch.stopped(place, now);
        match outcome {
            Some(outcome) if !is_late => return outcome,
            Some(outcome) => {
                self.counts.late.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    subscription = &*self.name,
                    outcome = outcome.label(),
                    "the result of a handler that could not be cancelled comes too late"
                );
                drop_contained(outcome);
            }
            None => {}
        }
        Outcome::failed(Elapsed { limit })
    }

    /// The same for a call of a batch handler.
    pub(super) async fn batch_within_deadline(
        &self,
        events: usize,
        run: impl Future<Output = Option<Vec<Outcome>>>,
    ) -> Option<Vec<Outcome>> {
        let Some(limit) = self.deadline else { return run.await };
        let Some(until) = self.services.clock.now().checked_add(limit) else { return run.await };
        tokio::select! {
            biased;
            outcomes = run => outcomes,
            () = self.services.clock.sleep_until(until) => {
                Some((0..events).map(|_| Outcome::failed(Elapsed { limit })).collect())
            }
        }
    }

    /// Looks for attempts that have overrun their deadline, and says when the next one does.
    pub(super) fn look_for_hung(self: &Arc<Self>) -> Option<Instant> {
        self.deadline?;
        let (overrun, next) = {
            let mut hand = self.hand.lock();
            let overrun = hand.watch.overrun(self.services.clock.now());
            for Overrun { place, member, .. } in &overrun {
                let seat = hand.seats.iter_mut().find(|seat| seat.member.id == *member);
                let has_replacement = seat.is_some_and(|seat| {
                    seat.hung += 1;
                    seat.hung <= HUNG_MAX
                });
                if has_replacement {
                    hand.window.set_apart(*place);
                }
            }
            (overrun, hand.watch.next())
        };
        overrun.into_iter().for_each(|overrun| self.is_hung(overrun));
        next
    }

    #[cold]
    fn is_hung(&self, Overrun { place, event, call, .. }: Overrun) {
        if let (Some(guard), Some(call)) = (&self.guard, call) {
            guard.record(call.made(), busway_reliability::CallEnd::Failure);
        }
        tracing::error!(
            subscription = &*self.name,
            topic = event.topic().as_str(),
            event_id = %event.id(),
            %place,
            "a handler is hung: it has overrun its deadline and cannot be cancelled; its lane waits for it"
        );
        self.services.signals.tell(&Signal::Hung { subscription: &self.name, event: &event });
        self.services.idle.touch();
    }
}

/// Hung handlers of a member that others take the place of: each keeps a thread, and a subscription whose every handler hangs is better
/// stopped than multiplied.
pub(super) const HUNG_MAX: usize = 8;

/// An async handler is cancelled at its next await. One that has not come there within this time holds up its thread.
const HUNG_AFTER: Duration = Duration::from_secs(1);
