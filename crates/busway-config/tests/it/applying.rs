//! A configuration in the place of another one.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Breakers, Bus};
use busway_event::Event;
use busway_middleware::Stage;
use busway_middleware::builtin::LogOutcome;
use busway_reliability::Force;
use busway_testkit::{Gate, TestBus};
use parking_lot::Mutex;

use crate::world::{Number, Seen, config, publish};

async fn started(text: &str) -> (TestBus, Seen) {
    let seen = Seen::default();
    let text = config(text);
    let bus = TestBus::build(|builder| {
        let builder = ["one", "two"].into_iter().fold(builder, |builder, name| seen.register(builder, name));
        text.configure(builder)
    })
    .await;
    (bus, seen)
}

async fn apply(bus: &Bus, text: &str) -> String {
    config(text).apply(bus).await.unwrap_or_else(|error| panic!("{error}")).to_string()
}

#[tokio::test]
async fn routes_start_change_and_stop() {
    let (bus, seen) = started("routes: { a: { filter: a.+, handler: one } }").await;
    publish(&bus, "a.x", 1).await;
    bus.settle().await;
    assert_eq!(seen.take(), [("one", 1)]);
    // Another handler and filter, and one more.
    let diff =
        apply(&bus, "routes: { a: { filter: a.#, handler: two }, b: { filter: b, handler: one } }").await;
    assert_eq!(
        diff,
        "+ routes.b: b to one\n~ routes.a.filter: a.+, now a.#\n~ routes.a.handler: one, now two\n"
    );
    for (topic, number) in [("a.x.y", 2), ("b", 3)] {
        publish(&bus, topic, number).await;
        bus.settle().await;
    }
    assert_eq!(seen.take(), [("two", 2), ("one", 3)]);
    apply(&bus, "routes: { b: { filter: b, handler: one } }").await;
    publish(&bus, "a.x", 4).await;
    publish(&bus, "b", 5).await;
    bus.settle().await;
    assert_eq!(seen.take(), [("one", 5)]);
    let names: Vec<String> =
        bus.describe().subscriptions.iter().map(|subscription| subscription.name.to_string()).collect();
    assert_eq!(names, ["b"]);
    bus.assert_balanced();
}

#[tokio::test]
async fn what_does_not_differ_is_not_touched() {
    let text = "routes: { a: { filter: a, handler: one }, b: { filter: b, handler: one } }";
    let (bus, _seen) = started(text).await;
    publish(&bus, "a", 1).await;
    publish(&bus, "b", 1).await;
    bus.settle().await;
    assert_eq!(apply(&bus, text).await, "nothing differs\n");
    apply(&bus, "routes: { a: { filter: a, handler: one }, b: { filter: b, handler: two } }").await;
    let done = || -> Vec<(String, u64)> {
        bus.stats().subscriptions.iter().map(|stats| (stats.name.to_string(), stats.done)).collect()
    };
    // Until the old one is gone.
    while done().len() > 2 {
        tokio::task::yield_now().await;
    }
    // The new one has had nothing yet.
    assert_eq!(done(), [("a".to_owned(), 1), ("b".to_owned(), 0)]);
}

#[tokio::test]
async fn a_new_subscription_starts_nothing_before_the_old_one_has_ended() {
    let gate = Gate::closed();
    let seen = Seen::default();
    let text = config("routes: { a: { filter: a, handler: slow } }");
    let bus = TestBus::build(|builder| {
        let (gate, slow) = (gate.clone(), seen.clone());
        let builder = seen.register(builder, "two").handler("slow", move || {
            let (gate, _slow) = (gate.clone(), slow.clone());
            async move { gate.pass().await }
        });
        text.configure(builder)
    })
    .await;
    publish(&bus, "a", 1).await;
    gate.reached(1).await;
    publish(&bus, "a", 2).await;
    apply(&bus, "routes: { a: { filter: a, handler: two } }").await;
    publish(&bus, "a", 3).await;
    bus.settle_within(Duration::from_secs(60)).await;
    assert_eq!(seen.len(), 0, "the old one still handles the first");
    gate.open();
    bus.settle().await;
    assert_eq!(seen.take(), [("two", 3)]);
    bus.assert_balanced();
}

