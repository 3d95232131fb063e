//! Lanes on real threads, while members of a group come and go: order is kept, nothing overlaps, nothing is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Bus, Subscription};
use busway_event::{Event, Key, Priority};
use busway_reliability::{Order, Overflow};
use parking_lot::Mutex;

use crate::world::{Number, ends, number};

/// What happened in each lane. Locked for moments, by many threads.
#[derive(Clone, Default)]
struct Lanes {
    lanes: Arc<Mutex<BTreeMap<String, Lane>>>,
}

#[derive(Default)]
struct Lane {
    running: u32,
    overlaps: u32,
    seen: Vec<u32>,
}

impl Lanes {
    fn enter(&self, name: &str, n: u32) {
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry(name.to_owned()).or_default();
        lane.running += 1;
        lane.overlaps += u32::from(lane.running > 1);
        lane.seen.push(n);
    }

    fn leave(&self, name: &str) {
        if let Some(lane) = self.lanes.lock().get_mut(name) {
            lane.running -= 1;
        }
    }

    fn assert_in_order(&self, events: usize) {
        let lanes = self.lanes.lock();
        for (name, lane) in &*lanes {
            assert_eq!(lane.overlaps, 0, "two of {name} at once");
            assert!(lane.seen.is_sorted(), "{name}: {:?}", lane.seen);
        }
        assert_eq!(lanes.values().map(|lane| lane.seen.len()).sum::<usize>(), events);
    }
}

fn lane_of(order: Order, event: &Event<Number>) -> String {
    let key = event.key().map(Key::to_string).unwrap_or_default();
    match order {
        Order::Lane => format!("{key}/{}", event.priority()),
        _ => key,
    }
}

async fn join(bus: &Bus, lanes: &Lanes, order: Order) -> Subscription {
    let lanes = lanes.clone();
    let handler = move |event: Event<Number>| {
        let (lanes, name) = (lanes.clone(), lane_of(order, &event));
        async move {
            lanes.enter(&name, event.payload().n);
            for _ in 0..event.payload().n % 3 {
                tokio::task::yield_now().await;
            }
            lanes.leave(&name);
        }
    };
    let builder = bus.subscribe("a").group("g").capacity(16).concurrency(8).order(order);
    builder.overflow(Overflow::Block(None)).to(handler).await.unwrap()
}

async fn churn(order: Order) {
    const EVENTS: u32 = 1_500;
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let lanes = Lanes::default();
    let staying = join(&bus, &lanes, order).await;
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let bus = bus.clone();
            tokio::spawn(async move {
                for n in 0..EVENTS {
                    let priority = Priority::ALL[(n as usize / 2) % 4];
                    let key = format!("{publisher}-{}", n % 3);
                    bus.publish(number("a", n).key(key).priority(priority)).await.unwrap();
                }
            })
        })
        .collect();
    let churning = {
        let (bus, lanes) = (bus.clone(), lanes.clone());
        tokio::spawn(async move {
            for _ in 0..60 {
                let guests = [join(&bus, &lanes, order).await, join(&bus, &lanes, order).await];
                for guest in guests {
                    for _ in 0..5 {
                        tokio::task::yield_now().await;
                    }
                    guest.stop().await;
                }
            }
        })
    };
    for publisher in publishers {
        ends(publisher).await.unwrap();
    }
    ends(churning).await.unwrap();
    ends(bus.idle()).await;
    let stats = staying.stats();
    assert_eq!((stats.done, stats.tally.settled()), (u64::from(4 * EVENTS), stats.tally.offered), "{stats}");
    lanes.assert_in_order(4 * EVENTS as usize);
    assert!(bus.shutdown(Duration::from_secs(60)).await.is_drained());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lanes_keep_their_order_while_members_come_and_go_on_threads() {
    churn(Order::Lane).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_keep_their_order_across_priorities_while_members_come_and_go_on_threads() {
    churn(Order::Key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_without_a_key_are_all_handled_while_members_come_and_go_on_threads() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let lanes = Lanes::default();
    let staying = join(&bus, &lanes, Order::Lane).await;
    let publishing = {
        let bus = bus.clone();
        tokio::spawn(async move {
            for n in 0..6_000 {
                bus.publish(number("a", n)).await.unwrap();
            }
        })
    };
    while !publishing.is_finished() {
        join(&bus, &lanes, Order::Lane).await.stop().await;
    }
    publishing.await.unwrap();
    ends(bus.idle()).await;
    assert_eq!(staying.stats().done, 6_000);
    bus.shutdown(Duration::from_secs(60)).await;
}
