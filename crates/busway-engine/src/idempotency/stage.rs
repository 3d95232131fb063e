//! Idempotency of an ephemeral subscription: a step of its chain.

use std::sync::Arc;

use busway_middleware::{Delivery, Flow, Middleware, Next, Outcome, SyncMiddleware};

use super::{Entered, Held, Keeper, LOOK_AGAIN, Leased, Waiters};
use crate::clock::Clock;

/// In [`Stage::Idempotency`](busway_middleware::Stage::Idempotency), before [`Once`]: what the local cache knows as done goes no further. Most duplicates
/// end here, and cost no future.
pub(crate) struct Known(pub(crate) Arc<Keeper>, pub(crate) Arc<dyn Clock>);

impl SyncMiddleware for Known {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        match self.0.is_known(delivery.event(), self.1.now()) {
            true => Flow::Stop(Outcome::Skip),
            false => Flow::Continue,
        }
    }
}

/// In [`Stage::Idempotency`](busway_middleware::Stage::Idempotency). Who finds its key with another one waits here until that is let go; who
/// cannot reach a shared store waits here and asks again: the lane behind it waits too, and the subscription's overflow policy decides about what
/// comes then.
pub(crate) struct Once(pub(crate) Arc<Keeper>, pub(crate) Arc<dyn Clock>);

impl Middleware for Once {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        let (keeper, clock) = (&*self.0, &*self.1);
        loop {
            let held = match keeper.enter(delivery.event(), clock) {
                Entered::Duplicate => return Outcome::Skip,
                Entered::NoKey(error) => return keeper.without_key(error),
                Entered::Busy(key) => {
                    let changed = keeper.changed.notified();
                    tokio::pin!(changed);
                    changed.as_mut().enable();
                    // Let go before anybody listened, nobody says so any more.
                    if keeper.is_at_work(key, clock.now()) {
                        changed.await;
                    }
                    continue;
                }
                Entered::Held(held) => held,
            };
            let mut held = LetGo { keeper, clock, held, is_done: None };
            match keeper.lease(&mut held.held, clock).await {
                Leased::Yes => {
                    held.is_done = Some(false);
                    let outcome = next.run(delivery).await;
                    return held.conclude(outcome).await;
                }
                Leased::Duplicate => return Outcome::Skip,
                Leased::Later(wait) => {
                    drop(held);
                    clock.sleep_until(clock.now() + wait).await;
                }
                Leased::Away => {
                    drop(held);
                    clock.sleep_until(clock.now() + LOOK_AGAIN).await;
                }
            }
        }
    }
}

/// A key is let go whatever becomes of the attempt.
struct LetGo<'a> {
    keeper: &'a Keeper,
    clock: &'a dyn Clock,
    held: Held,
    /// `None`: nothing was handled.
    is_done: Option<bool>,
}

impl LetGo<'_> {
    /// Tells a shared store of what has become of it.
    async fn conclude(mut self, outcome: Outcome) -> Outcome {
        self.is_done = Some(outcome.is_done());
        if !outcome.is_done() {
            self.keeper.give_back(&self.held, self.clock).await;
            return outcome;
        }
        while !self.keeper.tell_done(&self.held, self.clock, None).await {
            self.clock.sleep_until(self.clock.now() + LOOK_AGAIN).await;
        }
        outcome
    }
}

impl Drop for LetGo<'_> {
    fn drop(&mut self) {
        // Nobody of an ephemeral subscription is parked.
        drop(match self.is_done {
            Some(is_done) => self.keeper.let_go(&self.held, is_done, self.clock.now()),
            None => self.keeper.hand_back(&self.held, Waiters::All),
        });
    }
}
