//! At most once: an event is settled in a commit before its handler starts, so that no process attempts it again, whatever happens to this one.

use std::sync::atomic::Ordering;

use busway_event::AnyEvent;
use busway_middleware::{AnyHandler, Durable, Outcome, Run};
use busway_observability::trace::Place;
use busway_persistence::{OnSettled, Refusal, RequestError, Settlement, Store};
use tokio::sync::oneshot;

use super::attempt::Ended;
use super::ending::report;
use super::member::Member;
use super::traced::concluded;
use super::window::{Started, Verdict};
use super::{DurableBuilder, DurableCore};
use crate::settings::{Origin, Setting};
use crate::subscription::SubscribeProblem;

impl DurableBuilder {
    /// Handles each event at most once: it is settled, in a commit that is waited for, before its handler starts. Default: at least once, settled behind
    /// success.
    ///
    /// An event whose process dies behind that commit, whose handler fails, or is cut short by its deadline or a shutdown, is not attempted again: it is lost to this
    /// subscription, counted as discarded ([`DurableStats::discarded`](crate::DurableStats)), by a process that lives, and warned of. So
    /// [`retry`](Self::retry) and [`dead_letters`](Self::dead_letters) are of no effect, whoever says them. What never came to its handler is not lost: events wait for a subscription that is away, paused,
    /// or whose breaker is open, and while the store has no room for their settlements. What a bus that ends cuts short while
    /// its settlement is on its way to the store is counted as discarded too.
    ///
    /// What the handler returns is published behind it: events into streams in a commit of their own, and not at all when that finds no room. A dead letter of an
    /// earlier time that is given again is asked for by name: it is attempted once, at least, and is a dead letter again when that fails.
    ///
    /// Each event waits for a commit of its own before it starts; many share one where the [`concurrency`](Self::concurrency) lets them. Refused with what is stored together with the
    /// settlement: a transaction, a [`batch`](busway_middleware::batch) handler, [`idempotent`](Self::idempotent). Members of a [group](Self::group) want the same.
    pub const fn at_most_once(mut self) -> Self {
        self.is_at_most_once = true;
        self
    }

    pub(super) fn at_most_once_problems(
        &self,
        handler: &AnyHandler<Durable>,
    ) -> impl Iterator<Item = SubscribeProblem> + use<> {
        let against = [
            (handler.info().requirements.needs_transaction(), "a transaction"),
            (matches!(handler.run(), Run::Batch(_)), "a handler of batches"),
            (self.idempotent.is_some(), ".idempotent(…)"),
        ];
        let is_at_most_once = self.is_at_most_once;
        let against = against.into_iter().filter(move |(is_there, _)| is_at_most_once && *is_there);
        against.map(|(_, with)| SubscribeProblem::AtMostOnce { with })
    }

    /// What its group has, and what this member wants.
    pub(super) fn at_most_once_pair(&self, core: &DurableCore) -> (&'static str, String, String) {
        ("at_most_once", core.recovery.is_at_most_once.to_string(), self.is_at_most_once.to_string())
    }
}

impl DurableCore {
    /// Whether an event is settled before its handler starts. One that is given again has been settled long ago.
    pub(super) const fn settles_first<E>(&self, started: &Started<E>) -> bool {
        self.recovery.is_at_most_once && !started.replay
    }

    /// What is in force, for people.
    pub(crate) fn described_at_most_once(&self) -> Option<Setting> {
        let (name, value) = ("at_most_once", "true".to_owned());
        self.recovery.is_at_most_once.then_some(Setting { name, value, origin: Origin::Subscription })
    }

    /// Settles an event before its attempt, and waits until that is stored. `Err`: it is not settled and must not be attempted, because it is wanted back, the
    /// subscription ends or its store takes nothing any more.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the event may be settled: then it is not attempted again.
    pub(super) async fn settle_first<E>(&self, member: &Member, started: &Started<E>) -> Result<(), Ended> {
        let (number, place) = (self.number, started.place);
        loop {
            let settle = move |store: &Store, answer: oneshot::Sender<_>| {
                let settled = vec![(place.offset, place.offset.saturating_add(1))];
                let settlement = Settlement {
                    settled,
                    released: vec![place.offset],
                    is_awaited: true,
                    ..Settlement::default()
                };
                let done: OnSettled = Box::new(move |result| _ = answer.send(result));
                // Given back when the writer is busy, and let go with its answer: then it is asked for again.
                drop(store.settle(number, place.partition, settlement, Some(done)));
            };
            match self.log.ask(&self.services, settle).await {
                Some(Ok(())) => return Ok(()),
                Some(Err(RequestError::Refused(
                    reason @ (Refusal::StorageFull { .. } | Refusal::StoreFull { .. }),
                ))) => {
                    tracing::warn!(subscription = &*self.name, %reason, "there is no room for a settlement; its event waits");
                }
                Some(Err(error)) => {
                    self.flow.fail(&error.to_string());
                    return Err(Ended::CutShort);
                }
                // Busy, or closed: then the subscription ends.
                None => {}
            }
            if let Some(ended) = self.moment_later(member).await.ended() {
                return Err(ended);
            }
        }
    }

    /// An attempt is cut short: its event stays as it was. One that was settled before it, or is about to be, is attempted by nobody again: it is discarded, and that is told, in its trace too. The store has it
    /// already, and nothing is to be stored.
    pub(super) fn attempt_cut_short(
        &self,
        started: &Started<AnyEvent>,
        place: Option<&Place>,
        is_settled: bool,
    ) {
        if !is_settled {
            return self.cut_short([started.place]);
        }
        let reason = "cut short behind its settlement: it is not attempted again";
        let outcome = Outcome::failed(reason);
        report(self, &started.event, &outcome, None);
        concluded(place, started, &outcome, &Verdict::Discarded);
        self.counts.dead.fetch_add(1, Ordering::Relaxed);
        self.counts.discarded.fetch_add(1, Ordering::Relaxed);
        self.tell_of_letter(&started.event, reason);
        self.hand.lock().window.cut_short(started.place);
    }
}
