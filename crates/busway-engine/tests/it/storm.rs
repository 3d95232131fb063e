//! Everything at once, then an end at a random point: a shutdown, or the last handle dropped. The report's sum is the sum, and
//! nothing is handled after it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway_engine::{Bus, Publisher, Subscription};
use busway_event::Priority;
use busway_middleware::{
    Batch, Delivery, Middleware, Next, Outcome, Payload, Stage, batch, blocking, inline,
};
use busway_reliability::{Order, Overflow};

use crate::world::{Number, ends, number};

const ROUNDS: u64 = 1_000;
const SEED: u64 = 0x0073_746f_726d;

/// Yields on the way in, so that what is inside can be cut short there.
struct Yields;

impl Middleware for Yields {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        next.run(delivery).await
    }
}

fn overflow(random: &mut fastrand::Rng) -> Overflow {
    match random.u8(0..6) {
        0 => Overflow::DropNewest,
        1 => Overflow::DropOldest,
        2 => Overflow::Coalesce,
        3 => Overflow::Disconnect,
        4 => Overflow::Block(Some(Duration::from_micros(random.u64(0..200)))),
        _ => Overflow::Block(None),
    }
}

struct Storm {
    bus: Bus,
    entered: Arc<AtomicU64>,
    random: fastrand::Rng,
    subscriptions: Vec<Subscription>,
}

impl Storm {
    async fn gather(seed: u64) -> Self {
        let bus = Bus::memory().producer("test").start().await.unwrap();
        let random = fastrand::Rng::with_seed(seed);
        let mut storm = Self { bus, entered: Arc::default(), random, subscriptions: Vec::new() };
        for _ in 0..6 {
            storm.subscribe().await;
        }
        storm
    }

    /// One more subscription of a random kind on a random topic.
    async fn subscribe(&mut self) {
        let random = &mut self.random;
        let topic = ["a.#", "a.+", "a.b", "b", "#"][random.usize(0..5)];
        let mut builder = self.bus.subscribe(topic).capacity(random.usize(1..6)).overflow(overflow(random));
        builder = builder.order([Order::Lane, Order::Key, Order::None][random.usize(0..3)]);
        builder = builder.concurrency([1, 1, 2, 5][random.usize(0..4)]);
        builder = builder.priority_limit(Priority::P2, NonZeroU32::MIN.get() + random.u32(0..3));
        if random.u8(0..3) == 0 {
            builder = builder.middleware(Stage::User, "yields", Yields);
        }
        let entered = Arc::clone(&self.entered);
        let tick = move || _ = entered.fetch_add(1, Ordering::SeqCst);
        let subscribed = match random.u8(0..6) {
            0 => builder.to(inline(move |_: Delivery| tick())).await,
            1 => builder.to(blocking(move |_: Delivery| tick())).await,
            2 => {
                let many = move |numbers: Batch<Number>| {
                    numbers.iter().for_each(|_| tick());
                    tokio::task::yield_now()
                };
                builder.to(batch(many).max(random.usize(1..5))).await
            }
            3 => {
                let emits = move |n: Payload<Number>| {
                    tick();
                    std::future::ready(n.n.is_multiple_of(2).then(|| number("b.c", n.n + 1)))
                };
                builder.to(emits).await
            }
            4 => {
                let publishes = move |n: Payload<Number>, publisher: Publisher| {
                    tick();
                    async move {
                        if n.n.is_multiple_of(3) {
                            _ = publisher.publish(number("c", n.n + 1)).await;
                        }
                    }
                };
                builder.to(publishes).await
            }
            _ => {
                let fails = move |n: Payload<Number>| {
                    tick();
                    async move {
                        tokio::task::yield_now().await;
                        if n.n.is_multiple_of(5) { Err("five") } else { Ok(()) }
                    }
                };
                builder.to(fails).await
            }
        };
        self.subscriptions.push(subscribed.unwrap());
    }

