//! Events that kill their process, at a broker that charges a death to all that the process had in hand.

use std::collections::BTreeMap;
use std::time::Duration;

use busway_engine::Bus;
use busway_engine::remote::RemoteSubscription;
use busway_engine::transport::Verdict;
use busway_event::Raw;
use busway_middleware::{Batch, Delivery, batch};
use busway_reliability::{Order, Retry};
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};

use super::world::{Scripted, again, delivery, until};
use super::{done, memory, payload};
use crate::world::turns;

const EVENTS: u64 = 40;
const POISON: u64 = 3;

/// A member whose handler dies at the poison: it does not come back from there.
async fn dies(broker: &Scripted, concurrency: usize, gate: &Gate) -> (Bus, RemoteSubscription) {
    let (bus, gate) = (memory().await, gate.clone());
    let handler = move |delivery: Delivery| {
        let gate = gate.clone();
        async move {
            if payload(delivery.event()) == POISON.to_string() {
                gate.pass().await;
            }
        }
    };
    let stock = bus.subscribe("orders.#").order(Order::None).concurrency(concurrency);
    let stock = stock.on(broker, "orders", "stock").to(handler).await.unwrap();
    (bus, stock)
}

/// Deaths until everything is settled: what became of each, and how often each was delivered.
async fn all_settled(concurrency: usize) -> (BTreeMap<u64, Verdict>, BTreeMap<u64, u32>) {
    let (mut settled, mut counts) =
        (BTreeMap::new(), (0..EVENTS).map(|number| (number, 0)).collect::<BTreeMap<_, _>>());
    let mut dead = Vec::new();
    while settled.len() < counts.len() {
        assert!(dead.len() < 100, "{settled:?}");
        let (broker, gate) = (Scripted::able(), Gate::closed());
        let left: Vec<_> = (0..EVENTS).filter(|number| !settled.contains_key(number)).collect();
        broker.deliver(left.iter().map(|&at| again(delivery(at, &at.to_string(), None), counts[&at] + 1)));
        dead.push(dies(&broker, concurrency, &gate).await);
        until(|| gate.waiting() > 0 || broker.told_now().len() == left.len()).await;
        // As much as it likes to have in hand.
        turns().await;
        settled.extend(broker.told_now());
        let undelivered = broker.undelivered();
        for at in left.into_iter().filter(|at| !undelivered.contains(at)) {
            *counts.entry(at).or_default() += 1;
        }
    }
    (settled, counts)
}

#[tokio::test]
async fn an_event_that_kills_its_process_takes_no_other_one_along() {
    for concurrency in [1, 4] {
        let (settled, counts) = all_settled(concurrency).await;
        for (number, verdict) in settled {
            let count = counts[&number];
            if number == POISON {
                assert!(matches!(&verdict, Verdict::Dead(letter) if letter.attempts == 17), "{verdict:?}");
            } else {
                assert_eq!(verdict, Verdict::Done, "{number}");
                assert!(count <= 3, "{number} was delivered {count} times");
            }
        }
    }
}

#[tokio::test]
async fn of_a_row_that_was_delivered_too_often_only_the_first_is_given_up() {
    let (bus, broker, seen) = (memory().await, Scripted::able(), Recorder::<Raw>::new());
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").to(seen.handler()).await.unwrap();
    let often = |number: u64| again(delivery(number, &number.to_string(), None), 17);
    // Before it was known that there is a reason to ask for few.
    (1..=3).for_each(|number| broker.deliver([often(number)]));
    broker.deliver([delivery(4, "4", None), often(5)]);
    broker.deliver([often(6)]);
    let mut told = broker.told(6).await;
    told.sort_by_key(|(number, _)| *number);
    assert!(matches!((&told[0], &told[4]), ((1, Verdict::Dead(_)), (5, Verdict::Dead(_)))), "{told:?}");
    assert_eq!([&told[1], &told[2], &told[3], &told[5]], [&done(2), &done(3), &done(4), &done(6)]);
    assert_eq!(stock.stats().worn_out, 2);
}

