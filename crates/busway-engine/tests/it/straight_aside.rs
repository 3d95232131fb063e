//! The straight way to an inline handler, where a payload's own code takes long, breaks a rule or panics: nobody waits for it, and nobody is forgotten.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use busway_engine::{Bus, Publisher, Receipt, Refused, Subscription};
use busway_event::{Event, EventType};
use busway_middleware::{
    Delivery, ExtractError, FromDelivery, IntoReply, Loan, Mode, Payload, Reply, inline,
};
use serde::{Deserialize, Serialize};

use crate::world::{Brittle, Number, account};

/// More than it takes for a thread to know the way.
const MANY: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(30);

/// A payload that is asked for its key at a gate, if it has one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Slow {
    key: String,
    #[serde(skip)]
    gate: Option<Arc<AtGate>>,
}

#[derive(Debug, Default)]
struct AtGate {
    is_asked: AtomicBool,
    is_open: AtomicBool,
}

fn until(holds: impl Fn() -> bool) {
    while !holds() {
        thread::yield_now();
    }
}

impl EventType for Slow {
    const NAME: &'static str = "slow";

    fn key(&self) -> Option<String> {
        if let Some(gate) = &self.gate {
            gate.is_asked.store(true, Ordering::SeqCst);
            until(|| gate.is_open.load(Ordering::SeqCst));
        }
        Some(self.key.clone())
    }
}

type Publishing<T> = thread::JoinHandle<T>;

