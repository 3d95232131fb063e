//! Every kind of handler runs in its span, and what it emits is created there.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Bus, Publisher, StoreTx, in_store};
use busway_event::{Draft, Event, Raw};
use busway_middleware::{Batch, Payload, Stage, SyncMiddleware, batch, blocking, inline};
use busway_persistence::{Stream, TxError};
use busway_testkit::TestBus;
use parking_lot::Mutex;

use crate::world::{Span, memory, raw, spans, tracing};

/// Of the spans of topics that begin so: the one of the event that was emitted has the attempt as its parent.
fn check(prefix: &str, name: &str) -> Span {
    let all = spans(prefix);
    let process = all.iter().find(|span| span.is_process()).unwrap_or_else(|| panic!("{all:?}"));
    let second = format!("{prefix}second");
    let emitted = all.iter().find(|span| {
        span.0.name == name && span.text("messaging.destination.name").as_deref() == Some(&*second)
    });
    let emitted = emitted.unwrap_or_else(|| panic!("{all:?}"));
    assert!(emitted.is_child_of(process), "{emitted:?} in {process:?}");
    process.clone()
}

fn emit(topic: &'static str) -> Draft<Raw> {
    raw(topic)
}

struct Nothing;

impl SyncMiddleware for Nothing {}

#[tokio::test]
async fn an_async_handler_emits_and_publishes_in_its_span() {
    let bus = memory().await;
    bus.subscribe("async.first").to(|| async { emit("async.second") }).await.unwrap();
    bus.publish(raw("async.first")).await.unwrap();
    bus.idle().await;
    check("async.", "create");

    let publishes =
        |publisher: Publisher| async move { publisher.publish(raw("direct.second")).await.map(drop) };
    bus.subscribe("direct.first").to(publishes).await.unwrap();
    bus.publish(raw("direct.first")).await.unwrap();
    bus.idle().await;
    check("direct.", "publish");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocking_handler_emits_and_publishes_in_its_span() {
    let bus = memory().await;
    bus.subscribe("thread.first").to(blocking(|| emit("thread.second"))).await.unwrap();
    bus.publish(raw("thread.first")).await.unwrap();
    bus.idle().await;
    check("thread.", "create");

    let publishes = |publisher: Publisher| publisher.try_publish(raw("threaded.second")).map(drop);
    let of_it = bus.subscribe("threaded.first").to(blocking(publishes)).await.unwrap();
    of_it.middleware(Stage::User).add("nothing", Nothing).unwrap();
    bus.publish(raw("threaded.first")).await.unwrap();
    bus.idle().await;
    check("threaded.", "publish");
}

#[tokio::test]
async fn an_inline_handler_emits_and_publishes_in_its_span() {
    let bus = memory().await;
    bus.subscribe("inline.first").to(inline(|| emit("inline.second"))).await.unwrap();
    bus.try_publish(raw("inline.first")).unwrap();
    check("inline.", "create");

    let publishes = |publisher: Publisher| publisher.try_publish(raw("inlined.second")).map(drop);
    bus.subscribe("inlined.first").to(inline(publishes)).await.unwrap();
    bus.publish(raw("inlined.first")).await.unwrap();
    check("inlined.", "publish");
}

#[tokio::test]
async fn a_batch_is_linked_to_each_of_its_events() {
    let bus = memory().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&seen);
    let handler = move |events: Batch<Raw>| {
        writer.lock().push(events.len());
        async {}
    };
    let of_it = bus.subscribe("many.#").to(batch(handler)).await.unwrap();
    of_it.pause();
    for topic in ["many.a", "many.b", "many.c"] {
        bus.publish(raw(topic)).await.unwrap();
    }
    of_it.resume();
    bus.idle().await;
    assert_eq!(*seen.lock(), [3]);
    let publishes = spans("many.");
    assert_eq!(publishes.len(), 3, "{publishes:?}");
    let process = &crate::world::named("process many.#")[0];
    assert!(publishes.iter().all(|publish| process.is_linked_to(publish)));
    assert_eq!(process.number("messaging.batch.message_count"), Some(3));
}

