//! The key of an attempt in memory, kept from the handler until what it returned is published: a key is not done before its event is.

use std::sync::Arc;

use busway_middleware::{Delivery, Outcome};
use parking_lot::Mutex;

use super::{Held, Keeper, LOOK_AGAIN, Waiters};
use crate::clock::Clock;

/// In each delivery of an idempotent subscription in memory, all copies of it: the key of an attempt whose handler was done. Whoever settles its event takes it from
/// there and concludes it. Not for an inline handler: what that returns is published behind it by its publisher, and may come back to it.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Option<LetGo>>);

impl Kept {
    /// Takes the key that a chain has left.
    pub(crate) fn take(delivery: &Delivery) -> Option<LetGo> {
        delivery.get::<Self>()?.0.lock().take()
    }

    /// Leaves a key. It comes back when nobody is there who would conclude it.
    pub(super) fn leave(delivery: &Delivery, held: LetGo) -> Option<LetGo> {
        let Some(kept) = delivery.get::<Self>() else { return Some(held) };
        *kept.0.lock() = Some(held);
        None
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
    /// The event has come to this. Tells a shared store, then lets the key go.
    pub(crate) async fn conclude(mut self, outcome: Outcome) -> Outcome {
        self.is_done = Some(outcome.is_done());
        let (keeper, clock) = (&*self.keeper, &*self.clock);
        if !outcome.is_done() {
            keeper.give_back(&self.held, clock).await;
            return outcome;
        }
        while !keeper.tell_done(&self.held, clock, None).await {
            clock.sleep_until(clock.now() + LOOK_AGAIN).await;
        }
        outcome
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
