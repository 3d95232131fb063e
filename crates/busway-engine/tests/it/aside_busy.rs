//! Events that an open breaker has acknowledged come back beside a queue that is never empty, and whatever its policy does to what it has no room for.

use std::time::Duration;

use busway_engine::{Breaker, Fallback, SubscribeBuilder};
use busway_event::Draft;
use busway_middleware::{Delivery, Payload};
use busway_reliability::{Order, Overflow};
use busway_testkit::{Gate, TestBus};

use crate::dependency::Service;
use crate::world::{Number, assert_settled, ends, number, turns};

const PAID: &str = "orders.paid";
const OTHER: &str = "orders.created";
const OPEN_FOR: Duration = Duration::from_secs(30);

fn guarded(bus: &TestBus) -> SubscribeBuilder {
    let breaker = Breaker::default().opens_after(2).open_for(OPEN_FOR);
    let breaker = breaker.fallback(Fallback::ack_and_retry_later());
    bus.subscribe("orders.+").name("stock").capacity(4).breaker(breaker)
}

fn paid(n: u32) -> Draft<Number> {
    number(PAID, n).key("customer")
}

/// Opens the channel with 0 and 1, and puts 2 and 3 aside.
async fn put_aside(bus: &TestBus) {
    for n in 0..4 {
        bus.publish(paid(n)).await.unwrap();
        turns().await;
    }
    assert_eq!(bus.breakers().get("stock", PAID).unwrap().waiting, 2);
}

fn called(service: &Service) -> Vec<u32> {
    service.calls(PAID).iter().map(|(n, _)| *n).collect()
}

#[tokio::test]
async fn what_is_aside_comes_back_while_the_queue_is_never_empty() {
    for policy in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Coalesce, Overflow::Block(None)] {
        for concurrency in [1, 2] {
            comes_back_beside_others(policy, concurrency).await;
        }
    }
}

async fn comes_back_beside_others(policy: Overflow, concurrency: usize) {
    let (bus, service) = (TestBus::start().await, Service::default());
    service.down(PAID);
    let (again, its) = ((*bus).clone(), service.clone());
    // Each event of the other topic publishes one more before it is done: two of them always wait.
    let handler = move |payload: Payload<Number>, delivery: Delivery| {
        let (bus, service) = (again.clone(), its.clone());
        async move {
            let topic = delivery.event().topic();
            service.call(topic, payload.n, delivery.attempt())?;
            if topic.as_str() == OTHER && service.calls(PAID).len() < 4 && payload.n < CHAIN_MAX {
                bus.publish(number(OTHER, payload.n + 1)).await?;
            }
            Ok::<(), busway_middleware::BoxError>(())
        }
    };
    let builder = guarded(&bus).overflow(policy).concurrency(concurrency).order(Order::None);
    let subscription = builder.to(handler).await.unwrap();
    put_aside(&bus).await;
    service.up(PAID);
    bus.clock().advance(OPEN_FOR);
    for _ in 0..=concurrency {
        bus.try_publish(number(OTHER, 0)).unwrap();
    }
    ends(bus.settle()).await;
    let length = service.calls(OTHER).iter().map(|(n, _)| *n).max().unwrap();
    assert!(length < CHAIN_MAX, "{policy:?}, {concurrency}: only behind all others: {:?}", called(&service));
    assert_eq!(called(&service), [0, 1, 2, 3], "{policy:?}");
    assert_settled(&subscription.stats());
    assert!(bus.finish().await.is_drained());
}

#[tokio::test]
async fn what_comes_again_is_dropped_for_nothing_else_and_replaced_by_none_of_its_key() {
    for policy in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Coalesce] {
        let (bus, service, gate) = (TestBus::start().await, Service::default(), Gate::closed());
        service.down(PAID);
        let (its, closed) = (service.clone(), gate.clone());
        let handler = move |payload: Payload<Number>, delivery: Delivery| {
            let (service, gate) = (its.clone(), closed.clone());
            async move {
                let topic = delivery.event().topic();
                if topic.as_str() == OTHER {
                    gate.pass().await;
                }
                service.call(topic, payload.n, delivery.attempt())
            }
        };
        let subscription = guarded(&bus).overflow(policy).capacity_bytes(512).to(handler).await.unwrap();
        put_aside(&bus).await;
        service.up(PAID);
        bus.publish(number(OTHER, 0)).await.unwrap();
        turns().await;
        bus.clock().advance(OPEN_FOR);
        // One of them is back, and its worker is held.
        turns().await;
        for n in 4..24 {
            bus.publish(paid(n)).await.unwrap();
        }
        gate.open();
        ends(bus.settle()).await;
        assert_eq!(called(&service)[2], 2, "{policy:?}: it came first");
        assert!(called(&service).contains(&3), "{policy:?}: {:?}", called(&service));
        let stats = subscription.stats();
        assert!(stats.tally.dropped >= 16, "{policy:?} has done its work: {stats}");
        assert_settled(&stats);
        assert!(bus.finish().await.is_drained());
    }
}

const CHAIN_MAX: u32 = 2_000;
