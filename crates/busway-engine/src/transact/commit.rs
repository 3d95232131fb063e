//! Committing what a handler has done: its writes, the events that it emits into streams and the settlement of its event.

use std::sync::{Arc, Weak};
use std::time::Duration;

use busway_event::{AnyDraft, AnyEvent, Timestamp};
use busway_middleware::BoxError;
use busway_persistence::{DoneKeys, Position, Refusal, Tx, TxError};

use super::tx::Record;
use crate::bus::{BusCore, Refused, Services, Source, Wishes};
use crate::idempotency::KeyDone;
use crate::log::{Log, NotTransacted, Wait};
use crate::schedule::Scheduler;

/// What a commit stands on. The store's writer may hold none of it strongly but for a moment.
pub(crate) struct Ground {
    pub(crate) log: Arc<Log>,
    pub(crate) services: Arc<Services>,
    pub(crate) bus: Weak<BusCore>,
}

impl Ground {
    pub(crate) fn of(bus: &Arc<BusCore>) -> Option<Self> {
        let log = Arc::clone(bus.log.as_ref()?);
        Some(Self { log, services: Arc::clone(&bus.services), bus: Arc::downgrade(bus) })
    }
}

/// An event of a durable subscription.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventOf {
    /// The subscription in this process.
    pub(crate) subscription: u64,
    /// The same in the store.
    pub(crate) number: u32,
    pub(crate) place: Position,
    /// The idempotency key that is done with it.
    pub(crate) done: Option<KeyDone>,
    /// It was settled before its handler started.
    pub(crate) is_settled: bool,
}

impl EventOf {
    /// Finishes it in a transaction, with its key, unless that was done before.
    pub(super) fn finish(&self, tx: &mut Tx<'_>) {
        if self.is_settled {
            return;
        }
        tx.finish(self.number, self.place.partition, self.place.offset);
        if let Some(KeyDone { key, keys_max }) = self.done {
            tx.done(self.number, self.place.partition, DoneKeys::one(key, keys_max));
        }
    }
}

/// What became of a commit.
#[derive(Debug)]
pub(crate) enum Committed {
    /// All of it is stored, the settlement too.
    Stored,
    /// The event was settled before: an earlier attempt came through.
    Before,
    /// Something that was read has changed: nothing is stored, and the handler is to run again.
    Again,
    /// There is no room for it now: nothing is stored, and the handler is to run again later.
    Later(BoxError),
    /// It cannot be stored: nothing is.
    Failed(BoxError),
    /// The store takes nothing any more, and nobody can say what it took.
    Lost(String),
}

impl Committed {
    /// A handler that must not run again has failed where it would have to.
    pub(crate) fn for_one_run(self, is_only_one: bool) -> Self {
        match self {
            Self::Later(reason) if is_only_one => Self::Failed(reason),
            Self::Again if is_only_one => Self::Failed(TxError::Conflict.into()),
            committed => committed,
        }
    }
}

impl From<Result<(), NotTransacted>> for Committed {
    fn from(result: Result<(), NotTransacted>) -> Self {
        let Err(error) = result else { return Self::Stored };
        match error {
            NotTransacted::Aborted(TxError::AlreadySettled { .. }) => Self::Before,
            NotTransacted::Aborted(TxError::Conflict) => Self::Again,
            NotTransacted::Aborted(error) => Self::Failed(error.into()),
            NotTransacted::Panicked(message) => {
                Self::Failed(format!("panicked in the store: {message}").into())
            }
            NotTransacted::Refused(Refused::Closed) => Self::Lost(Refused::Closed.to_string()),
            NotTransacted::Refused(reason @ Refused::Store(Refusal::StoreFull { .. })) => {
                Self::Later(reason.into())
            }
            NotTransacted::Refused(reason) if reason.is_transient() => Self::Later(reason.into()),
            NotTransacted::Refused(reason) => Self::Failed(reason.into()),
            NotTransacted::Settlement(error) => Self::Lost(error.to_string()),
            NotTransacted::Unknown(cause) => Self::Lost(cause.to_string()),
        }
    }
}

