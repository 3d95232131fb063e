//! What is in the way of a configuration only when it is put in force, and what stands meanwhile.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use busway_config::Watcher;
use busway_engine::{Bus, BusBuilder, State, Stream};
use busway_event::Event;
use busway_middleware::builtin::LogOutcome;
use busway_middleware::{PublishRefused, PublishStage, Stage};
use busway_testkit::{Gate, TestBus};
use futures_util::FutureExt as _;

use crate::world::{Number, Seen, config, publish};

const ONE: &str = "routes: { a: { filter: a, handler: one } }";

async fn started(text: &str) -> (TestBus, Seen) {
    let (text, seen) = (config(text), Seen::default());
    let bus = TestBus::build(|builder| text.configure(seen.register(builder, "one"))).await;
    (bus, seen)
}

async fn may_publish(bus: &Bus, topic: &str) -> bool {
    bus.publish(Event::new(topic, Number(0))).await.is_ok()
}

#[tokio::test]
async fn middleware_in_the_place_of_one_of_the_program_is_refused_and_all_is_as_before() {
    let (bus, seen) = started(ONE).await;
    bus.middleware(Stage::User).add("mine", LogOutcome).unwrap();
    let text = "\
middleware: { trace: [{ kind: log_outcome, name: other }], user: [{ kind: log_outcome, name: mine }] }
access: [{ effect: allow, identity: '*', action: subscribe, filter: '#' }]
routes: { b: { filter: b, handler: one } }
";
    let shown = config(text).apply(&bus).await.unwrap_err().to_string();
    assert!(shown.contains("busway.yaml:1:") && shown.contains("\"mine\""), "{shown}");
    let names = || -> Vec<String> {
        let described = bus.describe().subscriptions;
        let chains = described.iter().flat_map(|one| &one.handlers).flat_map(|handler| &handler.chain);
        chains.map(|node| node.name.clone()).collect()
    };
    assert!(names().contains(&"mine".to_owned()) && !names().contains(&"other".to_owned()), "{:?}", names());
    publish(&bus, "a", 1).await;
    bus.settle().await;
    assert_eq!(seen.take(), [("one", 1)], "neither routes nor rules of it are in force");
    // Once it is out of the way the same one is put in force.
    bus.middleware(Stage::User).remove("mine").unwrap();
    config(text).apply(&bus).await.unwrap();
    assert!(!may_publish(&bus, "a").await && names().contains(&"other".to_owned()));
}

#[tokio::test]
async fn rules_that_would_not_be_judged_are_refused() {
    let (bus, _seen) = started(ONE).await;
    let text = format!("access: [{{ effect: allow, identity: a, action: subscribe, filter: '#' }}]\n{ONE}");
    for in_the_way in ["publishing", "handling"] {
        let publish_middleware = bus.publish_middleware(PublishStage::Enrich);
        let middleware = bus.middleware(Stage::User);
        match in_the_way {
            "publishing" => publish_middleware.add("busway-access", |_: &mut _| Ok::<(), PublishRefused>(())),
            _ => middleware.add("busway-access", LogOutcome),
        }
        .unwrap();
        let shown = config(&text).apply(&bus).await.unwrap_err().to_string();
        assert!(shown.contains("access rules cannot be judged"), "{shown}");
        assert!(may_publish(&bus, "a").await);
        match in_the_way {
            "publishing" => publish_middleware.remove("busway-access"),
            _ => middleware.remove("busway-access"),
        }
        .unwrap();
    }
    config(&text).apply(&bus).await.unwrap();
    assert!(!may_publish(&bus, "a").await);
}

/// A bus whose routes may be handled by `slow`, which waits at the gate and then notes what it was given.
async fn slow(text: &str) -> (TestBus, Seen, Gate) {
    let (seen, gate) = (Seen::default(), Gate::closed());
    let bus = TestBus::build(|builder| config(text).configure(with_slow(builder, &seen, &gate))).await;
    (bus, seen, gate)
}

fn with_slow(builder: BusBuilder, seen: &Seen, gate: &Gate) -> BusBuilder {
    let (seen, gate) = (seen.clone(), gate.clone());
    builder.handler("slow", move |number: busway_middleware::Payload<Number>| {
        let (seen, gate) = (seen.clone(), gate.clone());
        async move {
            gate.pass().await;
            seen.note("slow", number.0);
        }
    })
}

