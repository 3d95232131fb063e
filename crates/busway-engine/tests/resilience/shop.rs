//! The shop: four topics, ten events a second on each, and handlers that call a service for each.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use busway_engine::{Breaker, Clock, DurableBuilder, StartAt, Stream};
use busway_event::{Event, EventType};
use busway_middleware::{AnyHandler, BoxError, Durable, IntoHandler, Payload};
use busway_reliability::Retry;
use busway_testkit::{ManualClock, TestBus};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::fault::{Call, Fault, is_hot};
use crate::figures::{Figures, Published};

/// The one whose dependency fails, and its neighbours.
pub(crate) const TOPICS: [&str; 4] = ["shop.mail", "shop.stock", "shop.search", "shop.audit"];

/// What is around the handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    None,
    Retries,
    Breaker,
    Bulkheads,
}

impl Protection {
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::Retries, Self::Breaker, Self::Bulkheads];

    fn around(self, builder: DurableBuilder) -> DurableBuilder {
        let retried = match self {
            Self::None => return builder.retry(Retry::default().attempts(1)),
            _ => builder.retry(Retry::default().longest_delay(Duration::from_secs(5))),
        };
        match self {
            Self::None | Self::Retries => retried,
            Self::Breaker | Self::Bulkheads => {
                let breaker = Breaker::default().open_for(Duration::from_secs(2)).max_probes(2);
                retried.deadline(Duration::from_secs(1)).breaker(breaker)
            }
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "nothing",
            Self::Retries => "retries",
            Self::Breaker => "retries, deadline, breaker",
            Self::Bulkheads => "the same, with bulkheads",
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Sold {
    topic: usize,
    n: u32,
}

impl EventType for Sold {
    const NAME: &'static str = "sold";
}

/// What the handlers call, and who is watched doing so.
struct Service {
    clock: ManualClock,
    fault: Fault,
    fails: std::ops::Range<Instant>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    done: HashMap<(usize, u32), Instant>,
    failed_calls: u64,
}

impl Service {
    async fn call(&self, Sold { topic, n }: &Sold) -> Result<(), BoxError> {
        let now = self.clock.now();
        let is_failing = *topic == 0 && (self.fails.contains(&now) || self.is_poison(*n));
        let call = match is_failing {
            true => self.fault.call(now.saturating_duration_since(self.fails.start), *n),
            false => Call::Good,
        };
        let takes = if call == Call::Slow { SLOW } else { GOOD };
        self.clock.sleep_until(now + takes).await;
        if call == Call::Refused {
            self.log.lock().failed_calls += 1;
            return Err("connection refused".into());
        }
        self.log.lock().done.entry((*topic, *n)).or_insert_with(|| self.clock.now());
        Ok(())
    }

    /// An event that was bad stays bad.
    fn is_poison(&self, n: u32) -> bool {
        let tick = |at: Instant| (at - self.start()).as_millis() / TICK.as_millis();
        let (from, to) = (tick(self.fails.start), tick(self.fails.end));
        self.fault.is_of_events() && (from..to).contains(&u128::from(n))
    }

    /// The phases are as long as each other.
    fn start(&self) -> Instant {
        let phase = self.fails.end.saturating_duration_since(self.fails.start);
        self.fails.start.checked_sub(phase).unwrap()
    }

    fn handler(self: &Arc<Self>) -> AnyHandler<Durable> {
        let service = Arc::clone(self);
        let handle = move |sold: Payload<Sold>| {
            let service = Arc::clone(&service);
            async move { service.call(&sold).await }
        };
        IntoHandler::<Durable, _>::into_handler(handle)
    }
}

/// Runs a shop through a fault: a phase before it, one with it, one behind it, and then until nothing is left to do.
pub(crate) async fn run(fault: Fault, protection: Protection, phase: Duration) -> Figures {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let shop = |builder: busway_engine::BusBuilder| builder.stream(Stream::new("shop").capture("shop.#"));
    let bus = TestBus::open_on(clock.clone(), dir.path(), shop).await;
    let start = clock.now();
    let fails = start + phase..start + 2 * phase;
    let service = Arc::new(Service { clock: clock.clone(), fault, fails, log: Mutex::default() });
    subscribe(&bus, protection, &service).await;

    let ticks = u32::try_from(3 * phase.as_millis() / TICK.as_millis()).unwrap_or(0);
    let mut published = Vec::new();
    for n in 0..ticks {
        let sold = |topic: usize| {
            let key = if is_hot(n) { "hot".to_owned() } else { format!("customer-{}", n % 40) };
            let name = TOPICS.get(topic).copied().unwrap_or_default();
            // A key is one topic's: its lane is not shared with others.
            Event::new(name, Sold { topic, n }).key(format!("{topic}/{key}"))
        };
        bus.publish_batch((0..TOPICS.len()).map(sold).collect()).await.unwrap();
        published.extend((0..TOPICS.len()).map(|topic| Published { topic, n, at: clock.now() - start }));
        pass(&clock, TICK).await;
    }
    // Retries and probes end within this, whatever failed.
    for _ in 0..DRAIN.as_secs() {
        pass(&clock, Duration::from_secs(1)).await;
    }
    let dead_letters = bus.stats().durable.iter().map(|stats| stats.dead).sum();
    let opened = bus.breakers().list().iter().map(|channel| channel.counts.opened).sum();
    let log = std::mem::take(&mut *service.log.lock());
    let done = log.done.into_iter().map(|(event, at)| (event, at - start)).collect();
    Figures::new(&published, &done, phase, (log.failed_calls, dead_letters, opened))
}

async fn subscribe(bus: &TestBus, protection: Protection, service: &Arc<Service>) {
    let durable = |filter: &str, name: &str| {
        protection.around(bus.subscribe(filter).durable(name).start_at(StartAt::Earliest))
    };
    match protection {
        Protection::Bulkheads => {
            for topic in TOPICS {
                let name = topic.replace('.', "-");
                durable(topic, &name).concurrency(PLACES / TOPICS.len()).to(service.handler()).await.unwrap();
            }
        }
        _ => _ = durable("shop.#", "shop").concurrency(PLACES).to(service.handler()).await.unwrap(),
    }
}

/// Lets time pass, from one thing that happens to the next.
async fn pass(clock: &ManualClock, time: Duration) {
    let until = clock.now() + time;
    loop {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let left = until.saturating_duration_since(clock.now());
        if left.is_zero() {
            return;
        }
        // Never in one leap: what is waked by one time may wait for the next.
        clock.advance(clock.next_due().unwrap_or(left).max(Duration::from_millis(1)).min(left));
    }
}

const TICK: Duration = Duration::from_millis(100);
const GOOD: Duration = Duration::from_millis(20);
const SLOW: Duration = Duration::from_secs(10);
/// Handlers at once, over all topics.
const PLACES: usize = 8;
const DRAIN: Duration = Duration::from_secs(180);
const TURNS: usize = 60;