#[tokio::test]
async fn everything_that_does_not_fit_is_said_at_once_and_nothing_changes() {
    let (bus, seen) = started("routes: { a: { filter: a, handler: one } }").await;
    let wrong = config(
        "\
middleware: { user: [{ kind: tiemout, with: { limit: 1s } }] }
routes:
  a: { filter: a, handler: two }
  b: { filter: b, handler: tow }
  c: { filter: c, handler: one, durable: c }
",
    );
    let shown = wrong.apply(&bus).await.unwrap_err().to_string();
    for expected in [
        "busway.yaml:1:30: no kind of middleware \"tiemout\" is registered",
        "did you mean \"timeout\"?",
        "busway.yaml:4:28: no handler \"tow\" is registered",
        "did you mean \"two\"?",
        "busway.yaml:5:42: ",
    ] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    assert_eq!(wrong.check(&bus).await.unwrap_err().to_string(), shown);
    publish(&bus, "a", 1).await;
    publish(&bus, "b", 2).await;
    bus.settle().await;
    assert_eq!(seen.take(), [("one", 1)]);
}

#[tokio::test]
async fn a_start_with_a_configuration_that_does_not_fit_fails() {
    let text = config("routes: { a: { filter: a, handler: nobody } }");
    let error = text.configure(Bus::memory()).start().await.unwrap_err().to_string();
    assert!(error.contains("no handler \"nobody\" is registered"), "{error}");
    assert!(error.contains("register it when the bus is built"), "{error}");
}

#[tokio::test]
async fn what_needs_a_restart_stays_as_it_was_until_then() {
    let (bus, _seen) = started("limits: { capacity: 10 }\nroutes: { a: { filter: a, handler: one } }").await;
    let wanted = "limits: { capacity: 20 }\nroutes: { a: { filter: a, handler: two } }";
    let diff = config(wanted).apply(&bus).await.unwrap();
    assert_eq!(diff.at_restart().count(), 1);
    let capacity = bus.describe().subscription("a").unwrap().settings[0].to_string();
    assert_eq!(capacity, "capacity = 10 (bus)");
    // It is named each time, as it is not in force.
    assert_eq!(
        config(wanted).pending(&bus).await.to_string(),
        "~ limits.capacity: 10, now 20 (at the next start)\n"
    );
}

const LIMITED: &str = "
middleware: { user: [{ kind: rate_limit, with: { events: EVENTS, per: 1h, burst: 2 } }] }
routes: { a: { filter: a, handler: HANDLER } }
";

fn limited(events: u32, handler: &str) -> String {
    LIMITED.replace("EVENTS", &events.to_string()).replace("HANDLER", handler)
}

#[tokio::test]
async fn what_a_rate_limit_has_earned_survives_an_unrelated_change_and_its_own() {
    let (bus, seen) = started(&limited(1, "one")).await;
    publish(&bus, "a", 1).await;
    bus.settle().await;
    apply(&bus, &limited(1, "two")).await;
    publish(&bus, "a", 2).await;
    publish(&bus, "a", 3).await;
    // One token was left: the third event waits for an hour.
    assert!(!bus.settle_within(Duration::from_secs(3_599)).await);
    assert_eq!(seen.take(), [("one", 1), ("two", 2)]);
    assert!(bus.settle_within(Duration::from_secs(3_601)).await);
    assert_eq!(seen.take(), [("two", 3)]);
    // Another rate, of the same bucket: it is empty, and fills sixty times as fast.
    apply(&bus, &limited(60, "two")).await;
    publish(&bus, "a", 4).await;
    assert!(!bus.settle_within(Duration::from_secs(59)).await);
    assert!(bus.settle_within(Duration::from_secs(61)).await);
    assert_eq!(seen.take(), [("two", 4)]);
}

