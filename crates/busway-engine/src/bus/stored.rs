//! Publishing into streams: what a stream captures is stored first, and offered from the log when it is committed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use busway_event::{AnyDraft, AnyEvent, Draft, DraftHead, Due, EventId, EventType, Timestamp, Topic};
use busway_middleware::{BoxError, Position};
use busway_observability::trace::{Publish, Sending};
use busway_persistence::{Appended, Entry};
use tokio::sync::oneshot;

use super::dispatch::Source;
use super::publish::{Accepted, Later, Now, Original, Patience, REFUSED, restored, taken_back};
use super::unsynced::Told;
use super::{BusCore, Durability, LookupError, PublishError, Receipt, Refused};
use crate::log::{Answer, Answered, Log, NotAppended, Placed, Unappended, Unstored, singles};

/// An event that is ready to be stored.
pub(crate) struct Stored {
    pub(super) entry: Entry,
    /// As its publisher gave it: so it comes back when it is refused.
    pub(super) original: Original,
    pub(super) durability: Durability,
    pub(super) sending: Sending,
}

/// An event that the store's writer has, and what its publisher is told of it.
pub(crate) struct Appending {
    core: Arc<BusCore>,
    pub(super) answered: Answered,
    id: EventId,
    topic: Topic,
    original: Original,
    begun: Option<Instant>,
    sending: Sending,
}

impl Appending {
    /// What the writer's answer comes to.
    pub(super) fn told<T: EventType>(self, answer: Answer) -> Result<Receipt, PublishError<Draft<T>>> {
        let Self { core, id, topic, original, begun, sending, .. } = self;
        let receipt = core.receipt_of((id, &topic), answer.told());
        core.services.stored(begun, 1);
        receipt.map_err(|error| {
            sending.failed(kind(&error));
            core.restored_to(error, original)
        })
    }
}

impl BusCore {
    /// See [`Bus::lookup`](crate::Bus::lookup).
    pub(super) async fn lookup(&self, id: EventId) -> Result<Option<Position>, LookupError> {
        let log = self.log.as_ref().ok_or(LookupError::NoStore)?;
        let (decided, all_decided) = oneshot::channel();
        let look = {
            let log = Arc::clone(log);
            move || {
                // Behind everything that was asked for before. An error says that the storage has failed: what is there can be read.
                log.with(|store| store.flush(Box::new(move |_| _ = decided.send(()))))?;
                _ = all_decided.blocking_recv();
                log.with(|store| store.lookup(id))
            }
        };
        let found = self.services.runtime.spawn_blocking(look).await.ok().flatten();
        let place = found.ok_or(LookupError::Closed)??;
        Ok(place.and_then(|place| log.position(place)))
    }

    /// Publishes a draft on a bus that has a log, as far as it goes without waiting.
    #[inline(never)]
    pub(super) fn publish_with_log<T: EventType>(
        self: &Arc<Self>,
        log: &Log,
        draft: Draft<T>,
        from: Source,
        patience: Patience,
    ) -> Now<T> {
        let now = self.services.clock.utc();
        let accepted = self.accept_at(now, draft, from, Publish::Alone).map_err(Later::Refused)?;
        let Accepted { event, original, wishes, sending } = accepted;
        let Some(stream) = log.stream_of(event.topic()) else {
            return self
                .publish_accepted(event, original, from, patience)
                .map_err(|later| later.sending(sending));
        };
        let wanted = log.durability(event.topic(), wishes.durability);
        let may_be = |durability| patience == Patience::Waits || durability == Durability::Memory;
        if !may_be(wanted) {
            let error = self.given_back(event.into(), original, needs_commit(stream));
            return Err(Later::Refused(error).into());
        }
        let (id, topic) = (event.id(), event.topic().clone());
        let entry = match log.entry(event.into(), wishes.given, now, self.payload_bytes_max) {
            Ok(entry) => self.waiting(log, entry, wishes.due),
            Err((event, reason)) => {
                return Err(Later::Refused(self.given_back(event, original, reason.into())).into());
            }
        };
        let durability = self.served(log, &entry, wanted);
        if !may_be(durability) {
            let error = self.given_back(entry.into_event(), original, needs_commit(stream));
            return Err(Later::Refused(error).into());
        }
        if durability == Durability::Memory {
            let stored = Stored { entry, original, durability, sending };
            return self.publish_unsynced(log, stored, patience);
        }
        let (core, begun) = (Arc::clone(self), self.services.begun());
        Err(Box::new(match log.append_now(&self.services, entry) {
            Ok(answered) => {
                Later::Appending(Appending { core, answered, id, topic, original, begun, sending })
            }
            Err(unappended) => match *unappended {
                Unappended::NoPermit(entry) => {
                    Later::Stored { core, stored: Stored { entry, original, durability, sending } }
                }
                Unappended::Refused(entry, reason) => {
                    sending.failed(REFUSED);
                    Later::Refused(self.given_back(entry.into_event(), original, reason))
                }
            },
        }))
    }

