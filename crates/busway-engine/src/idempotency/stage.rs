//! Idempotency of an ephemeral subscription: a step of its chain.

use std::sync::Arc;

use busway_middleware::{Delivery, Flow, Middleware, Next, Outcome, SyncMiddleware};

use super::kept::{Kept, LetGo};
use super::leaving::is_leaving;
use super::{Entered, Keeper, LOOK_AGAIN, Leased, beside};
use crate::clock::Clock;

/// In [`Stage::Idempotency`](busway_middleware::Stage::Idempotency), before [`Once`]: what the local cache knows as done goes no further. Most duplicates
/// end here, and cost no future.
pub(crate) struct Known {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) is_inline: bool,
}

impl SyncMiddleware for Known {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        if self.keeper.is_known(delivery.event(), self.clock.now()) {
            return Flow::Stop(Outcome::Skip);
        }
        Kept::equip(delivery, self.is_inline);
        Flow::Continue
    }
}

/// In [`Stage::Idempotency`](busway_middleware::Stage::Idempotency). Who finds its key with another one waits here until that is let go; who
/// cannot reach a shared store waits here and asks again: the lane behind it waits too, and the subscription's overflow policy decides about what
/// comes then.
pub(crate) struct Once(pub(crate) Arc<Keeper>, pub(crate) Arc<dyn Clock>);

impl Middleware for Once {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        let (keeper, clock) = (&*self.0, &*self.1);
        // A step outside of it goes on inwards again: what came of the time before is forgotten.
        if let Some(held) = Kept::take(delivery) {
            held.end(false, delivery).await;
        }
        Kept::take_substituted(delivery);
        loop {
            let held = match keeper.enter(delivery.event(), None, clock) {
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
            let (keeper_of_it, clock_of_it) = (Arc::clone(&self.0), Arc::clone(&self.1));
            let mut held = LetGo { keeper: keeper_of_it, clock: clock_of_it, held, is_done: None };
            match keeper.lease(&mut held.held, clock).await {
                Leased::Yes => {
                    held.is_done = Some(false);
                    let outcome = leased(&mut held, delivery, &mut next).await;
                    if Kept::take_lost(delivery) {
                        held.is_done = None;
                        continue;
                    }
                    // What was done in the handler's place is settled, and leaves its key as if nothing had been done.
                    let is_done = outcome.is_done() && !Kept::take_substituted(delivery);
                    let held = if is_done { Kept::leave(delivery, held) } else { Some(held) };
                    if let Some(held) = held {
                        held.end(is_done, delivery).await;
                    }
                    return outcome;
                }
                Leased::Duplicate => return Outcome::Skip,
                Leased::Later(wait) => {
                    drop(held);
                    clock.sleep_until(clock.now() + wait).await;
                }
                Leased::Away => {
                    drop(held);
                    if is_leaving(delivery) {
                        Kept::leave_unhandled(delivery);
                        return Outcome::failed(
                            "its subscription ends while the shared store of its keys is away: it was not handled",
                        );
                    }
                    clock.sleep_until(clock.now() + LOOK_AGAIN).await;
                }
            }
        }
    }
}

/// What is inside of it, under a lease that is kept meanwhile: inside it may wait for longer than a lease lasts.
async fn leased(held: &mut LetGo, delivery: &mut Delivery, next: &mut Next<'_>) -> Outcome {
    let Some(until) = held.keeper.lease_end(&held.held) else { return next.run(delivery).await };
    let end = Kept::leased(delivery, until);
    let LetGo { keeper, held, clock, .. } = held;
    beside(next.run(delivery), keeper.renewing(held, &**clock, |until| end.is_at(until))).await
}
