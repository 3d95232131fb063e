//! A refused event comes back as it was given: publishing it again means what it meant the first time.

use busway_engine::{Bus, Refused};
use busway_event::{Draft, DraftHead, EventId, Priority, Topic};
use busway_middleware::publish::PublishStage;
use busway_middleware::{Payload, PublishRefused, Stage, inline};
use busway_reliability::Overflow;
use busway_testkit::{Gate, TestBus};
use std::time::Duration;

use crate::world::{AtGate, Number, ends, number, turns};

fn draft(n: u32) -> Draft<Number> {
    let draft = number("a", n).key("k").priority(Priority::P1).meta("tenant", "acme");
    draft.ttl(Duration::from_secs(9)).id(EventId::foreign("test", &n.to_string()))
}

/// What the draft says, without what only the bus fills in.
#[track_caller]
fn assert_as_given(back: &Draft<Number>, n: u32) {
    let (given, back_head) = (draft(n), back.head());
    let head = given.head();
    assert_eq!(back.payload(), given.payload());
    assert_eq!(back_head.topic().unwrap(), head.topic().unwrap());
    assert_eq!((back_head.key(), back_head.priority()), (head.key(), head.priority()));
    assert_eq!((back_head.ttl(), back_head.id()), (head.ttl(), head.id()));
    assert_eq!(back_head.metadata().get("tenant"), Some("acme"));
    assert_eq!(back_head.metadata().get("region"), None, "a middleware's work is done again next time");
}

/// Middleware that changes everything it may.
fn elsewhere(head: &mut DraftHead) -> Result<(), PublishRefused> {
    let topic = head.topic().map(|topic| format!("eu.{topic}")).unwrap_or_default();
    head.set_topic(Topic::new(topic).map_err(|error| PublishRefused::new(error.to_string()))?);
    head.set_key("changed");
    head.set_priority(Priority::P3);
    head.metadata_mut().set("region", "eu");
    Ok(())
}

async fn enriching() -> TestBus {
    TestBus::build(|builder| builder.publish_middleware(PublishStage::Enrich, "elsewhere", elsewhere)).await
}

#[tokio::test]
async fn by_a_middleware_behind_others_that_changed_it() {
    let bus = enriching().await;
    let refuse = |_: &mut DraftHead| Err(PublishRefused::new("no"));
    bus.publish_middleware(PublishStage::Validate).add("refuse", refuse).unwrap();
    let refused = bus.publish(draft(1)).await.unwrap_err();
    assert!(matches!(refused.reason().unwrap(), Refused::Middleware(_)));
    assert_as_given(&refused.into_event().unwrap(), 1);
    assert_as_given(&bus.try_publish(draft(2)).unwrap_err().into_event().unwrap(), 2);
}

#[tokio::test]
async fn because_another_one_of_its_batch_was() {
    let bus = enriching().await;
    let refused = bus.publish_batch(vec![draft(1), number("a..b", 2), draft(3)]).await.unwrap_err();
    assert!(
        matches!(refused.reason().unwrap(), Refused::InBatch { index: 1, .. }),
        "{:?}",
        refused.reason().unwrap()
    );
    let back = refused.into_event().unwrap();
    assert_eq!(back.len(), 3);
    assert_as_given(&back[0], 1);
    assert_as_given(&back[2], 3);
}

#[tokio::test]
async fn because_it_would_have_to_wait() {
    let bus = enriching().await;
    let gate = Gate::closed();
    let builder = bus.subscribe("eu.a").middleware(Stage::User, "hold", AtGate(gate));
    builder.to(inline(|_: Payload<Number>| {})).await.unwrap();
    let refused = bus.try_publish(draft(1)).unwrap_err();
    assert!(matches!(refused.reason().unwrap(), Refused::NeedsAwait { .. }));
    assert_as_given(&refused.into_event().unwrap(), 1);
}

#[tokio::test]
async fn because_the_bus_was_closed_while_it_was_on_its_way() {
    let bus = enriching().await;
    let builder = bus.subscribe("eu.a").capacity(1).overflow(Overflow::Block(None));
    let paused = builder.to(async |_: Payload<Number>| {}).await.unwrap();
    paused.pause();
    bus.publish(draft(1)).await.unwrap();
    let inner = Bus::clone(&bus);
    let waiting = tokio::spawn(async move { inner.publish(draft(2)).await });
    turns().await;
    bus.shutdown(Duration::ZERO).await;
    let refused = ends(waiting).await.unwrap().unwrap_err();
    assert_eq!(refused.reason().unwrap(), &Refused::Closed);
    assert_as_given(&refused.into_event().unwrap(), 2);
    assert_as_given(&bus.publish(draft(3)).await.unwrap_err().into_event().unwrap(), 3);
}
