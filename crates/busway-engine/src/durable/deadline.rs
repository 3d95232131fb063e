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
use busway_reliability::CallEnd;

use super::member::Member;
use super::watch::{Calls, Overrun, Stood};
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
    /// other lanes go on, with another thread in its place, for 8 that are hung at once: with more, the subscription waits until some have
    /// come back. When it ends after all, its result comes too late: it is ignored, counted in `stats().late`, and the attempt has failed. The
    /// same is done with an async handler that has not come back within a second behind its deadline, and with a batch handler: all events of
    /// a call that comes back too late have failed.
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
        let (what, calls) = ((started.event.clone(), member.id), Calls { one: call, ..Calls::default() });
        self.hand.lock().watch.begin(started.place, what, calls);
        None
    }

    /// An attempt has ended: gives its call back, if it is not over yet.
    pub(super) fn unwatch(&self, member: &Member, place: Position, call: Option<Call>) -> Option<Call> {
        if self.deadline.is_none() {
            return call;
        }
        call.or(self.watched_until_now(member, place).one)
    }

    /// A call for several events begins, under the place of the first of them. With a deadline the calls of its channels are kept here until it ends.
    pub(super) fn watch_batch(
        &self,
        member: &Member,
        first: &Started<AnyEvent>,
        calls: &mut Vec<Option<Call>>,
    ) -> Option<Position> {
        self.deadline?;
        let (what, of_batch) = ((first.event.clone(), member.id), std::mem::take(calls));
        self.hand.lock().watch.begin(first.place, what, Calls { of_batch, ..Calls::default() });
        Some(first.place)
    }

    /// It has ended, or was cut short: gives the calls back that are not over yet.
    pub(super) fn unwatch_batch(
        &self,
        member: &Member,
        watched: Option<Position>,
        calls: &mut Vec<Option<Call>>,
    ) {
        if let Some(place) = watched {
            // They are here or there.
            calls.append(&mut self.watched_until_now(member, place).of_batch);
        }
    }

    fn watched_until_now(&self, member: &Member, place: Position) -> Calls {
        let mut hand = self.hand.lock();
        let (calls, stood) = hand.watch.end(place);
        if stood == Stood::InTime {
            return calls;
        }
        if let Some(seat) = hand.seat(member) {
            seat.hung = seat.hung.saturating_sub(1);
        }
        // It was set apart: another one of those that have hung beside it may be now.
        if stood == Stood::Apart
            && let Some(kept) = hand.watch.take_kept(member.id)
        {
            hand.window.set_apart(kept);
            drop(hand);
            self.flow.bell.notify_one();
        }
        calls
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
        match self.for_as_long((place, limit, grace), run).await {
            Ran::InTime(outcome) => return outcome,
            Ran::Late(outcome) => {
                self.came_late(1, outcome.label());
                drop_contained(outcome);
            }
            Ran::Cancelled => {}
        }
        Outcome::failed(Elapsed { limit })
    }

    /// The same for a call of a batch handler: when it is not in time it has failed as a whole.
    pub(super) async fn batch_within_deadline(
        &self,
        (watched, events): (Option<Position>, usize),
        run: impl Future<Output = Option<Vec<Outcome>>>,
    ) -> Option<Vec<Outcome>> {
        let (Some(limit), Some(place)) = (self.deadline, watched) else { return run.await };
        match self.for_as_long((place, limit, HUNG_AFTER), run).await {
            Ran::InTime(outcomes) => return outcomes,
            Ran::Late(outcomes) => {
                self.came_late(u64::try_from(events).unwrap_or(u64::MAX), "batch");
                outcomes.into_iter().flatten().for_each(drop_contained);
            }
            Ran::Cancelled => {}
        }
        Some((0..events).map(|_| Outcome::failed(Elapsed { limit })).collect())
    }

    /// Runs what is watched under a place until its deadline; behind that and a grace it is hung.
    async fn for_as_long<R>(
        &self,
        (place, limit, grace): (Position, Duration, Duration),
        run: impl Future<Output = R>,
    ) -> Ran<R> {
        let clock = &self.services.clock;
        let until = clock.now().checked_add(limit);
        let Some((until, hung)) = until.and_then(|until| Some((until, until.checked_add(grace)?))) else {
            return Ran::InTime(run.await);
        };
        if self.hand.lock().watch.run(place, hung) {
            self.flow.bell.notify_one();
        }
        let result = tokio::select! {
            biased;
            result = run => Some(result),
            () = clock.sleep_until(until) => None,
        };
        let now = clock.now();
        let is_late = self.hand.lock().watch.stopped(place, now);
        match result {
            Some(result) if is_late => Ran::Late(result),
            Some(result) => Ran::InTime(result),
            None => Ran::Cancelled,
        }
    }

    #[cold]
    fn came_late(&self, events: u64, outcome: &str) {
        self.counts.late.fetch_add(events, Ordering::Relaxed);
        tracing::warn!(
            subscription = &*self.name,
            outcome,
            "the result of a handler that could not be cancelled comes too late"
        );
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
                match has_replacement {
                    true => hand.window.set_apart(*place),
                    false => hand.watch.keep(*member, *place),
                }
            }
            (overrun, hand.watch.next())
        };
        overrun.into_iter().for_each(|overrun| self.is_hung(overrun));
        next
    }

    #[cold]
    fn is_hung(&self, Overrun { place, event, calls, .. }: Overrun) {
        if let Some(guard) = &self.guard {
            calls.all().for_each(|call| guard.record(call.made(), CallEnd::Failure));
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

/// What became of a call that may take so long.
enum Ran<R> {
    InTime(R),
    /// It was hung before it came to its end.
    Late(R),
    Cancelled,
}

/// Hung handlers of a member that others take the place of: each keeps a thread, and a subscription whose every handler hangs is better
/// stopped than multiplied.
pub(super) const HUNG_MAX: usize = 8;

/// An async handler is cancelled at its next await. One that has not come there within this time holds up its thread.
const HUNG_AFTER: Duration = Duration::from_secs(1);
