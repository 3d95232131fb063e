//! Appending: events on their way to the disk.
//!
//! An append holds a permit from when it is handed to the store's writer until it is answered, also when nobody waits for the
//! answer any more. There are half as many permits as the writer holds requests, so that settlements always find room.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use busway_event::Timestamp;
use busway_persistence::{
    AppendError, Appended, Busy, Entry, Fault, OnAppended, Position, REQUESTS_MAX, Refusal, Store,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pending::{Answer, Answered, Pending};
use super::refusing::Refusing;
use super::{Counts, Log, singles};

use crate::bus::{Refused, Services, UnknownCause};
use crate::schedule::Scheduler;

/// What became of an entry that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It lies in the log.
    At(Position),
    /// It waits to be published.
    Due(Timestamp),
}

impl Placed {
    pub(crate) fn of(entry: &Entry) -> Self {
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
    Unknown(UnknownCause),
}

/// An entry that was not handed over at once.
pub(crate) enum Unappended {
    /// As many as there may be are under way: it has to wait.
    NoPermit(Entry),
    /// It is not to be stored.
    Refused(Entry, Refused),
}

impl Log {
    /// Hands an entry over if that can be done without waiting. What becomes of it is said when it is synced, or at the deadline.
    pub(crate) fn append_now(
        &self,
        services: &Arc<Services>,
        entry: Entry,
    ) -> Result<Answered, Box<Unappended>> {
        let Ok(permit) = self.passing.permits.try_acquire() else {
            return Err(Box::new(Unappended::NoPermit(entry)));
        };
        let until = services.clock.now() + self.patience;
        permit.forget();
        self.hand_over(services, singles::of(entry), until).map_err(|(mut entries, reason)| {
            match entries.pop() {
                Some(entry) => Box::new(Unappended::Refused(entry, reason)),
                None => unreachable!("what is refused is given back"),
            }
        })
    }

    /// Stores entries together, and gives them back when all are synced. Handed over when first polled if the store has room.
    ///
    /// # Cancel safety
    /// What was handed over is stored, whether somebody waits for it or not; before that, dropping the future gives it up.
    pub(crate) async fn append(
        &self,
        services: &Arc<Services>,
        entries: Vec<Entry>,
    ) -> Result<Appended, NotAppended> {
        let until = services.clock.now() + self.patience;
        let Some(permit) = self.permit(services, until).await else {
            let waited = self.patience;
            return Err(NotAppended::Refused(entries, Refused::Busy { waited }));
        };
        permit.forget();
        let handed_over = self.hand_over(services, entries, until);
        let answered = handed_over.map_err(|(entries, reason)| NotAppended::Refused(entries, reason))?;
        answered.await.told()
    }

    /// Appends that have not been answered.
    pub(crate) fn appending(&self) -> usize {
        APPENDS_MAX.saturating_sub(self.passing.permits.available_permits())
    }

    /// Answers appends whose time is over, until the log is closed.
    pub(crate) fn watch_deadlines(&self, services: &Services) -> impl Future<Output = ()> + Send + use<> {
        Arc::clone(&self.deadlines).watch(Arc::clone(&services.clock))
    }

    pub(super) async fn permit(&self, services: &Services, until: Instant) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.passing.permits).try_acquire_owned() {
            return Some(permit);
        }
        tokio::select! {
            biased;
            permit = Arc::clone(&self.passing.permits).acquire_owned() => permit.ok(),
            () = services.clock.sleep_until(until) => None,
        }
    }

    /// Hands entries to the writer, under a permit that goes with them.
    fn hand_over(
        &self,
        services: &Arc<Services>,
        entries: Vec<Entry>,
        until: Instant,
    ) -> Result<Answered, (Vec<Entry>, Refused)> {
        let pending = Pending::new();
        self.give(services, entries, Told::Publisher(Arc::clone(&pending)))?;
        self.deadlines.enter(until, &pending);
        Ok(Answered(pending))
    }

    /// Gives entries to the writer, under a permit that goes with them; they come back when it takes none.
    pub(super) fn give(
        &self,
        services: &Arc<Services>,
        entries: Vec<Entry>,
        told: Told,
    ) -> Result<(), (Vec<Entry>, Refused)> {
        let account = Account { passing: Arc::clone(&self.passing), services: Arc::clone(services) };
        let mut under_way = UnderWay(Some(Held { account, told }));
        let done: OnAppended = Box::new(move |result| under_way.decided(result));
        let store = self.store.read_recursive();
        let Some(store) = &*store else {
            not_taken(done);
            return Err((entries, Refused::Closed));
        };
        // Permits leave room in the writer's channel; when it is full all the same the store is not to be waited for.
        store.append_batch(entries, done).map_err(|Busy((entries, done))| {
            not_taken(done);
            (entries, busy_or_faulted(store))
        })
    }
}

