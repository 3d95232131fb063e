//! What a bus was seen to do.

use busway_engine::FallbackKind;
use busway_engine::breaker::BreakerState;
use busway_event::{AnyEvent, EventId, Topic};
use busway_observability::{Circuit, Collector, Signal};
use parking_lot::Mutex;

/// Remembers what was published and handled.
#[derive(Debug, Default)]
pub(crate) struct Spy {
    pub(crate) published: Mutex<Vec<AnyEvent>>,
    pub(crate) handled: Mutex<Vec<Handled>>,
    pub(crate) breaker_moves: Mutex<Vec<BreakerMove>>,
    pub(crate) fallbacks: Mutex<Vec<FellBack>>,
    pub(crate) hung: Mutex<Vec<(String, AnyEvent)>>,
}

/// One event that a subscription has handled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handled {
    /// The subscription's name.
    pub subscription: String,
    /// The event.
    pub event: EventId,
    /// Its topic.
    pub topic: Topic,
    /// The outcome's word: `done`, `failed`, `dead`, `skipped`, `retry`.
    pub outcome: &'static str,
    /// The error or reason, with all its sources.
    pub error: Option<String>,
}

/// The circuit of a channel has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerMove {
    /// The subscription's name.
    pub subscription: String,
    /// The topic.
    pub topic: Topic,
    /// Where it was.
    pub from: BreakerState,
    /// Where it is.
    pub to: BreakerState,
}

/// What a breaker did in the place of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FellBack {
    /// The subscription's name.
    pub subscription: String,
    /// The event.
    pub event: EventId,
    /// What was done with it.
    pub how: FallbackKind,
}

impl Collector for Spy {
    fn collect(&self, signal: &Signal<'_>) {
        match *signal {
            Signal::Published { event, .. } => self.published.lock().push(event.clone()),
            Signal::Settled { subscription, event, outcome } => self.handled.lock().push(Handled {
                subscription: subscription.to_owned(),
                event: event.id(),
                topic: event.topic().clone(),
                outcome: outcome.label(),
                error: outcome.error_text(),
            }),
            Signal::Hung { subscription, event } => {
                self.hung.lock().push((subscription.to_owned(), event.clone()));
            }
            Signal::BreakerMoved { subscription, topic, from, to, .. } => {
                let (subscription, topic) = (subscription.to_owned(), topic.clone());
                let (from, to) = (state(from), state(to));
                self.breaker_moves.lock().push(BreakerMove { subscription, topic, from, to });
            }
            Signal::FellBack { subscription, event, how, .. } => {
                let (subscription, event) = (subscription.to_owned(), event.id());
                self.fallbacks.lock().push(FellBack { subscription, event, how });
            }
            _ => {}
        }
    }
}

fn state(circuit: Circuit) -> BreakerState {
    match circuit {
        Circuit::Closed => BreakerState::Closed,
        Circuit::Open => BreakerState::Open,
        _ => BreakerState::HalfOpen,
    }
}
