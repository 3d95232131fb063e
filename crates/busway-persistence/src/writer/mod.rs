//! The writer: the one thread that writes.
//!
//! It takes all requests that are there, applies them in one transaction in the order in which they came, commits, which
//! syncs, and answers all. While it does so the next ones gather: the more publishers wait, the more events a commit has.
//!
//! # What can fail, and what then
//!
//! | in a batch | what is stored | what is answered |
//! |---|---|---|
//! | a request breaks a rule (an id that another event bears, a full partition) | the others | the request is refused, before anything of it was written |
//! | the map is full | nothing yet: the map grows, and the same batch is applied again | – |
//! | the map is full and as large as the store may be | settlements, transactions that settle and append nothing, and what retention lets go, in the store's reserve, see `room.rs` | appends and other transactions are refused |
//! | the disk is full | the same, in a second transaction without what adds to the store; settlements alone, if that is still too much | appends and other transactions are refused |
//! | writing or syncing fails | unknown | all get [`Unknown`](crate::AppendError::Unknown), and from now on nothing is written: the system may have dropped pages that it could not write, so that a later sync that succeeds would say nothing about them |
//!
//! # A crash
//!
//! Before the commit's last write nothing of the batch is there, after it all is: LMDB writes pages that nobody reads yet,
//! syncs, and then one block that points to them. Nobody was answered before. Between the commit and an answer all is there,
//! and nobody was told: who repeats with the same id is given the first place.

mod answer;
mod apply;
mod cohort;
mod letters;
mod marks;
mod pace;
mod records;
mod retain;
mod room;
mod state;
mod storing;
mod subscriptions;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use busway_event::Timestamp;
use crossbeam_channel::{Receiver, TryRecvError};

use self::answer::contain;
use self::apply::Outcome;
use self::cohort::Cohort;
use self::pace::Pace;
pub(crate) use self::records::{
    CHUNK, GivenRow, QUARANTINE, RECORD, check as check_entries, given_key, make_room, write as write_entries,
};
pub(crate) use self::state::{Position, State, Subscription};
use crate::append::{Append, Entry};
use crate::dead::Operate;
use crate::error::Fault;
use crate::figures::Commit;
use crate::open::Claimed;
use crate::schedule::ScheduleRequest;
use crate::settle::{Marking, OnSettled, Quarantining, Register, Remove, Seek, Settle};
use crate::shared::Shared;
use crate::transact::Transact;

/// What the writer is asked for.
pub(crate) enum Request {
    Append(Append),
    /// Boxed: it is the largest by far, and all others pass through the same queue.
    Settle(Box<Settle>),
    Register(Register),
    Remove(Remove),
    Seek(Seek),
    Transact(Transact),
    Schedule(Box<ScheduleRequest>),
    Mark(Marking),
    Quarantine(Box<Quarantining>),
    Operate(Box<Operate>),
    /// Nobody attends a subscription any longer.
    Leave(u32, Timestamp),
    /// Time has passed.
    Retain(Timestamp),
    /// Answered when everything before it is decided.
    Flush(OnSettled),
    /// The last one: the store is closed.
    End,
}

impl Request {
    /// Whether it may add to the store without an end: refused when there is no room. A transaction that settles is asked when it has run.
    const fn adds(&self) -> bool {
        match self {
            Self::Transact(transact) => !transact.settles,
            _ => self.may_add(),
        }
    }

    /// The same, of transactions that settle too.
    const fn may_add(&self) -> bool {
        match self {
            Self::Append(_) | Self::Transact(_) => true,
            Self::Schedule(request) => request.adds(),
            _ => false,
        }
    }

    /// Whether it takes away, and keeps nothing but how far somebody is: of the others a copy of an event may stay.
    fn takes_away(&self) -> bool {
        match self {
            Self::Settle(request) => {
                request.settlement.dead.is_empty() && request.settlement.parked.is_empty()
            }
            Self::Remove(_)
            | Self::Seek(_)
            | Self::Leave(..)
            | Self::Retain(_)
            | Self::Flush(_)
            | Self::End => true,
            _ => false,
        }
    }

    /// Whether something is written for it in most cases.
    const fn stores(&self) -> bool {
        !matches!(self, Self::Register(_) | Self::Leave(..) | Self::Retain(_) | Self::Flush(_))
    }

    fn records(&self) -> usize {
        match self {
            Self::Append(append) => append.entries.len(),
            Self::Schedule(request) => request.entries().len().max(1),
            Self::Transact(_) => TRANSACTION_RECORDS,
            Self::Operate(part) => part.request.letters.len().max(1),
            _ => 1,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.entries.iter().map(Entry::bytes).sum(),
            Self::Schedule(request) => request.entries().iter().map(Entry::bytes).sum(),
            _ => 0,
        }
    }
}