/// What appends that are under way have in common.
#[derive(Debug)]
pub(super) struct Passing {
    /// Appends that may be on their way at once.
    pub(super) permits: Arc<Semaphore>,
    pub(super) counts: Counts,
    pub(super) schedule: Arc<Scheduler>,
    /// Which partitions have no room for what is accepted.
    pub(super) refusing: Refusing,
}

/// Who is told what became of an append.
#[derive(Debug)]
pub(super) enum Told {
    /// Its publisher, who waits.
    Publisher(Arc<Pending>),
    /// Nobody waits: so many events that are not stored are counted, when nothing is known of them one by one.
    Nobody { events: u64 },
}

/// Where an append that is under way is counted.
///
/// It goes back to the publisher with the answer. Each publish counts two more owners, and both counts are on lines of the processor's cache that
/// publisher and writer would take from each other for every event, if one of them counted up and the other down.
#[derive(Debug)]
pub(super) struct Account {
    passing: Arc<Passing>,
    services: Arc<Services>,
}

/// An append in the writer's hands: `None` when it is over.
struct UnderWay(Option<Held>);

struct Held {
    account: Account,
    told: Told,
}

impl UnderWay {
    fn decided(&mut self, result: Result<Appended, AppendError>) {
        if let (Some(Held { account, .. }), Ok(appended)) = (&self.0, &result) {
            let due = || appended.entries().iter().filter_map(Entry::due);
            // What waits is published when it is due.
            let events = appended.entries().len() - due().count();
            let Passing { counts, schedule, refusing, .. } = &*account.passing;
            counts.published.fetch_add(u64::try_from(events).unwrap_or(u64::MAX), Ordering::Relaxed);
            schedule.waits(due());
            refusing.stored(appended.entries().iter().map(Entry::partition));
        }
        // Nobody may wait any more: it is stored all the same.
        self.end(Answer::Decided(result.map_err(Box::new)));
    }

    fn end(&mut self, answer: Answer) {
        let Some(Held { account, told }) = self.0.take() else { return };
        let Account { passing, services } = &account;
        if let Told::Nobody { events } = told {
            passing.note_unstored(events, &answer);
        }
        // First: whoever was answered must not find it on its way. Readers of the log see it already.
        passing.permits.add_permits(1);
        services.idle.touch();
        if let Told::Publisher(pending) = told {
            pending.answer_with(answer, Some(account));
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.end(Answer::Abandoned);
    }
}

/// Ends an append whose entries go back to the publisher: of those that were refused there are none, so that none counts as lost.
fn not_taken(done: OnAppended) {
    done(Err(AppendError::Refused { entries: Vec::new(), reason: Refusal::Closed }));
}

fn busy_or_faulted(store: &Store) -> Refused {
    match store.fault() {
        Some(_) => Refused::Store(Refusal::Faulted),
        None => Refused::Busy { waited: Duration::ZERO },
    }
}

impl From<AppendError> for NotAppended {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Refused { entries, reason } => Self::Refused(entries, Refused::Store(reason)),
            AppendError::Unknown { fault, .. } => Self::Unknown(UnknownCause::Storage(fault)),
            error => {
                let fault = Fault { doing: "appending", reason: error.to_string() };
                Self::Unknown(UnknownCause::Storage(fault))
            }
        }
    }
}

