//! Carrying operations out: page by page, each a commit, at a pace, until all is done or the same error keeps coming back.

use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use busway_event::TraceContext;
use busway_event::codec::PAYLOAD_BYTES_MAX;
use busway_persistence::{
    Entry, LetterKey, LetterRequest, LetterState, Operated, Operation, OperationKind, Position, Progressed,
    Store, StoredLetter,
};

use tokio_util::sync::CancellationToken;

use super::error::DeadLetterError;
use super::handle::query;
use super::id::DeadLetterId;
use super::names::Names;
use super::pace::Redrive;
use super::selection::{Selection, Target};
use super::trail::DeadLetterOperation;
use crate::bus::BusCore;
use crate::durable::{Lanes, ReplayWatch, Turn};
use crate::log::Log;
use crate::settings::PARKED_MAX_DEFAULT;

/// An operation to be carried out.
pub(super) struct Job {
    pub(super) bus: Arc<BusCore>,
    pub(super) log: Arc<Log>,
    pub(super) kind: OperationKind,
    pub(super) target: Target,
    pub(super) how: Redrive,
    pub(super) by: String,
    pub(super) request: String,
    /// Its end ends the operation.
    pub(super) ending: Option<CancellationToken>,
}

/// How far it is.
struct Progress {
    operation: Option<Operation>,
    next: LetterKey,
    watch: Arc<ReplayWatch>,
    /// As many are parked of a subscription as may be.
    waits_for_room: bool,
}

/// A part of it.
struct Part {
    letters: Vec<(LetterKey, Lanes)>,
    /// Of those that bear one.
    traces: Vec<TraceContext>,
    edited: Option<Box<Entry>>,
    end: Progressed,
}

impl Part {
    /// Some letters of a selection.
    fn to(next: Option<LetterKey>, letters: Vec<(LetterKey, Lanes)>) -> Self {
        let end = next.map_or(Progressed::Done, Progressed::To);
        Self { letters, traces: Vec::new(), edited: None, end }
    }

    /// Nothing but an end.
    const fn end(end: Progressed) -> Self {
        Self { letters: Vec::new(), traces: Vec::new(), edited: None, end }
    }
}

impl Job {
    pub(super) async fn run(self, edited: Option<Vec<u8>>) -> Result<DeadLetterOperation, DeadLetterError> {
        let job = Arc::new(self);
        let watch = ReplayWatch::new(job.how.same_errors());
        let mut progress = match job.work(Self::begin).await? {
            Begun::Before(operation) => return Ok(DeadLetterOperation::of(operation, true)),
            Begun::Now(operation) => {
                let next = operation.as_ref().and_then(|operation| operation.next);
                let next = next.unwrap_or(LetterKey::first_of(1));
                Progress { operation, next, watch, waits_for_room: false }
            }
        };
        if let Target::One(id) = job.target.clone() {
            let operation = job.work(move |job| job.one(&id, edited, &progress)).await?;
            return Ok(DeadLetterOperation::of(operation, false));
        }
        loop {
            progress = job.work(|job| job.step(progress)).await?;
            if let Some(operation) = progress.operation.take_if(|operation| operation.ended.is_some()) {
                return Ok(DeadLetterOperation::of(operation, false));
            }
            let (_, pause) = job.how.step();
            let pause = if progress.waits_for_room { pause.max(ROOM_AGAIN_AFTER) } else { pause };
            if !pause.is_zero() {
                let clock = &job.bus.services.clock;
                clock.sleep_until(clock.now() + pause).await;
            }
        }
    }

