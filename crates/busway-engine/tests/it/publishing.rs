//! The publishing verbs: receipts, refusals that give the event back, handlers that emit.

use busway_engine::Refused;
use busway_event::{AnyEvent, DraftHead, Event, Metadata, Priority, Raw, Topic};
use busway_middleware::publish::PublishStage;
use busway_middleware::{Delivery, Emit, Middleware, Next, Outcome, Payload, PublishRefused, Stage, inline};
use busway_reliability::Overflow;
use busway_testkit::{Recorder, TestBus};

use crate::world::{Number, account, number};

#[tokio::test]
async fn a_receipt_says_how_many_were_offered_and_an_unheard_event_is_counted() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a.#").to(recorder.handler()).await.unwrap();
    bus.subscribe("a.b").to(recorder.handler()).await.unwrap();
    let receipt = bus.publish(number("a.b", 1)).await.unwrap();
    assert_eq!((receipt.offered, receipt.to_string().as_str()), (2, "in memory, offered to 2 subscriptions"));
    assert_eq!(bus.publish(number("x", 1)).await.unwrap().offered, 0);
    bus.settle().await;
    let stats = bus.stats();
    assert_eq!((stats.published, stats.unrouted, stats.refused), (2, 1, 0));
    assert!(stats.to_string().contains("published 2, refused 0, unrouted 1"), "{stats}");
}

#[tokio::test]
async fn each_refusal_gives_the_event_back_unchanged() {
    let bus = TestBus::build(|builder| builder.payload_bytes_max(1_000)).await;
    let malformed = number("a..b", 7).key("k").priority(Priority::P0).meta("tenant", "acme");
    let refused = bus.publish(malformed).await.unwrap_err();
    assert!(matches!(refused.reason().unwrap(), Refused::Invalid(_)));
    let again = refused.into_event().unwrap();
    let head = again.head();
    assert_eq!(
        (head.key(), head.priority(), head.metadata().get("tenant")),
        (Some("k"), Priority::P0, Some("acme"))
    );
    let large = Event::new("a", Raw::from(vec![0_u8; 1_001]));
    let error = busway_engine::Error::from(bus.try_publish(large).unwrap_err());
    assert_eq!(error.to_string(), "it is not valid");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("1001 bytes, more than 1000"));
    assert_eq!(bus.stats().refused, 2);
}

#[tokio::test]
async fn a_batch_is_all_or_nothing_and_names_the_event_that_was_refused() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a").to(recorder.handler()).await.unwrap();
    let batch = vec![number("a", 0), number("a", 1), number("", 2), number("a", 3)];
    let refused = bus.publish_batch(batch).await.unwrap_err();
    assert!(matches!(refused.reason().unwrap(), Refused::InBatch { index: 2, .. }));
    let mut back = refused.into_event().unwrap();
    assert_eq!(back.iter().map(|draft| draft.payload().n).collect::<Vec<_>>(), [0, 1, 2, 3]);
    bus.settle().await;
    assert_eq!((recorder.count(), bus.published().len()), (0, 0));
    back[2].head_mut().set_topic(Topic::new("a").unwrap());
    let receipts = bus.publish_batch(back).await.unwrap();
    assert_eq!(receipts.iter().map(|receipt| receipt.offered).sum::<usize>(), 4);
    bus.settle().await;
    recorder.assert_payloads(&[0, 1, 2, 3].map(|n| Number { n }));
}

#[tokio::test]
async fn a_batch_of_several_topics_keeps_its_order_and_says_of_each_event_who_was_offered_it() {
    let bus = TestBus::start().await;
    let (all, some, narrow) =
        (Recorder::<Number>::new(), Recorder::<Number>::new(), Recorder::<Number>::new());
    bus.subscribe("#").to(all.handler()).await.unwrap();
    bus.subscribe("b").to(some.handler()).await.unwrap();
    // Has room for one: the batch waits for it, event by event.
    bus.subscribe("a").capacity(1).overflow(Overflow::Block(None)).to(narrow.handler()).await.unwrap();
    let topics = ["a", "a", "b", "a", "c", "b"];
    let batch = topics.iter().zip(0..).map(|(topic, n)| number(topic, n)).collect();
    let receipts = bus.publish_batch(batch).await.unwrap();
    bus.settle().await;
    assert_eq!(receipts.iter().map(|receipt| receipt.offered).collect::<Vec<_>>(), [2, 2, 2, 2, 1, 2]);
    all.assert_payloads(&[0, 1, 2, 3, 4, 5].map(|n| Number { n }));
    some.assert_payloads(&[2, 5].map(|n| Number { n }));
    narrow.assert_payloads(&[0, 1, 3].map(|n| Number { n }));
    let ids: Vec<_> = receipts.iter().map(|receipt| receipt.id).collect();
    assert_eq!(ids, all.events().iter().map(|event| event.id()).collect::<Vec<_>>());
    assert!(ids.is_sorted());
    assert_eq!((bus.stats().published, bus.stats().unrouted), (6, 0));
}

