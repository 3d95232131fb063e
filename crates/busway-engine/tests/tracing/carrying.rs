//! Contexts that are carried on: of others, of what is not recorded, and with what travels beside them.

use std::sync::Arc;

use busway_engine::{Bus, Publisher};
use busway_event::{AnyEvent, Raw, TraceContext};
use busway_middleware::{Delivery, Payload, PublishRefused, PublishStage};
use busway_observability::Relation;
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt as _;
use parking_lot::Mutex;
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::world::{NOT_RECORDED, memory, raw, spans, tracing};

/// The events that a subscription was given.
type Seen = Arc<Mutex<Vec<AnyEvent>>>;

async fn watch(bus: &Bus, filter: &str) -> Seen {
    let seen = Seen::default();
    let writer = Arc::clone(&seen);
    let handler = move |delivery: Delivery| {
        writer.lock().push(delivery.event().clone());
        async {}
    };
    bus.subscribe(filter).to(handler).await.unwrap();
    seen
}

fn trace_of(seen: &Seen) -> Option<TraceContext> {
    seen.lock()[0].metadata().trace().cloned()
}

const FOREIGN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-";

#[tokio::test]
async fn a_context_that_the_publisher_has_put_in_is_kept() {
    let bus = Bus::memory().tracing(&tracing().relation(Relation::Parent)).start().await.unwrap();
    let seen = watch(&bus, "foreign.a").await;
    let foreign = format!("{FOREIGN}01");
    let draft = raw("foreign.a").meta("traceparent", &foreign).meta("tracestate", "shop=1");
    bus.publish(draft).instrument(tracing::info_span!("around foreign")).await.unwrap();
    bus.idle().await;
    let trace = trace_of(&seen).unwrap();
    assert_eq!((trace.to_string(), trace.state()), (foreign, Some("shop=1")));
    let all = spans("foreign.");
    let [process] = &all[..] else { panic!("{all:?}") };
    assert_eq!(process.0.parent_span_id.to_bytes(), trace.parent_id());
    assert_eq!(process.trace().to_bytes(), trace.trace_id());
    assert!(process.0.parent_span_is_remote);
}

#[tokio::test]
async fn what_is_not_recorded_makes_no_span_and_carries_the_flag_on() {
    let bus = memory().await;
    let publishes = |publisher: Publisher| async move {
        // What the program opens itself belongs to the same trace, and is not recorded either.
        let publish = publisher.publish(raw("unsampled.second"));
        publish.instrument(tracing::info_span!("of the program, unsampled")).await.map(drop)
    };
    bus.subscribe("unsampled.first").to(publishes).await.unwrap();
    let seen = watch(&bus, "unsampled.second").await;
    bus.publish(raw("unsampled.first").meta("traceparent", format!("{FOREIGN}00"))).await.unwrap();
    bus.idle().await;
    let trace = trace_of(&seen).unwrap();
    assert!(!trace.is_sampled());
    assert_eq!(trace.trace_id_hex(), &FOREIGN[3..35]);
    assert_eq!(spans("unsampled.").len(), 0);
    assert!(crate::world::named("of the program, unsampled").is_empty());
}

#[tokio::test]
async fn a_publish_within_a_span_that_is_not_recorded_carries_the_flag_on() {
    let bus = memory().await;
    let seen = watch(&bus, "dropped.a").await;
    bus.publish(raw("dropped.a")).instrument(tracing::info_span!("not recorded")).await.unwrap();
    bus.idle().await;
    assert_eq!(NOT_RECORDED, "not recorded");
    assert!(!trace_of(&seen).unwrap().is_sampled());
    assert_eq!(spans("dropped.").len(), 0);
}

#[tokio::test]
async fn publishes_that_are_not_chosen_bear_nothing_and_those_within_a_span_follow_it() {
    let bus = Bus::memory().tracing(&tracing().sample(0.0)).start().await.unwrap();
    let (outside, within) = (watch(&bus, "share.outside").await, watch(&bus, "share.within").await);
    bus.publish(raw("share.outside")).await.unwrap();
    bus.publisher::<Raw>("share.outside").unwrap().publish(Raw::from("x")).await.unwrap();
    bus.publish(raw("share.within")).instrument(tracing::info_span!("around share")).await.unwrap();
    bus.idle().await;
    assert_eq!(outside.lock().len(), 2);
    assert_eq!(trace_of(&outside), None);
    assert!(trace_of(&within).unwrap().is_sampled());
    assert_eq!(spans("share.outside").len(), 0);
    assert_eq!(spans("share.within").len(), 2);
}

#[tokio::test]
async fn a_share_of_the_publishes_of_a_publisher_is_chosen() {
    for topic in ["half.a", "stepped.a"] {
        let bus = Bus::memory().tracing(&tracing().sample(0.5)).start().await.unwrap();
        if topic == "stepped.a" {
            // Payloads become drafts, for the step.
            let passes = |_: &mut busway_event::DraftHead| Ok::<_, PublishRefused>(());
            bus.publish_middleware(PublishStage::User).add("passes", passes).unwrap();
        }
        let seen = watch(&bus, topic).await;
        let publisher = bus.publisher::<Raw>(topic).unwrap();
        for _ in 0..400 {
            publisher.publish(Raw::from("x")).await.unwrap();
            bus.idle().await;
        }
        let chosen = seen.lock().iter().filter(|event| event.metadata().trace().is_some()).count();
        // Five deviations of 400 fair coins on either side.
        assert!((150..=250).contains(&chosen), "{topic}: {chosen}");
        assert_eq!(spans(topic).iter().filter(|span| span.0.name == "publish").count(), chosen);
    }
}