impl fmt::Debug for NotAppended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_, reason) => f.debug_tuple("Refused").field(reason).finish(),
            Self::Unknown(cause) => f.debug_tuple("Unknown").field(cause).finish(),
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

    fn opened(dir: &tempfile::TempDir) -> (Arc<Log>, Arc<Services>) {
        let mut plan = StorePlan::new(dir.path().to_owned());
        plan.streams.push(Stream::new("orders").capture("orders.#"));
        plan.patience = Duration::ZERO;
        let log = plan.open().unwrap();
        let services = Arc::new(Services {
            clock: Arc::new(SystemClock),
            shown: crate::shown::Shown::default(),
            idle: Arc::<IdleWatch>::default(),
            middleware: busway_middleware::Registry::new(),
            signals: busway_observability::Collectors::new(),
            tracing: None,
            runtime: tokio::runtime::Handle::current(),
        });
        (log, services)
    }

    /// An event with the id `foreign("test", "1")`.
    fn entry(log: &Log) -> Entry {
        let metadata = Metadata::draft("test", 1).build().unwrap();
        let (id, now) = (EventId::foreign("test", "1"), Timestamp::from_nanos(1));
        let draft = Event::new("orders.created", Raw::from("{}"));
        let event = draft.finish(&Stamp::new(id, now, &metadata)).unwrap();
        log.entry(event.into(), false, now, 1_024).unwrap()
    }

    /// Holds up the writer until what is given back goes: nothing is committed meanwhile.
    fn held_up(log: &Log) -> std::sync::mpsc::Sender<()> {
        let (lets_go, held) = std::sync::mpsc::channel::<()>();
        log.with(|store| store.flush(Box::new(move |_| _ = held.recv()))).unwrap();
        lets_go
    }

    #[tokio::test]
    async fn without_room_a_publish_waits_to_its_deadline_and_gets_its_event_back() {
        let dir = tempfile::tempdir().unwrap();
        let (log, services) = opened(&dir);
        let entry = || entry(&log);

        let watch = services.runtime.spawn(log.watch_deadlines(&services));
        let all = u32::try_from(APPENDS_MAX).unwrap();
        let taken = Arc::clone(&log.passing.permits).try_acquire_many_owned(all).unwrap();
        assert_eq!(log.appending(), APPENDS_MAX);
        let at_once = log.append_now(&services, entry()).unwrap_err();
        assert!(matches!(*at_once, Unappended::NoPermit(_)));
        let refused = log.append(&services, vec![entry()]).await.unwrap_err();
        let NotAppended::Refused(entries, Refused::Busy { waited }) = refused else { panic!("{refused:?}") };
        assert_eq!((entries[0].event().id(), waited), (EventId::foreign("test", "1"), Duration::ZERO));
        drop(taken);
        let lets_go = held_up(&log);
        // Now there is room, and no time to wait for the disk.
        let unknown = log.append(&services, vec![entry()]).await.unwrap_err();
        assert!(matches!(unknown, NotAppended::Unknown(UnknownCause::TimedOut { .. })), "{unknown:?}");
        assert_eq!((log.appending(), log.published().0), (1, 0));
        drop(lets_go);
        log.close();
        assert_eq!((log.appending(), log.published().0), (0, 1), "it was stored all the same");
        let refused = log.append(&services, entries).await.unwrap_err();
        assert!(matches!(refused, NotAppended::Refused(_, Refused::Closed)));
        assert_eq!(log.appending(), 0);
        watch.await.unwrap();
    }

    #[tokio::test]
    async fn what_goes_back_to_who_wanted_it_in_memory_is_not_counted_as_unstored() {
        let dir = tempfile::tempdir().unwrap();
        let (log, services) = opened(&dir);
        let lets_go = held_up(&log);
        // As many requests as the writer holds: those that are let through here have no permit.
        while log.with(|store| store.append(entry(&log), Box::new(|_| ())).is_ok()).unwrap() {}
        let refused = log.try_accept(&services, vec![entry(&log)]).err().unwrap();
        assert!(matches!(refused.reason, Refused::Busy { .. }), "{:?}", refused.reason);
        assert_eq!((refused.entries.len(), log.unstored(), log.appending()), (1, 0, 0));
        drop(lets_go);
        log.close();
        let refused = log.try_accept(&services, refused.entries).err().unwrap();
        assert!(matches!(refused.reason, Refused::Closed), "{:?}", refused.reason);
        assert_eq!((refused.entries.len(), log.unstored(), log.appending()), (1, 0, 0));
    }
}
