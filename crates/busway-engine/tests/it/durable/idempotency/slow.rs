//! A shared store that takes its time, and leases hardly longer than the deadline: no lease runs out under its handler.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Clock as _, DurableSubscription};
use busway_middleware::{Batch, BoxError, Payload, batch};
use busway_reliability::{Answer, Claim, Idempotency, IdempotencyStore, Rate, Retry, StoreFuture};
use busway_testkit::{ManualClock, Recorder, SharedKeys, TestBus};
use parking_lot::Mutex;

use super::super::{dir, open_on, stock};
use super::shared::shared;
use super::{once, publish, steps};
use crate::world::{Number, turns};

const DEADLINE: Duration = Duration::from_secs(10);
/// Two seconds of it are for asking.
const LEASE: Duration = Duration::from_secs(12);
/// What a handler takes.
const WORK: Duration = Duration::from_millis(9_500);
const TICK: Duration = Duration::from_millis(250);

/// A store whose answers about leases and tokens take so long.
struct Slow {
    keys: Arc<dyn IdempotencyStore>,
    clock: ManualClock,
    lease: Mutex<Duration>,
    token: Duration,
}

impl Slow {
    fn new(keys: &SharedKeys, clock: &ManualClock, lease: Duration, token: Duration) -> Arc<Self> {
        Arc::new(Self { keys: keys.store(), clock: clock.clone(), lease: Mutex::new(lease), token })
    }

    fn idempotency(self: &Arc<Self>) -> Idempotency {
        once().store(Arc::clone(self) as Arc<dyn IdempotencyStore>).lease(LEASE)
    }
}

impl IdempotencyStore for Slow {
    /// It is leased at once, and said later.
    fn lease<'a>(&'a self, claim: &'a Claim, lease: Duration) -> StoreFuture<'a, Answer> {
        let takes = *self.lease.lock();
        Box::pin(async move {
            let answer = self.keys.lease(claim, lease).await;
            self.clock.sleep_until(self.clock.now() + takes).await;
            answer
        })
    }

