//! An event that cannot be decoded is lost to the handler that wants its type, and to nobody else; nothing else is lost.

use busway_event::{AnyEvent, CodecId, Encoded, EventId, EventType, Metadata, Parts, Raw, Timestamp, Topic};
use busway_reliability::Order;
use busway_testkit::{Recorder, TestBus};
use serde::{Deserialize, Serialize};

use crate::world::{account, assert_settled};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Paid {
    cents: u32,
}

/// Reads no older version.
impl EventType for Paid {
    const NAME: &'static str = "paid";
    const VERSION: u16 = 2;
}

/// An event of another process, in the one lane of this test.
fn received(type_name: &str, version: u16, codec: CodecId, json: &'static str) -> AnyEvent {
    let id = EventId::foreign("/elsewhere", &format!("{type_name} {version} {codec} {json}"));
    let metadata = Metadata::draft("elsewhere", version);
    let mut parts = Parts::new(id, Timestamp::from_nanos(1), Topic::new("payments").unwrap(), metadata);
    parts.key = Some("A-1".into());
    let bytes = json.as_bytes().into();
    AnyEvent::receive(parts, Encoded { type_name: type_name.into(), version, codec, bytes }).unwrap()
}

#[tokio::test]
async fn undecodable_events_are_dead_with_a_reason_and_nothing_else_is_lost() {
    for order in [Order::Lane, Order::Key, Order::None] {
        let bus = TestBus::start().await;
        let (paid, bytes) = (Recorder::<Paid>::new(), Recorder::<Raw>::new());
        let typed = bus.subscribe("payments").name("typed").order(order).to(paid.handler()).await.unwrap();
        let raw = bus.subscribe("#").name("raw").to(bytes.handler()).await.unwrap();
        let bad = [
            (received("refunded", 2, CodecId::Json, r#"{"cents":1}"#), "the handler wants a \"paid\""),
            (received("paid", 2, CodecId::Protobuf, r#"{"cents":1}"#), "the payload is protobuf"),
            (received("paid", 2, CodecId::Json, r#"{"cents":1}{}"#), "2 bytes after its value"),
            (received("paid", 3, CodecId::Json, r#"{"cents":1}"#), "is at version 3"),
            (received("paid", 1, CodecId::Json, r#"{"cents":1}"#), "no upcaster from version 1"),
        ];
        let first = received("paid", 2, CodecId::Json, r#"{"cents":7}"#);
        let last = received("paid", 2, CodecId::Json, r#"{"cents":9}"#);
        let all = [&first].into_iter().chain(bad.iter().map(|(event, _)| event)).chain([&last]);
        for event in all {
            assert_eq!(bus.forward(event.clone()).await.unwrap().offered, 2);
        }
        bus.settle().await;

        paid.assert_payloads(&[Paid { cents: 7 }, Paid { cents: 9 }]);
        assert_eq!(bytes.count(), 7);
        bus.assert_outcomes("typed", &["done", "dead", "dead", "dead", "dead", "dead", "done"]);
        let handled = bus.handled();
        for (event, said) in &bad {
            let one = handled.iter().find(|one| one.subscription == "typed" && one.event == event.id());
            let error = one.and_then(|one| one.error.as_deref()).unwrap();
            assert!(error.contains(said), "{error} should say {said}");
        }
        for (stats, dead) in [(typed.stats(), 5), (raw.stats(), 0)] {
            assert_settled(&stats);
            assert_eq!((account(&stats.tally), stats.dead, stats.done), ([7, 7, 0, 0, 0], dead, 7 - dead));
        }
        bus.finish().await;
    }
}

#[tokio::test]
async fn endless_nesting_is_an_outcome_like_any_other() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Comment {
        replies: Vec<Comment>,
    }
    impl EventType for Comment {
        const NAME: &'static str = "comment";
    }
    let bus = TestBus::start().await;
    let recorder = Recorder::<Comment>::new();
    bus.subscribe("#").name("typed").to(recorder.handler()).await.unwrap();
    // One reply with one reply with …
    let hostile = "\u{1}".repeat(1 << 20).leak();
    bus.forward(received("comment", 1, CodecId::Bincode, hostile)).await.unwrap();
    bus.forward(received("comment", 1, CodecId::Bincode, "\u{1}\u{0}")).await.unwrap();
    bus.settle().await;
    bus.assert_outcomes("typed", &["dead", "done"]);
    bus.finish().await;
}
