//! A worker: a member of the subscription at the broker, which stores what it found out under the event's id.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use busway::prelude::*;
use busway::{BoxError, Clock as _, EventId, StoreTx, SystemClock, Table, WeakBus};
use serde::{Deserialize, Serialize};

use crate::flight::Flight;
use crate::{Place, flights};

/// What a worker found out about a departure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) flight: Flight,
    /// Its row in the file, for the order of an aircraft's departures.
    pub(crate) row: u64,
    pub(crate) priority: usize,
    pub(crate) at_jfk: bool,
    /// When it was begun and ended, nanoseconds of the wall clock: the processes share a machine.
    pub(crate) begun: i64,
    pub(crate) ended: i64,
}

/// By the ids of events: whoever does the same again writes the same again.
pub(crate) const SEEN: Table<EventId, Seen> = Table::new("seen");

/// Of a bus that does not exist yet when its handlers' states are given.
type Bank = Arc<OnceLock<WeakBus>>;

/// A bus with the table of a worker.
pub(crate) async fn open(store: &Path, bank: &Bank) -> busway::Result<Bus> {
    Ok(Bus::open(store).producer("flights").table(&SEEN).state(Arc::clone(bank)).start().await?)
}

/// Handles what the broker gives to the member of this name, until `until` ends. `told` is given each row when what was found out about it is stored.
///
/// # Errors
/// The store or the broker says no.
pub async fn work(
    place: &Place,
    store: &Path,
    member: &str,
    told: impl Fn(u64) + Send + Sync + 'static,
    until: impl Future<Output = ()>,
) -> Result<(), BoxError> {
    let bank = Bank::default();
    let bus = open(store, &bank).await?;
    _ = bank.set(bus.downgrade());
    let transport = place.connect(member).await?;
    transport.prepare(&[flights()]).await?;
    let told = Arc::new(told);
    let handle = move |flight: Event<Flight>, delivery: Delivery, State(bank): State<Bank>| {
        let told = Arc::clone(&told);
        async move { store_it(flight, &delivery, &bank).await.map(|row| told(row)) }
    };
    let subscription = bus.subscribe("flights.#").order(Order::Key).concurrency(64);
    let subscription =
        Priority::ALL.into_iter().fold(subscription, |all, priority| all.priority_limit(priority, 64));
    let subscription =
        subscription.on(&*transport, "flights", "boards").member(member).start_at(StartAt::Earliest);
    let subscription = subscription.ack_wait(DEAD_AFTER).to(handle).await?;
    until.await;
    subscription.stop().await;
    bus.shutdown(Duration::from_secs(10)).await;
    Ok(transport.close().await?)
}

/// Stores what is found out, synced, before the broker hears that it is done.
async fn store_it(flight: Event<Flight>, delivery: &Delivery, bank: &Bank) -> Result<u64, BoxError> {
    let bus = bank.get().and_then(WeakBus::upgrade).ok_or("the bus is gone")?;
    let begun = SystemClock.utc().as_nanos();
    let row: u64 = flight.metadata().get("row").ok_or("an event without its row")?.parse()?;
    let (id, priority) = (flight.id(), flight.priority().index());
    let at_jfk = delivery.event().topic().segments().nth(2) == Some("jfk");
    let flight = flight.payload().clone();
    let seen = move |tx: &mut StoreTx<'_>| {
        let ended = SystemClock.utc().as_nanos();
        tx.put(&SEEN, &id, &Seen { flight: flight.clone(), row, priority, at_jfk, begun, ended })
    };
    bus.transaction(seen).await?;
    Ok(row)
}

/// How long an event stays with a worker that was killed.
const DEAD_AFTER: Duration = Duration::from_secs(2);