/// See the module.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    requests: Receiver<Request>,
    state: State,
    cohort: Cohort,
    pace: Pace,
    /// Something was committed, and may have left pages that no batch could use yet, see `room.rs`.
    leaves_pages: bool,
    /// The last field: what is let go last, when the store's handle is gone and so is the environment.
    claimed: Arc<Claimed>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        requests: Receiver<Request>,
        state: State,
        claimed: Arc<Claimed>,
    ) -> Self {
        let (cohort, pace) = (Cohort::default(), Pace::default());
        Self { shared, requests, state, cohort, pace, leaves_pages: false, claimed }
    }

    /// Works until every handle of the store is gone and everything that was asked for is done.
    pub(crate) fn work(mut self) {
        let mut batch = Vec::new();
        while let Ok(first) = self.requests.recv() {
            self.gather(first, &mut batch);
            // A bug of ours must not look like a store that is busy for ever.
            if catch_unwind(AssertUnwindSafe(|| self.store(&mut batch))).is_err() {
                let (doing, reason) = ("storing", "the store's writer panicked".to_owned());
                self.fail(&mut batch, Fault { doing, reason });
            }
            self.pace.committed();
            cohort::look(&self.requests);
        }
        self.state.attendances.begin();
        self.state.attendances.attend_all(self.state.now);
        if self.state.attendances.is_waiting() && self.shared.fault.get().is_none() {
            batch.push(Request::End);
            self.store(&mut batch);
        }
    }

    /// Takes what is there, and waits for a moment for those who were answered last, see [`Cohort`], and for others when nobody waits for these, see [`Pace`].
    fn gather(&mut self, first: Request, batch: &mut Vec<Request>) {
        let (mut records, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(request) = next {
            records += request.records();
            bytes += request.bytes();
            batch.push(request);
            let has_room = records < BATCH_RECORDS && bytes < BATCH_BYTES;
            next = has_room.then(|| self.more(batch)).flatten();
        }
    }

    fn more(&mut self, batch: &[Request]) -> Option<Request> {
        loop {
            match self.requests.try_recv() {
                Ok(request) => return Some(request),
                Err(TryRecvError::Empty) if self.cohort.comes(batch.len(), &self.requests) => {}
                Err(TryRecvError::Empty) => return self.pace.more(batch, &self.requests),
                Err(TryRecvError::Disconnected) => return None,
            }
        }
    }

    fn committed(&self, begun: Option<Instant>, batch: &mut [Request], outcomes: &[Outcome]) {
        let requests = batch.len();
        self.shared.commits.note(requests);
        if let (Some(begun), Some(on_committed)) = (begun, &self.shared.on_committed) {
            let took = begun.elapsed();
            let entries =
                batch.iter_mut().zip(outcomes).flat_map(|(request, outcome)| stored(request, outcome));
            let events = entries.filter(|entry| entry.is_new()).count();
            contain(|| on_committed(Commit { took, requests, events }));
        }
    }

    /// Tells readers of what is new, and everybody what became of their request.
    fn answer(&mut self, batch: &mut Vec<Request>, outcomes: Vec<Outcome>) {
        self.cohort.answered(batch.len(), self.requests.len());
        let heads = self.state.keep(&self.shared);
        let mut has_events = false;
        for (request, outcome) in batch.iter_mut().zip(&outcomes) {
            let entries = stored(request, outcome);
            if entries.is_empty() {
                continue;
            }
            has_events |= entries.iter().any(|entry| entry.is_new() && entry.wait.is_none());
            self.shared.tell(entries);
        }
        if has_events {
            contain(|| self.shared.told());
        }
        if let Some(on_head) = &self.shared.on_audit_head {
            heads.iter().for_each(|head| contain(|| on_head(head)));
        }
        for (request, outcome) in batch.drain(..).zip(outcomes) {
            if let Outcome::Registered(registered) = &outcome {
                self.state.attendances.enter(registered.number);
                // Before somebody handles its events.
                self.claimed.attended(registered.number, true);
            }
            if let Request::Leave(number, _) = &request {
                self.claimed.attended(*number, false);
            }
            request.answer(outcome);
        }
    }
}

/// The entries of a request that has stored some.
fn stored<'a>(request: &'a mut Request, outcome: &Outcome) -> &'a mut [Entry] {
    match (request, outcome) {
        (Request::Append(append), Outcome::Appended) => &mut append.entries,
        (Request::Schedule(request), Outcome::Done) => request.entries_mut(),
        (Request::Transact(transact), Outcome::Transacted) => &mut transact.entries,
        _ => &mut [],
    }
}

/// A transaction counts for so many records: it takes its time on the writer's thread, and others wait for the commit.
const TRANSACTION_RECORDS: usize = 16;
/// Records and bytes of a commit: more make the one who waits for it wait longer, and commit no cheaper.
const BATCH_RECORDS: usize = 4_096;
const BATCH_BYTES: usize = 4 << 20;
