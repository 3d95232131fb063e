//! Many restarts at any moment, with handlers that fail, and that hang beyond their deadline: nothing is lost, and no key is overtaken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use busway_engine::{Bus, BusBuilder, DurableBuilder, StartAt, Stream};
use busway_event::Event;
use busway_middleware::{AnyHandler, Durable, IntoHandler, Outcome, blocking};
use busway_reliability::Retry;
use busway_testkit::{ManualClock, TestBus};
use parking_lot::{Condvar, Mutex};

use super::{dir, order};
use crate::world::{Number, ends, turns};

const ROUNDS: u32 = 12;
const EVENTS: u32 = 40;
const KEYS: u32 = 7;
const DEADLINE: Duration = Duration::from_millis(300);

fn with_streams(builder: BusBuilder) -> BusBuilder {
    builder.stream(Stream::new("orders").capture("orders.#").partitions(3))
}

/// What all lives of the bus have done.
#[derive(Default)]
struct Work {
    /// What was done, in order.
    done: Mutex<Vec<u32>>,
    /// Attempts that have overrun their deadline.
    overrun: AtomicUsize,
    has_overlapped: AtomicBool,
}

/// One life of the bus. What an earlier one left running is not of this one.
struct Life {
    work: Arc<Work>,
    /// In the last one all goes well.
    random: Option<Mutex<fastrand::Rng>>,
    /// Keys that an attempt runs of.
    running: Mutex<BTreeSet<u32>>,
    hanging: AtomicUsize,
    held: Mutex<Held>,
    moved: Condvar,
}

/// How often those that block a thread were let go, and whether for good.
#[derive(Default)]
struct Held {
    times: u64,
    is_over: bool,
}

enum Fate {
    Done,
    Fails,
    Hangs,
}

/// An attempt. Its drop is its end, also when it is cancelled.
struct Attempt {
    life: Arc<Life>,
    n: u32,
    hangs: bool,
}

impl Life {
    fn new(work: &Arc<Work>, seed: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            work: Arc::clone(work),
            random: seed.map(|seed| Mutex::new(fastrand::Rng::with_seed(seed))),
            running: Mutex::default(),
            hanging: AtomicUsize::new(0),
            held: Mutex::default(),
            moved: Condvar::new(),
        })
    }

    fn begin(self: &Arc<Self>, n: u32) -> Attempt {
        if !self.running.lock().insert(n % KEYS) {
            self.work.has_overlapped.store(true, Ordering::SeqCst);
        }
        Attempt { life: Arc::clone(self), n, hangs: false }
    }

    /// Time goes on, as far as a deadline is away.
    async fn pass(&self, clock: &ManualClock) {
        turns().await;
        self.work.overrun.fetch_add(self.hanging.load(Ordering::SeqCst), Ordering::SeqCst);
        clock.advance(DEADLINE);
        turns().await;
        self.held.lock().times += 1;
        self.moved.notify_all();
    }

    /// Time goes on for what hangs, and for nothing else: the store takes its own time, and is not to be given up on meanwhile.
    async fn pass_what_hangs(&self, clock: &ManualClock) {
        turns().await;
        if self.hanging.load(Ordering::SeqCst) > 0 {
            self.pass(clock).await;
        }
    }

    fn end(&self) {
        self.held.lock().is_over = true;
        self.moved.notify_all();
    }
}

impl Attempt {
    fn fate(&mut self) -> Fate {
        let fate = match self.life.random.as_ref().map(|random| random.lock().u32(..8)) {
            Some(0 | 1) => Fate::Fails,
            Some(2) => Fate::Hangs,
            _ => Fate::Done,
        };
        self.hangs = matches!(fate, Fate::Hangs);
        self.life.hanging.fetch_add(usize::from(self.hangs), Ordering::SeqCst);
        fate
    }

    /// Until somebody lets go of what blocks.
    fn block(&self) {
        let mut held = self.life.held.lock();
        let before = held.times;
        while held.times == before && !held.is_over {
            self.life.moved.wait(&mut held);
        }
    }

    fn done(&self) -> Outcome {
        self.life.work.done.lock().push(self.n);
        Outcome::Done
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.life.hanging.fetch_sub(usize::from(self.hangs), Ordering::SeqCst);
        self.life.running.lock().remove(&(self.n % KEYS));
    }
}

