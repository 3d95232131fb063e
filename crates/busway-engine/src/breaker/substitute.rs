//! What is done in the place of a call, as far as that is the same on durable and ephemeral subscriptions.

use std::panic::{AssertUnwindSafe, catch_unwind};

use busway_event::Topic;
use busway_middleware::chain::drop_contained;
use busway_middleware::{Delivery, Outcome, Reply};
use thiserror::Error;

use super::fallback::Kind;
use super::guard::Guard;

/// See the module.
#[derive(Debug)]
pub(crate) enum Substitute {
    /// The event waits for its channel, and its lane behind it.
    Wait,
    /// The event waits for its channel alone.
    WaitAside,
    /// It is answered.
    Answer(Reply),
}

/// Why an event is a dead letter that no handler has seen.
#[derive(Debug, Error)]
#[error("the circuit of {topic} is open")]
struct CircuitOpen {
    topic: Topic,
}

impl Guard {
    /// What to do with an event whose call is refused.
    pub(crate) fn substitute(&self, delivery: &Delivery) -> Substitute {
        match &self.breaker().fallback.kind {
            Kind::Pause => Substitute::Wait,
            Kind::AckAndRetryLater => Substitute::WaitAside,
            Kind::Cached(_) => match self.remembered(delivery.event()) {
                Some(emits) => Substitute::Answer(Reply { outcome: Outcome::Done, emits }),
                None => Substitute::Wait,
            },
            Kind::Handler(degraded) => match catch_unwind(AssertUnwindSafe(|| degraded(delivery))) {
                Ok(reply @ Reply { outcome: Outcome::Done | Outcome::Skip | Outcome::Dead(_), .. }) => {
                    Substitute::Answer(reply)
                }
                // What it says is nobody's attempt: the event waits for its handler.
                Ok(reply) => {
                    drop_contained(reply);
                    Substitute::Wait
                }
                Err(_) => {
                    tracing::error!(
                        subscription = &*self.subscription(),
                        "a degrade function panicked: the event waits"
                    );
                    Substitute::Wait
                }
            },
            Kind::DeadLetter => {
                let topic = delivery.event().topic().clone();
                Substitute::Answer(Outcome::dead(CircuitOpen { topic }).into())
            }
        }
    }
}
