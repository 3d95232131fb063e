//! The stored cursors of durable subscriptions, whether they run in this process or not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use busway_middleware::Position;
use busway_observability::audit::{Action, Ending};
use busway_persistence::{ReadError, RequestError, Store, StoredSubscription};
use tokio::sync::oneshot;

use super::StartAt;
use super::name_taken::NameTaken;
use crate::bus::{Bus, BusCore};
use crate::log::{Log, idle};

/// The stored position of a durable subscription, by its name. It need not run.
pub struct CursorHandle {
    bus: Arc<BusCore>,
    name: String,
    by: Option<String>,
}

/// Where a durable subscription stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Its filter.
    pub filter: String,
    /// Whether it runs in this process.
    pub is_running: bool,
    /// For how long nobody has attended it: it did not run, here or elsewhere, and nothing of it was stored. Zero while it runs; to the hour
    /// otherwise. `None` when that is not known: the store is of before that was kept, and nobody took it up since.
    pub idle: Option<Duration>,
    /// Whether that is longer than the bus [allows](crate::bus::BusBuilder::abandoned_after).
    pub is_abandoned: bool,
    /// Whether events are kept for it: some are not settled, or are parked.
    pub is_holding: bool,
    /// In each of its partitions.
    pub partitions: Vec<PartitionStanding>,
}

/// Where a durable subscription stands in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionStanding {
    /// The first event that is not settled, or where it will be.
    pub next: Position,
    /// Events of the partition from there on that are not settled, whether the filter wants them or not.
    pub behind: u64,
    /// Events that failed and wait.
    pub parked: u64,
}

impl Bus {
    /// The cursor of the durable subscription with this name.
    #[must_use]
    pub fn cursor(&self, name: impl Into<String>) -> CursorHandle {
        CursorHandle { bus: Arc::clone(self.core()), name: name.into(), by: None }
    }

    /// Where all durable subscriptions of the store stand, also those that do not run: what they have not settled is kept for them.
    ///
    /// # Errors
    /// [`CursorError`].
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn cursors(&self) -> Result<Vec<Standing>, CursorError> {
        let core = self.core();
        let log = core.log.as_ref().ok_or(CursorError::NoStore)?;
        let stored = log.lend(&core.services, Store::subscriptions).await.ok_or(CursorError::Closed)??;
        Ok(stored.into_iter().map(|stored| standing(core, stored)).collect())
    }
}

impl CursorHandle {
    /// Who does what is done, for the [audit line](busway_observability::audit). Default: the producer of the bus.
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.by = Some(who.into());
        self
    }

    /// Where it stands, as it is stored.
    ///
    /// # Errors
    /// [`CursorError`].
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn standing(&self) -> Result<Standing, CursorError> {
        Ok(standing(&self.bus, self.stored().await?))
    }

    /// Sends the subscription elsewhere: everything before `to` is settled for it, everything from there on is not, whatever it was. Parked events
    /// from there on are given again with the others; those before stay parked. [`StartAt::Stored`] changes nothing.
    ///
    /// One that runs goes on from there, when the handlers that run have come to their end. Deliveries of events that were settled
    /// before look like any other: a handler whose effects are set, not added, can bear that.
    ///
    /// # Errors
    /// [`CursorError`]. An offset that is outside of the log of a partition is refused before any is moved; should retention be quicker, those
    /// moved before stay so.
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the seek.
    pub async fn seek(&self, to: StartAt) -> Result<(), CursorError> {
        let subject = format!("subscription {} to {to:?}", self.name);
        self.audited((Action::Seek, subject), self.send(to)).await
    }

    async fn send(&self, to: StartAt) -> Result<(), CursorError> {
        let stored = self.stored().await?;
        if to == StartAt::Stored {
            return Ok(());
        }
        let (log, partitions) = (self.log()?, stored.partitions());
        let resolve = move |store: &Store| -> Result<Vec<(u32, u64)>, CursorError> {
            partitions.iter().map(|&partition| Ok((partition, offset(store, partition, to)?))).collect()
        };
        let to = log.lend(&self.bus.services, resolve).await.ok_or(CursorError::Closed)??;
        if let Some(core) = self.bus.durable.named(&self.name) {
            return core.seek(to).await;
        }
        let moved = log.seek(&self.bus.services, stored.number, &to).await;
        Ok(moved.ok_or(CursorError::Closed)??)
    }

    /// Removes the subscription from the store, with what it has parked: it keeps nothing from being let go any longer. Its dead letters stay. Not while it
    /// runs, or is about to; nor does it begin while it is being removed.
    ///
    /// # Errors
    /// [`CursorError`].
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the removal.
    pub async fn remove(&self) -> Result<(), CursorError> {
        self.audited((Action::Remove, format!("subscription {}", self.name)), self.take_out()).await
    }

    async fn take_out(&self) -> Result<(), CursorError> {
        self.stored().await?;
        let (bus, name, log) = (Arc::clone(&self.bus), self.name.clone(), self.log()?);
        let remove = async move {
            // Nobody begins under the name while the store is asked.
            let Some(taken) = NameTaken::hold(&bus, &name) else { return Err(CursorError::Running { name }) };
            let of_name = name.clone();
            let remove = move |store: &Store, answer: oneshot::Sender<_>| {
                store.remove_subscription(&of_name, Box::new(move |result| _ = answer.send(result)));
            };
            let removed = log.ask(&bus.services, remove).await;
            drop(taken);
            // Somebody may wait until it has settled what it will not any more.
            bus.durable.removed();
            bus.services.idle.touch();
            Ok(removed.ok_or(CursorError::Closed)??)
        };
        // A task of its own: it holds the name until the store has answered, also when its caller gives up.
        self.bus.services.runtime.spawn(remove).await.unwrap_or(Err(CursorError::Closed))
    }

    /// Does something, and writes its audit line.
    async fn audited(
        &self,
        (action, subject): (Action, String),
        work: impl Future<Output = Result<(), CursorError>>,
    ) -> Result<(), CursorError> {
        let shown = &self.bus.services.shown;
        let audit = shown.begin_audit(action, subject, self.by.as_deref());
        let done = work.await;
        audit.end(&match &done {
            Ok(()) => Ending::Done { count: None },
            Err(error @ (CursorError::Closed | CursorError::Read(_) | CursorError::Request(_))) => {
                shown.failed(error)
            }
            Err(error) => shown.refused(error),
        });
        done
    }

    async fn stored(&self) -> Result<StoredSubscription, CursorError> {
        let found = stored(&self.bus, self.name.clone()).await?;
        found.ok_or_else(|| CursorError::Unknown { name: self.name.clone() })
    }

    fn log(&self) -> Result<Arc<Log>, CursorError> {
        self.bus.log.as_ref().map(Arc::clone).ok_or(CursorError::NoStore)
    }
}