#[tokio::test]
async fn what_a_route_had_taken_in_is_handled_though_its_rule_goes_with_it() {
    // The route goes; it stays and is to have something else.
    for (identity, filter) in [("new", "b"), ("old", "b")] {
        let text = |identity: &str, filter: &str| {
            let rule = |identity: &str, action: &str, filter: &str| {
                format!("{{ effect: allow, identity: {identity}, action: {action}, filter: '{filter}' }}")
            };
            let rules = [rule(identity, "subscribe", filter), rule("test", "publish", "#")].join(", ");
            format!("access: [{rules}]\nroutes: {{ {identity}: {{ filter: {filter}, handler: slow }} }}")
        };
        let (bus, seen, gate) = slow(&text("old", "a")).await;
        for number in 1..=3 {
            publish(&bus, "a", number).await;
        }
        gate.reached(1).await;
        // Another one is in its place already, and waits for it.
        let same = text("old", "a").replace("handler: slow", "handler: slow, limits: { concurrency: 2 }");
        config(&same).apply(&bus).await.unwrap();
        let next = config(&text(identity, filter));
        let applying = next.apply(&bus);
        tokio::pin!(applying);
        // As far as it gets: the old one has begun to end.
        assert!(futures_util::poll!(&mut applying).is_pending());
        gate.open();
        applying.await.unwrap();
        assert_eq!(seen.take(), [("slow", 1), ("slow", 2), ("slow", 3)], "none of them was refused");
        bus.assert_balanced();
    }
}

#[tokio::test]
async fn what_is_published_while_a_route_is_renamed_is_handled_once() {
    let (bus, seen, gate) = slow("routes: { a: { filter: x, handler: slow } }").await;
    publish(&bus, "x", 1).await;
    gate.reached(1).await;
    let renamed = config("routes: { b: { filter: x, handler: slow } }");
    let applying = renamed.apply(&bus);
    tokio::pin!(applying);
    assert!(
        futures_util::poll!(&mut applying).is_pending(),
        "it waits for the old one, whose name is free then"
    );
    let offered = bus.publish(Event::new("x", Number(2))).await.unwrap().offered;
    assert_eq!(offered, 1, "to the one that has the place");
    gate.open();
    applying.await.unwrap();
    bus.settle().await;
    assert_eq!(seen.take(), [("slow", 1), ("slow", 2)]);
    let names: Vec<_> = bus.stats().subscriptions.iter().map(|stats| stats.name.to_string()).collect();
    assert_eq!(names, ["b"]);
    bus.assert_balanced();
}

#[tokio::test]
async fn names_of_routes_that_move_on_lose_and_double_nothing() {
    // The one that is stored begins anew, and all that begins or goes waits for it.
    let text = |x: &str, y: &str, concurrency: u32| {
        let route = |name: &str, filter: &str| match name {
            "" => String::new(),
            name => format!("{name}: {{ filter: {filter}, handler: slow }}, "),
        };
        let stored = format!(
            "d: {{ filter: d, handler: slow, durable: d, limits: {{ concurrency: {concurrency} }} }}"
        );
        let streams = "streams: { d: { capture: [d], durability: memory } }";
        format!("{streams}\nroutes: {{ {} {} {stored} }}", route(x, "x"), route(y, "y"))
    };
    // The name of one goes to the other: which goes on under a third, or is gone; or the one has none any more.
    let cases = [("b", "c"), ("b", ""), ("", "a"), ("c", "a")];
    for ((x, y), is_cut_short) in cases.into_iter().flat_map(|moved| [(moved, false), (moved, true)]) {
        let (directory, seen, gate) = (tempfile::tempdir().unwrap(), Seen::default(), Gate::closed());
        let bus = TestBus::open(directory.path().join("store"), |builder| {
            config(&text("a", "b", 1)).configure(with_slow(builder, &seen, &gate))
        })
        .await;
        publish(&bus, "x", 1).await;
        publish(&bus, "y", 2).await;
        publish(&bus, "d", 5).await;
        gate.reached(3).await;
        let moved = config(&text(x, y, 2));
        let mut applying = Box::pin(moved.apply(&bus));
        assert!(futures_util::poll!(&mut applying).is_pending());
        for (filter, number, name) in [("x", 3, x), ("y", 4, y)] {
            let offered = bus.publish(Event::new(filter, Number(number))).await.unwrap().offered;
            assert_eq!(offered, usize::from(!name.is_empty()), "{filter}, from {x:?} and {y:?}");
        }
        if is_cut_short {
            applying = Box::pin(moved.apply(&bus));
        }
        gate.open();
        applying.await.unwrap();
        bus.settle().await;
        let mut handled = seen.take();
        handled.sort_unstable();
        let all = [(true, 1), (true, 2), (!x.is_empty(), 3), (!y.is_empty(), 4), (true, 5)];
        let expected: Vec<_> =
            all.into_iter().filter(|(is, _)| *is).map(|(_, number)| ("slow", number)).collect();
        assert_eq!(handled, expected);
        let stats = bus.stats();
        let names: BTreeSet<String> =
            stats.subscriptions.iter().map(|stats| stats.name.to_string()).collect();
        let expected = [x, y].into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect();
        assert_eq!(names, expected);
        bus.assert_balanced();
    }
}