/// A thread that knows the way, and is in the middle of being told the key of its next payload.
async fn asking<T: Send + 'static>(
    key: &'static str,
    last: impl FnOnce(&Publisher<Slow>, Slow) -> T + Send + 'static,
) -> (Bus, Subscription, Arc<AtGate>, Publishing<T>) {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let subscription = bus.subscribe("a").to(inline(|_: Payload<Slow>| {})).await.unwrap();
    let publisher = bus.publisher::<Slow>("a").unwrap();
    let gate = Arc::<AtGate>::default();
    let at = Arc::clone(&gate);
    let publishing = thread::spawn(move || {
        for n in 0..MANY {
            publisher.try_publish(Slow { key: n.to_string(), gate: None }).unwrap();
        }
        last(&publisher, Slow { key: key.to_owned(), gate: Some(at) })
    });
    until(|| gate.is_asked.load(Ordering::SeqCst));
    (bus, subscription, gate, publishing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_does_not_wait_for_a_key_and_is_not_forgotten_when_it_breaks_a_rule() {
    let refused = |publisher: &Publisher<Slow>, slow| {
        let error = publisher.try_publish(slow).unwrap_err();
        matches!(error.reason(), Some(Refused::Invalid(_)))
    };
    let (bus, subscription, gate, publishing) = asking("", refused).await;
    let stopped = tokio::time::timeout(PATIENCE, subscription.stop()).await.unwrap();
    assert_eq!(account(&stopped.tally), [100, 100, 0, 0, 0]);
    gate.is_open.store(true, Ordering::SeqCst);
    tokio::time::timeout(PATIENCE, bus.idle()).await.unwrap();
    assert!(publishing.join().unwrap());
    assert_eq!((bus.stats().published, bus.stats().refused), (100, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_handler_was_stopped_while_it_was_made_is_offered_to_nobody() {
    let sent = |publisher: &Publisher<Slow>, slow| publisher.try_publish(slow).unwrap();
    let (bus, subscription, gate, publishing) = asking("late", sent).await;
    let stopped = tokio::time::timeout(PATIENCE, subscription.stop()).await.unwrap();
    gate.is_open.store(true, Ordering::SeqCst);
    let Receipt { offered, .. } = publishing.join().unwrap();
    assert_eq!((offered, account(&stopped.tally)), (0, [100, 100, 0, 0, 0]));
    tokio::time::timeout(PATIENCE, bus.idle()).await.unwrap();
    assert_eq!((bus.stats().published, bus.stats().unrouted), (101, 1));
}

/// Says that it has nothing to publish, and may have.
struct Liar(bool);

impl IntoReply for Liar {
    const MAY_EMIT: bool = false;

    fn into_reply(self) -> Reply {
        match self.0 {
            true => Event::new("b", Number { n: 1 }).into_reply(),
            false => ().into_reply(),
        }
    }
}

#[tokio::test]
async fn what_a_reply_emits_that_says_it_does_not_is_a_failure_and_no_silence() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let handler = inline(|number: Payload<Number>| Liar(number.n >= MANY / 2));
    let liar = bus.subscribe("a").to(handler).await.unwrap();
    let seen = bus.subscribe("b").to(inline(|_: Payload<Number>| {})).await.unwrap();
    let publisher = bus.publisher::<Number>("a").unwrap();
    for n in 0..MANY {
        publisher.try_publish(Number { n }).unwrap();
    }
    let (stats, seen) = (liar.stats(), seen.stats());
    assert_eq!((stats.done, stats.failed, seen.done), (50, 50, 0));
    assert!(stats.last_failure.unwrap().error.contains("MAY_EMIT"));
}

/// Takes what it is lent, and gives no argument for half of it.
struct Greedy;

impl<M: Mode> FromDelivery<M> for Greedy {
    const LENT: bool = true;

    fn from_delivery(_delivery: &Delivery) -> Result<Self, ExtractError> {
        Ok(Self)
    }

    fn from_loan(mut loan: Loan<'_>) -> Option<Self> {
        let number = loan.take::<Number>()?;
        (number.payload().n < MANY / 2).then_some(Self)
    }
}

#[tokio::test]
async fn an_event_that_an_extractor_took_and_did_not_use_is_a_failure_and_no_silence() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let greedy = bus.subscribe("a").to(inline(|_: Greedy| {})).await.unwrap();
    let publisher = bus.publisher::<Number>("a").unwrap();
    for n in 0..MANY {
        publisher.try_publish(Number { n }).unwrap();
    }
    let stats = greedy.stats();
    assert_eq!((stats.done, stats.failed), (50, 50));
    assert!(stats.last_failure.unwrap().error.contains("gave no argument"));
}

/// Needs no more of what it is lent than that it is there.
struct Tick;

impl<M: Mode> FromDelivery<M> for Tick {
    const LENT: bool = true;

    fn from_delivery(_delivery: &Delivery) -> Result<Self, ExtractError> {
        Ok(Self)
    }

    fn from_loan(_loan: Loan<'_>) -> Option<Self> {
        Some(Self)
    }
}

#[tokio::test]
async fn an_event_that_its_extractor_left_where_it_was_is_let_go_of_behind_all_that_somebody_waits_for() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let subscription = bus.subscribe("a").to(inline(|_: Tick| {})).await.unwrap();
    let publisher = bus.publisher::<Brittle>("a").unwrap();
    let mut broken = 0;
    for n in 0..MANY {
        let publish = || publisher.try_publish(Brittle { breaks: n == MANY / 2 }).map(|_receipt| ());
        match catch_unwind(AssertUnwindSafe(publish)) {
            Ok(told) => told.unwrap(),
            Err(_) => broken += 1,
        }
    }
    let stats = subscription.stats();
    assert_eq!((broken, stats.done, stats.failed, stats.running), (1, 100, 0, 0));
    bus.idle().await;
}

#[tokio::test]
async fn a_payload_that_panics_while_its_handler_does_ends_nothing_else() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let handler = inline(|brittle: Payload<Brittle>| assert!(!brittle.breaks, "a bug of a handler"));
    let subscription = bus.subscribe("a").to(handler).await.unwrap();
    let publisher = bus.publisher::<Brittle>("a").unwrap();
    for n in 0..MANY {
        publisher.try_publish(Brittle { breaks: n == MANY / 2 }).unwrap();
    }
    let stats = subscription.stats();
    assert_eq!((stats.failed, stats.done, stats.running), (1, 99, 0));
}