/// An event that a stream captures.
#[derive(Debug)]
pub(super) struct ToStore {
    event: AnyEvent,
    given: bool,
    /// When it is to be published, if that is later, and behind which delay if one was named.
    due: Option<(Timestamp, Option<Duration>)>,
}

impl ToStore {
    pub(super) fn new(bus: &BusCore, log: &Log, event: AnyEvent, wishes: Wishes) -> Result<Self, BoxError> {
        // Its own limit is the bus's, which is lower than the store's.
        event.encoded(bus.payload_bytes_max)?;
        // Whatever it is to survive: it is stored with the transaction.
        let Wishes { given, due, .. } = wishes;
        Ok(Self { event, given, due: due.and_then(|due| bus.due_at(log, due)) })
    }

    /// Adds it to a transaction, on the writer's thread: who waits for what is due learns of it before that is stored, and asks
    /// behind it.
    pub(super) fn store(&self, tx: &mut Tx<'_>, now: Timestamp, schedule: &Scheduler) -> Result<(), TxError> {
        let event = self.event.clone();
        match self.due {
            None => tx.append(event, self.given, now),
            Some(due) => {
                tx.append_later(event, self.given, now, due)?;
                schedule.waits(std::iter::once(due.0));
                Ok(())
            }
        }
    }
}

/// The events that a handler emits.
#[derive(Debug)]
struct Emits {
    /// Captured by streams.
    stored: Vec<ToStore>,
    others: Vec<AnyEvent>,
}

impl Emits {
    fn of(bus: &BusCore, drafts: Vec<AnyDraft>, from: Source) -> Result<Self, BoxError> {
        let (mut stored, mut others) = (Vec::new(), Vec::new());
        for draft in drafts {
            let wishes = Wishes::of(draft.head());
            let event = bus.accept_any(draft, from)?;
            match bus.log.as_ref().filter(|log| log.captures(event.topic())) {
                Some(log) => stored.push(ToStore::new(bus, log, event, wishes)?),
                None => others.push(event),
            }
        }
        Ok(Self { stored, others })
    }
}

/// Commits what a handler that was done leaves, if that is anything, with the settlement of its events, which are of one
/// subscription. `None`: there is nothing to be stored but the settlements.
pub(crate) async fn commit(
    ground: &Ground,
    events: &[EventOf],
    record: Record,
    emits: Vec<AnyDraft>,
) -> Option<Committed> {
    let Record { recorded, mut drafts } = record;
    drafts.extend(emits);
    if drafts.is_empty() && recorded.is_empty() {
        return None;
    }
    let Some(bus) = ground.bus.upgrade() else {
        return Some(Committed::Failed("the bus is gone: nothing was published".into()));
    };
    let from = events.first().map_or(Source::Outside, |event| Source::Handler(event.subscription));
    let Emits { stored, others } = match Emits::of(&bus, drafts, from) {
        Ok(emits) => emits,
        Err(reason) => return Some(Committed::Failed(reason)),
    };
    if stored.is_empty() && recorded.is_empty() {
        bus.offer_emits(others, from).await;
        return None;
    }
    let (events, now) = (events.to_vec(), ground.services.clock.utc());
    let schedule = Arc::clone(&ground.log.schedule);
    let work = Box::new(move |tx: &mut Tx<'_>| {
        recorded.play(tx)?;
        stored.iter().try_for_each(|event| event.store(tx, now, &schedule))?;
        events.iter().for_each(|event| event.finish(tx));
        Ok(())
    });
    let result = ground.log.transact(&ground.services, work, Wait::UntilDecided).await;
    let committed = Committed::from(result.map(drop));
    if matches!(committed, Committed::Stored) {
        bus.offer_emits(others, from).await;
    }
    Some(committed)
}