    /// Stores an event and says where.
    pub(super) async fn end_stored<T: EventType>(
        self: &Arc<Self>,
        stored: Stored,
    ) -> Result<Receipt, PublishError<Draft<T>>> {
        let Stored { entry, original, durability, sending } = stored;
        self.store_event(entry, durability).await.map_err(|error| {
            sending.failed(kind(&error));
            self.restored_to(error, original)
        })
    }

    fn restored_to<T: EventType>(
        &self,
        error: PublishError<AnyEvent>,
        original: Original,
    ) -> PublishError<Draft<T>> {
        match error {
            PublishError::Refused { event, reason } => self.given_back(*event, original, reason),
            PublishError::Unknown { ids, cause } => PublishError::unknown(ids, cause),
        }
    }

    /// Stores an event that exists already, under its own id.
    pub(super) async fn forward_with_log(
        self: &Arc<Self>,
        log: &Log,
        event: AnyEvent,
        asked: Option<Durability>,
    ) -> Result<Receipt, PublishError<AnyEvent>> {
        let refused = |event, reason| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            PublishError::refused(event, reason)
        };
        if let Err(reason) = self.admit(Source::Outside) {
            return Err(refused(event, reason));
        }
        let entry = log.entry(event, true, self.services.clock.utc(), self.payload_bytes_max);
        let entry = entry.map_err(|(event, reason)| refused(event, reason.into()))?;
        let durability = self.durability(log, &entry, asked);
        self.store_event(entry, durability).await.inspect_err(|error| {
            if error.reason().is_some() {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    async fn store_event(
        self: &Arc<Self>,
        entry: Entry,
        durability: Durability,
    ) -> Result<Receipt, PublishError<AnyEvent>> {
        let (id, topic) = (entry.event().id(), entry.event().topic().clone());
        let Some(log) = &self.log else {
            return Err(PublishError::refused(entry.into_event(), Refused::Closed));
        };
        if durability != Durability::Memory {
            let begun = self.services.begun();
            let appended = log.append(&self.services, singles::of(entry)).await;
            self.services.stored(begun, 1);
            return self.receipt_of((id, &topic), appended);
        }
        let told = Told::of(&entry);
        match log.accept(&self.services, vec![entry]).await {
            Ok(()) => Ok(self.accepted_receipt(told)),
            Err(refused) => self.receipt_of((id, &topic), Err(refused)),
        }
    }

    fn receipt_of(
        &self,
        (id, topic): (EventId, &Topic),
        appended: Result<Appended, NotAppended>,
    ) -> Result<Receipt, PublishError<AnyEvent>> {
        match appended {
            Ok(appended) => {
                let placed = appended.entries().first().map(Placed::of);
                self.taken_up(appended);
                Ok(self.stored_receipt(id, topic, placed))
            }
            Err(NotAppended::Unknown(cause)) => Err(PublishError::unknown(vec![id], cause)),
            Err(NotAppended::Refused(mut entries, reason)) => match entries.pop() {
                Some(entry) => Err(PublishError::refused(entry.into_event(), reason)),
                None => unreachable!("what is refused is given back"),
            },
        }
    }

    /// Lets go of entries that were stored, on their publisher's thread: the envelopes of those that left the memory of the newest for them
    /// serve its next events, and their own do where nobody keeps them.
    pub(super) fn taken_up(&self, appended: Appended) {
        let desk = self.desk();
        let mut entries = appended.into_entries();
        for mut entry in entries.drain(..) {
            if let Some(event) = entry.take_outdated() {
                desk.let_go(event);
            }
            desk.let_go(entry.into_event());
        }
        singles::put(entries);
    }

    /// Publishes what a handler emits on a bus that has a log: what streams capture is stored first, together; then the others
    /// are offered.
    pub(super) async fn publish_emits_with_log(
        self: &Arc<Self>,
        log: &Log,
        drafts: Vec<AnyDraft>,
        from: Source,
    ) -> Result<(), BoxError> {
        let wishes: Vec<Wishes> = drafts.iter().map(|draft| Wishes::of(draft.head())).collect();
        let events = self.accept_emits(drafts, from)?;
        let now = self.services.clock.utc();
        let (mut entries, mut others) = (Vec::new(), Vec::new());
        for (event, Wishes { given, due, .. }) in events.into_iter().zip(wishes) {
            match log.captures(event.topic()) {
                true => {
                    let entry = log.entry(event, given, now, self.payload_bytes_max);
                    let entry = entry.map_err(|(_, reason)| self.noted(reason.into()))?;
                    entries.push(self.waiting(log, entry, due));
                }
                false => others.push(event),
            }
        }
        if !entries.is_empty() {
            let ids = entries.iter().map(|entry| entry.event().id()).collect();
            match log.append(&self.services, entries).await {
                Ok(_) => {}
                Err(NotAppended::Refused(_, reason)) => return Err(self.noted(reason).into()),
                Err(NotAppended::Unknown(cause)) => {
                    return Err(PublishError::<()>::unknown(ids, cause).into());
                }
            }
        }
        self.offer_emits(others, from).await;
        Ok(())
    }

    /// The first of these events that is stored before it is offered.
    pub(super) fn needs_commit(&self, events: &[AnyEvent]) -> Option<Refused> {
        let log = self.log.as_deref()?;
        events.iter().find_map(|event| Some(needs_commit(log.stream_of(event.topic())?)))
    }

    /// Of an event in a stream.
    pub(crate) fn stored_receipt(&self, id: EventId, topic: &Topic, placed: Option<Placed>) -> Receipt {
        self.placed_receipt(id, self.offered_from_log(topic), placed)
    }

    /// To how many subscriptions an event of a stream is offered, or will be.
    pub(super) fn offered_from_log(&self, topic: &Topic) -> usize {
        self.router.lookup_with(topic, |targets| targets.len()) + self.durable.matching(topic)
    }

    /// Of an event in a stream that is offered to so many.
    pub(super) fn placed_receipt(&self, id: EventId, offered: usize, placed: Option<Placed>) -> Receipt {
        let place = placed.and_then(Placed::position);
        let position = place.zip(self.log.as_ref()).and_then(|(place, log)| log.position(place));
        Receipt {
            id,
            offered,
            durability: Durability::Synced,
            position: position.map(Box::new),
            due: placed.and_then(Placed::due),
        }
    }

    /// Lets an entry wait for as long as its draft says. One that is due already goes into the log at once.
    pub(crate) fn waiting(&self, log: &Log, entry: Entry, due: Option<Due>) -> Entry {
        match due.and_then(|due| self.due_at(log, due)) {
            Some((time, delay)) => entry.wait_until(time, delay),
            None => entry,
        }
    }

    /// When an event is due, and after which delay if one was named; `None` when it is due already.
    pub(crate) fn due_at(&self, log: &Log, due: Due) -> Option<(Timestamp, Option<Duration>)> {
        let now = log.schedule.time(&*self.services.clock);
        let (time, delay) = match due {
            Due::After(delay) => (now.saturating_add(delay), Some(delay)),
            Due::At(time) => (time, None),
        };
        (time > now).then_some((time, delay))
    }

    /// Of an event that lives in memory.
    pub(crate) fn unstored_receipt(&self, id: EventId, topic: &Topic) -> Receipt {
        let offered = self.router.lookup_with(topic, |targets| targets.len());
        Receipt { id, offered, durability: Durability::Memory, position: None, due: None }
    }

    /// Counts what is refused.
    fn noted(&self, reason: Refused) -> Refused {
        self.refused.fetch_add(1, Ordering::Relaxed);
        reason
    }

    pub(super) fn given_back<T: EventType>(
        &self,
        event: AnyEvent,
        original: Original,
        reason: Refused,
    ) -> PublishError<Draft<T>> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        match taken_back::<T>(event) {
            Some(draft) => PublishError::refused(restored(draft, original), reason),
            None => unreachable!("an event that was not stored has one owner"),
        }
    }
}

impl From<Unstored> for Refused {
    fn from(reason: Unstored) -> Self {
        match reason {
            Unstored::Entry(error) => error.into(),
            Unstored::Closed => Self::Closed,
        }
    }
}

/// What a draft says that its event does not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes {
    /// Its publisher gave the id.
    pub(crate) given: bool,
    pub(crate) due: Option<Due>,
    pub(crate) durability: Option<Durability>,
}

impl Wishes {
    pub(crate) fn of(head: &DraftHead) -> Self {
        let (given, due, durability) = (head.id().is_some(), head.due(), head.durability());
        Self { given, due, durability }
    }
}

/// What is said of the failure where it is traced.
pub(super) const fn kind<E>(error: &PublishError<E>) -> &'static str {
    match error {
        PublishError::Refused { .. } => REFUSED,
        PublishError::Unknown { .. } => "unknown",
    }
}

fn needs_commit(stream: &str) -> Refused {
    Refused::NeedsCommit { stream: stream.to_owned() }
}
