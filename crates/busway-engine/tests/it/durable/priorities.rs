//! Priorities of a durable subscription: their share and their limits, among the events that it has in hand.

use busway_engine::DurableBuilder;
use busway_event::{Draft, Priority};
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};

use super::{dir, open, stock};
use crate::world::{Number, number, turns};

/// How often each priority came among the first `count`.
fn first(recorder: &Recorder<Number>, count: usize) -> [usize; 4] {
    let mut counts = [0; 4];
    for event in recorder.events().iter().take(count) {
        counts[event.priority().index()] += 1;
    }
    counts
}

fn orders(priority: Priority, count: u32) -> impl Iterator<Item = Draft<Number>> {
    (0..count).map(move |n| number("orders.created", n).priority(priority))
}

/// A hundred of each lie in the log, in turn, the lowest first: what is in hand has as many of each.
async fn handled(configure: impl FnOnce(DurableBuilder) -> DurableBuilder) -> (TestBus, Recorder<Number>) {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::new();
    let lowest_first = || Priority::ALL.into_iter().rev();
    let drafts = (0..100).flat_map(|_| lowest_first().flat_map(|priority| orders(priority, 1)));
    bus.publish_batch(drafts.collect()).await.unwrap();
    configure(stock(&bus)).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    (bus, recorder)
}

#[tokio::test]
async fn priorities_in_hand_share_eight_four_two_one() {
    let (bus, recorder) = handled(|builder| builder).await;
    for rounds in [1, 2, 5] {
        assert_eq!(first(&recorder, 15 * rounds), [8, 4, 2, 1].map(|weight| weight * rounds));
    }
    assert_eq!(recorder.count(), 400);
    bus.finish().await;
}

#[tokio::test]
async fn another_share_is_kept_and_a_weight_of_zero_still_moves() {
    let (bus, recorder) = handled(|builder| builder.share([1, 1, 1, 0])).await;
    assert_eq!(first(&recorder, 40), [10; 4]);
    assert_eq!(recorder.count(), 400);
    bus.finish().await;
}

#[tokio::test]
async fn what_is_urgent_overtakes_what_is_in_hand_and_nothing_before() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    bus.publish_batch(orders(Priority::P3, 600).chain(orders(Priority::P0, 20)).collect()).await.unwrap();
    stock(&bus).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    let urgent: Vec<usize> = (0..)
        .zip(recorder.events())
        .filter_map(|(at, event)| (event.priority() == Priority::P0).then_some(at))
        .collect();
    let (first, last) = (urgent[0], urgent[19]);
    // 256 are in hand at most: those before them in the log were handled, or are among these.
    assert!((600 - 256..600).contains(&first), "{first}");
    assert!(last - first < 20 + 20 / 8, "one of the lowest among eight: {urgent:?}");
    assert_eq!(recorder.count(), 620);
    bus.finish().await;
}

#[tokio::test]
async fn a_priority_that_is_stuck_at_its_limit_keeps_no_other_from_its_places() {
    let dir = dir();
    let bus = open(&dir).await;
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let script = Script::new((0..40).map(|_| Step::Wait(gate.clone())));
    let builder = stock(&bus).concurrency(16).priority_limit(Priority::P1, 3);
    let builder = builder.priority_limit(Priority::P2, 2);
    builder.to(recorder.scripted(&script)).await.unwrap();
    let lower = [Priority::P1, Priority::P2, Priority::P3];
    bus.publish_batch(lower.into_iter().flat_map(|priority| orders(priority, 10)).collect()).await.unwrap();
    // P3 has its default limit of 8: 3 + 2 + 8 run at once and no more.
    gate.reached(13).await;
    turns().await;
    assert_eq!((gate.waiting(), first(&recorder, 13)), (13, [0, 3, 2, 8]));
    bus.publish_batch(orders(Priority::P0, 5).collect()).await.unwrap();
    gate.reached(16).await;
    turns().await;
    assert_eq!((gate.waiting(), first(&recorder, 16)), (16, [3, 3, 2, 8]), "the subscription's own limit");
    gate.open();
    bus.settle().await;
    assert_eq!(recorder.count(), 35);
    bus.finish().await;
}
