//! The key of an attempt in memory, kept from the handler until what it returned is published: a key is not done before its event is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use busway_middleware::{Delivery, Outcome};
use parking_lot::Mutex;

use super::leaving::too_late;
use super::{Held, Keeper, LOOK_AGAIN, Waiters, beside};
use crate::clock::Clock;

/// In each delivery of an idempotent subscription in memory that is no known duplicate, and all copies of it: the key of an attempt whose handler was done. Whoever settles its event takes it from
/// there and concludes it. Not for an inline handler: what that returns is published behind it by its publisher, and may come back to it.
pub(crate) struct Kept {
    held: Mutex<Option<LetGo>>,
    is_inline: bool,
    /// Something was done in the place of the handler.
    is_substituted: AtomicBool,
    /// With a shared store: until when the lease lasts that the attempt has there.
    lease: Mutex<Option<Arc<LeaseEnd>>>,
    /// Its lease was found over in the middle of the chain.
    is_lost: AtomicBool,
    /// It was not handled: its subscription ends, and the shared store is away.
    is_left: AtomicBool,
}

/// When a lease is over, unless it is asked for again before.
pub(super) struct LeaseEnd(Mutex<Instant>);

impl LeaseEnd {
    pub(super) fn is_at(&self, until: Instant) {
        *self.0.lock() = until;
    }
}

impl Kept {
    /// Gives it to a delivery that has none.
    pub(super) fn equip(delivery: &mut Delivery, is_inline: bool) {
        if delivery.get::<Self>().is_none() {
            let [is_substituted, is_lost, is_left] = [const { AtomicBool::new(false) }; 3];
            let (held, lease) = (Mutex::new(None), Mutex::new(None));
            delivery.insert(Self { held, is_inline, is_substituted, lease, is_lost, is_left });
        }
    }

    /// Notes until when the lease lasts that the attempt has.
    pub(super) fn leased(delivery: &Delivery, until: Instant) -> Arc<LeaseEnd> {
        let end = Arc::new(LeaseEnd(Mutex::new(until)));
        if let Some(kept) = delivery.get::<Self>() {
            *kept.lease.lock() = Some(Arc::clone(&end));
        }
        end
    }

    /// Whether the lease of the attempt is over, so that its handler must not be called: for who has waited in the chain. It gives up then, and the key is asked for
    /// again.
    pub(crate) fn is_over(delivery: &Delivery, now: Instant) -> bool {
        let Some(kept) = delivery.get::<Self>() else { return false };
        let is_over = kept.lease.lock().as_ref().is_some_and(|end| *end.0.lock() <= now);
        if is_over {
            kept.is_lost.store(true, Ordering::Relaxed);
        }
        is_over
    }

    /// Whether that was so since this was asked last.
    pub(super) fn take_lost(delivery: &Delivery) -> bool {
        let Some(kept) = delivery.get::<Self>().filter(|kept| kept.is_lost.swap(false, Ordering::Relaxed))
        else {
            return false;
        };
        *kept.lease.lock() = None;
        true
    }

    /// Notes that the event is not handled by this subscription, which ends while the shared store is away.
    pub(super) fn leave_unhandled(delivery: &Delivery) {
        if let Some(kept) = delivery.get::<Self>() {
            kept.is_left.store(true, Ordering::Relaxed);
        }
    }

    /// Whether that is so: it is not attempted again here.
    pub(crate) fn is_left_unhandled(delivery: &Delivery) -> bool {
        delivery.get::<Self>().is_some_and(|kept| kept.is_left.load(Ordering::Relaxed))
    }

    /// Whether a chain has left a key.
    pub(crate) fn has_key(delivery: &Delivery) -> bool {
        delivery.get::<Self>().is_some_and(|kept| kept.held.lock().is_some())
    }

    /// Takes the key that a chain has left: not done, unless who takes it says so.
    pub(crate) fn take(delivery: &Delivery) -> Option<LetGo> {
        let mut held = delivery.get::<Self>()?.held.lock().take()?;
        held.is_done = Some(false);
        Some(held)
    }

    /// Leaves a key. It comes back when nobody is there who would conclude it.
    pub(super) fn leave(delivery: &Delivery, mut held: LetGo) -> Option<LetGo> {
        let Some(kept) = delivery.get::<Self>().filter(|kept| !kept.is_inline) else { return Some(held) };
        // Should nobody take it: a step outside may have handed on a copy of its delivery, and let that go.
        held.is_done = Some(true);
        *kept.held.lock() = Some(held);
        None
    }

    /// Notes that something was done in the place of the handler, which makes no key done.
    pub(crate) fn substituted(delivery: &Delivery) {
        if let Some(kept) = delivery.get::<Self>() {
            kept.is_substituted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether something was done in the place of the handler since this was asked last.
    pub(super) fn take_substituted(delivery: &Delivery) -> bool {
        delivery.get::<Self>().is_some_and(|kept| kept.is_substituted.swap(false, Ordering::Relaxed))
    }
}

/// A key that is let go whatever becomes of the attempt.
pub(crate) struct LetGo {
    pub(super) keeper: Arc<Keeper>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) held: Held,
    /// `None`: nothing was handled.
    pub(super) is_done: Option<bool>,
}

impl LetGo {
    /// Does what is still to be done under its key.
    pub(crate) async fn keep<T>(&mut self, work: impl Future<Output = T>) -> T {
        if !self.held.is_leased() {
            return work.await;
        }
        beside(work, self.keeper.renewing(&mut self.held, &*self.clock, |_| {})).await
    }

    /// The event has come to this: its key is done, or given back.
    pub(crate) async fn conclude(self, outcome: Outcome, delivery: &Delivery) -> Outcome {
        self.end(outcome.is_done(), delivery).await;
        outcome
    }

    /// Tells a shared store, then lets the key go. What was handled must not be handled again for that the store cannot be told: it is told again until it has heard, or
    /// [there is no time left](too_late) for that.
    pub(super) async fn end(mut self, is_done: bool, delivery: &Delivery) {
        self.is_done = Some(is_done);
        let (keeper, clock) = (&*self.keeper, &*self.clock);
        if !self.held.is_shared() {
            return;
        }
        if !is_done {
            keeper.give_back(&self.held, clock).await;
            return;
        }
        let told = async {
            while !keeper.tell_done(&self.held, clock, None).await {
                clock.sleep_until(clock.now() + LOOK_AGAIN).await;
            }
        };
        tokio::select! {
            biased;
            () = told => {}
            () = too_late(delivery, clock) => keeper.untold(),
        }
    }
}

impl Drop for LetGo {
    fn drop(&mut self) {
        // Nobody of an ephemeral subscription is parked.
        drop(match self.is_done {
            Some(is_done) => self.keeper.let_go(&self.held, is_done, self.clock.now()),
            None => self.keeper.hand_back(&self.held, Waiters::All),
        });
    }
}