fn cancellable(life: &Arc<Life>) -> AnyHandler<Durable> {
    let life = Arc::clone(life);
    let handle = move |order: Event<Number>| {
        let mut attempt = life.begin(order.payload().n);
        async move {
            tokio::task::yield_now().await;
            match attempt.fate() {
                Fate::Done => attempt.done(),
                Fate::Fails => Outcome::failed("now and then"),
                Fate::Hangs => std::future::pending().await,
            }
        }
    };
    handle.into_handler()
}

fn threads(life: &Arc<Life>) -> AnyHandler<Durable> {
    let life = Arc::clone(life);
    let handle = move |order: Event<Number>| {
        let mut attempt = life.begin(order.payload().n);
        match attempt.fate() {
            Fate::Done => attempt.done(),
            Fate::Fails => Outcome::failed("now and then"),
            Fate::Hangs => {
                attempt.block();
                Outcome::failed("at last")
            }
        }
    };
    IntoHandler::<Durable, _>::into_handler(blocking(handle))
}

/// The bus before may still be ending.
async fn open(dir: &tempfile::TempDir, clock: &ManualClock) -> TestBus {
    let free = async {
        loop {
            match with_streams(Bus::open(dir.path())).start().await {
                Ok(bus) => return drop(bus.shutdown(Duration::ZERO).await),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            turns().await;
        }
    };
    ends(free).await;
    TestBus::open_on(clock.clone(), dir.path(), with_streams).await
}

fn stock(bus: &TestBus) -> DurableBuilder {
    let builder = bus.subscribe("orders.#").durable("stock").start_at(StartAt::Earliest);
    // None is given up, however many go wrong.
    builder.concurrency(4).deadline(DEADLINE).retry(Retry::default().attempts(1_000))
}

async fn storm(handler: fn(&Arc<Life>) -> AnyHandler<Durable>) {
    let (dir, clock, work) = (dir(), ManualClock::new(), Arc::<Work>::default());
    for round in 0..ROUNDS {
        let (bus, life) = (open(&dir, &clock).await, Life::new(&work, Some(u64::from(round) + 1)));
        stock(&bus).to(handler(&life)).await.unwrap();
        let numbers = round * EVENTS..(round + 1) * EVENTS;
        let drafts = numbers.map(|n| order(&format!("key-{}", n % KEYS), n)).collect();
        bus.publish_batch(drafts).await.unwrap();
        for _ in 0..round % 4 {
            life.pass(&clock).await;
        }
        // Some ends are gentle: they wait for what hangs.
        if round % 3 == 0 {
            let mut shutdown = std::pin::pin!(bus.shutdown(Duration::from_secs(86_400)));
            let report = ends(async {
                loop {
                    tokio::select! {
                        biased;
                        report = &mut shutdown => return report,
                        () = life.pass_what_hangs(&clock) => {}
                    }
                }
            });
            let report = report.await;
            assert!(report.is_drained(), "{report}");
        }
        drop(bus);
        life.end();
    }
    let (bus, life) = (open(&dir, &clock).await, Life::new(&work, None));
    let subscription = stock(&bus).to(handler(&life)).await.unwrap();
    let settled = async {
        bus.settle().await;
        while subscription.lag().events > 0 {
            clock.advance(Duration::from_secs(60));
            bus.settle().await;
        }
    };
    ends(settled).await;
    bus.finish().await;
    assert!(!work.has_overlapped.load(Ordering::SeqCst), "two attempts of a key at once");
    assert!(work.overrun.load(Ordering::SeqCst) > 0, "none has overrun its deadline");
    assert_done(&work.done.lock());
}

/// Each was done, and for the first time behind all that came before it with its key.
fn assert_done(done: &[u32]) {
    let mut first_done: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for &n in done {
        let of_key = first_done.entry(n % KEYS).or_default();
        if !of_key.contains(&n) {
            of_key.push(n);
        }
    }
    let all: usize = first_done.values().map(Vec::len).sum();
    assert_eq!(all, usize::try_from(ROUNDS * EVENTS).unwrap(), "each was done");
    for (key, numbers) in first_done {
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_no_key_is_overtaken_over_many_ends_at_any_moment() {
    storm(cancellable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_no_key_is_overtaken_though_handlers_hang_that_nobody_can_cancel() {
    storm(threads).await;
}
