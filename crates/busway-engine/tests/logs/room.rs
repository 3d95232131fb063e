//! What is said of handlers that wait for room.

use busway_engine::{AtCap, Retention, StartAt, Stream};
use busway_event::{Draft, Event, Raw};
use busway_testkit::TestBus;

use crate::{lines, logs};

fn large(topic: &'static str) -> Draft<Raw> {
    Event::new(topic, Raw::from(vec![7; 60_000]))
}

#[tokio::test]
async fn a_handler_that_emits_into_the_full_partition_of_its_own_event_is_named_with_its_stream() {
    logs();
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention::forever().cap(1 << 20, AtCap::RefusePublish);
    let stream = Stream::new("own-circle").capture("circle.#").retention(retention);
    let bus = TestBus::open(dir.path(), |builder| builder.stream(stream)).await;
    while bus.publish(large("circle.in")).await.is_ok() {}
    let subscription = bus.subscribe("circle.in").durable("rounds").start_at(StartAt::Earliest);
    let rounds = subscription.to(async || large("circle.out")).await.unwrap();
    let said = || lines("it may wait for itself for ever");
    while said().is_empty() {
        tokio::task::yield_now().await;
    }
    let line = &said()[0];
    assert_eq!((&line["subscription"], &line["fields"]["stream"]), (&"rounds".into(), &"own-circle".into()));
    assert_eq!(rounds.stats().failed, 0, "no attempt is charged");
    drop(bus);
}
