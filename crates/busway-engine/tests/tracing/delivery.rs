//! From a publish to what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use busway_engine::dead_letters::{Redrive, Selection};
use busway_engine::{Bus, BusBuilder, Publisher};
use busway_event::{Event, Raw};
use busway_middleware::{Batch, Delivery, Outcome, Payload, State, batch, inline};
use busway_observability::Relation;
use busway_persistence::Stream;
use busway_reliability::Retry;
use busway_testkit::{Gate, ManualClock, TestBus};
use opentelemetry::trace::{SpanKind, Status};
use tracing::Instrument as _;

use crate::world::{Numbered, Span, line, memory, named, raw, spans, tracing};

#[tokio::test]
async fn an_attempt_is_linked_to_its_publish_and_names_hold_no_topic() {
    let bus = memory().await;
    bus.subscribe("linked.+").name("reader").to(|| async {}).await.unwrap();
    let receipt = bus.publish(raw("linked.a")).await.unwrap();
    bus.idle().await;
    let all = spans("linked.");
    let [publish, process] = &all[..] else { panic!("{all:?}") };
    assert_eq!((&*publish.0.name, &publish.0.span_kind), ("publish", &SpanKind::Producer));
    assert_eq!((&*process.0.name, &process.0.span_kind), ("process linked.+", &SpanKind::Consumer));
    assert!(process.is_linked_to(publish) && process.is_root() && publish.is_root());
    assert_ne!(process.trace(), publish.trace());
    let id = Some(receipt.id.to_string());
    for (span, name, kind) in [(publish, "publish", "send"), (process, "process", "process")] {
        assert_eq!(span.text("messaging.system").as_deref(), Some("busway"));
        assert_eq!(span.text("messaging.operation.name").as_deref(), Some(name));
        assert_eq!(span.text("messaging.operation.type").as_deref(), Some(kind));
        assert_eq!(
            (span.text("messaging.destination.name").as_deref(), span.text("messaging.message.id")),
            (Some("linked.a"), id.clone())
        );
        assert_eq!(span.0.status, Status::Unset);
    }
    assert_eq!(process.text("messaging.destination.template").as_deref(), Some("linked.+"));
    assert_eq!(process.text("messaging.destination.subscription.name").as_deref(), Some("reader"));
    assert_eq!(process.text("busway.outcome").as_deref(), Some("done"));
    assert_eq!(process.number("busway.attempt"), Some(1));
}

#[tokio::test]
async fn an_attempt_is_a_child_where_that_is_said() {
    let bus = Bus::memory().tracing(&tracing().relation(Relation::Parent)).start().await.unwrap();
    bus.subscribe("child.#").to(|| async {}).await.unwrap();
    bus.publish(raw("child.a")).instrument(tracing::info_span!("checkout of child")).await.unwrap();
    bus.idle().await;
    let (all, checkout) = (spans("child."), &named("checkout of child")[0]);
    let [publish, process] = &all[..] else { panic!("{all:?}") };
    assert!(publish.is_child_of(checkout) && process.is_child_of(publish));
    assert!(process.0.links.links.is_empty());
}

#[tokio::test]
async fn each_attempt_in_memory_has_a_span_of_its_own_and_says_what_follows() {
    let bus = TestBus::build(|bus| bus.tracing(&tracing())).await;
    let retry = Retry::listed(&[Duration::from_millis(40)]);
    let handler = |delivery: Delivery| async move {
        match delivery.attempt() {
            1 => Outcome::failed("no connection to secret-host"),
            _ => Outcome::Done,
        }
    };
    bus.subscribe("again.#").retry(retry).to(handler).await.unwrap();
    bus.publish(raw("again.a")).await.unwrap();
    assert!(bus.settle_within(Duration::from_secs(1)).await);
    let all = spans("again.");
    let [publish, first, second] = &all[..] else { panic!("{all:?}") };
    assert!(first.is_linked_to(publish) && second.is_linked_to(publish));
    assert_eq!((first.number("busway.attempt"), second.number("busway.attempt")), (Some(1), Some(2)));
    assert_eq!(first.text("error.type").as_deref(), Some("failed"));
    assert_eq!(first.0.status, Status::error(""));
    assert!(first.has_moment("busway.retry") && !second.has_moment("busway.retry"));
    assert_eq!(second.text("busway.outcome").as_deref(), Some("done"));
    assert!(!format!("{first:?}").contains("secret-host"), "the text of an error is the program's own");
}

/// Whether the service that handlers need is there.
#[derive(Clone, Default)]
struct Service(Arc<AtomicBool>);

async fn needs_service(service: State<Service>) -> Result<(), &'static str> {
    match service.0.0.load(Ordering::Relaxed) {
        true => Ok(()),
        false => Err("away"),
    }
}

async fn durable(clock: &ManualClock, path: &std::path::Path, service: &Service) -> TestBus {
    let stream = Stream::new("long").capture("long.#");
    let configure = |bus: BusBuilder| bus.stream(stream).state(service.clone()).tracing(&tracing());
    let bus = TestBus::open_on(clock.clone(), path, configure).await;
    let retry = Retry::listed(&[Duration::from_millis(40)]);
    bus.subscribe("long.#").durable("far").concurrency(4).retry(retry).to(needs_service).await.unwrap();
    bus
}

