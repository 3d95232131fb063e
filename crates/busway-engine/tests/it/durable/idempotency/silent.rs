//! A shared store that says nothing at all: each question has an end of its own.

use std::time::Duration;

use busway_middleware::{Batch, batch};
use busway_reliability::Retry;
use busway_testkit::{Gate, ManualClock, Recorder, Script, SharedKeys, Step};

use super::super::{dir, numbers, open_on, stock};
use super::shared::{is_settled_in_the_next_life, shared};
use super::{publish, steps};
use crate::world::{Number, turns};

/// Drives something to its end while the clock goes on by the second, and says how many seconds it took.
async fn seconds_until<T>(clock: &ManualClock, future: impl Future<Output = T>) -> (T, u32) {
    let seconds = std::cell::Cell::new(0);
    let time = async {
        while seconds.get() < 600 {
            for _ in 0..20 {
                turns().await;
            }
            clock.advance(Duration::from_secs(1));
            seconds.set(seconds.get() + 1);
        }
    };
    tokio::select! {
        biased;
        ended = future => (ended, seconds.get()),
        () = time => panic!("it has not ended in ten minutes"),
    }
}

#[tokio::test]
async fn a_store_that_never_answers_is_one_that_cannot_be_reached() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let keys = SharedKeys::new(&clock);
    let bus = open_on(&clock, &dir).await;
    let subscription = stock(&bus).idempotent(shared(&keys)).to(recorder.handler()).await.unwrap();
    let memory = bus.subscribe("orders.#").name("mail").idempotent(shared(&keys));
    let memory = memory.to(Recorder::<Number>::new().handler()).await.unwrap();
    keys.set_silent(true);
    publish(&bus, [("A", 1)]).await;
    let unreachable = || [steps(&subscription).unreachable, memory.stats().idempotency.unwrap().unreachable];
    let ((), seconds) = seconds_until(&clock, async {
        while unreachable().into_iter().any(|times| times < 2) {
            turns().await;
        }
    })
    .await;
    assert!(seconds < 20, "asked {} times, told {:?}", keys.calls(), unreachable());
    assert!(seconds >= 10, "five seconds are waited for each answer, not {seconds} for two");
    assert_eq!((recorder.count(), subscription.stats().parked), (0, 0), "they wait in the log");
    keys.set_silent(false);
    for _ in 0..7 {
        turns().await;
        clock.advance(Duration::from_secs(1));
    }
    bus.settle().await;
    recorder.assert_payloads(&numbers([1]));
    assert_eq!(memory.stats().done, 1);
    bus.finish().await;
}

#[tokio::test]
async fn an_effect_that_a_silent_store_cannot_be_told_of_is_settled_within_seconds_when_the_bus_ends() {
    let (dir, clock, gate) = (dir(), ManualClock::new(), Gate::closed());
    let (keys, recorder) = (SharedKeys::new(&clock), Recorder::<Number>::new());
    let bus = open_on(&clock, &dir).await;
    let script = Script::new([Step::Wait(gate.clone())]);
    let subscription = stock(&bus).idempotent(shared(&keys)).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, [("A", 1)]).await;
    gate.reached(1).await;
    keys.set_silent(true);
    gate.open();
    seconds_until(&clock, async {
        while steps(&subscription).unreachable < 2 {
            turns().await;
        }
    })
    .await;
    let (_, seconds) = seconds_until(&clock, bus.finish()).await;
    assert!((5..=11).contains(&seconds), "a question that is under way, and five seconds: {seconds}");
    keys.set_silent(false);
    is_settled_in_the_next_life(&dir, &clock, &keys, &recorder).await;
}

/// Of the keys of a batch only the first is given back in vain: the others run out, or are taken again by whoever had them.
#[tokio::test]
async fn a_batch_that_fails_beside_a_silent_store_is_decided_behind_one_question() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (keys, bus) = (SharedKeys::new(&clock), open_on(&clock, &dir).await);
    let silenced = keys.clone();
    let fails = batch(move |_: Batch<Number>| {
        silenced.set_silent(true);
        std::future::ready(Err::<(), _>("no"))
    });
    let retry =
        Retry::default().first_delay(Duration::from_secs(3_600)).longest_delay(Duration::from_secs(3_600));
    publish(&bus, ["A", "B", "C", "D", "E", "F", "G", "H"].into_iter().zip(0..)).await;
    let subscription = stock(&bus).retry(retry).idempotent(shared(&keys)).to(fails).await.unwrap();
    let ((), seconds) = seconds_until(&clock, async {
        while subscription.stats().failed < 8 {
            turns().await;
        }
    })
    .await;
    assert!((5..=6).contains(&seconds), "one question, and not eight: {seconds}");
    keys.set_silent(false);
    bus.finish().await;
}
