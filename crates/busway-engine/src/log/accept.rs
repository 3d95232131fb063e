//! Accepting: events that nobody waits for until they are stored.
//!
//! They go to the store's writer under the same permits as all others, in the same order, and are stored with its next commit. Who published
//! them has a receipt that says that they are in memory.
//!
//! # What is refused afterwards
//! The disk may be full when it comes to that commit, the partition at its cap, an id be that of another event. Such an event is lost: it is
//! counted, and warned of at the first and whenever their number has doubled. Where a partition had no room, events are not accepted for it
//! any more but appended, so that their publishers are told; until one is stored there again, see [`refusing`](super::refusing).
//!
//! # A crash
//! Before the commit they are gone, as the receipt said they might be; behind it they are there like all others.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use busway_event::{Durability, Topic};
use busway_persistence::{AppendError, Entry, Refusal};
use tokio::sync::OwnedSemaphorePermit;

use super::append::{Passing, Told};
use super::{Answer, Log, NotAppended};
use crate::bus::{Refused, Services};

/// Entries were not accepted.
pub(crate) struct NotAccepted {
    pub(crate) entries: Vec<Entry>,
    pub(crate) reason: Refused,
}

impl Log {
    /// What a publish to a topic is to survive: what the draft says, else its stream, else the bus. Never less than that is served.
    pub(crate) fn durability(&self, topic: &Topic, asked: Option<Durability>) -> Durability {
        let said = || match self.is_any_unsynced {
            // Nobody need be asked, most of the time.
            false => Durability::Synced,
            true => {
                self.captured(topic).map_or(self.durability, |stream| self.durability_of(&stream.declared))
            }
        };
        let durability = asked.unwrap_or_else(said);
        match durability {
            Durability::Memory => Durability::Memory,
            // There is nothing in between.
            _ => Durability::Synced,
        }
    }

    /// Hands entries over, if there is room for them now.
    pub(crate) fn try_accept(
        &self,
        services: &Arc<Services>,
        entries: Vec<Entry>,
    ) -> Result<(), NotAccepted> {
        match Arc::clone(&self.passing.permits).try_acquire_owned() {
            Ok(permit) => self.accept_with(services, permit, entries),
            Err(_) => Err(NotAccepted { entries, reason: Refused::Busy { waited: Duration::ZERO } }),
        }
    }

    /// Hands entries over as soon as there is room for them.
    ///
    /// # Cancel safety
    /// What was handed over is stored if it can be; before that, dropping the future gives it up.
    pub(crate) async fn accept(
        &self,
        services: &Arc<Services>,
        entries: Vec<Entry>,
    ) -> Result<(), NotAppended> {
        let Some(permit) = self.permit(services, services.clock.now() + self.patience).await else {
            return Err(NotAppended::Refused(entries, Refused::Busy { waited: self.patience }));
        };
        self.accept_with(services, permit, entries)
            .map_err(|NotAccepted { entries, reason }| NotAppended::Refused(entries, reason))
    }

    fn accept_with(
        &self,
        services: &Arc<Services>,
        permit: OwnedSemaphorePermit,
        entries: Vec<Entry>,
    ) -> Result<(), NotAccepted> {
        // What can be known now is said now.
        if self.with(|store| store.fault().is_some()) == Some(true) {
            return Err(NotAccepted { entries, reason: Refused::Store(Refusal::Faulted) });
        }
        permit.forget();
        let events = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        let given = self.give(services, entries, Told::Nobody { events });
        given.map_err(|(entries, reason)| NotAccepted { entries, reason })
    }

    /// Whether events for this partition are not accepted, because it had no room for those before.
    pub(crate) fn refuses(&self, services: &Services, partition: u32) -> bool {
        self.passing.refusing.refuses(partition, || services.clock.now())
    }

    /// Events that were accepted and could not be stored.
    pub(crate) fn unstored(&self) -> u64 {
        self.passing.counts.unstored.load(Ordering::Relaxed)
    }
}

impl Passing {
    /// Events that were accepted came to this. Of a refusal those count that it holds: what went back to its publisher is not among them.
    pub(super) fn note_unstored(&self, events: u64, answer: &Answer) {
        let error = match answer {
            Answer::Decided(Ok(_)) => return,
            Answer::Decided(Err(error)) => Some(&**error),
            Answer::TimedOut { .. } | Answer::Abandoned => None,
        };
        if let Some(AppendError::Refused { entries, reason }) = error
            && !is_of_the_event(reason)
        {
            self.refusing.refused(entries.iter().map(Entry::partition));
        }
        let events = match error {
            Some(AppendError::Refused { entries, .. }) => u64::try_from(entries.len()).unwrap_or(u64::MAX),
            _ => events,
        };
        if events == 0 {
            return;
        }
        let before = self.counts.unstored.fetch_add(events, Ordering::Relaxed);
        warn_of_unstored(before, before.saturating_add(events), error);
    }
}

/// Whether the store refuses this event, and would take another one.
const fn is_of_the_event(reason: &Refusal) -> bool {
    matches!(
        reason,
        Refusal::Conflict { .. } | Refusal::ConflictScheduled { .. } | Refusal::TwiceInBatch { .. }
    )
}

/// Not for each of a million: when their number passes a power of two.
fn warn_of_unstored(before: u64, unstored: u64, error: Option<&AppendError>) {
    if passes_a_power_of_two(before, unstored) {
        let reason = error.and_then(std::error::Error::source).map(ToString::to_string);
        tracing::warn!(
            unstored,
            reason,
            "events were accepted in memory and could not be stored: they are lost; publish with Durability::Synced to have them refused"
        );
    }
}

const fn passes_a_power_of_two(before: u64, now: u64) -> bool {
    before.checked_ilog2().is_none() || now.ilog2() > before.ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_of_at_the_first_and_when_they_have_doubled() {
        let told = (0..40_u64).filter(|&before| passes_a_power_of_two(before, before + 1));
        assert_eq!(told.collect::<Vec<_>>(), [0, 1, 3, 7, 15, 31]);
        assert!(passes_a_power_of_two(5, 60) && !passes_a_power_of_two(33, 60));
    }
}
