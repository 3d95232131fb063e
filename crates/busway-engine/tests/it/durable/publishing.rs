//! A publish to a durable topic ends in a receipt, or gives the event back.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use busway_engine::{Clock as _, Durability, PublishError, Refusal, Refused, Stream, UnknownCause};
use busway_event::{Event, EventId, Priority, Raw};
use busway_middleware::Payload;
use busway_testkit::{ManualClock, Recorder, Script, Step, TestBus};

use super::{dir, numbers, open, open_on, order, publish, stock};
use crate::world::{Number, ends, number, turns};

#[tokio::test]
async fn a_receipt_says_where_the_event_lies_and_that_it_is_synced() {
    let dir = dir();
    let bus = TestBus::open(dir.path(), |builder| {
        builder
            .stream(Stream::new("audit").capture("audit.#"))
            .stream(Stream::new("orders").capture("orders.#").partitions(3))
    })
    .await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    bus.subscribe("orders.created").to(async || {}).await.unwrap();
    let first = bus.publish(order("A-1", 1)).await.unwrap();
    let second = bus.publish(order("A-1", 2)).await.unwrap();
    let position = first.position.as_deref().unwrap();
    assert_eq!((&*position.stream, position.offset, first.offered), ("orders", 0, 2));
    assert_eq!(first.durability, Durability::Synced);
    assert_eq!(second.to_string(), format!("synced at orders/{}/1", position.partition));
    let plain = bus.publish(number("flights.landed", 3)).await.unwrap();
    assert_eq!((plain.durability, plain.position), (Durability::Memory, None));
    bus.settle().await;
    let deliveries = recorder.deliveries();
    assert_eq!(deliveries[0].position(), Some(position), "a delivery has the same place");
    assert_eq!((deliveries[1].offset(), deliveries[1].attempt()), (Some(1), 1));
    let stats = bus.stats();
    assert_eq!((stats.published, stats.refused, stats.unrouted), (3, 0, 1));
    bus.assert_published("orders.#", 2);
    bus.finish().await;
}

#[tokio::test]
async fn a_handle_for_publishing_and_an_event_from_elsewhere_go_into_the_log_too() {
    let dir = dir();
    let bus = open(&dir).await;
    let publisher = bus.publisher::<Number>("orders.created").unwrap();
    assert_eq!(publisher.publish(Number { n: 1 }).await.unwrap().to_string(), "synced at orders/0/0");
    assert!(matches!(
        publisher.try_publish(Number { n: 2 }).unwrap_err().reason(),
        Some(Refused::NeedsCommit { .. })
    ));
    bus.settle().await;
    let event = bus.published()[0].clone();
    // It bears its id: forwarded twice it is there once.
    assert_eq!(bus.forward(event.clone()).await.unwrap().to_string(), "synced at orders/0/1");
    assert_eq!(bus.forward(event).await.unwrap().to_string(), "synced at orders/0/1");
    bus.finish().await;
}

#[tokio::test]
async fn a_publish_that_must_not_wait_is_refused_and_gives_the_draft_back_as_it_was() {
    let dir = dir();
    let bus = open(&dir).await;
    let refused = bus.try_publish(order("A-1", 1).priority(Priority::P1)).unwrap_err();
    assert_eq!(refused.reason(), Some(&Refused::NeedsCommit { stream: "orders".to_owned() }));
    assert!(!refused.is_transient());
    let draft = refused.into_event().unwrap();
    let head = draft.head();
    assert_eq!((head.id(), head.key(), head.priority()), (None, Some("A-1"), Priority::P1));
    bus.publish(draft).await.unwrap();
    bus.try_publish(number("flights.landed", 1)).unwrap();
    assert_eq!((bus.stats().published, bus.stats().refused), (2, 1));
    bus.finish().await;
}

