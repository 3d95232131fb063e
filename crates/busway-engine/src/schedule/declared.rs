//! A schedule that the program has declared: what its ticks publish, and the act of ticking.
//!
//! A tick is one transaction of the store: its event, and when the next one is due. The store does it only if the schedule is still what
//! this program knows, so that a tick that was replaced, removed or done meanwhile is none. The event's id is made of the
//! schedule's name and the due time: a tick that comes again because a clock was set back is found by it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use busway_event::{AnyDraft, EventId, Timestamp};
use busway_persistence::{Entry, Recurring, Refusal, RequestError, Store};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Missed;
use super::rule::Rule;
use super::timer::AGAIN_AFTER;
use crate::bus::{BusCore, Refused, Source};
use crate::log::{Log, Unstored};

/// See the module.
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) rule: Rule,
    pub(super) missed: Missed,
    pub(super) make: Make,
    /// The process was down when the next tick came due.
    pub(super) was_down: AtomicBool,
    pub(super) stands: Mutex<Stands>,
}

/// Makes what a tick publishes: given when it was due, and the event's id.
pub(super) type Make = Box<dyn Fn(Timestamp, EventId) -> AnyDraft + Send + Sync>;

/// Where a schedule stands.
pub(super) struct Stands {
    /// As it is stored. `None`: it is no longer this one that is.
    pub(super) stored: Option<Recurring>,
    /// The store refused the tick: not before this.
    pub(super) again: Option<Timestamp>,
}

impl Declared {
    /// When the timer has to look at it.
    pub(super) fn wakes_at(&self) -> Option<Timestamp> {
        let stands = self.stands.lock();
        Some(stands.stored.as_ref()?.next.max(stands.again.unwrap_or_default()))
    }

    /// When it ticks next; `None` when it was replaced or removed.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.stands.lock().stored.as_ref().map(|stored| stored.next)
    }

    /// Publishes what is due, and stores when the next tick is.
    pub(super) async fn tick(declared: &Arc<Self>, bus: &Arc<BusCore>, log: &Arc<Log>, now: Timestamp) {
        let Some(stored) = declared.stands.lock().stored.clone().filter(|stored| stored.next <= now) else {
            return;
        };
        let was_down = declared.was_down.swap(false, Ordering::Relaxed);
        let next = declared.rule.after(stored.next, now);
        let new = next.map(|next| Recurring { next, changed: now, ..stored.clone() });
        let mut dues = declared.dues(stored.next, now, was_down);
        let result = loop {
            let Some(entries) = declared.entries(bus, log, &dues) else {
                declared.was_down.store(was_down, Ordering::Relaxed);
                return declared.again(now);
            };
            let result = declared.change(bus, log, &stored, new.as_ref(), entries).await;
            let Some(Err(RequestError::Refused(
                refusal @ (Refusal::Conflict { id, .. } | Refusal::ConflictScheduled { id, .. }),
            ))) = &result
            else {
                break result;
            };
            // That one alone, and one fewer each time: the others were not published.
            tracing::warn!(schedule = declared.name, %refusal, "a tick was published before; it is over");
            let before = dues.len();
            dues.retain(|due| declared.id_of(*due) != *id);
            if dues.len() == before {
                dues.clear();
            }
        };
        match result {
            Some(Ok(published)) => {
                log.published_later(published);
                *declared.stands.lock() = Stands { stored: new, again: None };
            }
            // Replaced, or removed: whoever did that knows more.
            Some(Err(RequestError::ScheduleMoved { .. })) => {
                *declared.stands.lock() = Stands { stored: None, again: None };
            }
            Some(Err(error)) => {
                if declared.stands.lock().again.is_none() {
                    tracing::error!(schedule = declared.name, %error, "a tick cannot be stored; it is tried again each second");
                }
                declared.was_down.store(was_down, Ordering::Relaxed);
                declared.again(now);
            }
            None => declared.again(now),
        }
    }

    /// The ticks that are published of those that are due.
    fn dues(&self, first: Timestamp, now: Timestamp, was_down: bool) -> Vec<Timestamp> {
        match self.missed {
            Missed::Skip if was_down => Vec::new(),
            Missed::Once | Missed::Skip => self.rule.last(first, now, 1),
            Missed::All(max) => self.rule.last(first, now, usize::from(max.clamp(1, MISSED_MAX))),
        }
    }

    /// What these ticks publish, ready to be stored; `None` when the bus is closed.
    fn entries(&self, bus: &Arc<BusCore>, log: &Log, dues: &[Timestamp]) -> Option<Vec<Entry>> {
        let mut entries = Vec::new();
        for &due in dues {
            match self.entry(bus, log, due) {
                Ok(entry) => entries.extend(entry),
                Err(Refused::Closed) => return None,
                Err(reason) => {
                    tracing::error!(schedule = self.name, %due, %reason, "a tick publishes nothing");
                }
            }
        }
        Some(entries)
    }

    /// The id of the event of a tick.
    fn id_of(&self, due: Timestamp) -> EventId {
        EventId::foreign(&format!("busway/schedule/{}", self.name), &due.to_string())
    }

    /// What a tick publishes, ready to be stored; `None` when it panicked.
    fn entry(&self, bus: &Arc<BusCore>, log: &Log, due: Timestamp) -> Result<Option<Entry>, Refused> {
        let id = self.id_of(due);
        let make = || {
            let draft = (self.make)(due, id);
            let wish = draft.head().due();
            let event = bus.accept_any(draft, Source::Outside)?;
            let utc = bus.services.clock.utc();
            let entry =
                log.entry(event, true, utc, bus.payload_bytes_max).map_err(|(_, reason)| match reason {
                    Unstored::Closed => Refused::Closed,
                    Unstored::Entry(error) => error.into(),
                })?;
            Ok(Some(bus.waiting(log, entry, wish)))
        };
        // Code of the user's: the timer goes on whatever it does.
        catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|_| {
            tracing::error!(
                schedule = self.name,
                "what a tick publishes panicked while it was made; it publishes nothing"
            );
            Ok(None)
        })
    }

    /// Changes what is stored, if it is what is expected; says how many events were stored with it.
    async fn change(
        &self,
        bus: &BusCore,
        log: &Arc<Log>,
        expected: &Recurring,
        new: Option<&Recurring>,
        entries: Vec<Entry>,
    ) -> Option<Result<usize, RequestError>> {
        let (name, expected, new) = (self.name.clone(), Some(expected.clone()), new.cloned());
        let schedule = Arc::clone(&log.schedule);
        let ask = move |store: &Store, answer: oneshot::Sender<_>| {
            let done = move |result: Result<Vec<Entry>, _>| {
                let published = |entries: Vec<Entry>| {
                    // An event may be delayed behind its tick.
                    schedule.waits(entries.iter().filter_map(Entry::due));
                    entries.iter().filter(|entry| entry.due().is_none()).count()
                };
                _ = answer.send(result.map(published));
            };
            store.recur(&name, expected, new, entries, Box::new(done));
        };
        log.ask(&bus.services, ask).await
    }

    fn again(&self, now: Timestamp) {
        self.stands.lock().again = Some(now.saturating_add(AGAIN_AFTER));
    }
}

/// Ticks that are published at once: more would be a commit that holds up publishers.
pub(super) const MISSED_MAX: u16 = 1_000;