#[tokio::test]
async fn what_was_taken_in_under_rules_that_were_cut_short_is_handled_when_others_come() {
    let text = |filter: &str, more: &str| {
        let rules = format!(
            "{{ effect: allow, identity: '*', action: subscribe, filter: '{filter}' }}, {{ effect: allow, identity: test, action: publish, filter: '#' }}"
        );
        format!("access: [{rules}]\nroutes: {{ a: {{ filter: {filter}, handler: slow }}{more} }}")
    };
    let (bus, seen, gate) = slow(&text("x.#", ", stuck: { filter: x.stuck, handler: slow }")).await;
    publish(&bus, "x.stuck", 1).await;
    gate.reached(1).await;
    // It waits for the route that goes; by then the other one is in its place.
    let cut = config(&text("y", ""));
    assert!(futures_util::poll!(Box::pin(cut.apply(&bus))).is_pending());
    publish(&bus, "y", 2).await;
    let next = config(&text("z", ""));
    let applying = next.apply(&bus);
    tokio::pin!(applying);
    assert!(futures_util::poll!(&mut applying).is_pending());
    gate.open();
    applying.await.unwrap();
    let mut handled = seen.take();
    handled.sort_unstable();
    // The first reaches both routes.
    assert_eq!(handled, [("slow", 1), ("slow", 1), ("slow", 2)], "none of them was refused");
    publish(&bus, "z", 3).await;
    bus.settle().await;
    assert_eq!(seen.take(), [("slow", 3)]);
    bus.assert_balanced();
}

/// A durable route that is handled by `slow`.
fn durable(concurrency: u64) -> String {
    format!(
        "routes: {{ a: {{ filter: a, handler: slow, durable: a, limits: {{ concurrency: {concurrency} }} }} }}"
    )
}

/// A bus with a handler that waits at the gate.
async fn with_store(directory: &Path, gate: &Gate) -> Bus {
    let passing = gate.clone();
    let builder = Bus::open(directory.join("store")).stream(Stream::new("s").capture("a"));
    let builder = builder.handler("slow", move || {
        let gate = passing.clone();
        async move { gate.pass().await }
    });
    builder.start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_short_is_known_and_made_whole_by_the_next_one() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let bus = with_store(directory.path(), &gate).await;
    let (first, second) = (config(&durable(1)), config(&durable(2)));
    first.apply(&bus).await.unwrap();
    publish(&bus, "a", 1).await;
    gate.reached(1).await;
    assert!(futures_util::poll!(Box::pin(second.apply(&bus))).is_pending());
    // It is gone, and has not come back.
    assert_eq!(first.pending(&bus).await.to_string(), "+ routes.a: a to slow, durable as a\n");
    first.check(&bus).await.unwrap();
    let mut again = Box::pin(first.apply(&bus));
    assert!(futures_util::poll!(&mut again).is_pending(), "it waits for the handler");
    gate.open();
    assert_eq!(again.await.unwrap().added_routes().count(), 1);
    assert!(first.pending(&bus).await.is_empty());
    bus.shutdown(Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_goes_does_not_wait_for_a_handler_that_never_ends() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let path = directory.path().join("busway.yaml");
    std::fs::write(&path, durable(1)).unwrap();
    let bus = with_store(directory.path(), &gate).await;
    let watcher = Watcher::of(&path).environment([]).start(&bus).await.unwrap();
    publish(&bus, "a", 1).await;
    gate.reached(1).await;
    std::fs::write(&path, durable(2)).unwrap();
    let mut looking = Box::pin(watcher.look());
    assert!(futures_util::poll!(&mut looking).is_pending());
    // It is being applied: the subscription has begun to end.
    let is_running = |bus: &Bus| bus.describe().subscriptions.iter().any(|one| one.state == State::Running);
    while is_running(&bus) {
        tokio::task::yield_now().await;
    }
    drop(looking);
    drop(watcher);
    // What is in force is free again.
    config(&durable(1)).pending(&bus).await;
    gate.open();
    bus.shutdown(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn who_only_asks_what_would_differ_waits_for_no_handler() {
    let (bus, _seen, gate) = slow("routes: { a: { filter: a, handler: slow } }").await;
    publish(&bus, "a", 1).await;
    gate.reached(1).await;
    let wanted = config("{}");
    let mut applying = Box::pin(wanted.apply(&bus));
    assert!((&mut applying).now_or_never().is_none(), "a handler runs");
    let pending = wanted.pending(&bus).now_or_never().unwrap();
    assert_eq!(pending.to_string(), "- routes.a: a to slow\n", "it is not in force yet");
    wanted.check(&bus).now_or_never().unwrap().unwrap();
    let wrong = config("routes: { b: { filter: b, handler: nobody } }");
    wrong.check(&bus).now_or_never().unwrap().unwrap_err();
    gate.open();
    applying.await.unwrap();
    assert!(wanted.pending(&bus).await.is_empty());
}