#[tokio::test]
async fn a_given_id_is_stored_once_and_another_event_under_it_comes_back() {
    let dir = dir();
    let bus = open(&dir).await;
    let id = EventId::foreign("shop", "A-1");
    let first = bus.publish(number("orders.created", 1).id(id)).await.unwrap();
    let again = bus.publish(number("orders.created", 1).id(id)).await.unwrap();
    assert_eq!((first.position.clone(), first.id), (again.position, again.id));
    let refused = bus.publish(number("orders.created", 2).id(id)).await.unwrap_err();
    assert!(matches!(refused.reason(), Some(Refused::Store(Refusal::Conflict { .. }))), "{refused:?}");
    let draft = refused.into_event().unwrap();
    assert_eq!((draft.payload().n, draft.head().id()), (2, Some(id)));
    bus.settle().await;
    bus.assert_published("orders.#", 1);
    bus.finish().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_stored_comes_back() {
    let dir = dir();
    let bus = TestBus::open(dir.path(), |builder| super::with_orders(builder).payload_bytes_max(8)).await;
    let refused = bus.publish(number("orders.created", 1_000_000_000)).await.unwrap_err();
    assert!(matches!(refused.reason(), Some(Refused::Unstorable(_))), "{refused:?}");
    assert_eq!(refused.into_event().unwrap().payload().n, 1_000_000_000);
    let refused = bus.publish(number("orders..created", 1)).await.unwrap_err();
    assert!(matches!(refused.reason(), Some(Refused::Invalid(_))));
    assert_eq!(bus.stats().published, 0);
    bus.finish().await;
}

#[tokio::test]
async fn a_batch_is_stored_as_a_whole_or_not_at_all() {
    let dir = dir();
    let bus = open(&dir).await;
    let id = EventId::foreign("shop", "A-1");
    bus.publish(number("orders.created", 0).id(id)).await.unwrap();
    let receipts = bus.publish_batch(vec![order("a", 1), order("b", 2)]).await.unwrap();
    let shown: Vec<String> = receipts.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["synced at orders/0/1", "synced at orders/0/2"]);

    let conflicting = vec![order("a", 3), order("b", 4).id(id)];
    let refused = bus.publish_batch(conflicting).await.unwrap_err();
    assert!(matches!(refused.reason(), Some(Refused::Store(Refusal::Conflict { .. }))), "{refused:?}");
    let back = refused.into_event().unwrap();
    assert_eq!(back.iter().map(|draft| draft.payload().n).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(back[0].head().id(), None, "as it was given");

    let mixed = vec![order("a", 5), order("b", 6), number("flights.landed", 7)];
    let refused = bus.publish_batch(mixed).await.unwrap_err();
    assert_eq!(refused.reason(), Some(&Refused::MixedBatch { index: 2 }));
    assert_eq!(refused.into_event().unwrap().len(), 3);
    let memory = bus.publish_batch(vec![number("flights.landed", 7)]).await.unwrap();
    assert_eq!(memory[0].durability, Durability::Memory);
    assert!(bus.publish_batch(Vec::<busway_event::Draft<Number>>::new()).await.unwrap().is_empty());
    assert_eq!(bus.stats().published, 4);
    bus.finish().await;
}

#[tokio::test]
async fn a_publish_whose_commit_takes_too_long_is_unknown_and_is_repeated_with_its_id() {
    let dir = dir();
    let builder = |builder| super::with_orders(builder).publish_deadline(Duration::ZERO);
    let bus = TestBus::open(dir.path(), builder).await;
    // The disk may be quicker than this thread: some publish comes too early for it.
    let too_early = async {
        for n in 0_u32.. {
            let id = EventId::foreign("shop", &n.to_string());
            if let Err(error) = bus.publish(number("orders.created", n).id(id)).await {
                return (n, id, error);
            }
        }
        unreachable!("numbers end later")
    };
    let (n, id, error) = ends(too_early).await;
    assert!(error.reason().is_none() && !error.is_transient());
    assert!(error.to_string().ends_with(&format!("or look it up: {id}")), "{error}");
    let PublishError::Unknown { ids, cause: UnknownCause::TimedOut { .. }, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(ids, [id]);
    bus.settle().await;
    assert_eq!((bus.stats().published, bus.stats().refused), (u64::from(n) + 1, 0));
    bus.finish().await;

    let bus = open(&dir).await;
    let again = bus.publish(number("orders.created", n).id(id)).await.unwrap();
    assert_eq!(again.to_string(), format!("synced at orders/0/{n}"));
    bus.finish().await;
}

#[tokio::test]
async fn an_id_given_again_has_its_first_place_though_the_wall_clock_jumped() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    let id = EventId::foreign("shop", "A-1");
    let again = async || bus.publish(number("orders.created", 1).id(id)).await.map(|told| told.to_string());
    assert_eq!(again().await.unwrap(), "synced at orders/0/0");
    clock.set_utc(clock.utc().saturating_add(Duration::from_secs(600)));
    assert_eq!(again().await.unwrap(), "synced at orders/0/0");
    bus.publish(number("orders.created", 2).id(id)).await.unwrap_err();
    // For as long as a clock that is ahead is not believed.
    clock.advance(Duration::from_secs(60));
    turns().await;
    assert_eq!(again().await.unwrap(), "synced at orders/0/0");
    clock.advance(Duration::from_secs(120));
    turns().await;
    assert_eq!(again().await.unwrap(), "synced at orders/0/1");
    bus.finish().await;
}

#[tokio::test]
async fn dropping_a_publish_never_un_publishes() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    let mut publishing = Box::pin(bus.publish(number("orders.created", 1)));
    poll_fn(|context| {
        // Handed to the store; the disk takes longer than this as a rule.
        _ = publishing.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    drop(publishing);
    bus.settle().await;
    recorder.assert_payloads(&numbers([1]));
    assert_eq!(bus.stats().published, 1);
    bus.finish().await;
}

#[tokio::test]
async fn what_handlers_emit_and_publish_goes_the_same_way() {
    let dir = dir();
    let bus = open(&dir).await;
    let (confirmed, mailed) = (Recorder::<Number>::new(), Recorder::<Number>::new());
    bus.subscribe("orders.confirmed").durable("confirmed").to(confirmed.handler()).await.unwrap();
    bus.subscribe("mails.#").to(mailed.handler()).await.unwrap();
    let confirm = async |order: Payload<Number>| {
        vec![number("orders.confirmed", order.n), number("mails.sent", order.n)]
    };
    bus.subscribe("orders.created").durable("stock").to(confirm).await.unwrap();
    let forward = async |landed: Payload<Number>, publisher: busway_engine::Publisher| {
        publisher.publish(number("orders.created", landed.n)).await.map(drop)
    };
    bus.subscribe("flights.landed").to(forward).await.unwrap();
    bus.publish(number("flights.landed", 7)).await.unwrap();
    bus.settle().await;
    confirmed.assert_payloads(&numbers([7]));
    mailed.assert_payloads(&numbers([7]));
    let stats = bus.finish().await;
    assert!(stats.is_drained(), "{stats}");
}

#[tokio::test]
async fn an_event_is_durable_only_when_all_that_its_handler_emits_is_accepted() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::emit(|| Event::new("orders..x", Raw::from("{}")))]);
    stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, [1]).await;
    bus.settle().await;
    let stats = bus.stats();
    assert_eq!((stats.durable("stock").unwrap().failed, stats.durable("stock").unwrap().parked), (1, 1));
    bus.finish().await;
}
