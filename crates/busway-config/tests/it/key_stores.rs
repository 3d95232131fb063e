//! Stores of keys that several processes share, named by routes.

use busway_config::{Config, Format};
use busway_engine::transport::LocalTransport;
use busway_engine::{BuildProblem, Bus, Stream};
use busway_event::Event;
use busway_testkit::{ManualClock, SharedKeys, TestBus};

use crate::world::{Number, Seen, config};

fn route(idempotency: &str) -> String {
    format!(
        "routes: {{ a: {{ filter: a, handler: one, idempotency: {{ by: metadata, fields: [bizId], {idempotency} }} }} }}"
    )
}

async fn publish(bus: &Bus, topic: &str, biz_id: &str, number: u64) {
    bus.publish(Event::new(topic, Number(number)).meta("bizId", biz_id)).await.unwrap();
}

#[tokio::test]
async fn processes_whose_routes_name_one_store_handle_a_key_once() {
    let (keys, seen) = (SharedKeys::new(&ManualClock::new()), Seen::default());
    let text = config(&route("store: shared, lease: 10s, on_unreachable: delay"));
    let mut buses = Vec::new();
    for _ in 0..2 {
        let start =
            |builder| text.configure(seen.register(builder, "one")).idempotency_store("shared", keys.store());
        buses.push(TestBus::build(start).await);
    }
    for (number, bus) in (0..).zip(&buses) {
        publish(bus, "a", "A", number).await;
        bus.settle().await;
    }
    assert_eq!(seen.take(), [("one", 0)]);
    assert!(buses[0].describe().to_string().contains("(leases 10s, unreachable: delay)"));
    keys.set_reachable(false);
    let passing = config(&route("store: shared, on_unreachable: pass"));
    passing.apply(&buses[0]).await.unwrap();
    publish(&buses[0], "a", "B", 2).await;
    buses[0].settle().await;
    assert_eq!(seen.take(), [("one", 2)]);
    // Members of a group in memory have keys in common by it.
    let grouped = route("store: shared").replace("filter: a,", "filter: a, group: g,");
    config(&grouped).apply(&buses[0]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_at_a_broker_asks_the_store_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let stream = Stream::new("orders").capture("orders.#");
    let broker = Bus::open(folder.path()).stream(stream).producer("broker").start().await.unwrap();
    let (keys, seen) = (SharedKeys::new(&ManualClock::new()), Seen::default());
    let text = "routes: { stock: { filter: orders.#, handler: one, at: { transport: nats, stream: orders }, idempotency: { by: metadata, fields: [bizId], store: shared } } }";
    let builder = Bus::memory().producer("shop").transport("nats", LocalTransport::new(&broker));
    let builder = seen.register(builder, "one").idempotency_store("shared", keys.store());
    let bus = config(text).configure(builder).start().await.unwrap();
    for (number, biz_id) in (0..).zip(["A", "A", "B"]) {
        publish(&broker, "orders.made", biz_id, number).await;
    }
    let settled = async || {
        let standing = broker.cursor("stock").standing().await;
        standing.is_ok_and(|standing| standing.partitions.iter().any(|partition| partition.next.offset == 3))
    };
    while !settled().await {
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.take(), [("one", 0), ("one", 2)]);
    assert!(keys.calls() >= 4, "two leases, and twice it was told that a key is done: {}", keys.calls());
    drop(bus);
}

#[tokio::test]
async fn a_store_that_is_not_there_and_what_needs_one_are_named() {
    let (keys, seen) = (SharedKeys::new(&ManualClock::new()), Seen::default());
    let bus =
        TestBus::build(|builder| seen.register(builder, "one").idempotency_store("shared", keys.store()))
            .await;
    let refused = async |text: &str| match Config::parse("busway.yaml", text, Format::Yaml) {
        Err(error) => error.to_string(),
        Ok(config) => config.apply(&bus).await.err().map_or_else(String::new, |error| error.to_string()),
    };
    let unknown = refused(&route("store: share")).await;
    assert!(unknown.contains("no store of keys \"share\" is registered"), "{unknown}");
    assert!(unknown.contains("\"shared\""), "{unknown}");
    let both = refused(&route("store: other").replace("handler: one", "handler: two")).await;
    assert!(both.contains("no handler \"two\"") && both.contains("no store of keys \"other\""), "{both}");
    for useless in ["lease: 10s", "on_unreachable: pass"] {
        let wrong = refused(&route(useless)).await;
        assert!(wrong.contains("without a \"store\" this is of no effect"), "{wrong}");
    }
    let long = refused(&route("store: shared, lease: 2d")).await;
    assert!(long.contains("lease is"), "{long}");
    let twice =
        Bus::memory().idempotency_store("shared", keys.store()).idempotency_store("shared", keys.store());
    let error = twice.start().await.unwrap_err();
    assert!(matches!(error.problems(), [BuildProblem::NamedTwice { what: "store of keys", .. }]), "{error}");
}
