//! Asking a store of keys that several processes share.

use std::convert::Infallible;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use busway_reliability::TakeError;
use futures_util::FutureExt as _;

use super::{Answer, Claim, Held, IdempotencyStore, Keeper, OnUnreachable, Place, There, Unreachable};
use crate::clock::Clock;

/// What a shared store has said.
pub(crate) enum Leased {
    Yes,
    Duplicate,
    /// To be asked again behind this.
    Later(Duration),
    /// Nothing: it cannot be reached, and is to be asked again.
    Away,
}

/// Whether a key may be attempted again now.
pub(crate) enum Throttled {
    No,
    /// Behind this.
    Yes(Duration),
    /// The shared store that knows cannot be reached.
    Away,
}

impl Held {
    /// Whether a shared store has a lease of it, which runs out.
    #[inline]
    pub(crate) fn is_leased(&self) -> bool {
        self.asked().is_some()
    }

    /// Whether a shared store knows of it, and is to be told what becomes of it.
    pub(crate) const fn is_shared(&self) -> bool {
        self.there.is_some()
    }

    #[inline]
    fn asked(&self) -> Option<Instant> {
        self.there.as_ref()?.asked
    }

    fn epoch(&self) -> u64 {
        self.there.as_ref().map_or(self.turn, |there| there.epoch)
    }
}

/// Does it, and keeps leases meanwhile.
pub(crate) async fn beside<T>(
    work: impl Future<Output = T>,
    renewing: impl Future<Output = Infallible>,
) -> T {
    tokio::select! {
        biased;
        ended = work => ended,
        never = renewing => match never {},
    }
}

impl Keeper {
    /// Asks whether a key may be attempted again now.
    pub(crate) async fn throttles(&self, held: &Held, clock: &dyn Clock) -> Throttled {
        let Some((rate, burst)) = self.settings.rate_of_retries() else { return Throttled::No };
        let wait = match (&self.buckets, &self.place) {
            (Some(buckets), _) => match buckets.lock().try_take(held.key, clock.now()) {
                Err(TakeError::Wait { wait, .. }) => Some(wait),
                _ => None,
            },
            (None, Place::Shared(store, _)) => {
                let claim = self.claim(held);
                let take = || store.take(&claim, rate, burst.get());
                match self.reached(&**store, (clock, ANSWER_WITHIN), take).await {
                    Some(wait) => wait,
                    None => {
                        return match self.settings.while_unreachable() {
                            OnUnreachable::Pass => Throttled::No,
                            _ => Throttled::Away,
                        };
                    }
                }
            }
            _ => None,
        };
        let Some(wait) = wait else { return Throttled::No };
        self.counts.throttled.fetch_add(1, Ordering::Relaxed);
        Throttled::Yes(wait)
    }

    /// Asks the shared store for the key too, if there is one.
    pub(crate) async fn lease(&self, held: &mut Held, clock: &dyn Clock) -> Leased {
        // Nobody else is to be asked: it was leased when it was entered, and is counted as that.
        let Place::Shared(store, local) = &self.place else { return Leased::Yes };
        let claim = self.claim(held);
        // An answer that leaves too little of the lease would be none.
        let (lease, within) = (self.settings.lease_time(), self.slack.min(ANSWER_WITHIN));
        // It lasts from when the store was asked, or longer.
        let asked = clock.now();
        match self.reached(&**store, (clock, within), || store.lease(&claim, lease)).await {
            Some(Answer::Leased) => {
                // Asked anew, it is the same attempt.
                if !held.is_shared() {
                    self.counts.leased.fetch_add(1, Ordering::Relaxed);
                }
                let (epoch, asked, is_lost) = (held.epoch(), Some(asked), false);
                held.there = Some(Box::new(There { epoch, asked, is_lost }));
                Leased::Yes
            }
            Some(Answer::Done) => {
                self.counts.store_hits.fetch_add(1, Ordering::Relaxed);
                local.done(held.key, clock.now());
                Leased::Duplicate
            }
            Some(Answer::Busy { rest }) => {
                self.counts.busy.fetch_add(1, Ordering::Relaxed);
                Leased::Later(rest.clamp(LOOK_AGAIN_MIN, LOOK_AGAIN))
            }
            None => match self.settings.while_unreachable() {
                OnUnreachable::Pass => {
                    self.counts.passed.fetch_add(1, Ordering::Relaxed);
                    if let Some(there) = &mut held.there {
                        there.asked = None;
                    }
                    Leased::Yes
                }
                _ => Leased::Away,
            },
        }
    }

    /// Until when its lease in a shared store lasts, if it has one there.
    pub(super) fn lease_end(&self, held: &Held) -> Option<Instant> {
        held.asked().map(|asked| asked + self.settings.lease_time())
    }

    /// Whether its lease is lost, or might run out before an attempt that begins now has ended: it has to be asked for anew.
    #[inline]
    pub(crate) fn is_short(&self, held: &Held, clock: &dyn Clock) -> bool {
        let is_old = |asked| clock.now().saturating_duration_since(asked) > self.slack;
        held.there
            .as_ref()
            .is_some_and(|there| there.asked.is_some_and(|asked| there.is_lost || is_old(asked)))
    }

