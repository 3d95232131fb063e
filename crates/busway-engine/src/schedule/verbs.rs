//! The bus's verbs for what is published later.

use std::sync::Arc;

use busway_event::{EventId, Timestamp};
use busway_persistence::{ReadError, Recurring, RequestError, ScheduledPage, Store};
use tokio::sync::oneshot;

use super::ScheduleError;
use super::builder::{ScheduleBuilder, change, read};
use crate::bus::{Bus, BusCore};
use crate::log::Log;

/// What became of an event that was to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unscheduled {
    /// It waited, and is never published.
    TakenBack {
        /// When it would have been due.
        due: Timestamp,
    },
    /// It did not wait: it was published before, was taken back before, or never was there. [`Bus::lookup`] tells whether it
    /// was published.
    NotWaiting,
}

/// A schedule in the store of a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleStatus {
    /// Its name.
    pub name: String,
    /// When it ticks, for people to read: `cron 30 3 * * 1-5 in UTC`, `every 60s`.
    pub rule: String,
    /// When its next tick is due.
    pub next: Timestamp,
    /// Whether it ticks.
    pub state: ScheduleState,
}

/// Whether a schedule ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleState {
    /// This program has declared it.
    Declared,
    /// It lies there from an earlier run: nothing of it is published until it is declared again.
    Resting,
}

impl Bus {
    /// Starts declaring a schedule: an event that is published again and again, by a cron expression or at an interval. It begins with
    /// [`publish`](ScheduleBuilder::publish). Names have 1 to 255 bytes. See [`schedule`](crate::schedule) for what is promised.
    ///
    /// ```
    /// # use busway_engine::{Bus, Stream, schedule::Missed};
    /// # use busway_event::{Event, Raw};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let bus = Bus::open(dir.path()).stream(Stream::new("reports").capture("reports.#")).start().await?;
    /// let nightly = bus
    ///     .schedule("nightly")
    ///     .cron("30 3 * * 1-5")
    ///     .missed(Missed::Once)
    ///     .publish(Event::new("reports.wanted", Raw::from("{}")))
    ///     .await?;
    /// println!("{:?}", nightly.next());
    /// # Ok(())
    /// # }
    /// ```
    pub fn schedule(&self, name: impl Into<String>) -> ScheduleBuilder {
        ScheduleBuilder::new(Arc::clone(self.core()), name.into())
    }

    /// The first `limit` events that wait to be published, in the order in which they are due; and what of them is damaged.
    ///
    /// # Errors
    /// [`ScheduleError`].
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn scheduled(&self, limit: usize) -> Result<ScheduledPage, ScheduleError> {
        let log = log_of(self.core())?;
        let page = log.lend(&self.core().services, move |store| store.scheduled(limit)).await;
        Ok(page.ok_or(ScheduleError::Closed)??)
    }

    /// When the event with this id is published; `None` when it does not wait, or no longer.
    ///
    /// # Errors
    /// [`ScheduleError`].
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn scheduled_for(&self, id: EventId) -> Result<Option<Timestamp>, ScheduleError> {
        let log = log_of(self.core())?;
        let due = log.lend(&self.core().services, move |store| store.due(id)).await;
        Ok(due.ok_or(ScheduleError::Closed)??)
    }

    /// Takes an event back that waits to be published. Returns when that is stored: the event is taken back or published, never
    /// both.
    ///
    /// # Errors
    /// [`ScheduleError`].
    ///
    /// # Cancel safety
    /// Dropped before it ends, the event may be taken back or not; calling it again says which.
    pub async fn unschedule(&self, id: EventId) -> Result<Unscheduled, ScheduleError> {
        let log = log_of(self.core())?;
        let unschedule = move |store: &Store, answer: oneshot::Sender<_>| {
            store.unschedule(id, Box::new(move |result| _ = answer.send(result)));
        };
        let was_due = log.ask(&self.core().services, unschedule).await.ok_or(ScheduleError::Closed)??;
        self.core().services.idle.touch();
        Ok(was_due.map_or(Unscheduled::NotWaiting, |due| Unscheduled::TakenBack { due }))
    }

    /// The first `limit` schedules of the store, by their names: those that this program has declared, and those that rest.
    ///
    /// # Errors
    /// [`ScheduleError`].
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn schedules(&self, limit: usize) -> Result<Vec<ScheduleStatus>, ScheduleError> {
        let log = log_of(self.core())?;
        let list = move |store: &Store| -> Result<Vec<(String, Recurring)>, ReadError> {
            let named = |name: String| Ok(store.recurring(&name)?.map(|found| (name, found)));
            store.recurring_names(limit)?.into_iter().filter_map(|name| named(name).transpose()).collect()
        };
        let found = log.lend(&self.core().services, list).await.ok_or(ScheduleError::Closed)??;
        let status = |(name, Recurring { rule, next, .. }): (String, Recurring)| {
            let state = match log.schedule.declared(&name) {
                Some(_) => ScheduleState::Declared,
                None => ScheduleState::Resting,
            };
            ScheduleStatus { name, rule, next, state }
        };
        Ok(found.into_iter().map(status).collect())
    }

    /// Removes a schedule, declared or resting; `false` when there is none of this name. Returns when that is stored.
    ///
    /// # Errors
    /// [`ScheduleError`].
    ///
    /// # Cancel safety
    /// Dropped before it ends, the schedule may rest in the store.
    pub async fn remove_schedule(&self, name: &str) -> Result<bool, ScheduleError> {
        remove(self.core(), name).await
    }
}

fn log_of(core: &BusCore) -> Result<Arc<Log>, ScheduleError> {
    core.log.clone().ok_or(ScheduleError::NoStore)
}

/// Removes a schedule from the bus, then from the store.
pub(super) async fn remove(core: &Arc<BusCore>, name: &str) -> Result<bool, ScheduleError> {
    let log = log_of(core)?;
    log.schedule.forget(name);
    core.services.idle.touch();
    // A tick that is under way may change it in between.
    loop {
        let Some(known) = read(core, &log, name).await? else { return Ok(false) };
        match change(core, &log, name, Some(known), None).await {
            Ok(()) => return Ok(true),
            Err(ScheduleError::Store(RequestError::ScheduleMoved { .. })) => {}
            Err(error) => return Err(error),
        }
    }
}
