//! Keys of what a broker delivers: not done before what the handler returned is published.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use busway_event::{Event, Raw};
use busway_middleware::Payload;
use busway_reliability::{Idempotency, Retry};
use busway_testkit::{SharedKeys, TestBus};

use super::done;
use super::world::{Scripted, again, delivery};
use crate::world::ends;

#[tokio::test]
async fn what_was_refused_is_returned_by_the_next_attempt_and_then_by_none() {
    for is_shared in [false, true] {
        let bus = TestBus::start().await;
        let (broker, calls) = (Scripted::able(), Arc::new(AtomicU32::new(0)));
        let keys = SharedKeys::new(bus.clock());
        let once = if is_shared { Idempotency::by_id().store(keys.store()) } else { Idempotency::by_id() };
        let counted = Arc::clone(&calls);
        let confirms = move |_: Payload<Raw>| {
            let topic =
                if counted.fetch_add(1, Ordering::Relaxed) == 0 { "confirmed..x" } else { "confirmed.x" };
            std::future::ready(Event::new(topic, Raw::from("{}")))
        };
        let retry = Retry::default().first_delay(Duration::from_secs(1));
        let stock = bus.subscribe("orders.#").idempotent(once).retry(retry).on(&broker, "orders", "stock");
        let stock = stock.to(confirms).await.unwrap();
        broker.deliver([delivery(1, "a", None)]);
        let told = async {
            while broker.told_now().is_empty() {
                bus.clock().advance_to_next();
                tokio::task::yield_now().await;
            }
        };
        ends(told).await;
        broker.deliver([again(delivery(2, "a", None), 2)]);
        assert_eq!(broker.told(2).await, [done(1), done(2)]);
        assert_eq!((calls.load(Ordering::Relaxed), bus.published_on("confirmed.x").len()), (2, 1));
        assert_eq!(ends(stock.stop()).await.subscription.skipped, 1);
    }
}

#[tokio::test]
async fn members_of_a_subscription_at_a_broker_share_their_keys_whatever_they_are_called_here() {
    let bus = TestBus::start().await;
    let keys = SharedKeys::new(bus.clock());
    let calls = Arc::new(AtomicU32::new(0));
    let mut members = Vec::new();
    for name in ["stock-1", "stock-2"] {
        let broker = Scripted::able();
        let counted = Arc::clone(&calls);
        let handler = move |_: Payload<Raw>| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(())
        };
        let builder =
            bus.subscribe("orders.#").name(name).idempotent(Idempotency::by_id().store(keys.store()));
        members.push((builder.on(&broker, "orders", "stock").to(handler).await.unwrap(), broker));
    }
    for (_, broker) in &members {
        broker.deliver([delivery(1, "a", None)]);
        assert_eq!(broker.told(1).await, [done(1)]);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    for (member, _) in members {
        ends(member.stop()).await;
    }
}
