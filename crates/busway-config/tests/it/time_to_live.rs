//! How long events of a route may wait.

use std::time::Duration;

use busway_testkit::TestBus;

use crate::world::{Seen, config, publish};

#[tokio::test]
async fn a_durable_route_says_itself_how_long_its_events_may_wait_and_whether_they_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let streams = "streams: { orders: { capture: [orders.#] } }\nlimits: { ttl: { p2: 1s } }\n";
    let (first, seen) = (config(streams), Seen::default());
    let bus = TestBus::open(directory.path(), |builder| first.configure(seen.register(builder, "one"))).await;
    publish(&bus, "orders.x", 1).await;
    bus.clock().advance(Duration::from_secs(6));
    let route = "filter: orders.#, handler: one, start_at: earliest";
    let own = "limits: { ttl: { p2: 5s } }, dead_letters: { with_expired: true }";
    let routes = format!("routes:\n  a: {{ {route}, durable: a }}\n  b: {{ {route}, durable: b, {own} }}\n");
    config(&format!("{streams}{routes}")).apply(&bus).await.unwrap();
    bus.settle().await;
    assert_eq!(seen.take(), [("one", 1)], "what is said of all is for ephemeral ones");
    let letters = bus.dead_letters();
    assert_eq!((letters.count("a").await.unwrap(), letters.count("b").await.unwrap()), (0, 1));
    assert!(bus.finish().await.is_drained());
}