    /// Asks for a lease anew, as a later attempt of the same owner does: then it lasts from now on.
    pub(crate) async fn lease_anew(&self, held: &mut Held, clock: &dyn Clock) -> Leased {
        let Some(there) = held.there.as_mut().filter(|there| there.asked.is_some()) else {
            return Leased::Yes;
        };
        there.epoch = self.next_epoch();
        self.lease(held, clock).await
    }

    /// Keeps the lease of a shared store for as long as it is polled: asks for it again behind each third of it. `until` is told until when it lasts now; a lease that
    /// turns out to be lost is over at once, and is not asked for any more.
    pub(crate) async fn renewing(
        &self,
        held: &mut Held,
        clock: &dyn Clock,
        until: impl Fn(Instant) + Send,
    ) -> Infallible {
        let (lease, Some(mut asked)) = (self.settings.lease_time(), held.asked()) else {
            return pending().await;
        };
        loop {
            clock.guard_until(asked + lease / 3).await;
            asked = clock.now();
            let renewed = self.renewed(held, clock).await;
            // It may be reached the next time.
            let (Some(is_kept), Some(there)) = (renewed, &mut held.there) else { continue };
            match is_kept {
                true => {
                    there.asked = Some(asked);
                    until(asked + lease);
                }
                false => {
                    there.is_lost = true;
                    until(asked);
                    return pending().await;
                }
            }
        }
    }

    /// Asks once more for a lease that an attempt has. `Some(false)`: it is another's by now, or the key is done. `None`: nothing was said.
    async fn renewed(&self, held: &Held, clock: &dyn Clock) -> Option<bool> {
        let Place::Shared(store, local) = &self.place else { return Some(true) };
        let (claim, lease) = (self.claim(held), self.settings.lease_time());
        let within = ANSWER_WITHIN.min(lease / 3);
        let answer = self.reached(&**store, (clock, within), || store.lease(&claim, lease)).await?;
        if answer == Answer::Done {
            local.done(held.key, clock.now());
        }
        Some(answer == Answer::Leased)
    }

    /// The handler was done: tells the shared store, if it knows of the key; until `deadline`, if there is one. `false`: it could not be told, and is to be told again.
    pub(crate) async fn tell_done(&self, held: &Held, clock: &dyn Clock, deadline: Option<Instant>) -> bool {
        let Place::Shared(store, _) = &self.place else { return true };
        if !held.is_shared() {
            return true;
        }
        let claim = self.claim(held);
        let rest = deadline.map(|deadline| deadline.saturating_duration_since(clock.now()));
        let within = rest.unwrap_or(ANSWER_WITHIN).min(ANSWER_WITHIN);
        let done = || store.done(&claim, self.settings.ttl_of_keys());
        if self.reached(&**store, (clock, within), done).await.is_some() {
            return true;
        }
        let passes = self.settings.while_unreachable() == OnUnreachable::Pass;
        if passes {
            self.untold();
        }
        passes
    }

    /// It was told in vain until there was no more time.
    #[cold]
    pub(crate) fn untold(&self) {
        self.counts.untold.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            subscription = &*self.subscription,
            "an event was handled, and the shared store could not be told: a duplicate of it may be handled again"
        );
    }

    /// The handler was not done: gives the key back to the shared store. One that cannot be reached, or could not be when it was asked last, lets it run out: of
    /// many keys only the first is given back in vain.
    pub(crate) async fn give_back(&self, held: &Held, clock: &dyn Clock) {
        let Place::Shared(store, _) = &self.place else { return };
        if !held.is_shared() || self.is_away.load(Ordering::Relaxed) {
            return;
        }
        let claim = self.claim(held);
        _ = self.reached(&**store, (clock, ANSWER_WITHIN), || store.release(&claim)).await;
    }

    /// A store's answer; a panic in it, also when it is only asked, is none, and neither is what takes longer. That there is none is counted and logged.
    async fn reached<T, F: Future<Output = Result<T, Unreachable>>>(
        &self,
        store: &dyn IdempotencyStore,
        (clock, within): (&dyn Clock, Duration),
        ask: impl FnOnce() -> F,
    ) -> Option<T> {
        let answer = AssertUnwindSafe(async { ask().await }).catch_unwind();
        let unreachable = |reason| Unreachable { store: store.name(), reason };
        let answer = tokio::select! {
            biased;
            answer = answer => answer.unwrap_or_else(|_| Err(unreachable("it panicked".to_owned()))),
            () = clock.guard_until(clock.now() + within) => Err(unreachable(format!("no answer within {within:?}"))),
        };
        self.is_away.store(answer.is_err(), Ordering::Relaxed);
        answer.inspect_err(|unreachable| self.unreachable(unreachable)).ok()
    }

    fn claim(&self, held: &Held) -> Claim {
        let subscription = Arc::clone(&self.subscription);
        Claim { subscription, key: held.key, owner: self.owner, epoch: held.epoch() }
    }

    fn unreachable(&self, unreachable: &Unreachable) {
        let before = self.counts.unreachable.fetch_add(1, Ordering::Relaxed);
        // The first, and then less and less often: it may be away for hours.
        if (before + 1).is_power_of_two() {
            tracing::warn!(subscription = &*self.subscription, %unreachable, "idempotency is asked again later");
        }
    }
}

/// How long a store that has no bound of its own may take to answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How soon a shared store is asked again: for a lease that may be given back before it runs out, or when it could not be reached.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// For a lease that is about to run out.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(10);
