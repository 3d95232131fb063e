//! A route whose events are settled before its handler starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use busway_middleware::{BoxError, Payload};
use busway_testkit::TestBus;

use crate::world::{Number, config, publish};

#[tokio::test]
async fn a_route_says_that_its_events_are_handled_at_most_once() {
    for (own, expected) in [("", 2), (", at_most_once: true", 1), (", at_most_once: false", 2)] {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "streams: {{ orders: {{ capture: [orders.#] }} }}
routes: {{ stock: {{ filter: orders.#, handler: fails, durable: stock, retry: {{ delays: [1s] }}{own} }} }}"
        );
        let config = config(&text);
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let fails = move |_: Payload<Number>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), BoxError>("no connection".into()) }
        };
        let bus =
            TestBus::open(directory.path(), |builder| config.configure(builder.handler("fails", fails)));
        let bus = bus.await;
        publish(&bus, "orders.x", 1).await;
        for _ in 0..3 {
            bus.settle().await;
            bus.clock().advance(Duration::from_secs(1));
        }
        assert_eq!(calls.load(Ordering::Relaxed), expected, "{own}");
        assert_eq!(bus.describe().to_string().contains("at_most_once = true (subscription)"), expected == 1);
        bus.finish().await;
    }
}