    fn done<'a>(&'a self, claim: &'a Claim, ttl: Duration) -> StoreFuture<'a, ()> {
        self.keys.done(claim, ttl)
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ()> {
        self.keys.release(claim)
    }

    fn take<'a>(&'a self, claim: &'a Claim, rate: Rate, burst: u32) -> StoreFuture<'a, Option<Duration>> {
        Box::pin(async move {
            self.clock.sleep_until(self.clock.now() + self.token).await;
            self.keys.take(claim, rate, burst).await
        })
    }

    fn name(&self) -> String {
        "a slow one".to_owned()
    }
}

/// Lets time go on until it is so.
async fn until(clock: &ManualClock, is_so: impl Fn() -> bool) {
    for _ in 0..4 * 600 {
        if is_so() {
            return;
        }
        for _ in 0..5 {
            turns().await;
        }
        clock.advance(TICK);
    }
    panic!("not in ten minutes");
}

/// How many are settled.
fn settled(subscription: &DurableSubscription) -> u64 {
    let stats = subscription.stats();
    stats.done + stats.skipped
}

/// Another process that handles the same, quickly.
async fn other(bus: &TestBus, keys: &SharedKeys) -> (DurableSubscription, Recorder<Number>) {
    let recorder = Recorder::<Number>::new();
    let subscription = stock(bus)
        .idempotent(shared(keys).lease(LEASE))
        .concurrency(16)
        .to(recorder.handler())
        .await
        .unwrap();
    (subscription, recorder)
}

/// A batch of so many keys, each of which takes 1.5 s to ask for, and another process that wants the same when so many are leased. How many each has handled.
async fn of_a_batch(keys_of: &[&str], leased: u64) -> (usize, usize) {
    let (one, two, clock) = (dir(), dir(), ManualClock::new());
    let (keys, events) = (SharedKeys::new(&clock), || (0..).zip(keys_of).map(|(n, key)| (*key, n)));
    let one = open_on(&clock, &one).await;
    let slow = Slow::new(&keys, &clock, Duration::from_millis(1_500), Duration::ZERO);
    let begun = Arc::<Mutex<Vec<u32>>>::default();
    let (notes, time) = (Arc::clone(&begun), clock.clone());
    let handler = batch(move |orders: Batch<Number>| {
        notes.lock().extend(orders.iter().map(|order| order.payload().n));
        let time = time.clone();
        async move { time.sleep_until(time.now() + WORK).await }
    });
    publish(&one, events()).await;
    let builder = stock(&one).deadline(DEADLINE).idempotent(slow.idempotency());
    let first = builder.to(handler).await.unwrap();
    until(&clock, || steps(&first).leased >= leased).await;

    let two = open_on(&clock, &two).await;
    publish(&two, events()).await;
    let (second, quick) = other(&two, &keys).await;
    let all = keys_of.len() as u64;
    until(&clock, || settled(&first) == all && settled(&second) == all).await;
    let slowly = begun.lock().len();
    one.finish().await;
    two.finish().await;
    (slowly, quick.count())
}

#[tokio::test]
async fn the_first_lease_of_a_batch_outlasts_its_handler_however_long_the_others_took() {
    let keys = ["A", "B", "C", "D", "E"];
    assert_eq!(of_a_batch(&keys, 5).await, (5, 0));
}

#[tokio::test]
async fn a_lease_that_ran_out_while_others_were_asked_for_may_be_another_ones() {
    let keys = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"];
    let (slowly, quickly) = of_a_batch(&keys, 9).await;
    assert_eq!(slowly + quickly, keys.len(), "each is handled once: {slowly} and {quickly}");
    assert!(slowly > 0 && quickly > 0, "{slowly} and {quickly}");
}

#[tokio::test]
async fn a_lease_outlasts_the_handler_also_where_its_token_took_long() {
    let (one, two, clock) = (dir(), dir(), ManualClock::new());
    let keys = SharedKeys::new(&clock);
    let one = open_on(&clock, &one).await;
    let slow = Slow::new(&keys, &clock, Duration::ZERO, Duration::from_secs(4));
    let rate = Rate::new(1, Duration::from_secs(1)).unwrap();
    let wanted = slow.idempotency().retry_rate(rate, NonZeroU32::MIN);
    let (attempts, time) = (Arc::<Mutex<u32>>::default(), clock.clone());
    let counted = Arc::clone(&attempts);
    let handler = move |_: Payload<Number>| {
        let attempt = {
            let mut attempts = counted.lock();
            *attempts += 1;
            *attempts
        };
        let time = time.clone();
        async move {
            if attempt == 1 {
                return Err(BoxError::from("not yet"));
            }
            time.sleep_until(time.now() + WORK).await;
            Ok(())
        }
    };
    publish(&one, [("A", 1)]).await;
    let retry = Retry::default().first_delay(TICK).longest_delay(TICK);
    let first = stock(&one).deadline(DEADLINE).retry(retry).idempotent(wanted).to(handler).await.unwrap();
    until(&clock, || *attempts.lock() == 2).await;

    let two = open_on(&clock, &two).await;
    publish(&two, [("A", 2)]).await;
    let (second, quick) = other(&two, &keys).await;
    until(&clock, || settled(&first) == 1 && settled(&second) == 1).await;
    assert_eq!((*attempts.lock(), quick.count()), (2, 0), "it is skipped");
    assert_eq!(steps(&first).leased, 2, "asked anew, it is the same attempt");
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn an_answer_that_leaves_less_than_the_deadline_is_none() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let bus = open_on(&clock, &dir).await;
    let slow = Slow::new(&SharedKeys::new(&clock), &clock, Duration::from_secs(3), Duration::ZERO);
    let builder = stock(&bus).deadline(DEADLINE).idempotent(slow.idempotency());
    let subscription = builder.to(recorder.handler()).await.unwrap();
    publish(&bus, [("A", 1)]).await;
    until(&clock, || steps(&subscription).unreachable >= 3).await;
    assert_eq!((recorder.count(), subscription.stats().failed), (0, 0), "it waits, uncharged");
    *slow.lease.lock() = Duration::from_millis(1_750);
    until(&clock, || settled(&subscription) == 1).await;
    assert_eq!(recorder.deliveries()[0].attempt(), 1);
    bus.finish().await;
}
