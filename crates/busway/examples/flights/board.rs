//! The five subscriptions, and the boards on which they write what they saw.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use busway::SubscribeBuilder;
use busway::prelude::*;

use crate::flight::{Flight, Status};

/// What the subscriptions found out.
#[derive(Debug, Default)]
pub(crate) struct Boards {
    carriers: Mutex<Carriers>,
    rows: Mutex<HashMap<String, u64>>,
    pub(crate) delays: AtomicU64,
    pub(crate) jfk_desk: AtomicU64,
    pub(crate) alerts: AtomicU64,
    pub(crate) out_of_order: AtomicU64,
}

/// Counts of all flights, by status, origin and carrier.
#[derive(Debug, Clone)]
pub(crate) struct Carriers {
    pub(crate) events: u64,
    pub(crate) by_status: BTreeMap<&'static str, u64>,
    pub(crate) by_origin: BTreeMap<String, u64>,
    pub(crate) by_carrier: BTreeMap<String, Carrier>,
}

impl Default for Carriers {
    /// Every status is there from the start: that no flight was cancelled is a figure too.
    fn default() -> Self {
        Self {
            events: 0,
            by_status: Status::WORDS.into_iter().map(|word| (word, 0)).collect(),
            by_origin: BTreeMap::new(),
            by_carrier: BTreeMap::new(),
        }
    }
}

/// Counts of one carrier's flights.
#[derive(Debug, Default, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Carrier {
    /// All flights, the cancelled included.
    pub(crate) flights: u64,
    pub(crate) cancelled: u64,
    pub(crate) delayed: u64,
    /// Sum over the flights that left. Wider than a delay: no file is long enough to overflow it.
    pub(crate) delay_minutes: i128,
}

impl Boards {
    /// With these figures: flights by carrier, and delays, JFK desk, alerts and what was out of order.
    pub(crate) fn of(carriers: Carriers, [delays, jfk_desk, alerts, out_of_order]: [u64; 4]) -> Self {
        Self {
            carriers: Mutex::new(carriers),
            rows: Mutex::default(),
            delays: AtomicU64::new(delays),
            jfk_desk: AtomicU64::new(jfk_desk),
            alerts: AtomicU64::new(alerts),
            out_of_order: AtomicU64::new(out_of_order),
        }
    }

    pub(crate) fn carriers(&self) -> MutexGuard<'_, Carriers> {
        self.carriers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Carrier {
    /// Counts a flight of it.
    pub(crate) fn count(&mut self, flight: &Flight) {
        self.flights += 1;
        self.cancelled += u64::from(flight.status == Status::Cancelled);
        self.delayed += u64::from(matches!(flight.status, Status::Delayed { .. }));
        self.delay_minutes += i128::from(flight.status.minutes().unwrap_or(0));
    }
}

type Shared = State<Arc<Boards>>;

/// Starts all five. None may drop an event or let it expire.
pub(crate) async fn subscribe(bus: &Bus) -> Result<[Subscription; 5], BoxError> {
    Ok([
        lossless(bus, "flights.#", "statistics").to(blocking(count)).await?,
        lossless(bus, "flights.delayed.+.+", "delay-board").to(note_delay).await?,
        lossless(bus, "flights.+.jfk.#", "jfk-desk").concurrency(4).to(serve_at_jfk).await?,
        lossless(bus, "flights.cancelled.#", "cancellations").to(alert).await?,
        lossless(bus, "flights.#", "order-check").order(Order::Key).concurrency(4).to(check_order).await?,
    ])
}

/// A handler that failed has left its events out of the figures: then there are none.
pub(crate) fn check_handled(subscriptions: &[Subscription]) -> Result<(), BoxError> {
    for stats in subscriptions.iter().map(Subscription::stats) {
        let failed = stats.failed + stats.dead;
        if failed > 0 {
            let last = stats.last_failure.map(|failure| failure.error).unwrap_or_default();
            return Err(
                format!("{} failed to handle {failed} events, the last one: {last}", stats.name).into()
            );
        }
    }
    Ok(())
}

/// A subscription that makes its publisher wait instead of losing anything.
fn lossless(bus: &Bus, filter: &str, name: &str) -> SubscribeBuilder {
    let wait = bus.subscribe(filter).name(name).capacity(1_024).overflow(Overflow::Block(None));
    Priority::ALL.into_iter().fold(wait, |subscription, priority| subscription.ttl(priority, None))
}

/// Counts per carrier. Synchronous work on a thread of its own.
#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
fn count(flight: Payload<Flight>, State(boards): Shared) {
    let mut carriers = boards.carriers();
    carriers.events += 1;
    *carriers.by_status.entry(flight.status.word()).or_default() += 1;
    *carriers.by_origin.entry(flight.origin.clone()).or_default() += 1;
    carriers.by_carrier.entry(flight.carrier.clone()).or_default().count(&flight);
}

async fn note_delay(flight: Payload<Flight>, State(boards): Shared) {
    if matches!(flight.status, Status::Delayed { .. }) {
        boards.delays.fetch_add(1, Ordering::Relaxed);
    }
}

async fn serve_at_jfk(topic: Topic, State(boards): Shared) {
    if topic.segments().nth(2) == Some("jfk") {
        boards.jfk_desk.fetch_add(1, Ordering::Relaxed);
    }
}

async fn alert(flight: Event<Flight>, State(boards): Shared) {
    if flight.priority() == Priority::P0 {
        boards.alerts.fetch_add(1, Ordering::Relaxed);
    }
}

/// The rows of an aircraft must come in the order of the file, whatever their priority.
async fn check_order(flight: Payload<Flight>, meta: Meta, State(boards): Shared) -> Result<(), BoxError> {
    let row: u64 = meta.get("row").ok_or("an event without its row")?.parse()?;
    let before = boards.rows().insert(flight.tail_number.clone(), row);
    if before.is_some_and(|before| before >= row) {
        boards.out_of_order.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
