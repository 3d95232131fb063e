//! Rules of who may publish and subscribe what.

use busway_event::Event;
use busway_middleware::Payload;
use busway_testkit::{Recorder, TestBus};

use crate::world::{Number, Seen, config, publish};

const RULES: &str = r#"
access:
- { effect: allow, identity: test, action: publish, filter: "orders.#" }
- { effect: deny, identity: "*", action: publish, filter: "orders.internal" }
- { effect: allow, identity: board, action: subscribe, filter: "orders.#" }
routes: { board: { filter: "orders.#", handler: one } }
"#;

async fn started() -> (TestBus, Seen) {
    let seen = Seen::default();
    let text = config(RULES);
    let bus = TestBus::build(|builder| text.configure(seen.register(builder, "one"))).await;
    (bus, seen)
}

#[tokio::test]
async fn publishing_is_judged_by_the_producer() {
    let (bus, seen) = started().await;
    publish(&bus, "orders.created", 1).await;
    for refused in [
        Event::new("orders.internal", Number(2)),
        Event::new("payments", Number(3)),
        Event::new("orders.created", Number(4)).meta("producer", "somebody"),
    ] {
        let error = format!("{:?}", bus.publish(refused).await.unwrap_err());
        assert!(error.contains("not authorized"), "{error}");
    }
    bus.settle().await;
    assert_eq!(seen.take(), [("one", 1)]);
}

#[tokio::test]
async fn handling_is_judged_by_the_subscription() {
    let (bus, _seen) = started().await;
    let recorder = Recorder::<Number>::new();
    let other = bus.subscribe("orders.#").name("other").to(recorder.handler()).await.unwrap();
    publish(&bus, "orders.created", 1).await;
    bus.settle().await;
    assert_eq!((recorder.count(), other.stats().dead), (0, 1));
}

#[tokio::test]
async fn a_route_that_may_not_subscribe_is_a_load_error() {
    let (bus, _seen) = started().await;
    let text = RULES.replace("board: { filter: \"orders.#\"", "board: { filter: \"#\"");
    let shown = config(&text).apply(&bus).await.unwrap_err().to_string();
    assert!(shown.contains("\"board\" may not subscribe to this: no access rule allows all of #"), "{shown}");
}

#[tokio::test]
async fn rules_are_reloaded_and_without_any_everything_passes() {
    let (bus, seen) = started().await;
    let handler = async |_number: Payload<Number>| {};
    let all = bus.subscribe("payments").name("all").to(handler).await.unwrap();
    config("routes: { board: { filter: \"orders.#\", handler: one } }").apply(&bus).await.unwrap();
    publish(&bus, "payments", 1).await;
    publish(&bus, "orders.internal", 2).await;
    bus.settle().await;
    assert_eq!((all.stats().done, seen.take()), (1, vec![("one", 2)]));
    config(RULES).apply(&bus).await.unwrap();
    assert!(bus.publish(Event::new("payments", Number(3))).await.is_err());
}

#[tokio::test]
async fn a_durable_route_is_known_by_its_name_in_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let rules = |identity: &str| {
        config(&format!(
            "\
streams: {{ orders: {{ capture: [orders.#] }} }}
access:
- {{ effect: allow, identity: test, action: publish, filter: orders.# }}
- {{ effect: allow, identity: {identity}, action: subscribe, filter: orders.# }}
routes: {{ board: {{ filter: orders.#, handler: one, durable: board-2 }} }}
"
        ))
    };
    let seen = Seen::default();
    let bus =
        TestBus::open(directory.path(), |builder| rules("board-2").configure(seen.register(builder, "one")))
            .await;
    publish(&bus, "orders.created", 1).await;
    bus.settle().await;
    assert_eq!(seen.take(), [("one", 1)]);
    let shown = rules("board").apply(&bus).await.unwrap_err().to_string();
    assert!(shown.contains("\"board-2\" may not subscribe to this"), "{shown}");
    assert!(bus.finish().await.is_drained());
}
