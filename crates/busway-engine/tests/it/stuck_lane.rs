//! How far a stuck lane delays nobody else: as long as fewer events are held behind it than the capacity says.

use busway_reliability::Overflow;
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};

use crate::world::{Number, account, assert_settled, number, turns};

const CAPACITY: u32 = 8;

/// Sticks a lane, holds so many events behind it, and tells whether another lane still moves.
async fn neighbour_moves_behind(held: u32) -> bool {
    let bus = TestBus::start().await;
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let script = Script::new([Step::Wait(gate.clone())]);
    let builder =
        bus.subscribe("a").capacity(CAPACITY as usize).concurrency(4).overflow(Overflow::Block(None));
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    bus.publish(number("a", 0).key("stuck")).await.unwrap();
    gate.reached(1).await;
    for n in 1..=held {
        bus.publish(number("a", n).key("stuck")).await.unwrap();
        turns().await;
    }
    bus.publish(number("a", 100).key("neighbour")).await.unwrap();
    turns().await;
    let moved = recorder.payloads().contains(&Number { n: 100 });
    gate.open();
    bus.settle().await;

    let stats = subscription.stats();
    assert_settled(&stats);
    let all = u64::from(held) + 2;
    assert_eq!(account(&stats.tally), [all, all, 0, 0, 0]);
    let stuck: Vec<_> = recorder.payloads().into_iter().map(|it| it.n).filter(|n| *n != 100).collect();
    assert!(stuck.is_sorted() && stuck.len() == held as usize + 1, "{stuck:?}");
    bus.finish().await;
    moved
}

#[tokio::test]
async fn a_stuck_lane_delays_nobody_until_the_capacity_is_held_behind_it_and_then_loses_nothing() {
    assert!(neighbour_moves_behind(1).await);
    assert!(neighbour_moves_behind(CAPACITY - 1).await);
    assert!(!neighbour_moves_behind(CAPACITY).await, "the window is larger than is promised: say so");
}
