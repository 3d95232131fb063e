//! Beginning a comparison, and what one leaves behind.
//!
//! Each comparison is a subscription of its own at the broker, made before the carrier begins: so it is given all that is sent from then on, and nothing else of this log. The log is
//! read from where the carrier stands, without what that had sent before. Nothing goes on from an earlier comparison, which may have heard an event on one side alone.
//!
//! # Crash points
//! A name is stored before its subscription is made at the broker, and struck when that is removed: whatever comes between, the next beginning removes it.

use std::collections::HashMap;
use std::sync::Arc;

use busway_event::{AnyEvent, Filter};
use busway_middleware::Identity;
use busway_persistence::{Cursor, ReadTables as _, Store, Table, WriteTables as _};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::compare::Comparison;
use super::comparer::{Comparer, Origin};
use super::open::carrier_name;
use super::{CutOver, CutOverError};
use crate::bus::Bus;
use crate::durable::{StartAt, stored};
use crate::log::Log;
use crate::transact::{StoreTx, TransactionError};
use crate::transport::{
    LocalTransport, Reception, SendError, Sender, Sent, Transport, TransportError, TransportFuture,
};

/// Of each stream that was ever compared: the subscriptions at a broker that are not known to be removed. The bus's own, as [`LEADS`](super::LEADS) is.
pub(crate) const COMPARISONS: Table<String, Vec<String>> = Table::new("busway.comparisons");

/// Where the carrier stands, by the store's number of the partition; none that it does not stand in.
type Standings = HashMap<u32, Cursor>;

impl CutOver {
    /// Compares what is sent from now on. Nothing is being sent: the carrier begins behind this.
    pub(super) async fn compare(
        &self,
        bus: &Bus,
        transport: &dyn Transport,
        (stop, comparing): (&CancellationToken, &TaskTracker),
    ) -> Result<Arc<Comparison>, CutOverError> {
        let core = bus.core();
        let Some(log) = &core.log else { return Err(self.closed()) };
        self.forget_comparison(bus, transport).await?;
        let failed = |reason| self.not_taken(reason);
        let (producer, began) = (core.metadata.producer().to_owned(), core.services.clock.utc());
        let stands = self.carrier_stands(bus).await?;
        let (here, local) = (self.compare_names(), LocalTransport::new(bus));
        // No other process, and no other time, is called so.
        let own = fastrand::u64(..);
        let there: Vec<_> = here.iter().map(|name| format!("{name}-{own:016x}")).collect();
        self.note(bus, |known| known.extend(there.iter().cloned())).await?;
        let (mut of_log, mut of_broker) = (Vec::new(), Vec::new());
        for ((name, at_broker), filter) in here.iter().zip(&there).zip(&self.filters) {
            let reception = |name: &str| {
                Reception::new(&*self.led.stream, name, filter.clone()).start_at(StartAt::Latest)
            };
            of_broker.push(transport.receiver(&reception(at_broker)).await.map_err(failed)?);
            self.stand(bus, log, (name, filter), &stands).await?;
            of_log.push(local.receiver(&reception(name).identity(Identity::Bus)).await.map_err(failed)?);
        }
        let (services, stream) = (Arc::clone(&core.services), Arc::clone(&self.led.stream));
        let comparer = Comparer::new(self.patience, Origin { producer, began });
        let comparison = Comparison::new(services, stream, (comparer, self.sent(stands)), stop.clone());
        let work = comparing.track_future(Arc::clone(&comparison).run(of_log, of_broker));
        drop(core.services.runtime.spawn(log.readers.track_future(work)));
        Ok(comparison)
    }

    /// Removes what is left of comparisons before: here, and at the broker. What that does not remove now is removed the next time.
    pub(super) async fn forget_comparison(
        &self,
        bus: &Bus,
        transport: &dyn Transport,
    ) -> Result<(), CutOverError> {
        self.forget(bus, &self.compare_names()).await;
        let stream = &*self.led.stream;
        let mut removed = Vec::new();
        for name in self.noted(bus)? {
            match transport.remove(stream, &name).await {
                Ok(()) => removed.push(name),
                Err(error @ TransportError::Missing { .. }) => {
                    tracing::info!(stream, %name, %error, "a subscription of a comparison is left to the broker");
                    removed.push(name);
                }
                Err(error) => {
                    tracing::warn!(stream, %name, %error, "a subscription of a comparison stays at the broker until the stream is begun to be carried again");
                }
            }
        }
        match removed.is_empty() {
            true => Ok(()),
            false => self.note(bus, |known| known.retain(|name| !removed.contains(name))).await,
        }
    }

