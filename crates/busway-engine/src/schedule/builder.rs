//! Declaring schedules.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use busway_event::{Draft, EventId, EventType, Timestamp};
use busway_persistence::{Recurring, RequestError, Store};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::ScheduleError;
use super::declared::{Declared, Make, Stands};
use super::rule::Rule;
use super::verbs::remove;
use crate::bus::BusCore;
use crate::log::Log;

/// What becomes of ticks that came due while the process was down.
///
/// While it runs, ticks that come due together (the machine was suspended) are treated alike, but [`Skip`](Missed::Skip)
/// publishes the last of them: the program was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// The last one is published when the schedule is declared again.
    #[default]
    Once,
    /// Each is published, in their order; of more than this the last ones. 1 to 1,000.
    All(u16),
    /// None is.
    Skip,
}

/// A schedule that is not declared yet. It begins with [`publish`](ScheduleBuilder::publish).
pub struct ScheduleBuilder {
    core: Arc<BusCore>,
    name: String,
    when: Option<When>,
    zone: String,
    missed: Missed,
}

enum When {
    Cron(String),
    Every(Duration),
}

impl ScheduleBuilder {
    pub(crate) fn new(core: Arc<BusCore>, name: String) -> Self {
        Self { core, name, when: None, zone: "UTC".to_owned(), missed: Missed::default() }
    }

    /// Ticks at the times of a cron expression: `minute hour day-of-month month day-of-week`, as in `30 3 * * 1-5`; or `@hourly`,
    /// `@daily`, `@weekly`, `@monthly`, `@yearly`. Of this and [`every`](Self::every) the last one called holds.
    pub fn cron(mut self, expression: impl Into<String>) -> Self {
        self.when = Some(When::Cron(expression.into()));
        self
    }

    /// Ticks at an interval, from 10 ms to ten years, counted from when the schedule was first declared.
    pub fn every(mut self, interval: Duration) -> Self {
        self.when = Some(When::Every(interval));
        self
    }

    /// The time zone of the cron expression, by a name of the IANA database that this machine has. Default `UTC`. A local time that a clock
    /// change leaves out happens as much later as the change is long; one that it repeats happens the first time only.
    pub fn time_zone(mut self, name: impl Into<String>) -> Self {
        self.zone = name.into();
        self
    }

    /// What becomes of ticks that came due while the process was down. Default [`Missed::Once`].
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// Declares the schedule: publishes this event at each tick, from now on. A schedule that is stored under this name with the same rule
    /// goes on where it stood; one with another rule is replaced, and the new one begins now. Returns when it is stored.
    ///
    /// Each tick is published once, also when the process ends at any instant. Its event has an id that is made of the
    /// schedule's name and the due time. An event that is refused for good (by publish middleware, say) is logged, and its tick is over.
    ///
    /// # Errors
    /// [`ScheduleError`]. Nothing is changed then.
    ///
    /// # Cancel safety
    /// Dropped before it ends, the schedule may be stored without being declared: it rests, see [the module](crate::schedule).
    pub async fn publish<T: EventType + Clone>(self, event: Draft<T>) -> Result<Schedule, ScheduleError> {
        self.publish_with(move |_| event.clone()).await
    }

    /// As [`publish`](Self::publish), with an event that is made for each tick, of the time when it was due. `make` is also called once
    /// now, to look at the topic.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn publish_with<T: EventType>(
        self,
        make: impl Fn(Timestamp) -> Draft<T> + Send + Sync + 'static,
    ) -> Result<Schedule, ScheduleError> {
        let log = Arc::clone(self.core.log.as_ref().ok_or(ScheduleError::NoStore)?);
        let rule = match self.when {
            None => return Err(ScheduleError::NoRule { name: self.name }),
            Some(When::Cron(expression)) => Rule::cron(&expression, &self.zone)?,
            Some(When::Every(interval)) => Rule::every(interval)?,
        };
        let now = log.schedule.time(&*self.core.services.clock);
        let sample = make(now);
        let topic = sample.head().topic().map_err(Clone::clone)?;
        if !log.captures(topic) {
            return Err(ScheduleError::NotCaptured { topic: topic.to_string() });
        }
        let make: Make = Box::new(move |due, id: EventId| make(due).id(id).into());
        // Declared again while it runs, nothing of it was missed.
        let is_running = log.schedule.declared(&self.name).is_some();
        let (stored, is_due) = store(&self.core, &log, &self.name, &rule, now).await?;
        let was_down = is_due && !is_running;
        let declared = Arc::new(Declared {
            name: self.name,
            rule,
            missed: self.missed,
            make,
            was_down: AtomicBool::new(was_down),
            stands: Mutex::new(Stands { stored: Some(stored), again: None }),
        });
        log.schedule.declare(Arc::clone(&declared));
        Ok(Schedule { core: Arc::downgrade(&self.core), declared })
    }
}

