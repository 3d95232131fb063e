//! Durable subscriptions that nobody attends any more.

use std::time::Duration;

use busway_engine::Standing;
use busway_testkit::{ManualClock, Recorder, TestBus};

use super::{dir, open_on, publish, stock, with_orders};
use crate::world::{Number, ends};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Waits until the bus has looked and found as many.
async fn found(bus: &TestBus, count: usize) -> Vec<String> {
    ends(async {
        while bus.stats().abandoned.len() != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
    bus.stats().abandoned
}

async fn standing(bus: &TestBus, name: &str) -> Standing {
    bus.cursor(name).standing().await.unwrap()
}

#[tokio::test]
async fn a_subscription_that_nobody_attends_is_told_of_until_it_is_taken_up_or_removed() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let bus = open_on(&clock, &dir).await;
    stock(&bus).to(recorder.handler()).await.unwrap();
    for name in ["mail", "audit"] {
        bus.subscribe("orders.#").durable(name).to(recorder.handler()).await.unwrap().stop().await;
    }
    publish(&bus, 0..3).await;
    bus.settle().await;
    clock.advance(6 * DAY);
    publish(&bus, [3]).await;
    bus.settle().await;
    let mail = standing(&bus, "mail").await;
    assert_eq!((mail.idle, mail.is_abandoned, mail.is_holding), (Some(6 * DAY), false, true));
    clock.advance(DAY);
    publish(&bus, [4]).await;
    assert_eq!(found(&bus, 2).await, ["audit", "mail"]);
    let mail = standing(&bus, "mail").await;
    assert_eq!((mail.idle, mail.is_abandoned, mail.is_holding), (Some(7 * DAY), true, true));
    // It runs: nobody need look after it, however little there is to do.
    bus.settle().await;
    let running = standing(&bus, "stock").await;
    assert_eq!(
        (running.idle, running.is_abandoned, running.is_holding),
        (Some(Duration::ZERO), false, false)
    );

    bus.subscribe("orders.#").durable("mail").to(recorder.handler()).await.unwrap();
    assert_eq!(bus.stats().abandoned, ["audit"]);
    bus.cursor("audit").remove().await.unwrap();
    clock.advance(DAY);
    publish(&bus, [5]).await;
    found(&bus, 0).await;
    bus.finish().await;
}

#[tokio::test]
async fn when_it_was_last_attended_outlives_its_process_and_the_bus_says_how_long_is_too_long() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let bus = open_on(&clock, &dir).await;
    stock(&bus).to(recorder.handler()).await.unwrap();
    // Attended all the time, though nothing happens.
    clock.advance(9 * DAY);
    bus.finish().await;

    clock.advance(DAY);
    let configure = |builder| with_orders(builder).abandoned_after(2 * DAY);
    let bus = TestBus::open_on(clock.clone(), dir.path(), configure).await;
    let stored = standing(&bus, "stock").await;
    assert_eq!((stored.idle, stored.is_abandoned, stored.is_holding), (Some(DAY), false, false));
    publish(&bus, [0]).await;
    clock.advance(DAY);
    let stored = standing(&bus, "stock").await;
    assert_eq!((stored.idle, stored.is_abandoned, stored.is_holding), (Some(2 * DAY), true, true));
    publish(&bus, [1]).await;
    assert_eq!(found(&bus, 1).await, ["stock"]);
    stock(&bus).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    assert_eq!((recorder.count(), bus.stats().abandoned.len()), (2, 0));
    bus.finish().await;
}