#[tokio::test]
async fn a_durable_batch_and_what_fails_of_it_are_linked_too() {
    let dir = tempfile::tempdir().unwrap();
    let stream = Stream::new("several").capture("several.#");
    let bus = TestBus::open(dir.path(), |bus| bus.stream(stream).tracing(&tracing())).await;
    let receipts = bus.publish_batch(vec![raw("several.a"), raw("several.b")]).await.unwrap();
    assert_eq!(receipts.len(), 2);
    let handler = |events: Batch<Raw>| async move {
        match events.len() {
            1 => Ok(()),
            _ => Err("not together"),
        }
    };
    let retry = busway_reliability::Retry::listed(&[Duration::from_millis(40)]);
    let start = busway_engine::StartAt::Earliest;
    bus.subscribe("several.#")
        .durable("several")
        .start_at(start)
        .retry(retry)
        .to(batch(handler))
        .await
        .unwrap();
    bus.settle().await;
    bus.clock().advance(Duration::from_secs(1));
    bus.settle().await;
    bus.finish().await;
    let creates = spans("several.");
    let creates: Vec<&Span> = creates.iter().filter(|span| span.0.name == "create").collect();
    assert_eq!(creates.len(), 2);
    let process = crate::world::named("process several.#");
    let alone = process.iter().filter(|span| span.text("messaging.destination.name").is_some());
    assert_eq!(alone.count(), 2, "each was attempted alone in the end");
    assert!(process.iter().any(|span| span.has_moment("busway.retry")));
    let sends = crate::world::named("send");
    assert!(sends.iter().any(|send| creates.iter().all(|create| send.is_linked_to(create))));
    for create in creates {
        assert!(process.iter().filter(|span| span.is_linked_to(create)).count() >= 2);
    }
}

#[tokio::test]
async fn a_batch_that_is_published_is_one_send_linked_to_what_it_created() {
    use tracing::Instrument as _;
    let bus = memory().await;
    let one_topic = bus.publish_batch(vec![raw("sent.a"), raw("sent.a")]);
    one_topic.instrument(tracing::info_span!("sends")).await.unwrap();
    let (all, around) = (spans("sent."), &crate::world::named("sends")[0]);
    let [first, second, send] = &all[..] else { panic!("{all:?}") };
    assert_eq!([&*first.0.name, &*second.0.name, &*send.0.name], ["create", "create", "send"]);
    assert!(send.is_linked_to(first) && send.is_linked_to(second) && send.0.links.links.len() == 2);
    assert!(all.iter().all(|span| span.is_child_of(around)), "{all:?}");
    assert_eq!(send.0.span_kind, opentelemetry::trace::SpanKind::Client);
    assert_eq!(send.number("messaging.batch.message_count"), Some(2));
    assert_eq!(send.0.status, opentelemetry::trace::Status::Unset);
    // What is not recorded sends nothing that is.
    let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    bus.publish_batch(vec![raw("sent.c").meta("traceparent", unsampled)]).await.unwrap();
    bus.publish_batch(Vec::<Draft<Raw>>::new()).await.unwrap();
    assert_eq!(spans("sent.c").len(), 0);
    let is_empty = |send: &Span| send.number("messaging.batch.message_count") == Some(0);
    assert!(!crate::world::named("send").iter().any(is_empty));
}

#[tokio::test]
async fn a_batch_that_cannot_be_published_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let stream = Stream::new("unsent").capture("unsent.#");
    let bus = TestBus::open(dir.path(), |bus| bus.stream(stream).tracing(&tracing())).await;
    let mixed = vec![raw("unsent.a"), raw("unsent-too.a")];
    bus.publish_batch(mixed).await.unwrap_err();
    bus.finish().await;
    let create = &spans("unsent.")[0];
    let sends = crate::world::named("send");
    let send = sends.iter().find(|send| send.is_linked_to(create)).unwrap();
    assert_eq!(send.text("messaging.destination.name"), None, "it has none in common");
    assert_eq!(send.text("error.type").as_deref(), Some("refused"));
    assert!(matches!(send.0.status, opentelemetry::trace::Status::Error { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_in_the_store_publishes_in_its_span() {
    let dir = tempfile::tempdir().unwrap();
    let stream = Stream::new("stored").capture("stored.#");
    let bus = Bus::open(dir.path()).stream(stream).tracing(&tracing()).start().await.unwrap();
    let handler =
        |_: Payload<Raw>, tx: &mut StoreTx<'_>| -> Result<(), TxError> { tx.publish(raw("stored.second")) };
    bus.subscribe("stored.first").durable("in-store").to(in_store(handler)).await.unwrap();
    bus.publish(raw("stored.first")).await.unwrap();
    bus.idle().await;
    bus.shutdown(Duration::from_secs(10)).await;
    check("stored.", "create");
    assert!(spans("stored.").iter().any(|span| span.number("busway.offset") == Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_a_producer_creates_in_the_span_of_its_caller() {
    use tracing::Instrument as _;
    let dir = tempfile::tempdir().unwrap();
    let stream = Stream::new("bought").capture("bought.#");
    let bus = Bus::open(dir.path()).stream(stream).tracing(&tracing()).start().await.unwrap();
    let purchase = bus.transaction(|tx| tx.publish(Event::new("bought.a", Raw::from("x"))));
    purchase.instrument(tracing::info_span!("buys")).await.unwrap();
    bus.shutdown(Duration::from_secs(10)).await;
    let (all, around) = (spans("bought."), &crate::world::named("buys")[0]);
    assert!(all[0].is_child_of(around), "{all:?}");
    assert_eq!(all[0].0.name, "create");
}
