//! `--flaky`: a sixth subscription tells passengers of cancelled flights, by a service that one airline runs badly.
//!
//! The service refuses its calls for that airline at first, and recovers. A notice that fails is attempted once more; the breaker of its topic opens
//! meanwhile, and its events wait without an attempt. What has failed twice is a dead letter, and is given again when everything else is done:
//! by then the service is up. So each notice that failed ends delivered, or stays where an operator finds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway::observability::Circuit;
use busway::prelude::*;
use busway::{Collector, DurableSubscription, Redrive, Selection, Signal, Wants};

use crate::flight::Flight;
use crate::output::Notices;

/// The service, and what is counted about it.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    refused: AtomicU64,
    opened: AtomicU64,
    redelivered: AtomicU64,
}

impl Desk {
    fn call(&self, flight: &Flight) -> Result<(), BoxError> {
        let is_down = flight.carrier == CARRIER && self.refused.load(Ordering::Relaxed) < REFUSALS;
        if is_down {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err("the airline's service is away".into());
        }
        Ok(())
    }
}

impl Collector for Desk {
    fn wants(&self) -> Wants {
        Wants::ALARMS
    }

    fn collect(&self, signal: &Signal<'_>) {
        if let Signal::BreakerMoved { to: Circuit::Open, .. } = signal {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Starts the notices.
pub(crate) async fn subscribe(bus: &Bus, desk: &Arc<Desk>) -> busway::Result<DurableSubscription> {
    let at_desk = Arc::clone(desk);
    let notify = move |flight: Payload<Flight>, delivery: Delivery| {
        let desk = Arc::clone(&at_desk);
        async move {
            desk.call(&flight)?;
            if delivery.attempt() > 1 || delivery.is_replay() {
                desk.redelivered.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), BoxError>(())
        }
    };
    let breaker = Breaker::default().opens_after(2).open_for(OPEN).max_probes(1);
    // No notice waits for another one's.
    let notices =
        bus.subscribe("flights.cancelled.#").durable(NAME).start_at(StartAt::Earliest).order(Order::None);
    Ok(notices.retry(Retry::constant(AGAIN_AFTER).attempts(2)).breaker(breaker).to(notify).await?)
}

/// Waits until every notice is delivered or given up, gives those again that were given up, and says what came of them.
pub(crate) async fn finish(
    bus: &Bus,
    notices: &DurableSubscription,
    desk: &Desk,
) -> Result<Notices, BoxError> {
    at_rest(bus, notices).await;
    let dead_letters = notices.stats().dead;
    let all = Selection::all().subscription(NAME);
    bus.dead_letters().by("flights").redrive(all, Redrive::default().unlimited()).await?;
    at_rest(bus, notices).await;
    let stats = notices.stats();
    let lying = stats.dead - dead_letters;
    let given_again = stats.replayed + lying;
    Ok(Notices {
        retried: stats.failed,
        dead_letters,
        breaker_opened: desk.opened.load(Ordering::Relaxed),
        redelivered_ok: desk.redelivered.load(Ordering::Relaxed),
        unaccounted: dead_letters.saturating_sub(given_again),
    })
}

/// What waits for another attempt, or for its circuit, comes back by itself.
async fn at_rest(bus: &Bus, notices: &DurableSubscription) {
    let mut looks = tokio::time::interval(AGAIN_AFTER);
    loop {
        bus.idle().await;
        let stats = notices.stats();
        if stats.parked + stats.ready + stats.running == 0 {
            return;
        }
        looks.tick().await;
    }
}

const NAME: &str = "notices";
/// American Airlines: in the week that ships with busway it cancelled half of all flights that were.
const CARRIER: &str = "aa";
/// Calls that the service refuses before it recovers: more than that week has first attempts, so that some notices fail twice.
const REFUSALS: u64 = 24;
const AGAIN_AFTER: Duration = Duration::from_millis(10);
const OPEN: Duration = Duration::from_millis(20);
