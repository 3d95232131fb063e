//! Priorities: the share, the limits, the time to live.

use std::time::Duration;

use busway_event::Priority;
use busway_reliability::Overflow;
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};

use crate::world::{Number, account, number};

/// How often each priority came among the first `count`.
fn first(recorder: &Recorder<Number>, count: usize) -> [usize; 4] {
    let mut counts = [0; 4];
    for event in recorder.events().iter().take(count) {
        counts[event.priority().index()] += 1;
    }
    counts
}

async fn loaded(share: Option<[u32; 4]>, concurrency: usize) -> (TestBus, Recorder<Number>) {
    let bus = TestBus::start().await;
    let recorder = Recorder::new();
    let mut builder = bus.subscribe("a").capacity(200).concurrency(concurrency);
    if let Some(share) = share {
        builder = builder.share(share);
    }
    let subscription = builder.to(recorder.handler()).await.unwrap();
    subscription.pause();
    for priority in Priority::ALL.into_iter().rev() {
        for n in 0..150 {
            bus.publish(number("a", n).priority(priority)).await.unwrap();
        }
    }
    subscription.resume();
    bus.settle().await;
    (bus, recorder)
}

#[tokio::test]
async fn all_waiting_priorities_share_eight_four_two_one() {
    let (bus, recorder) = loaded(None, 1).await;
    for rounds in [1, 2, 5] {
        assert_eq!(first(&recorder, 15 * rounds), [8, 4, 2, 1].map(|weight| weight * rounds));
    }
    assert_eq!(recorder.count(), 600);
    bus.finish().await;
}

#[tokio::test]
async fn another_share_is_kept_and_a_weight_of_zero_still_moves() {
    let (_bus, recorder) = loaded(Some([1, 1, 1, 0]), 1).await;
    assert_eq!(first(&recorder, 40), [10, 10, 10, 10]);
}

#[tokio::test]
async fn with_concurrency_the_lowest_priority_still_gets_its_share() {
    let (_bus, recorder) = loaded(None, 4).await;
    let counts = first(&recorder, 150);
    assert!(counts[0] > counts[3] && counts[3] >= 5, "{counts:?}");
}

#[tokio::test]
async fn a_priority_runs_at_most_as_many_as_its_limit_at_once() {
    let bus = TestBus::start().await;
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let script = Script::new((0..30).map(|_| Step::Wait(gate.clone())));
    let builder = bus.subscribe("a").capacity(64).concurrency(16).priority_limit(Priority::P1, 3);
    builder.priority_limit(Priority::P2, 2).to(recorder.scripted(&script)).await.unwrap();
    for n in 0..10 {
        for priority in [Priority::P1, Priority::P2, Priority::P3] {
            bus.publish(number("a", n).priority(priority)).await.unwrap();
        }
    }
    // P3 has its default limit of 8: 3 + 2 + 8 run at once and no more.
    gate.reached(13).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gate.waiting(), 13);
    assert_eq!(first(&recorder, 13), [0, 3, 2, 8]);
    gate.open();
    bus.settle().await;
    assert_eq!(recorder.count(), 30);
    bus.finish().await;
}

#[tokio::test]
async fn a_flood_of_one_priority_that_is_at_its_limit_keeps_no_other_from_its_places() {
    let bus = TestBus::start().await;
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let script = Script::new((0..40).map(|_| Step::Wait(gate.clone())));
    let builder = bus.subscribe("a").capacity(8).concurrency(16);
    builder.to(recorder.scripted(&script)).await.unwrap();
    let publish = async |priority: Priority, count: u32| {
        for n in 0..count {
            bus.publish(number("a", n).priority(priority)).await.unwrap();
        }
    };
    publish(Priority::P3, 8).await;
    gate.reached(8).await;
    // They fill what is taken in beforehand, and none of them may start.
    publish(Priority::P3, 8).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    publish(Priority::P0, 2).await;
    publish(Priority::P1, 1).await;
    gate.reached(11).await;
    assert_eq!(first(&recorder, 11), [2, 1, 0, 8]);
    gate.open();
    bus.settle().await;
    assert_eq!(recorder.count(), 19);
    bus.finish().await;
}

#[tokio::test]
async fn an_event_expires_exactly_at_its_time_to_live() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let subscription = bus.subscribe("a").to(recorder.handler()).await.unwrap();
    subscription.pause();
    let second = Duration::from_secs(1);
    bus.publish(number("a", 0).ttl(30 * second)).await.unwrap();
    bus.publish(number("a", 1).ttl(30 * second + Duration::from_nanos(1))).await.unwrap();
    bus.publish(number("a", 2).priority(Priority::P0)).await.unwrap();
    bus.publish(number("a", 3).priority(Priority::P0).ttl(60 * second)).await.unwrap();
    bus.publish(number("a", 4).priority(Priority::P1)).await.unwrap();
    bus.publish(number("a", 5)).await.unwrap();
    bus.clock().advance(30 * second);
    subscription.resume();
    bus.settle().await;
    // P0 lives 30 s by default; an event's own time to live wins, also when it is longer.
    recorder.assert_payloads(&[3, 4, 1, 5].map(|n| Number { n }));
    assert_eq!(account(&subscription.stats().tally), [6, 4, 0, 2, 0]);
    bus.finish().await;
}

#[tokio::test]
async fn a_subscription_may_let_nothing_expire_also_behind_a_busy_lane() {
    let bus = TestBus::start().await;
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let script = Script::new([Step::Wait(gate.clone())]);
    let builder = bus.subscribe("a").concurrency(2).overflow(Overflow::Block(None)).ttl(Priority::P0, None);
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    for n in 0..3 {
        bus.publish(number("a", n).key("k").priority(Priority::P0)).await.unwrap();
    }
    bus.publish(number("a", 3).key("k").priority(Priority::P0).ttl(Duration::from_secs(5))).await.unwrap();
    gate.reached(1).await;
    bus.clock().advance(Duration::from_secs(3_600));
    gate.open();
    bus.settle().await;
    recorder.assert_payloads(&[0, 1, 2].map(|n| Number { n }));
    assert_eq!(account(&subscription.stats().tally), [4, 3, 0, 1, 0]);
    bus.finish().await;
}