#[tokio::test]
async fn a_publisher_handle_sees_subscriptions_come_and_go() {
    let bus = TestBus::start().await;
    let publisher = bus.publisher::<Number>("a.b").unwrap();
    assert!(bus.publisher::<Number>("a..b").is_err());
    let recorder = Recorder::<Number>::new();
    assert_eq!(publisher.publish(Number { n: 0 }).await.unwrap().offered, 0);
    let subscription = bus.subscribe("a.+").to(recorder.handler()).await.unwrap();
    assert_eq!(publisher.try_publish(Number { n: 1 }).unwrap().offered, 1);
    let urgent = publisher.draft(Number { n: 2 }).priority(Priority::P0);
    assert_eq!(publisher.publish_event(urgent).await.unwrap().offered, 1);
    subscription.stop().await;
    assert_eq!(publisher.publish(Number { n: 3 }).await.unwrap().offered, 0);
    assert_eq!(recorder.count(), 2);
}

#[tokio::test]
async fn publish_middleware_enriches_sends_elsewhere_and_refuses() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a").to(recorder.handler()).await.unwrap();
    let validate = bus.publish_middleware(PublishStage::Validate);
    let tenant = |draft: &mut DraftHead| match draft.metadata().get("tenant") {
        Some(_) => Ok(()),
        None => Err(PublishRefused::new("no tenant")),
    };
    validate.add("tenant", tenant).unwrap();
    let refused = bus.publish(number("a", 1)).await.unwrap_err();
    assert!(matches!(refused.reason().unwrap(), Refused::Middleware(by) if by.step() == "tenant"));
    // Enrich stands before validate, whatever the order of these lines.
    let enrich = bus.publish_middleware(PublishStage::Enrich);
    let add = |draft: &mut DraftHead| {
        draft.metadata_mut().set("tenant", "acme");
        Ok(())
    };
    enrich.add("add-tenant", add).unwrap();
    bus.publish(number("a", 2)).await.unwrap();
    let elsewhere = |draft: &mut DraftHead| {
        draft.set_topic(Topic::new("b").map_err(|error| PublishRefused::new(error.to_string()))?);
        Ok(())
    };
    enrich.replace("add-tenant", elsewhere).unwrap();
    validate.remove("tenant").unwrap();
    bus.publisher::<Number>("a").unwrap().publish(Number { n: 3 }).await.unwrap();
    let panics = |_: &mut DraftHead| -> Result<(), PublishRefused> { panic!("boom") };
    enrich.replace("add-tenant", panics).unwrap();
    assert!(bus.publish(number("a", 4)).await.is_err());
    bus.settle().await;
    recorder.assert_payloads(&[Number { n: 2 }]);
    assert_eq!(recorder.events()[0].metadata().get("tenant"), Some("acme"));
    bus.assert_published("b", 1);
}

#[tokio::test]
async fn what_a_handler_returns_is_published_when_it_is_done() {
    let bus = TestBus::start().await;
    let one = async |n: Payload<Number>| number("one", n.n);
    let two = async |n: Payload<Number>| (number("two", n.n), Event::new("two.raw", Raw::from("x")));
    let some = async |n: Payload<Number>| Ok::<_, String>((n.n > 1).then(|| number("some", n.n)));
    let many =
        async |n: Payload<Number>| (0..n.n).fold(Emit::new(), |emit, at| emit.event(number("many", at)));
    let failed = async |_: Payload<Number>| Err::<busway_event::Draft<Number>, _>("no");
    let invalid = async |_: Payload<Number>| vec![number("invalid", 1), number("invalid..", 2)];
    let invalid_sync = inline(|_: Payload<Number>| {
        vec![number("invalid-sync", 1), number("invalid..", 2), number("invalid-sync", 3)]
    });
    let sync = inline(|n: Payload<Number>| number("sync", n.n));
    bus.subscribe("a").name("one").to(one).await.unwrap();
    bus.subscribe("a").name("two").to(two).await.unwrap();
    bus.subscribe("a").name("some").to(some).await.unwrap();
    bus.subscribe("a").name("many").to(many).await.unwrap();
    bus.subscribe("a").name("failed").to(failed).await.unwrap();
    bus.subscribe("a").name("invalid").to(invalid).await.unwrap();
    bus.subscribe("a").name("invalid-sync").to(invalid_sync).await.unwrap();
    bus.subscribe("a").name("sync").to(sync).await.unwrap();
    bus.publish(number("a", 3)).await.unwrap();
    bus.settle().await;
    for (filter, count) in
        [("one", 1), ("two.#", 2), ("some", 1), ("many", 3), ("invalid", 0), ("invalid-sync", 0), ("sync", 1)]
    {
        bus.assert_published(filter, count);
    }
    bus.assert_outcomes("failed", &["failed"]);
    // The second event was refused: the handler failed, and nothing of it is out.
    bus.assert_outcomes("invalid", &["failed"]);
    bus.assert_outcomes("invalid-sync", &["failed"]);
    bus.assert_outcomes("sync", &["done"]);
    bus.finish().await;
}