#[tokio::test]
async fn middleware_of_a_route_is_swapped_where_it_stands() {
    let text = |limit: &str| {
        format!(
            "routes: {{ a: {{ filter: a, handler: stuck, middleware: {{ timeout: [{{ kind: timeout, with: {{ limit: {limit} }} }}] }} }} }}"
        )
    };
    let first = config(&text("10s"));
    let bus =
        TestBus::build(|builder| first.configure(builder.handler("stuck", std::future::pending::<()>))).await;
    publish(&bus, "a", 1).await;
    bus.settle_within(Duration::ZERO).await;
    apply(&bus, &text("1s")).await;
    publish(&bus, "a", 2).await;
    // The first keeps the ten seconds that it began with, the second has one.
    assert!(!bus.settle_within(Duration::from_secs(9)).await);
    assert!(bus.settle_within(Duration::from_secs(12)).await);
    let stats = bus.stats();
    assert_eq!(
        (stats.subscriptions.len(), stats.subscriptions[0].failed),
        (1, 2),
        "it is the same subscription"
    );
}

const GUARDED: &str = "routes: { a: { filter: a, handler: HANDLER, limits: { concurrency: N }, breaker: { opens_after: 1, open_for: 1h, fallback: dead_letter } } }";

fn state(breakers: &Breakers) -> Vec<String> {
    breakers.list().iter().map(|status| status.state.to_string()).collect()
}

#[tokio::test]
async fn circuits_survive_a_change_of_their_route() {
    let text =
        |handler: &str, n: u32| config(&GUARDED.replace("HANDLER", handler).replace('N', &n.to_string()));
    let first = text("down", 1);
    let seen = Seen::default();
    let bus = TestBus::build(|builder| {
        let down = || async { Err::<(), _>("down") };
        first.configure(seen.register(builder.handler("down", down), "up"))
    })
    .await;
    publish(&bus, "a", 1).await;
    bus.settle().await;
    assert_eq!(state(&bus.breakers()), ["open"]);
    text("up", 4).apply(&bus).await.unwrap();
    publish(&bus, "a", 2).await;
    bus.settle().await;
    assert_eq!(seen.len(), 0, "no call is made while it is open");
    assert_eq!(state(&bus.breakers()), ["open"]);
    bus.clock().advance(Duration::from_secs(3_601));
    publish(&bus, "a", 3).await;
    bus.settle().await;
    assert_eq!((seen.len(), state(&bus.breakers())), (1, vec!["closed".to_owned()]));
}

#[tokio::test]
async fn circuits_go_by_the_name_that_their_route_has_now() {
    let text = |name: &str, n: &str| {
        config(&GUARDED.replace("HANDLER", "down").replace('N', n).replacen("a:", &format!("{name}:"), 1))
    };
    let first = text("a", "1");
    let bus =
        TestBus::build(|builder| first.configure(builder.handler("down", || async { Err::<(), _>("down") })))
            .await;
    publish(&bus, "a", 1).await;
    bus.settle().await;
    let breakers = bus.breakers();
    let of = |name: &str| breakers.get(name, "a").map(|status| status.state.to_string());
    assert_eq!(of("a").as_deref(), Some("open"));
    // Called otherwise, then changed under its new name.
    for n in ["1", "4"] {
        text("b", n).apply(&bus).await.unwrap();
        bus.settle().await;
        assert_eq!((of("a"), of("b").as_deref()), (None, Some("open")));
    }
    breakers.force("b", "a", Force::Closed).unwrap();
    assert!(breakers.force("a", "a", Force::Closed).is_err(), "there is none of that name any more");
    assert_eq!(state(&breakers), ["closed"]);
}

#[tokio::test]
async fn circuits_of_a_durable_route_survive_and_let_its_events_go_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let text = |handler: &str, n: u32| {
        config(&format!(
            "streams: {{ orders: {{ capture: [orders.#] }} }}\nroutes: {{ stock: {{ filter: orders.#, handler: {handler}, durable: stock, limits: {{ concurrency: {n} }}, retry: {{ first_delay: 1ms, longest_delay: 1ms }}, breaker: {{ opens_after: 1, open_for: 1h }} }} }}"
        ))
    };
    let first = text("down", 1);
    let seen = Seen::default();
    let bus = TestBus::open(directory.path(), |builder| {
        let down = || async { Err::<(), _>("down") };
        first.configure(seen.register(builder.handler("down", down), "up"))
    })
    .await;
    for number in 0..3 {
        publish(&bus, "orders.x", number).await;
    }
    bus.settle().await;
    assert_eq!(state(&bus.breakers()), ["open"]);
    text("up", 4).apply(&bus).await.unwrap();
    publish(&bus, "orders.x", 3).await;
    bus.clock().advance(Duration::from_secs(3_599));
    bus.settle().await;
    assert_eq!((seen.len(), state(&bus.breakers())), (0, vec!["open".to_owned()]), "no call is made");
    bus.clock().advance(Duration::from_secs(2));
    bus.settle().await;
    let mut handled: Vec<u64> = seen.take().into_iter().map(|(_, number)| number).collect();
    handled.sort_unstable();
    assert_eq!((handled, state(&bus.breakers())), ((0..4).collect(), vec!["closed".to_owned()]));
    assert!(bus.finish().await.is_drained());
}