/// The offset that is meant in a partition, which must lie in its log.
fn offset(store: &Store, partition: u32, to: StartAt) -> Result<u64, CursorError> {
    let (first, next) = store.bounds(partition).ok_or(ReadError::UnknownPartition { partition })?;
    let offset = match to {
        StartAt::Earliest => first,
        StartAt::Offset(offset) => offset,
        StartAt::Time(time) => store.offset_at(partition, time)?,
        StartAt::Latest | StartAt::Stored => next,
    };
    match (first..=next).contains(&offset) {
        true => Ok(offset),
        false => Err(RequestError::OutsideOfLog { partition, offset, first, next }.into()),
    }
}

/// The subscription of this name, as the store has it.
pub(crate) async fn stored(
    bus: &Arc<BusCore>,
    name: String,
) -> Result<Option<StoredSubscription>, CursorError> {
    let log = bus.log.as_ref().ok_or(CursorError::NoStore)?;
    let find = move |store: &Store| store.subscription(&name);
    Ok(log.lend(&bus.services, find).await.ok_or(CursorError::Closed)??)
}

fn standing(bus: &BusCore, stored: StoredSubscription) -> Standing {
    let partitions = stored.standings.iter().filter_map(|(partition, cursor, parked)| {
        let log = bus.log.as_ref()?;
        let (first, end) = log.with(|store| store.bounds(*partition)).flatten()?;
        // What is gone is nothing that it could still handle, though nobody may have told of it yet.
        let next = cursor.next_unsettled(cursor.low().max(first));
        let place = busway_persistence::Position { partition: *partition, offset: next };
        let behind = cursor.unsettled_between(first, end);
        Some(PartitionStanding { next: log.position(place)?, behind, parked: *parked })
    });
    let partitions: Vec<PartitionStanding> = partitions.collect();
    let is_holding = partitions.iter().any(|partition| partition.behind > 0 || partition.parked > 0);
    let is_running = bus.durable.named(&stored.name).is_some();
    let (log, utc) = (bus.log.as_ref(), bus.services.clock.utc());
    let idle = if is_running { Some(Duration::ZERO) } else { idle(&stored, utc) };
    let is_abandoned = !is_running && log.is_some_and(|log| log.is_abandoned(idle));
    let StoredSubscription { name, filter, .. } = stored;
    Standing { name, filter, is_running, idle, is_abandoned, is_holding, partitions }
}

impl fmt::Debug for CursorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CursorHandle({})", self.name)
    }
}

/// Why a cursor could not be looked at, or moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// The bus has no store.
    #[error("the bus lives in memory and has no cursors; open one with Bus::open(path)")]
    NoStore,
    /// The store knows no subscription of this name.
    #[error("the store knows no durable subscription \"{name}\"; bus.cursors() lists them")]
    Unknown {
        /// The name.
        name: String,
    },
    /// It runs in this process.
    #[error("the durable subscription \"{name}\" runs; stop it first")]
    Running {
        /// The name.
        name: String,
    },
    /// The bus is closed, or the subscription has ended meanwhile.
    #[error("the bus or the subscription is closed")]
    Closed,
    /// The store refuses it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
