//! Shutdown at 1,000 random points: nothing is lost from the account, whatever was going on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway_engine::Bus;
use busway_event::Priority;
use busway_middleware::{Batch, Delivery, Payload, batch, blocking, inline};
use busway_reliability::Overflow;

use crate::world::{Number, number};

const RUNS: u64 = 1_000;
const SEED: u64 = 0x6275_7377_6179;

/// `SplitMix64` (Steele, Lea and Flood, 2014): random choices that a seed repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((word ^ word >> 31) % u64::from(bound)).unwrap()
    }
}

fn policy(random: &mut Random) -> Overflow {
    match random.below(5) {
        0 => Overflow::DropNewest,
        1 => Overflow::DropOldest,
        2 => Overflow::Coalesce,
        3 => Overflow::Block(Some(Duration::from_micros(random.below(300).into()))),
        _ => Overflow::Block(None),
    }
}

/// Subscriptions of every kind, some of which publish further; returns how many handlers were entered.
async fn populate(bus: &Bus, random: &mut Random) -> Arc<AtomicU64> {
    let entered = Arc::new(AtomicU64::new(0));
    let count = |entered: &Arc<AtomicU64>| {
        let entered = Arc::clone(entered);
        move || _ = entered.fetch_add(1, Ordering::Relaxed)
    };
    let (tick, chain) = (count(&entered), count(&entered));
    let capacity = 1 + random.below(8) as usize;
    let relay = move |job: Payload<Number>| {
        tick();
        let n = job.n;
        async move {
            tokio::task::yield_now().await;
            n.is_multiple_of(3).then(|| number("b", n))
        }
    };
    let builder = bus.subscribe("a.#").name("relay").capacity(capacity).overflow(policy(random));
    builder.concurrency(1 + random.below(4) as usize).to(relay).await.unwrap();
    let builder = bus.subscribe("b").name("end").capacity(capacity).overflow(policy(random));
    builder
        .to(move |_: Delivery| {
            chain();
            std::future::ready(())
        })
        .await
        .unwrap();
    for _ in 0..2 {
        let tick = count(&entered);
        let member = move |_: Delivery| {
            tick();
            tokio::task::yield_now()
        };
        bus.subscribe("a.+").group("g").capacity(4).to(member).await.unwrap();
    }
    let tick = count(&entered);
    let builder = bus.subscribe("#").name("blocking").capacity(capacity).overflow(policy(random));
    builder.to(blocking(move |_: Delivery| tick())).await.unwrap();
    let tick = count(&entered);
    bus.subscribe("a.c").name("inline").to(inline(move |_: Delivery| tick())).await.unwrap();
    let tick = count(&entered);
    let many = move |numbers: Batch<Number>| {
        numbers.iter().for_each(|_| tick());
        tokio::task::yield_now()
    };
    let builder = bus.subscribe("a.b").name("batch").capacity(capacity).overflow(policy(random));
    let paused = builder.to(batch(many).max(3)).await.unwrap();
    if random.below(4) == 0 {
        paused.pause();
    }
    entered
}

async fn one_run(seed: u64) {
    let mut random = Random(seed);
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let entered = populate(&bus, &mut random).await;
    let publishers: Vec<_> = (0..2)
        .map(|publisher| {
            let bus = bus.clone();
            tokio::spawn(async move {
                for n in 0_u32.. {
                    let topic = if n.is_multiple_of(2) { "a.b" } else { "a.c" };
                    let draft =
                        number(topic, n).key(format!("{}", n % 3)).priority(Priority::ALL[n as usize % 4]);
                    if let Err(refused) = bus.publish(draft).await {
                        assert_eq!(refused.into_event().unwrap().payload().n, n, "publisher {publisher}");
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for _ in 0..random.below(120) {
        tokio::task::yield_now().await;
    }
    let grace = match random.below(3) {
        0 => Duration::ZERO,
        _ => Duration::from_millis(random.below(20).into()),
    };
    let report = bus.shutdown(grace).await;
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let tally = bus.stats().tally;
    assert_eq!(tally.offered, tally.settled(), "seed {seed}: {tally}; {report}");
    assert!(report.stuck.is_empty(), "seed {seed}: {report}");
    let handled = entered.load(Ordering::Relaxed);
    assert!(
        handled >= tally.delivered && handled <= tally.delivered + tally.abandoned,
        "seed {seed}: {handled}, {tally}"
    );
    tokio::task::yield_now().await;
    assert_eq!(entered.load(Ordering::Relaxed), handled, "seed {seed}: handled after the report");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_holds_after_a_shutdown_at_a_thousand_random_points() {
    for run in 0..RUNS {
        one_run(SEED ^ run).await;
    }
}