#[tokio::test]
async fn keys_in_memory_survive_a_change_of_their_route() {
    let text = |handler: &str| {
        format!(
            "routes: {{ a: {{ filter: a, handler: {handler}, idempotency: {{ by: metadata, fields: [order] }} }} }}"
        )
    };
    let (bus, seen) = started(&text("one")).await;
    let order = |number| Event::new("a", Number(number)).meta("order", "A-1");
    bus.publish(order(1)).await.unwrap();
    bus.settle().await;
    apply(&bus, &text("two")).await;
    bus.publish(order(2)).await.unwrap();
    bus.settle().await;
    assert_eq!(seen.take(), [("one", 1)]);
}

#[tokio::test]
async fn a_durable_route_goes_on_at_its_cursor() {
    let directory = tempfile::tempdir().unwrap();
    let text = |handler: &str, n: u32| {
        format!(
            "streams: {{ orders: {{ capture: [orders.#] }} }}\nroutes: {{ stock: {{ filter: orders.#, handler: {handler}, durable: stock, limits: {{ concurrency: {n} }} }} }}"
        )
    };
    let seen = Seen::default();
    let first = config(&text("one", 1));
    let bus = TestBus::open(directory.path(), |builder| {
        let builder = ["one", "two"].into_iter().fold(builder, |builder, name| seen.register(builder, name));
        first.configure(builder)
    })
    .await;
    publish(&bus, "orders.x", 1).await;
    bus.settle().await;
    apply(&bus, &text("two", 4)).await;
    publish(&bus, "orders.x", 2).await;
    bus.settle().await;
    assert_eq!(seen.take(), [("one", 1), ("two", 2)]);
    // Another filter under the same name is refused, by name.
    let other = config(&text("two", 4).replace("filter: orders.#", "filter: orders.+"));
    assert_eq!(other.pending(&bus).await.refused().count(), 1);
    let shown = other.apply(&bus).await.unwrap_err().to_string();
    assert!(
        shown.contains("busway.yaml:2:28: the store holds this durable subscription with another filter"),
        "{shown}"
    );
    publish(&bus, "orders.x", 3).await;
    bus.settle().await;
    assert_eq!(seen.take(), [("two", 3)]);
    assert!(bus.finish().await.is_drained());
}

#[tokio::test]
async fn the_log_filter_is_set_when_it_differs_and_set_back_when_it_is_taken_out_or_refused() {
    let (bus, _seen) = started("{}").await;
    let set = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&set);
    busway_config::on_log_filter(&bus, "info", move |filter: &str| {
        if filter == "nonsense" {
            return Err("it says nothing");
        }
        noted.lock().push(filter.to_owned());
        Ok(())
    });
    let text = |filter: &str, more: &str| {
        config(&format!("observability: {{ log: {{ filter: {filter} }} }}\n{more}"))
    };
    text("debug", "").apply(&bus).await.unwrap();
    let shown = text("nonsense", "").apply(&bus).await.unwrap_err().to_string();
    assert!(shown.contains("busway.yaml:1:33: it is no filter of logs: it says nothing"), "{shown}");
    assert!(text("debug", "").pending(&bus).await.is_empty(), "what was in force stays so");
    config("{}").apply(&bus).await.unwrap();
    assert_eq!(std::mem::take(&mut *set.lock()), ["debug", "info"]);

    // What is refused only when it is put in force.
    bus.middleware(Stage::User).add("mine", LogOutcome).unwrap();
    let late = "middleware: { user: [{ kind: log_outcome, name: mine }] }";
    text("debug", late).apply(&bus).await.unwrap_err();
    assert_eq!(std::mem::take(&mut *set.lock()), ["debug", "info"]);
}
