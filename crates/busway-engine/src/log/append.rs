//! Appending: events on their way to the disk.
//!
//! An append holds a permit from when it is handed to the store's writer until it is answered, also when nobody waits for the
//! answer any more. There are half as many permits as the writer holds requests, so that settlements always find room.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use busway_event::{EventId, Timestamp};
use busway_persistence::{
    AppendError, Appended, Busy, Entry, Fault, OnAppended, Position, REQUESTS_MAX, Refusal, Store,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Log;
use crate::bus::{Refused, Services, UnknownCause};

/// What became of an entry that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It lies in the log.
    At(Position),
    /// It waits to be published.
    Due(Timestamp),
}

impl Placed {
    pub(super) fn of(entry: &Entry) -> Self {
        entry.due().map_or_else(|| Self::At(entry.place()), Self::Due)
    }

    pub(crate) const fn position(self) -> Option<Position> {
        match self {
            Self::At(position) => Some(position),
            Self::Due(_) => None,
        }
    }

    pub(crate) const fn due(self) -> Option<Timestamp> {
        match self {
            Self::At(_) => None,
            Self::Due(due) => Some(due),
        }
    }
}

/// Entries came to nothing, or nobody can say what they came to.
pub(crate) enum NotAppended {
    /// Nothing was stored, nothing will be.
    Refused(Vec<Entry>, Refused),
    /// They may be there or not.
    Unknown(Vec<EventId>, UnknownCause),
}

impl Log {
    /// Stores entries together, and says where each lies when all are synced. Handed over when first polled if the store has
    /// room.
    ///
    /// # Cancel safety
    /// What was handed over is stored, whether somebody waits for it or not; before that, dropping the future gives it up.
    pub(crate) async fn append(
        &self,
        services: &Arc<Services>,
        entries: Vec<Entry>,
    ) -> Result<Vec<Placed>, NotAppended> {
        let until = services.clock.now() + self.patience;
        let Some(permit) = self.permit(services, until).await else {
            let waited = self.patience;
            return Err(NotAppended::Refused(entries, Refused::Busy { waited }));
        };
        let ids: Vec<EventId> = entries.iter().map(|entry| entry.event().id()).collect();
        let (answer, answered) = oneshot::channel();
        let done = self.on_appended(services, permit, answer);
        self.hand_over(entries, done)?;
        let decided = async {
            tokio::select! {
                biased;
                answer = answered => match answer {
                    Ok(Ok(appended)) => Ok(appended.entries().iter().map(Placed::of).collect()),
                    Ok(Err(error)) => Err(not_appended(ids, error)),
                    Err(_) => Err(NotAppended::Unknown(ids, UnknownCause::WriterEnded)),
                },
                () = services.clock.sleep_until(until) => {
                    Err(NotAppended::Unknown(ids, UnknownCause::TimedOut { waited: self.patience }))
                }
            }
        };
        // A task that holds thousands of publishes is woken for thousands of answers at once. Tokio's budget of 128 a turn would have it ask all the
        // others in vain for each 128 that it gets. It need not be held back: each next publish waits for a commit.
        tokio::task::unconstrained(decided).await
    }

    /// Appends that have not been answered.
    pub(crate) fn appending(&self) -> usize {
        APPENDS_MAX.saturating_sub(self.permits.available_permits())
    }

    pub(super) async fn permit(&self, services: &Services, until: Instant) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        tokio::select! {
            biased;
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok(),
            () = services.clock.sleep_until(until) => None,
        }
    }

    /// What the writer calls when the append is decided: counts it, and tells who waits.
    fn on_appended(
        &self,
        services: &Arc<Services>,
        permit: OwnedSemaphorePermit,
        answer: oneshot::Sender<Result<Appended, AppendError>>,
    ) -> OnAppended {
        let (counts, services) = (Arc::clone(&self.counts), Arc::clone(services));
        let schedule = Arc::clone(&self.schedule);
        Box::new(move |result| {
            if let Ok(appended) = &result {
                let due = || appended.entries().iter().filter_map(Entry::due);
                // What waits is published when it is due.
                let events = appended.entries().len() - due().count();
                counts.published.fetch_add(u64::try_from(events).unwrap_or(u64::MAX), Ordering::Relaxed);
                schedule.waits(due());
            }
            // First: whoever was answered must not find it on its way. Readers of the log see it already.
            drop(permit);
            // Nobody may wait any more: it is stored all the same.
            _ = answer.send(result);
            services.idle.touch();
        })
    }

    pub(super) fn hand_over(&self, entries: Vec<Entry>, done: OnAppended) -> Result<(), NotAppended> {
        let store = self.store.read_recursive();
        let Some(store) = &*store else {
            return Err(NotAppended::Refused(entries, Refused::Closed));
        };
        // Permits leave room in the writer's channel; when it is full all the same the store is not to be waited for.
        store
            .append_batch(entries, done)
            .map_err(|Busy((entries, _))| NotAppended::Refused(entries, busy_or_faulted(store)))
    }
}