    /// What is compared is read here under these, one for each filter.
    fn compare_names(&self) -> Vec<String> {
        (0..self.filters.len()).map(|place| format!("{}-compare-{place}", self.led.stream)).collect()
    }

    /// What may be subscribed at a broker.
    fn noted(&self, bus: &Bus) -> Result<Vec<String>, CutOverError> {
        let noted = bus.read(|tables| tables.get(&COMPARISONS, &*self.led.stream));
        Ok(noted.map_err(|reason| self.not_stored(reason))?.unwrap_or_default())
    }

    /// Changes that. Nobody else does meanwhile: a stream is begun to be carried by one at a time.
    async fn note(&self, bus: &Bus, change: impl FnOnce(&mut Vec<String>)) -> Result<(), CutOverError> {
        let (stream, mut names) = (self.led.stream.to_string(), self.noted(bus)?);
        change(&mut names);
        let put = move |tx: &mut StoreTx<'_>| match names.is_empty() {
            true => tx.delete(&COMPARISONS, &stream).map(drop),
            false => tx.put(&COMPARISONS, &stream, &names),
        };
        bus.transaction(put).await.map(drop).map_err(|reason| self.not_stored(reason))
    }

    async fn carrier_stands(&self, bus: &Bus) -> Result<Standings, CutOverError> {
        let carrier = stored(bus.core(), carrier_name(&self.led.stream)).await;
        let carrier = carrier.map_err(|error| self.not_taken(store_says(error.to_string())))?;
        let standings = carrier.into_iter().flat_map(|carrier| carrier.standings);
        Ok(standings.map(|(partition, cursor, _)| (partition, cursor)).collect())
    }

    /// Makes the cursor by which the log is read; a carrier that stands nowhere begins with all that there is.
    async fn stand(
        &self,
        bus: &Bus,
        log: &Arc<Log>,
        (name, filter): (&str, &Filter),
        stands: &Standings,
    ) -> Result<(), CutOverError> {
        let begins = |partition| stands.get(&partition).map_or(0, |cursor| cursor.next_unsettled(0));
        let partitions = log.partitions_within(filter, &self.led.stream).into_iter();
        let starts: Vec<_> = partitions.map(|partition| (partition, begins(partition))).collect();
        match log.register(&bus.core().services, (name, filter), move |_: &Store| starts).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(self.not_taken(store_says(error.to_string()))),
            None => Err(self.closed()),
        }
    }

    /// The same by the stream's own numbers of partitions.
    fn sent(&self, stands: Standings) -> HashMap<u16, Cursor> {
        let own = |partition: u32| u16::try_from(partition.checked_sub(self.led.first_partition)?).ok();
        stands.into_iter().filter_map(|(partition, cursor)| Some((own(partition)?, cursor))).collect()
    }

    fn closed(&self) -> CutOverError {
        CutOverError::Closed { stream: self.led.stream.to_string() }
    }

    fn not_stored(&self, reason: TransactionError) -> CutOverError {
        CutOverError::Store { stream: self.led.stream.to_string(), reason: Box::new(reason) }
    }

    pub(super) fn not_taken(&self, reason: TransportError) -> CutOverError {
        CutOverError::Transport { stream: self.led.stream.to_string(), reason: Box::new(reason) }
    }
}

/// The carrier's way to the broker: what that had before is told to the comparison.
#[derive(Debug)]
pub(super) struct Telling {
    pub(super) to: Arc<dyn Sender>,
    pub(super) comparison: Arc<Comparison>,
}

impl Sender for Telling {
    fn send(&self, events: Vec<AnyEvent>) -> TransportFuture<'_, Vec<Result<Sent, SendError>>> {
        let ids: Vec<_> = events.iter().map(|event| event.id()).collect();
        Box::pin(async move {
            let told = self.to.send(events).await;
            for (id, told) in ids.into_iter().zip(&told) {
                if told.as_ref().is_ok_and(|sent| sent.duplicate) {
                    self.comparison.was_there(id);
                }
            }
            told
        })
    }
}

fn store_says(reason: String) -> TransportError {
    TransportError::Unreachable { address: "the store".to_owned(), reason }
}
