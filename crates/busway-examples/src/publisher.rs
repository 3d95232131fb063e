//! The publisher: each row of the file once into its log, and from there to the broker.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use busway::{BoxError, Collector, Signal, Wants};
use indicatif::ProgressBar;

use crate::rows::Rows;
use crate::{Place, flights, ledger};

/// Publishes what the store does not hold yet of a file, and carries all of it to the broker until `until` ends. `told` is given how many rows were published, and how many could not
/// be read, when the file is at its end.
///
/// # Errors
/// The file cannot be read, the store belongs to another one, or the broker says no.
pub async fn publish(
    place: &Place,
    file: &Path,
    store: &Path,
    told: impl FnOnce(u64, u64),
    until: impl Future<Output = ()>,
) -> Result<(), BoxError> {
    let transport = place.connect("flights").await?;
    transport.prepare(&[flights()]).await?;
    let bus = ledger::open(store, Arc::new(Nobody)).await?;
    // Begun first: what is published is on its way while the file is still read.
    let forwarder = bus.forwarder("to-broker", "flights.#").to(&*transport).await?;
    let mut rows = Rows::open(file, &ProgressBar::hidden())?;
    let position = ledger::position(&bus, file)?;
    let position = ledger::publish(&bus, &mut rows, position, |_, _| {}).await?;
    // Nothing is ever let go of this log.
    let (mut log, mut published) = (bus.history("flights.#"), 0);
    while let Some(page) = log.page().await? {
        published += u64::try_from(page.len())?;
    }
    told(published, position.bad_rows);
    until.await;
    forwarder.stop().await;
    bus.shutdown(Duration::from_secs(10)).await;
    Ok(transport.close().await?)
}

/// Nobody listens to what the bus says.
struct Nobody;

impl Collector for Nobody {
    fn wants(&self) -> Wants {
        Wants::ALARMS
    }

    fn collect(&self, _: &Signal<'_>) {}
}