fn busy_or_faulted(store: &Store) -> Refused {
    match store.fault() {
        Some(_) => Refused::Store(Refusal::Faulted),
        None => Refused::Busy { waited: Duration::ZERO },
    }
}

fn not_appended(ids: Vec<EventId>, error: AppendError) -> NotAppended {
    match error {
        AppendError::Refused { entries, reason } => NotAppended::Refused(entries, Refused::Store(reason)),
        AppendError::Unknown { ids, fault } => NotAppended::Unknown(ids, UnknownCause::Storage(fault)),
        error => {
            let fault = Fault { doing: "appending", reason: error.to_string() };
            NotAppended::Unknown(ids, UnknownCause::Storage(fault))
        }
    }
}

impl fmt::Debug for NotAppended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_, reason) => f.debug_tuple("Refused").field(reason).finish(),
            Self::Unknown(ids, cause) => f.debug_tuple("Unknown").field(ids).field(cause).finish(),
        }
    }
}

/// Appends on their way at once.
pub(super) const APPENDS_MAX: usize = REQUESTS_MAX / 2;

#[cfg(test)]
mod tests {
    use busway_event::{Event, EventId, Metadata, Raw, Stamp, Timestamp};
    use busway_persistence::Stream;

    use super::*;
    use crate::clock::SystemClock;
    use crate::idle::IdleWatch;
    use crate::log::StorePlan;

    #[tokio::test]
    async fn without_room_a_publish_waits_to_its_deadline_and_gets_its_event_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut plan = StorePlan::new(dir.path().to_owned());
        plan.streams.push(Stream::new("orders").capture("orders.#"));
        plan.patience = Duration::ZERO;
        let log = plan.open().unwrap();
        let services = Arc::new(Services {
            clock: Arc::new(SystemClock),
            idle: IdleWatch::default(),
            middleware: busway_middleware::Registry::new(),
            observer: None,
            runtime: tokio::runtime::Handle::current(),
        });
        let metadata = Metadata::draft("test", 1).build().unwrap();
        let (id, now) = (EventId::foreign("test", "1"), Timestamp::from_nanos(1));
        let draft = Event::new("orders.created", Raw::from("{}"));
        let event = draft.finish(&Stamp::new(id, now, &metadata)).unwrap();
        let entry = || log.entry(event.clone().into(), false, now, 1_024).unwrap();

        let all = u32::try_from(APPENDS_MAX).unwrap();
        let taken = Arc::clone(&log.permits).try_acquire_many_owned(all).unwrap();
        assert_eq!(log.appending(), APPENDS_MAX);
        let refused = log.append(&services, vec![entry()]).await.unwrap_err();
        let NotAppended::Refused(entries, Refused::Busy { waited }) = refused else { panic!("{refused:?}") };
        assert_eq!((entries[0].event().id(), waited), (id, Duration::ZERO));
        drop(taken);
        // The writer is held up: nothing is committed meanwhile.
        let (lets_go, held) = std::sync::mpsc::channel::<()>();
        log.with(|store| store.flush(Box::new(move |_| _ = held.recv()))).unwrap();
        // Now there is room, and no time to wait for the disk.
        let unknown = log.append(&services, vec![entry()]).await.unwrap_err();
        let NotAppended::Unknown(ids, UnknownCause::TimedOut { .. }) = unknown else { panic!("{unknown:?}") };
        assert_eq!(ids, [id]);
        assert_eq!((log.appending(), log.published().0), (1, 0));
        drop(lets_go);
        log.close();
        assert_eq!((log.appending(), log.published().0), (0, 1), "it was stored all the same");
        let refused = log.append(&services, entries).await.unwrap_err();
        assert!(matches!(refused, NotAppended::Refused(_, Refused::Closed)));
    }
}