    /// Something that an operator might do now.
    async fn disturb(&mut self) {
        if self.subscriptions.is_empty() {
            return self.subscribe().await;
        }
        let at = self.random.usize(0..self.subscriptions.len());
        match self.random.u8(0..8) {
            0 => self.subscriptions[at].pause(),
            1 | 2 => self.subscriptions[at].resume(),
            3 => _ = self.subscriptions.swap_remove(at).abort(),
            4 => drop(self.subscriptions.swap_remove(at)),
            5 => drop(tokio::spawn(self.subscriptions.swap_remove(at).stop())),
            _ => self.subscribe().await,
        }
    }
}

/// Publishes until it is refused; says how many were offered.
async fn publish_all(bus: &Bus, who: u32) {
    let handle = bus.publisher::<Number>("a.b").unwrap();
    for n in 0_u32.. {
        let draft = handle.draft(Number { n }).key(format!("{who}-{}", n % 3));
        let draft = draft.priority(Priority::ALL[n as usize % 4]);
        let published = match n % 5 {
            0 => bus.try_publish(draft),
            1 => handle.publish_event(draft).await,
            2 => bus.publish(number("b", n)).await,
            // Gives up when it has to wait.
            3 => tokio::select! {
                biased;
                published = bus.publish(draft) => published,
                () = tokio::task::yield_now() => continue,
            },
            _ => bus.publish(draft).await,
        };
        if let Err(refused) = published {
            // Waiting for async middleware is not for `try_publish`; everything else is the end.
            if !refused.is_transient() {
                assert_eq!(refused.into_event().unwrap().payload().n, n);
                return;
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn round(seed: u64) {
    let mut storm = Storm::gather(seed).await;
    let publishers: Vec<_> = (0..3)
        .map(|publisher| {
            let bus = storm.bus.clone();
            tokio::spawn(async move { publish_all(&bus, publisher).await })
        })
        .collect();
    for _ in 0..storm.random.u32(0..12) {
        storm.disturb().await;
        for _ in 0..storm.random.u32(0..10) {
            tokio::task::yield_now().await;
        }
    }
    let grace = [Duration::ZERO, Duration::from_millis(storm.random.u64(0..15))][storm.random.usize(0..2)];
    let report = ends(storm.bus.shutdown(grace)).await;
    let handled = storm.entered.load(Ordering::SeqCst);
    assert!(report.tally.is_settled(), "seed {seed}: {report}");
    let (least, most) = (report.tally.delivered, report.tally.delivered + report.tally.abandoned);
    assert!((least..=most).contains(&handled), "seed {seed}: {handled} handled; {report}");
    for publisher in publishers {
        ends(publisher).await.unwrap();
    }
    assert_eq!(storm.entered.load(Ordering::SeqCst), handled, "seed {seed}: handled after the report");
    assert_eq!(storm.bus.stats().tally, report.tally, "seed {seed}: the account went on after the report");
    for subscription in &storm.subscriptions {
        ends(subscription.ended()).await;
        assert!(subscription.stats().tally.is_settled(), "seed {seed}: {}", subscription.stats());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_shutdown_in_the_middle_of_everything_closes_the_account() {
    for run in 0..ROUNDS {
        round(SEED ^ run).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_last_handle_dropped_in_the_middle_of_everything_ends_all_of_it() {
    for run in 0..ROUNDS {
        let seed = SEED ^ run;
        let mut storm = Storm::gather(seed).await;
        let publishers: Vec<_> = (0..3)
            .map(|_| {
                let handle = storm.bus.publisher::<Number>("a.b").unwrap();
                tokio::spawn(async move {
                    for n in 0_u32.. {
                        let draft = handle.draft(Number { n }).key(format!("{}", n % 3));
                        if handle.publish_event(draft).await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for _ in 0..storm.random.u32(0..12) {
            storm.disturb().await;
        }
        let Storm { bus, subscriptions, .. } = storm;
        drop(bus);
        for publisher in publishers {
            ends(publisher).await.unwrap();
        }
        for subscription in &subscriptions {
            ends(subscription.ended()).await;
            // A handler of another subscription may be in the middle of an offer to this one.
            let settled = async {
                while !subscription.stats().tally.is_settled() {
                    tokio::task::yield_now().await;
                }
            };
            println!("seed {seed}");
            ends(settled).await;
            assert_eq!(subscription.stats().running, 0, "seed {seed}: {}", subscription.stats());
        }
    }
}
