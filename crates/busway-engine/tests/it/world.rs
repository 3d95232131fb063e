//! What the tests share: an event type, drafts of it, the sum that must always hold, turns of the runtime.

use std::time::Duration;

use busway_engine::SubscriptionStats;
use busway_event::{Draft, Event, EventType};
use busway_middleware::{BoxError, Delivery, Middleware, Next, Outcome, Permanent};
use busway_reliability::Tally;
use busway_testkit::Gate;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Number {
    pub(crate) n: u32,
}

impl EventType for Number {
    const NAME: &'static str = "number";
}

/// A payload whose drop panics, if it is told to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Brittle {
    pub(crate) breaks: bool,
}

impl EventType for Brittle {
    const NAME: &'static str = "brittle";
}

impl Drop for Brittle {
    fn drop(&mut self) {
        assert!(!self.breaks, "as it was told");
    }
}

/// An error, or something that a handler has, whose drop panics.
#[derive(Debug)]
pub(crate) struct Breaks;

impl std::fmt::Display for Breaks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it breaks")
    }
}

impl std::error::Error for Breaks {}

impl Drop for Breaks {
    fn drop(&mut self) {
        panic!("as it was told");
    }
}

/// Of three numbers one is right, one fails with it, and one is given up with it.
pub(crate) fn breaking(n: u32) -> Result<(), BoxError> {
    match n % 3 {
        0 => Ok(()),
        1 => Err(Breaks.into()),
        _ => Err(Permanent(Breaks).into()),
    }
}

/// An event on `topic`.
pub(crate) fn number(topic: &str, n: u32) -> Draft<Number> {
    Event::new(topic, Number { n })
}

/// offered = delivered + dropped + expired + abandoned, with nothing left that waits.
#[track_caller]
pub(crate) fn assert_settled(stats: &SubscriptionStats) {
    assert_eq!(stats.tally.offered, stats.tally.settled(), "{stats}");
    assert_eq!(stats.running, 0, "{stats}");
    assert_eq!(stats.tally.delivered, stats.done + stats.failed + stats.dead + stats.skipped);
}

/// The account as an array: offered, delivered, dropped, expired, abandoned.
pub(crate) fn account(tally: &Tally) -> [u64; 5] {
    [tally.offered, tally.delivered, tally.dropped, tally.expired, tally.abandoned]
}

/// Lets every task of a current-thread runtime come as far as it can: each turn runs all that are ready, and chains of
/// wake-ups are much shorter than this.
pub(crate) async fn turns() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Async middleware that waits at a gate, then goes on inwards.
pub(crate) struct AtGate(pub(crate) Gate);

impl Middleware for AtGate {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        self.0.pass().await;
        next.run(delivery).await
    }
}

/// Waits for what must end by itself. Not a promise about time: it makes a failure of a test that would hang.
#[track_caller]
pub(crate) fn ends<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let ended = tokio::time::timeout(HANGS_AFTER, future).await;
        ended.unwrap_or_else(|_| panic!("what should end at {caller} hangs"))
    }
}

/// Far beyond anything that a test does.
const HANGS_AFTER: Duration = Duration::from_secs(20);