/// Finds the schedule in the store, or makes it what its rule says; and whether a tick of it is due.
async fn store(
    core: &BusCore,
    log: &Arc<Log>,
    name: &str,
    rule: &Rule,
    now: Timestamp,
) -> Result<(Recurring, bool), ScheduleError> {
    let text = rule.to_string();
    let never = || ScheduleError::Never { expression: text.clone() };
    // Somebody else may change it in between: then it is looked at again.
    loop {
        let known = read(core, log, name).await?;
        if let Some(known) = known.as_ref().filter(|known| known.rule == text) {
            // A clock far ahead has written it: it would rest until then.
            let is_ahead = known.changed > now.saturating_add(CLOCKS_APART);
            if !is_ahead {
                return Ok((known.clone(), known.next <= now));
            }
        }
        // Of an interval, now is as good as a tick: the first one is an interval away.
        let next = rule.after(now, now).ok_or_else(never)?;
        let new = Recurring { rule: text.clone(), next, changed: now };
        match change(core, log, name, known, Some(new.clone())).await {
            Ok(()) => return Ok((new, false)),
            Err(ScheduleError::Store(RequestError::ScheduleMoved { .. })) => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) async fn read(
    core: &BusCore,
    log: &Arc<Log>,
    name: &str,
) -> Result<Option<Recurring>, ScheduleError> {
    let name = name.to_owned();
    let stored = log.lend(&core.services, move |store| store.recurring(&name)).await;
    Ok(stored.ok_or(ScheduleError::Closed)??)
}

pub(super) async fn change(
    core: &BusCore,
    log: &Arc<Log>,
    name: &str,
    expected: Option<Recurring>,
    new: Option<Recurring>,
) -> Result<(), ScheduleError> {
    let name = name.to_owned();
    let change = move |store: &Store, answer: oneshot::Sender<Result<(), RequestError>>| {
        let done = move |result: Result<Vec<_>, _>| _ = answer.send(result.map(drop));
        store.recur(&name, expected, new, Vec::new(), Box::new(done));
    };
    Ok(log.ask(&core.services, change).await.ok_or(ScheduleError::Closed)??)
}

impl fmt::Debug for ScheduleBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScheduleBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A schedule that was declared. Dropping it changes nothing; it keeps neither its bus nor anything else alive.
pub struct Schedule {
    core: std::sync::Weak<BusCore>,
    declared: Arc<Declared>,
}

impl Schedule {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.declared.name
    }

    /// When it ticks next; `None` when it was removed, or replaced by another of its name.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        let bus = self.core.upgrade()?;
        let current = bus.log.as_ref()?.schedule.declared(self.name())?;
        self.declared.next().filter(|_| Arc::ptr_eq(&current, &self.declared))
    }

    /// Removes it from the bus and from the store; `false` when it was removed or replaced before. Returns when that is stored: a tick
    /// that was published before stays, none comes behind.
    ///
    /// # Errors
    /// [`ScheduleError`].
    ///
    /// # Cancel safety
    /// Dropped before it ends, the schedule may rest in the store.
    pub async fn remove(self) -> Result<bool, ScheduleError> {
        let bus = self.core.upgrade().ok_or(ScheduleError::Closed)?;
        match self.next() {
            Some(_) => remove(&bus, self.name()).await,
            None => Ok(false),
        }
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("name", &self.name())
            .field("rule", &self.declared.rule)
            .finish_non_exhaustive()
    }
}

/// A correction of a clock within this is what clocks do.
const CLOCKS_APART: Duration = Duration::from_secs(3_600);