#[tokio::test]
async fn baggage_travels_to_the_handler_and_from_there_on() {
    let bus = memory().await;
    let heard = Arc::new(Mutex::new(None));
    let ear = Arc::clone(&heard);
    let publishes = move |publisher: Publisher| {
        let ear = Arc::clone(&ear);
        async move {
            let told = Context::map_current(|context| context.baggage().get("shop").map(ToString::to_string));
            *ear.lock() = told;
            publisher.publish(raw("baggage.second")).await.map(drop)
        }
    };
    bus.subscribe("baggage.first").to(publishes).await.unwrap();
    let seen = watch(&bus, "baggage.second").await;
    let draft =
        raw("baggage.first").meta("traceparent", format!("{FOREIGN}01")).meta("baggage", "shop=Kiel%20S");
    bus.publish(draft).await.unwrap();
    bus.idle().await;
    assert_eq!(heard.lock().as_deref(), Some("Kiel S"));
    assert_eq!(seen.lock()[0].metadata().get("baggage"), Some("shop=Kiel%20S"));
}

#[tokio::test]
async fn an_event_without_room_for_a_baggage_goes_without_it_and_keeps_its_trace() {
    let bus = memory().await;
    // One with 64 pairs, one that lacks a few bytes of 16 KiB whoever its producer is, and one that has room.
    let many = |topic: &str| (0..64).fold(raw(topic), |draft, n| draft.meta(format!("k{n}"), "v"));
    let large = |topic: &str, len: usize| raw(topic).meta("a", "x".repeat(8_192)).meta("b", "x".repeat(len));
    let room = 16_384 - (1 + 8_192) - 1 - 255 - "baggage".len() - "shop=Kiel".len();
    let emits = move |delivery: Delivery| async move {
        match delivery.event().topic().as_str() {
            "crowded.first.many" => many("crowded.second.many"),
            "crowded.first.large" => large("crowded.second.large", room + 1),
            _ => large("crowded.second.small", room),
        }
    };
    bus.subscribe("crowded.first.#").to(emits).await.unwrap();
    let seen = watch(&bus, "crowded.#").await;
    let baggage = Context::current().with_baggage([opentelemetry::KeyValue::new("shop", "Kiel")]);
    for draft in [
        many("crowded.first.many"),
        large("crowded.first.large", room + 1),
        large("crowded.first.small", room),
    ] {
        let around = tracing::info_span!("around crowded");
        around.set_parent(baggage.clone()).unwrap();
        bus.publish(draft).instrument(around).await.unwrap();
        bus.idle().await;
    }
    let seen = seen.lock();
    let borne: Vec<_> = seen.iter().map(|event| (event.topic().as_str(), event.metadata())).collect();
    assert_eq!(borne.len(), 6, "{borne:?}");
    for (topic, metadata) in borne {
        let shop = topic.contains("small").then_some("shop=Kiel");
        assert_eq!((metadata.get("baggage"), metadata.trace().is_some()), (shop, true), "{topic}");
    }
}

#[tokio::test]
async fn a_draft_that_is_refused_comes_back_as_it_was_given() {
    let bus = memory().await;
    let refuse = |_: &mut busway_event::DraftHead| Err(PublishRefused::new("no"));
    let drafts: [fn() -> busway_event::Draft<Raw>; 2] =
        [|| raw("back.a"), || raw("back.a").meta("note", "x").key("k")];
    for draft in drafts {
        bus.shutdown(std::time::Duration::ZERO).await;
        let error = bus.publish(draft()).await.unwrap_err();
        assert_eq!(format!("{:?}", error.into_event().unwrap()), format!("{:?}", draft()));
    }
    let bus = memory().await;
    bus.publish_middleware(PublishStage::User).add("no", refuse).unwrap();
    let error = bus.publish(raw("back.b").meta("note", "x")).await.unwrap_err();
    assert_eq!(
        format!("{:?}", error.into_event().unwrap()),
        format!("{:?}", raw("back.b").meta("note", "x"))
    );
    // Refused behind the tracer: of the first it has left the trace alone, into the second it has put one.
    let drafts: [fn() -> busway_event::Draft<Raw>; 2] = [
        || raw("back.c").meta("note", "x".repeat(9_000)).meta("traceparent", format!("{FOREIGN}00")),
        || raw("back.c").meta("note", "x".repeat(9_000)),
    ];
    let bus = memory().await;
    for draft in drafts {
        let error = bus.publish(draft()).await.unwrap_err();
        assert_eq!(format!("{:?}", error.into_event().unwrap()), format!("{:?}", draft()));
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_context_is_said_as_without_tracing() {
    let bus = memory().await;
    let error = bus.publish(raw("wrong.a").meta("traceparent", "00-0")).await.unwrap_err();
    assert!(format!("{error:?}").contains("TraceContextError"), "{error:?}");
}

#[tokio::test]
async fn an_event_without_a_trace_is_handled_without_one() {
    let bus = Bus::memory().tracing(&tracing().sample(0.0)).start().await.unwrap();
    let handler = |_: Payload<Raw>| async {
        assert!(!Context::map_current(opentelemetry::trace::TraceContextExt::has_active_span));
    };
    bus.subscribe("bare.a").to(handler).await.unwrap();
    bus.publish(raw("bare.a")).await.unwrap();
    bus.idle().await;
    assert!(spans("bare.").is_empty());
}
