//! Attempts of what a broker delivers are no more than the retry budget's part of the traffic.

use std::time::Duration;

use busway_engine::SubscribeProblem;
use busway_engine::remote::RemoteError;
use busway_event::Raw;
use busway_middleware::{Batch, Delivery, batch};
use busway_reliability::{Retry, RetryBudget};
use busway_testkit::{Recorder, Script, Step, TestBus};

use super::world::{Scripted, delivery};
use crate::world::{ends, turns};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_is_over_the_budget_waits_in_hand_and_is_renewed() {
    let bus = TestBus::start().await;
    let (broker, seen) = (Scripted::able(), Recorder::<Raw>::new());
    let script = Script::new((0..4).map(|_| Step::Fail("no stock")));
    let stock = bus.subscribe("orders.#").concurrency(8).retry(Retry::constant(SECOND).attempts(2));
    let stock = stock.retry_budget(RetryBudget::percent(50).at_least(0));
    let stock = stock.on(&broker, "orders", "stock").to(seen.scripted(&script)).await.unwrap();
    let deliver = |numbers: std::ops::Range<u64>| {
        let of = |number: u64| delivery(number, &number.to_string(), Some(&number.to_string()));
        broker.deliver(numbers.map(of));
    };
    deliver(0..4);
    ends(async {
        while seen.count() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    turns().await;
    bus.clock().advance(SECOND);
    ends(broker.told(2)).await;
    turns().await;
    let stats = stock.stats();
    assert_eq!((seen.count(), stats.subscription.over_budget, stats.in_hand), (6, 2, 2));
    for _ in 0..9 {
        bus.clock().advance(SECOND);
        turns().await;
    }
    assert!(!broker.renewed().is_empty(), "they are worked on");
    assert_eq!((seen.count(), stock.stats().in_hand), (6, 2), "without traffic nothing is within it");
    deliver(4..8);
    ends(broker.told(2 + 4)).await;
    bus.clock().advance(SECOND);
    ends(broker.told(8)).await;
    assert_eq!(seen.deliveries().iter().map(Delivery::attempt).max(), Some(2));
    ends(stock.stop()).await;
}

#[tokio::test]
async fn batches_that_the_broker_delivers_again_have_none() {
    let (bus, broker) = (TestBus::start().await, Scripted::able());
    let many = batch(|_: Batch<Raw>| async {});
    let stock = bus.subscribe("orders.#").retry_budget(RetryBudget::percent(50));
    let refused = stock.on(&broker, "orders", "stock").to(many).await.unwrap_err();
    let RemoteError::Subscription(refused) = refused else { panic!("{refused}") };
    let setting = "the retry budget of a handler that takes batches";
    assert_eq!(refused.problems(), [SubscribeProblem::NotRemote { setting }]);
}
