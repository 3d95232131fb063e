//! Lines within handlers.

use std::time::Duration;

use busway_engine::{Bus, Publisher};
use busway_middleware::{Batch, Delivery, Outcome, Payload, blocking, inline};
use busway_observability::Tracing;
use busway_reliability::Retry;
use busway_testkit::TestBus;
use tokio::sync::mpsc;

use crate::{Order, durable, lines, logs, open, order};

/// Of all lines with this message: the subscription, the topic and the attempt that they say.
#[track_caller]
fn said(message: &str) -> Vec<(String, String, u64)> {
    let found = lines(message).into_iter().filter(|line| line["message"] == message);
    let said = found.map(|line| {
        assert!(line["event_id"].is_string(), "{line}");
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        (text("subscription"), text("topic"), line["attempt"].as_u64().unwrap())
    });
    said.collect()
}

fn of(subscription: &str, topic: &str, attempt: u64) -> (String, String, u64) {
    (subscription.to_owned(), topic.to_owned(), attempt)
}

#[tokio::test]
async fn lines_of_a_durable_handler_say_its_event_in_each_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(&dir).await;
    let retry =
        Retry::default().first_delay(Duration::from_millis(1)).longest_delay(Duration::from_millis(1));
    let handler = |_: Payload<Order>, delivery: Delivery| async move {
        tracing::trace!("durable begins");
        tokio::task::yield_now().await;
        tracing::trace!("durable ends");
        match delivery.attempt() {
            1 => Outcome::failed("not yet"),
            _ => Outcome::Done,
        }
    };
    durable(&bus, "lines-durable").retry(retry).to(handler).await.unwrap();
    bus.publish(order("orders.durable", "4711")).await.unwrap();
    bus.settle().await;
    bus.clock().advance(Duration::from_millis(2));
    bus.settle().await;
    let expected = [1, 2].map(|attempt| of("lines-durable", "orders.durable", attempt));
    assert_eq!(said("durable begins"), expected);
    assert_eq!(said("durable ends"), expected);
    bus.finish().await;
}

#[tokio::test]
async fn lines_of_handlers_in_memory_say_their_event_whatever_their_form() {
    logs();
    let bus = TestBus::start().await;
    let name = |form: &str| format!("lines-{form}");
    let handler = |_: Payload<Order>| async {
        tracing::trace!("async begins");
        tokio::task::yield_now().await;
        tracing::trace!("async ends");
    };
    bus.subscribe("memory.a").name(name("async")).to(handler).await.unwrap();
    let at_once = inline(|_: Payload<Order>| tracing::trace!("inline"));
    bus.subscribe("memory.a").name(name("inline")).to(at_once).await.unwrap();
    let lines_in_batch = |batch: Batch<Order>| async move {
        tracing::trace!(events = batch.len(), "batch");
    };
    bus.subscribe("memory.a").name(name("batch")).to(busway_middleware::batch(lines_in_batch)).await.unwrap();
    bus.publish(order("memory.a", "4711")).await.unwrap();
    bus.settle().await;
    for message in ["async begins", "async ends", "inline"] {
        let form = message.split(' ').next().unwrap();
        assert_eq!(said(message), [of(&name(form), "memory.a", 1)]);
    }
    let batch = lines("\"message\":\"batch\"");
    assert_eq!(batch[0]["subscription"], "lines-batch", "{batch:?}");
    bus.finish().await;
}

#[tokio::test]
async fn lines_of_a_blocking_handler_say_its_event() {
    logs();
    let bus = Bus::memory().start().await.unwrap();
    let (sender, mut done) = mpsc::unbounded_channel();
    let handler = blocking(move |_: Payload<Order>| {
        tracing::trace!("blocking");
        sender.send(()).unwrap();
    });
    bus.subscribe("memory.b").name("lines-blocking").to(handler).await.unwrap();
    bus.publish(order("memory.b", "4711")).await.unwrap();
    done.recv().await.unwrap();
    assert_eq!(said("blocking"), [of("lines-blocking", "memory.b", 1)]);
    bus.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn the_trace_of_an_event_is_that_of_the_lines_of_its_handler() {
    logs();
    let bus = TestBus::start().await;
    let handler = |_: Payload<Order>| async { tracing::trace!("traced") };
    bus.subscribe("memory.c").name("lines-traced").to(handler).await.unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    bus.publish(order("memory.c", "4711").meta("traceparent", trace)).await.unwrap();
    bus.settle().await;
    assert_eq!(lines("\"traced\"")[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    bus.finish().await;
}

#[tokio::test]
async fn what_an_event_bore_goes_on_where_spans_are_made_for_logs_alone() {
    logs();
    let bus = Bus::memory().tracing(&Tracing::otel()).start().await.unwrap();
    let publishes = |publisher: Publisher| async move {
        tracing::trace!("bore");
        tokio::task::yield_now().await;
        publisher.publish(order("bore.second", "4711")).await.map(drop)
    };
    bus.subscribe("bore.first").name("lines-bore").to(publishes).await.unwrap();
    let (sender, mut seen) = mpsc::unbounded_channel();
    let keeps = move |delivery: Delivery| {
        sender.send(delivery.event().metadata().clone()).unwrap();
        async {}
    };
    bus.subscribe("bore.second").to(keeps).await.unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let first = order("bore.first", "4711").meta("traceparent", trace).meta("tracestate", "shop=1");
    bus.publish(first.meta("baggage", "city=Kiel")).await.unwrap();
    let metadata = seen.recv().await.unwrap();
    let borne = metadata.trace().map(|trace| (trace.to_string(), trace.state()));
    assert_eq!(borne, Some((trace.to_owned(), Some("shop=1"))));
    assert_eq!(metadata.get("baggage"), Some("city=Kiel"));
    let line = &lines("\"bore\"")[0];
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c", "{line}");
    assert_eq!((&line["span_id"], &line["topic"]), (&serde_json::Value::Null, &"bore.first".into()));
    bus.shutdown(Duration::from_secs(10)).await;
}
