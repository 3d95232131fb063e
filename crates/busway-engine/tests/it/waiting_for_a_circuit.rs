//! Events of a subscription in memory that wait, with their workers, for the circuit of their channel: who looks sees them, and counts what was refused once.

use std::time::Duration;

use busway_engine::{Breaker, BreakerStatus};
use busway_reliability::{BreakerState, Force};
use busway_testkit::TestBus;

use crate::dependency::Service;
use crate::world::{ends, number, turns};

const PAID: &str = "orders.paid";
const CREATED: &str = "orders.created";
const OPEN_FOR: Duration = Duration::from_secs(30);

async fn publish(bus: &TestBus, topic: &str, numbers: std::ops::Range<u32>) {
    for n in numbers {
        bus.publish(number(topic, n)).await.unwrap();
        turns().await;
    }
}

fn channel(bus: &TestBus, topic: &str) -> BreakerStatus {
    bus.breakers().get("stock", topic).unwrap()
}

#[tokio::test]
async fn an_event_that_waits_for_its_circuit_is_seen_and_refused_once_whatever_moves_beside_it() {
    let (bus, service) = (TestBus::start().await, Service::default());
    for topic in [PAID, CREATED] {
        service.down(topic);
    }
    let builder = bus.subscribe("orders.+").name("stock").concurrency(4);
    let builder = builder.breaker(Breaker::default().opens_after(2).open_for(OPEN_FOR));
    let subscription = builder.to(service.handler()).await.unwrap();
    publish(&bus, PAID, 0..4).await;
    let paid = channel(&bus, PAID);
    assert_eq!((paid.state, paid.waiting, paid.counts.refused), (BreakerState::Open, 2, 2), "{paid}");
    // Another channel opens, and is forced to close.
    publish(&bus, CREATED, 0..3).await;
    let (created, paid) = (channel(&bus, CREATED), channel(&bus, PAID));
    assert_eq!(
        (created.state, created.waiting, created.counts.refused),
        (BreakerState::Open, 1, 1),
        "{created}"
    );
    assert_eq!((paid.waiting, paid.counts.refused), (2, 2), "{paid}");
    service.up(CREATED);
    bus.breakers().force("stock", CREATED, Force::Closed).unwrap();
    turns().await;
    publish(&bus, CREATED, 3..6).await;
    let (created, paid) = (channel(&bus, CREATED), channel(&bus, PAID));
    assert_eq!(
        (created.waiting, created.counts.refused, paid.counts.refused),
        (0, 1, 2),
        "{created}, {paid}"
    );
    service.up(PAID);
    bus.clock().advance(OPEN_FOR);
    ends(bus.settle()).await;
    assert_eq!((channel(&bus, PAID).waiting, subscription.stats().done), (0, 6));
    assert!(bus.finish().await.is_drained());
}
