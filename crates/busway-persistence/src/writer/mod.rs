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
//! | the disk is full | settlements, in a second transaction without what adds to the store | appends and transactions are refused |
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
mod records;
mod retain;
mod state;
mod subscriptions;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use busway_event::Timestamp;
use crossbeam_channel::{Receiver, TryRecvError};
use heed::MdbError;

use self::answer::contain;
use self::apply::Outcome;
use self::cohort::Cohort;
pub(crate) use self::records::{
    CHUNK, GivenRow, QUARANTINE, RECORD, check as check_entries, given_key, make_room, write as write_entries,
};
pub(crate) use self::state::{Position, State, Subscription};
use crate::append::{Append, Entry};
use crate::dead::Operate;
use crate::error::{Fault, Refusal};
use crate::figures::{Commit, now};
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
    /// Whether it may add to the store without an end: refused when there is no room.
    const fn adds(&self) -> bool {
        match self {
            Self::Append(_) | Self::Transact(_) => true,
            Self::Schedule(request) => request.adds(),
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
    /// The last field: what is let go last, when the store's handle is gone and so is the environment.
    claimed: Arc<Claimed>,
}

/// Why a batch was not stored.
enum Failure {
    MapFull,
    DiskFull,
    Broken(Fault),
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        requests: Receiver<Request>,
        state: State,
        claimed: Arc<Claimed>,
    ) -> Self {
        Self { shared, requests, state, cohort: Cohort::default(), claimed }
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
            cohort::look(&self.requests);
        }
        self.state.attendances.begin();
        self.state.attendances.attend_all(self.state.now);
        if self.state.attendances.is_waiting() && self.shared.fault.get().is_none() {
            batch.push(Request::End);
            self.store(&mut batch);
        }
    }

    /// Takes what is there, and waits for a moment for those who were answered last, see [`Cohort`].
    fn gather(&mut self, first: Request, batch: &mut Vec<Request>) {
        let (mut records, mut bytes) = (first.records(), first.bytes());
        batch.push(first);
        while records < BATCH_RECORDS && bytes < BATCH_BYTES {
            match self.requests.try_recv() {
                Ok(request) => {
                    records += request.records();
                    bytes += request.bytes();
                    batch.push(request);
                }
                Err(TryRecvError::Empty) if self.cohort.comes(batch.len(), &self.requests) => {}
                Err(_) => return,
            }
        }
    }

    /// Stores a batch and answers it.
    fn store(&mut self, batch: &mut Vec<Request>) {
        if let Some(fault) = self.shared.fault.get() {
            refuse(batch.extract_if(.., |request| request.adds()), &Refusal::Faulted);
            return leave_open(batch, &fault.clone());
        }
        if let Err(refusal) = self.shared.has_room() {
            refuse(batch.extract_if(.., |request| request.adds()), &refusal);
        }
        loop {
            let begun = self.shared.on_committed.is_some().then(now);
            let no_room = match self.attempt(batch) {
                Ok(outcomes) => {
                    self.committed(begun, batch.len());
                    return self.answer(batch, outcomes);
                }
                Err(Failure::MapFull) => match self.shared.grow_map() {
                    Ok(true) => continue,
                    Ok(false) => Refusal::StoreFull { limit: self.shared.bytes_max() },
                    Err(error) => return self.fail(batch, fault("growing the map", &error)),
                },
                // Nothing was stored, if LMDB can still begin: it cannot when the block that ends a commit was begun.
                Err(Failure::DiskFull) => match self.shared.gate.write(|txn| drop(txn)) {
                    Ok(()) => self.shared.storage_full(),
                    Err(error) => return self.fail(batch, fault("committing", &error)),
                },
                Err(Failure::Broken(fault)) => return self.fail(batch, fault),
            };
            // What adds to the store goes first; when that was not it, nothing of the batch has room.
            self.state.begin();
            match batch.iter().any(Request::adds) {
                true => refuse(batch.extract_if(.., |request| request.adds()), &no_room),
                false => return refuse(batch.drain(..), &no_room),
            }
        }
    }

    /// Applies a batch in one transaction and commits it.
    fn attempt(&mut self, batch: &mut [Request]) -> Result<Vec<Outcome>, Failure> {
        let Self { shared, state, .. } = self;
        state.begin();
        let applied = shared.gate.write(|mut txn| {
            let outcomes =
                apply::apply(shared, state, &mut txn, batch).map_err(|error| failure("writing", &error))?;
            txn.commit().map_err(|error| failure("committing", &error))?;
            Ok(outcomes)
        });
        applied.unwrap_or_else(|error| Err(failure("beginning a transaction", &error)))
    }

    fn committed(&self, begun: Option<Instant>, requests: usize) {
        self.shared.commits.note(requests);
        if let (Some(begun), Some(on_committed)) = (begun, &self.shared.on_committed) {
            let took = begun.elapsed();
            contain(|| on_committed(Commit { took, requests }));
        }
    }

    /// Tells readers of what is new, and everybody what became of their request.
    fn answer(&mut self, batch: &mut Vec<Request>, outcomes: Vec<Outcome>) {
        self.cohort.answered(batch.len(), self.requests.len());
        let heads = self.state.keep(&self.shared);
        let mut has_events = false;
        for (request, outcome) in batch.iter_mut().zip(&outcomes) {
            let entries = match (request, outcome) {
                (Request::Append(append), Outcome::Appended) => &mut append.entries[..],
                (Request::Schedule(request), Outcome::Done) => request.entries_mut(),
                (Request::Transact(transact), Outcome::Transacted) => &mut transact.entries,
                _ => continue,
            };
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

    /// The storage has failed: says so to everybody, now and from now on.
    fn fail(&mut self, batch: &mut Vec<Request>, fault: Fault) {
        tracing::error!(
            doing = fault.doing,
            reason = fault.reason,
            "the store has failed; it acknowledges nothing more"
        );
        self.state.begin();
        let fault = self.shared.fault.get_or_init(|| fault).clone();
        leave_open(batch, &fault);
    }
}

fn refuse(requests: impl Iterator<Item = Request>, reason: &Refusal) {
    requests.for_each(|request| request.refuse(reason.clone()));
}

fn leave_open(batch: &mut Vec<Request>, fault: &Fault) {
    batch.drain(..).for_each(|request| request.leave_open(fault));
}

fn failure(doing: &'static str, error: &heed::Error) -> Failure {
    match error {
        heed::Error::Mdb(MdbError::MapFull) => Failure::MapFull,
        heed::Error::Io(error) if is_disk_full(error) => Failure::DiskFull,
        error => Failure::Broken(fault(doing, error)),
    }
}

/// No space, over quota, or over the size that this process may give a file: nothing was committed, and LMDB goes on.
fn is_disk_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn fault(doing: &'static str, error: &heed::Error) -> Fault {
    Fault { doing, reason: error.to_string() }
}

/// A transaction counts for so many records: it takes its time on the writer's thread, and others wait for the commit.
const TRANSACTION_RECORDS: usize = 16;
/// Records and bytes of a commit: more make the one who waits for it wait longer, and commit no cheaper.
const BATCH_RECORDS: usize = 4_096;
const BATCH_BYTES: usize = 4 << 20;
