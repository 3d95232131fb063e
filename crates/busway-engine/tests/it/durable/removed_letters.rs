//! Dead letters whose subscription was removed.

use busway_engine::{DeadLetterError, DeadLetterId, Redrive, Selection, StartAt};
use busway_testkit::{ManualClock, Recorder, Script, Step, TestBus};
use tempfile::TempDir;

use super::letters::{id, left, with_letters};
use super::{dir, open_on};
use crate::world::Number;

/// A bus whose subscription gave up the order 0, and was removed.
async fn removed(clock: &ManualClock, dir: &TempDir) -> TestBus {
    let bus = open_on(clock, dir).await;
    with_letters(&bus, 1).await;
    bus.finish().await;
    let bus = open_on(clock, dir).await;
    bus.cursor("stock").remove().await.unwrap();
    bus
}

async fn ids(bus: &TestBus) -> Vec<DeadLetterId> {
    let page = bus.dead_letters().list(&Selection::all()).await.unwrap();
    page.letters.into_iter().map(|letter| letter.id).collect()
}

#[tokio::test]
async fn the_letters_of_a_removed_subscription_stay_its_own() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = removed(&clock, &dir).await;
    let refused = bus.dead_letters().redrive(&id(0), Redrive::default()).await.unwrap_err();
    assert!(matches!(refused, DeadLetterError::SubscriptionRemoved { .. }), "{refused}");
    let recorder = Recorder::<Number>::new();
    bus.subscribe("orders.#").durable("other").to(recorder.handler()).await.unwrap();
    assert_eq!(bus.dead_letters().count("other").await.unwrap(), 0, "its number was not used again");
    assert_eq!(left(&bus).await, [0]);
    bus.dead_letters().discard(Selection::all().subscription("stock")).await.unwrap();
    assert!(left(&bus).await.is_empty());
    bus.finish().await;
}

#[tokio::test]
async fn a_letter_of_a_removed_subscription_is_not_that_of_another_one_of_its_name() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = removed(&clock, &dir).await;
    let script = Script::new([Step::Dead("no such order")]);
    let again = bus.subscribe("orders.#").durable("stock").start_at(StartAt::Earliest);
    again.to(Recorder::<Number>::new().scripted(&script)).await.unwrap();
    bus.settle().await;
    let both = ids(&bus).await;
    let [first] = both.iter().filter(|other| **other != id(0)).collect::<Vec<_>>()[..] else {
        panic!("{both:?}")
    };
    assert_eq!((both.len(), first.position.offset), (2, 0), "{both:?}");
    // Removed itself, the second one keeps its ids, and leaves the first one its own.
    bus.finish().await;
    let bus = open_on(&clock, &dir).await;
    bus.cursor("stock").remove().await.unwrap();
    let now = ids(&bus).await;
    assert!(now.len() == 2 && now.iter().all(|id| both.contains(id)), "{now:?}");
    bus.dead_letters().discard(first).await.unwrap();
    assert_eq!(ids(&bus).await, [id(0)]);
    bus.finish().await;
}