    /// Runs a part to its end on a thread that may block, whether somebody waits for it or not: who is to be told that letters were moved is told.
    async fn work<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<R, DeadLetterError> + Send + 'static,
    ) -> Result<R, DeadLetterError> {
        let job = Arc::clone(self);
        let done = self.bus.services.runtime.spawn_blocking(move || work(&job)).await;
        done.map_err(|_| DeadLetterError::Closed)?
    }

    /// Lends the store, for a moment.
    fn lend<R>(&self, with: impl FnOnce(&Store) -> Result<R, DeadLetterError>) -> Result<R, DeadLetterError> {
        self.log.with(with).ok_or(DeadLetterError::Closed)?
    }

    /// Ends an operation that a process did not live to end.
    pub(super) async fn end(self, operation: Operation) -> Result<(), DeadLetterError> {
        let next = LetterKey::first_of(1);
        let watch = ReplayWatch::new(self.how.same_errors());
        let progress = Progress { operation: Some(operation), next, watch, waits_for_room: false };
        let end = Progressed::Stopped(CUT_SHORT.to_owned());
        let part = Part::end(end);
        Arc::new(self).work(move |job| job.commit(part, &progress, false)).await.map(drop)
    }

    /// Looks for what the request came to before.
    fn begin(&self) -> Result<Begun, DeadLetterError> {
        let stored = self.lend(|store| Ok(store.operation(&self.request)?))?;
        let Some(operation) = stored else { return Ok(Begun::Now(None)) };
        if operation.kind != self.kind || operation.selection != self.target.to_string() {
            let Operation { request, kind, selection, .. } = operation;
            return Err(DeadLetterError::RequestTaken { request, kind: kind.label(), selection });
        }
        match operation.ended {
            Some(_) => Ok(Begun::Before(operation)),
            None => Ok(Begun::Now(Some(operation))),
        }
    }

    fn one(
        &self,
        id: &DeadLetterId,
        edited: Option<Vec<u8>>,
        progress: &Progress,
    ) -> Result<Operation, DeadLetterError> {
        let moved = match self.gives_again() {
            true => self.give_again(id, edited, progress),
            false => self.let_go(id, progress),
        };
        moved.map(|operated| operated.operation).map_err(|error| match error {
            DeadLetterError::Store(error) => DeadLetterError::of_one(error, id),
            error => error,
        })
    }

    fn give_again(
        &self,
        id: &DeadLetterId,
        edited: Option<Vec<u8>>,
        progress: &Progress,
    ) -> Result<Operated, DeadLetterError> {
        let part = self.lend(|store| {
            let key = Names::read(store)?.key(store, id)?;
            let stored = store.letter(key)?.ok_or_else(|| DeadLetterError::Unknown { id: id.clone() })?;
            if self.log.position(place(key)).is_none() {
                return Err(DeadLetterError::StreamUndeclared { id: id.clone() });
            }
            let edited = edited.map(|payload| self.edited(store, id, &stored, payload)).transpose()?;
            let (letters, traces) = (vec![(key, lanes(&stored))], trace(&stored).into_iter().collect());
            Ok(Part { letters, traces, edited, end: Progressed::Done })
        })?;
        self.commit(part, progress, true)
    }

    /// The next page of a selection.
    fn step(&self, mut progress: Progress) -> Result<Progress, DeadLetterError> {
        let Target::Selected(selection) = &self.target else { return Ok(progress) };
        let is_ending = self.ending.as_ref().is_some_and(CancellationToken::is_cancelled);
        let stopped_by = is_ending.then(|| CLOSED.to_owned()).or_else(|| progress.watch.stopped_by());
        if let Some(reason) = stopped_by {
            let part = Part::end(Progressed::Stopped(reason));
            progress.operation = Some(self.commit(part, &progress, false)?.operation);
            return Ok(progress);
        }
        let (limit, _) = self.how.step();
        let part = self.lend(|store| self.found(store, selection, progress.next, limit))?;
        if let Progressed::To(next) = part.end {
            progress.next = next;
            // Nothing of this page is wanted: the next one says how far it is.
            if part.letters.is_empty() {
                return Ok(progress);
            }
        }
        let Operated { operation, no_room, .. } = self.commit(part, &progress, false)?;
        progress.operation = Some(operation);
        progress.waits_for_room = no_room.is_some();
        if let Some(left) = no_room {
            progress.next = left;
            // Of one that does not run nobody makes room.
            if !self.bus.durable.list().iter().any(|core| core.number == left.subscription) {
                let name = self.lend(|store| Ok(Names::read(store)?.id(store, left)))?.subscription;
                return Err(DeadLetterError::ParkedFull { subscription: name.to_string() });
            }
        }
        Ok(progress)
    }

    /// The letters of a selection that the operation is for, and where to go on.
    fn found(
        &self,
        store: &Store,
        selection: &Selection,
        from: LetterKey,
        limit: usize,
    ) -> Result<Part, DeadLetterError> {
        let query = query(&Names::read(store)?, selection)?;
        if !self.gives_again() {
            let found = store.letter_keys(&query, from, limit)?;
            let letters = found.keys.into_iter().map(|key| (key, Lanes::NONE)).collect();
            return Ok(Part::to(found.next, letters));
        }
        // The lane of an event is told by the event: page by page, so that few are in memory at one time.
        let (mut letters, mut traces, mut next) = (Vec::new(), Vec::new(), Some(from));
        for _ in 0..PAGES_MAX {
            let Some(from) = next.filter(|_| letters.len() < limit) else { break };
            let page = store.letters(&query, from, limit - letters.len())?;
            let fit = page.letters.iter().filter(|stored| self.is_fit(stored));
            for stored in fit {
                letters.push((stored.key, lanes(stored)));
                traces.extend(trace(stored));
            }
            next = page.next;
        }
        Ok(Part { traces, ..Part::to(next, letters) })
    }

    /// Commits a part, and tells those who are to handle the letters. None of them begins or is sent elsewhere meanwhile.
    fn commit(&self, part: Part, progress: &Progress, is_strict: bool) -> Result<Operated, DeadLetterError> {
        let numbers: BTreeSet<u32> = part.letters.iter().map(|(key, _)| key.subscription).collect();
        let turns = self.turns(&numbers)?;
        let _turns: Vec<_> = turns.iter().map(|turn| turn.blocking_lock()).collect();
        let mut cores = self.bus.durable.list();
        cores.retain(|core| self.gives_again() && numbers.contains(&core.number));
        cores.iter().for_each(|core| core.watch_replays(&progress.watch));
        // Of one that does not run it is found out when it begins.
        let order = |number| cores.iter().find(|core| core.number == number).map(|core| core.settings.order);
        let lane = |(key, lanes): (LetterKey, Lanes)| {
            (key, lanes.under(order(key.subscription).unwrap_or_default()))
        };
        let parked_max = |number| {
            let core = cores.iter().find(|core| core.number == number);
            core.map_or(PARKED_MAX_DEFAULT, |core| core.settings.parked_max)
        };
        let (answer, answered) = mpsc::channel();
        let request = LetterRequest {
            request: self.request.clone(),
            kind: self.kind,
            by: self.by.clone(),
            selection: self.target.to_string(),
            at: self.bus.services.clock.utc(),
            letters: part.letters.into_iter().map(lane).collect(),
            is_strict,
            parked_max: numbers.iter().map(|number| (*number, parked_max(*number))).collect(),
            edited: part.edited,
            expected: progress.operation.clone(),
            end: part.end,
        };
        self.lend(|store| {
            store.operate(request, Box::new(move |result| _ = answer.send(result)));
            Ok(())
        })?;
        let operated = answered.recv().map_err(|_| DeadLetterError::Closed)??;
        progress.watch.has_moved(&operated.letters);
        let tracing = self.bus.services.tracing.as_ref();
        let span = tracing.and_then(|of| of.redriven(&self.request, operated.letters.len(), &part.traces));
        for core in cores {
            let its_own = operated.letters.iter().filter(|(key, _)| key.subscription == core.number);
            core.redriven(&its_own.copied().collect::<Vec<_>>(), span.as_ref());
        }
        Ok(operated)
    }

    /// The turns of those who are given letters, in the order of their names: who takes several takes them in this order.
    fn turns(&self, numbers: &BTreeSet<u32>) -> Result<Vec<Turn>, DeadLetterError> {
        if !self.gives_again() || numbers.is_empty() {
            return Ok(Vec::new());
        }
        let names = self.lend(|store| Ok(Names::read(store)?))?;
        let names: BTreeSet<&str> =
            numbers.iter().filter_map(|number| names.of(*number)).map(|name| &**name).collect();
        Ok(names.into_iter().map(|name| self.bus.durable.turn(name)).collect())
    }

    /// A letter of which nothing need be known: it may be damaged.
    fn let_go(&self, id: &DeadLetterId, progress: &Progress) -> Result<Operated, DeadLetterError> {
        let key = self.lend(|store| Names::read(store)?.key(store, id))?;
        let letters = vec![(key, Lanes::NONE)];
        self.commit(Part { letters, ..Part::end(Progressed::Done) }, progress, true)
    }

    const fn gives_again(&self) -> bool {
        matches!(self.kind, OperationKind::Redrive | OperationKind::Edit)
    }

    /// Whether a letter of a selection can be given again.
    fn is_fit(&self, stored: &StoredLetter) -> bool {
        stored.state == LetterState::Waiting
            && stored.event.is_ok()
            && self.log.position(place(stored.key)).is_some()
    }

    /// What was made of a letter's event, ready to be stored beside it.
    fn edited(
        &self,
        store: &Store,
        id: &DeadLetterId,
        stored: &StoredLetter,
        payload: Vec<u8>,
    ) -> Result<Box<Entry>, DeadLetterError> {
        let Ok(original) = &stored.event else { return Err(DeadLetterError::NoCopy { id: id.clone() }) };
        let limit = self.bus.payload_bytes_max.min(PAYLOAD_BYTES_MAX);
        let edited = original.event.with_payload(payload, limit).map_err(DeadLetterError::Edited)?;
        let entry = store.entry_within(edited, original.given_id, original.appended, limit);
        entry.map(Box::new).map_err(|refused| DeadLetterError::Entry(refused.1))
    }
}

/// The lanes of a letter's event.
fn lanes(stored: &StoredLetter) -> Lanes {
    stored.event.as_ref().map_or(Lanes::NONE, |stored| Lanes::of(&stored.event))
}

/// The trace of a letter's event.
fn trace(stored: &StoredLetter) -> Option<TraceContext> {
    stored.event.as_ref().ok().and_then(|stored| stored.event.metadata().trace().cloned())
}

/// What a request has come to.
enum Begun {
    Before(Operation),
    Now(Option<Operation>),
}

const fn place(key: LetterKey) -> Position {
    Position { partition: key.partition, offset: key.offset }
}

/// Behind this a redrive looks again whether there is room for more parked events.
const ROOM_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Of one that is found when the subscription begins.
const CUT_SHORT: &str = "the process ended; what is left is looked for anew";
/// Why an operation of busway's own was ended before it had come to its end.
const CLOSED: &str = "the bus was closed; what is left is looked for again when the subscription begins";
/// Pages of letters for one commit: one commit moves no more than fit into these.
const PAGES_MAX: usize = 16;