#[tokio::test]
async fn one_that_came_suspiciously_often_is_alone_until_it_has_failed_or_taken_long() {
    let bus = TestBus::start().await;
    let (broker, seen, gate) = (Scripted::able(), Recorder::<Raw>::new(), Gate::closed());
    let steps = Script::new([Step::Fail("no stock"), Step::Done, Step::Wait(gate.clone())]);
    // Not drawn: it is not to come back meanwhile.
    let retry = Retry::constant(Duration::from_secs(3_600)).attempts(2);
    let stock = bus.subscribe("orders.#").order(Order::None).concurrency(4).retry(retry);
    let stock = stock.on(&broker, "orders", "stock").ack_wait(Duration::from_secs(30));
    let _stock = stock.to(seen.scripted(&steps)).await.unwrap();
    broker.deliver([again(delivery(1, "1", None), 3)]);
    broker.deliver([delivery(2, "2", None)]);
    // The first has failed, and waits for its next attempt.
    assert_eq!(broker.told(1).await, [done(2)]);
    broker.deliver([again(delivery(3, "3", None), 3)]);
    broker.deliver([delivery(4, "4", None)]);
    gate.reached(1).await;
    turns().await;
    assert_eq!(broker.undelivered(), [4]);
    bus.clock().advance(Duration::from_secs(30));
    assert_eq!(broker.told(2).await, [done(2), done(4)]);
    gate.open();
    assert_eq!(broker.told(3).await[2], done(3));
}

#[tokio::test]
async fn one_that_takes_long_holds_up_the_others_for_its_ack_wait_and_no_longer_though_some_are_settled_meanwhile()
 {
    let bus = TestBus::start().await;
    let (broker, long, brief) = (Scripted::able(), Gate::closed(), Gate::closed());
    let gates = [long.clone(), brief.clone()];
    let handler = move |delivery: Delivery| {
        let gates = gates.clone();
        async move {
            match payload(delivery.event()).as_str() {
                "long" => gates[0].pass().await,
                "brief" => gates[1].pass().await,
                _ => {}
            }
        }
    };
    let stock = bus.subscribe("orders.#").order(Order::None).concurrency(4).on(&broker, "orders", "stock");
    let _stock = stock.ack_wait(Duration::from_secs(30)).to(handler).await.unwrap();
    broker.deliver([delivery(1, "first", None)]);
    broker.told(1).await;
    broker.deliver([again(delivery(2, "long", None), 3), delivery(3, "brief", None)]);
    long.reached(1).await;
    brief.reached(1).await;
    broker.deliver([delivery(4, "later", None)]);
    turns().await;
    bus.clock().advance(Duration::from_secs(20));
    brief.open();
    assert_eq!(broker.told(2).await, [done(1), done(3)]);
    turns().await;
    assert_eq!(broker.undelivered(), [4]);
    bus.clock().advance(Duration::from_secs(10));
    assert_eq!(broker.told(3).await[2], done(4));
    long.open();
    assert_eq!(broker.told(4).await[3], done(2));
}

#[tokio::test]
async fn attempts_that_batches_ask_for_are_not_suspicious() {
    let (bus, broker, gate) = (memory().await, Scripted::able(), Gate::closed());
    let waits = gate.clone();
    let holds = batch(move |_: Batch<Raw>| {
        let waits = waits.clone();
        async move { waits.pass().await }
    });
    let stock = bus.subscribe("orders.#").retry(Retry::default().attempts(5)).on(&broker, "orders", "stock");
    let _stock = stock.to(holds).await.unwrap();
    broker.deliver([again(delivery(1, "1", None), 5)]);
    broker.deliver([again(delivery(2, "2", None), 6)]);
    broker.deliver([delivery(3, "3", None)]);
    until(|| broker.undelivered() == [3]).await;
    turns().await;
    assert_eq!(broker.undelivered(), [3]);
    gate.open();
    let letterless = broker.told(3).await.into_iter().filter(|(_, verdict)| *verdict == Verdict::Done);
    assert_eq!(letterless.count(), 3);
}