#[tokio::test]
async fn each_attempt_reaches_back_through_retry_dead_letter_restart_and_redrive() {
    let (dir, clock, service) = (tempfile::tempdir().unwrap(), ManualClock::new(), Service::default());
    let bus = durable(&clock, dir.path(), &service).await;
    for number in 0..EVENTS {
        bus.publish(Event::new(format!("long.n{number}"), Numbered(number))).await.unwrap();
    }
    bus.settle().await;
    clock.advance(Duration::from_secs(1));
    bus.settle().await;
    bus.finish().await;
    // What comes now knows of the traces what was stored.
    service.0.store(true, Ordering::Relaxed);
    let bus = durable(&clock, dir.path(), &service).await;
    bus.publish(raw("long.live")).await.unwrap();
    let letters = bus.dead_letters().by("ann").request("ticket-7");
    letters.redrive(Selection::all().subscription("far"), Redrive::default().unlimited()).await.unwrap();
    bus.settle().await;
    bus.finish().await;

    let all = spans("long.");
    let process: Vec<&Span> = all.iter().filter(|span| span.is_process()).collect();
    let many = usize::try_from(EVENTS).unwrap();
    assert_eq!(process.len(), 3 * many + 1, "two attempts, a redrive, and the one that was well at once");
    let publishes: Vec<&Span> = all.iter().filter(|span| span.0.name == "publish").collect();
    assert_eq!(publishes.len(), many + 1);
    let reaches_back = |span: &&&Span| {
        let of_it =
            |publish: &&&Span| publish.text("messaging.message.id") == span.text("messaging.message.id");
        publishes.iter().find(of_it).is_some_and(|publish| span.is_linked_to(publish))
    };
    assert_eq!(process.iter().filter(reaches_back).count(), process.len(), "all of them reach back");

    let told = |moment: &str| process.iter().filter(|span| span.has_moment(moment)).count();
    assert_eq!((told("busway.retry"), told("busway.dead_letter")), (many, many));
    let replays: Vec<_> = process.iter().filter(|span| span.flag("busway.replay") == Some(true)).collect();
    assert!(replays.iter().all(|span| span.text("busway.outcome").as_deref() == Some("done")));
    assert_eq!(replays.len(), many);
    let redrives: Vec<Span> = named("redrive");
    let of_ticket = redrives.iter().filter(|span| span.text("busway.request").as_deref() == Some("ticket-7"));
    let links: usize = of_ticket.map(|span| span.0.links.links.len()).sum();
    assert_eq!(links, many, "the redrive is linked to the publish of each");
    let is_of_it = |span: &&&&Span| redrives.iter().any(|redrive| span.is_linked_to(redrive));
    assert_eq!(
        replays.iter().filter(is_of_it).count(),
        many,
        "and each attempt that comes of it to the redrive"
    );
    assert_eq!(process.iter().filter(|span| is_of_it(&span)).count(), many, "and no other");
}

#[tokio::test]
async fn an_attempt_that_is_cut_short_behind_its_settlement_says_that_it_was_the_last() {
    let (dir, clock, gate) = (tempfile::tempdir().unwrap(), ManualClock::new(), Gate::closed());
    let stream = Stream::new("cut").capture("cut.#");
    let configure = |bus: BusBuilder| bus.stream(stream).tracing(&tracing());
    let bus = TestBus::open_on(clock.clone(), dir.path(), configure).await;
    let held = gate.clone();
    let waits = move |_: Payload<Numbered>| {
        let held = held.clone();
        async move { held.pass().await }
    };
    bus.subscribe("cut.#").durable("once").at_most_once().to(waits).await.unwrap();
    bus.publish(Event::new("cut.a", Numbered(1))).await.unwrap();
    gate.reached(1).await;
    let passes = async {
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(1));
    };
    tokio::join!(biased; bus.shutdown(Duration::ZERO), passes);
    let all = spans("cut.");
    let process: Vec<_> = all.iter().filter(|span| span.is_process()).collect();
    assert_eq!(process.len(), 1);
    assert_eq!(process[0].text("busway.outcome").as_deref(), Some("failed"));
    assert!(process[0].has_moment("busway.dead_letter"));
}

#[tokio::test]
async fn lines_within_a_handler_say_the_span_of_its_attempt() {
    let bus = memory().await;
    let one = |_: Payload<Raw>| async { tracing::info!("a line of one") };
    bus.subscribe("lined.one").name("lined").to(one).await.unwrap();
    let many = |_: Batch<Raw>| async { tracing::info!("a line of many") };
    bus.subscribe("lined.many").name("lined-many").to(batch(many)).await.unwrap();
    bus.publish(raw("lined.one")).await.unwrap();
    bus.publish_batch(vec![raw("lined.many"), raw("lined.many")]).await.unwrap();
    bus.idle().await;
    for (message, name) in [("a line of one", "process lined.one"), ("a line of many", "process lined.many")]
    {
        let process = &named(name)[0];
        let (trace, span) = (process.trace().to_string(), process.id().to_string());
        let [logs, plain] = line(message);
        assert_eq!(
            (logs["trace_id"].as_str(), logs["span_id"].as_str()),
            (Some(&*trace), Some(&*span)),
            "{logs}"
        );
        let around = &plain["span"];
        assert_eq!(
            (around["trace_id"].as_str(), around["span_id"].as_str()),
            (Some(&*trace), Some(&*span)),
            "{plain}"
        );
    }
}