#[tokio::test]
async fn a_handler_that_publishes_to_its_own_full_subscription_does_not_wait_for_itself() {
    let bus = TestBus::start().await;
    let handler = async |n: Payload<Number>| {
        (n.n > 0).then(|| [number("a", n.n - 1), number("a", 0)]).map(Vec::from).unwrap_or_default()
    };
    let builder = bus.subscribe("a").name("self").capacity(1).overflow(Overflow::Block(None));
    let subscription = builder.to(handler).await.unwrap();
    bus.publish(number("a", 5)).await.unwrap();
    bus.settle().await;
    let stats = subscription.stats();
    assert!(stats.tally.dropped > 0, "{stats}");
    assert_eq!(stats.failed, 0, "{stats}");
    bus.finish().await;
}

struct Wait;

impl Middleware for Wait {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        tokio::task::yield_now().await;
        next.run(delivery).await
    }
}

#[tokio::test]
async fn an_inline_handler_behind_async_middleware_needs_an_await() {
    let bus = TestBus::start().await;
    let subscription = bus.subscribe("a").name("in").to(inline(|_: Payload<Number>| {})).await.unwrap();
    bus.try_publish(number("a", 1)).unwrap();
    bus.middleware(Stage::User).add("wait", Wait).unwrap();
    let refused = bus.try_publish(number("a", 2)).unwrap_err();
    assert_eq!(refused.reason().unwrap(), &Refused::NeedsAwait { subscription: "in".into() });
    assert!(refused.is_transient());
    bus.publish(refused.into_event().unwrap()).await.unwrap();
    assert_eq!(subscription.stats().done, 2);
    tokio::select! {
        biased;
        _ = bus.publish(number("a", 3)) => panic!("the middleware yields once"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(account(&subscription.stats().tally), [3, 2, 0, 0, 1]);
    subscription.pause();
    bus.publish(number("a", 4)).await.unwrap();
    assert_eq!(subscription.stats().tally.dropped, 1);
    bus.finish().await;
}

#[tokio::test]
async fn a_received_event_is_forwarded_as_it_is() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a").to(recorder.handler()).await.unwrap();
    let metadata = Metadata::draft("elsewhere", 1).build().unwrap();
    let id = busway_event::EventId::foreign("elsewhere", "7");
    let stamp = busway_event::Stamp::new(id, busway_event::Timestamp::from_nanos(7), &metadata);
    let event: AnyEvent = number("a", 1).finish(&stamp).unwrap().into();
    assert_eq!(bus.forward(event.clone()).await.unwrap().id, id);
    bus.settle().await;
    assert_eq!(recorder.events()[0].metadata().producer(), "elsewhere");
    bus.shutdown(std::time::Duration::ZERO).await;
    assert_eq!(bus.forward(event).await.unwrap_err().into_event().unwrap().id(), id);
}

#[tokio::test]
async fn a_handler_of_another_type_kills_the_event_for_itself_only() {
    let bus = TestBus::start().await;
    bus.subscribe("a").name("numbers").to(async |_: Payload<Number>| {}).await.unwrap();
    bus.subscribe("a").name("raw").to(async |_: Payload<Raw>| {}).await.unwrap();
    bus.publish(Event::new("a", Raw::from("text"))).await.unwrap();
    bus.settle().await;
    bus.assert_outcomes("numbers", &["dead"]);
    bus.assert_outcomes("raw", &["done"]);
    let failure = bus.stats().subscription("numbers").unwrap().last_failure.clone().unwrap();
    assert!(failure.error.contains("is a \"raw\", the handler wants a \"number\""), "{}", failure.error);
}