#[tokio::test]
async fn lines_of_an_inline_handler_of_another_bus_say_its_own_event() {
    let (traced, other) = (memory().await, Bus::memory().start().await.unwrap());
    let inner = inline(|_: Payload<Raw>| tracing::info!("a line of another bus"));
    other.subscribe("nested.inner").name("nested-inner").to(inner).await.unwrap();
    let publishes = move |_: Payload<Raw>| {
        let other = other.clone();
        async move {
            let sent = other.publish(raw("nested.inner")).await.map(drop);
            tracing::info!("a line behind it");
            sent
        }
    };
    traced.subscribe("nested.outer").name("nested-outer").to(publishes).await.unwrap();
    traced.publish(raw("nested.outer")).await.unwrap();
    traced.idle().await;
    let said = |message: &str| {
        let [logs, _] = line(message);
        ["topic", "subscription", "trace_id"].map(|name| logs[name].as_str().unwrap().to_owned())
    };
    let trace = named("process nested.outer")[0].trace().to_string();
    assert_eq!(said("a line of another bus"), ["nested.inner", "nested-inner", &trace]);
    assert_eq!(said("a line behind it"), ["nested.outer", "nested-outer", &trace]);
}

#[tokio::test]
async fn each_attempt_is_linked_to_the_redrive_that_it_comes_of() {
    let (dir, service) = (tempfile::tempdir().unwrap(), Service::default());
    let stream = Stream::new("given").capture("given.#");
    let configure = |bus: BusBuilder| bus.stream(stream).state(service.clone()).tracing(&tracing());
    let bus = TestBus::open(dir.path(), configure).await;
    let retry = Retry::listed(&[Duration::from_millis(40)]);
    bus.subscribe("given.#").durable("given").retry(retry).to(needs_service).await.unwrap();
    bus.publish(Event::new("given.a", Numbered(1))).await.unwrap();
    for request in ["given-1", "given-2"] {
        for _ in 0..2 {
            bus.settle().await;
            bus.clock().advance(Duration::from_secs(1));
        }
        bus.settle().await;
        service.0.store(request == "given-2", Ordering::Relaxed);
        let letters = bus.dead_letters().by("ann").request(request);
        letters.redrive(Selection::all(), Redrive::default().unlimited()).await.unwrap();
        bus.settle().await;
    }
    bus.finish().await;
    let attempts: Vec<Span> = spans("given.").into_iter().filter(Span::is_process).collect();
    let redrives = named("redrive");
    let of = |request: &str| {
        let redrive = redrives.iter().find(|span| span.text("busway.request").as_deref() == Some(request));
        attempts.iter().map(|span| span.is_linked_to(redrive.unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(of("given-1"), [false, false, true, true, false], "its retry, too");
    assert_eq!(of("given-2"), [false, false, false, false, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handlers_that_run_at_once_never_have_the_span_of_another() {
    let bus = memory().await;
    let handler = |payload: Payload<Numbered>, publisher: Publisher| async move {
        let number = payload.0;
        for _ in 0..number % 7 {
            tokio::task::yield_now().await;
        }
        let inner = tracing::info_span!("inner of crossed");
        let publish = async {
            tokio::task::yield_now().await;
            publisher.publish(Event::new(format!("crossed.second.n{number}"), Numbered(number))).await
        };
        publish.instrument(inner).await.map(drop)
    };
    bus.subscribe("crossed.first.#").concurrency(16).to(handler).await.unwrap();
    for number in 0..EVENTS {
        bus.publish(Event::new(format!("crossed.first.n{number}"), Numbered(number))).await.unwrap();
        bus.idle().await;
    }
    for number in 0..EVENTS {
        bus.publish(Event::new(format!("crossed.first.n{number}"), Numbered(number))).await.unwrap();
    }
    bus.idle().await;
    let (all, inner) = (spans("crossed."), named("inner of crossed"));
    let second: Vec<&Span> = all
        .iter()
        .filter(|span| span.text("messaging.destination.name").unwrap().starts_with("crossed.second"))
        .collect();
    assert!(second.len() >= usize::try_from(EVENTS).unwrap(), "{}", second.len());
    for publish in second {
        let number = publish.text("messaging.destination.name").unwrap().replace("second", "first");
        let around = inner.iter().find(|inner| publish.is_child_of(inner)).unwrap();
        let process = all.iter().find(|span| around.is_child_of(span)).unwrap();
        assert!(process.is_process());
        assert_eq!(process.text("messaging.destination.name"), Some(number));
    }
}

const EVENTS: u32 = 40;
