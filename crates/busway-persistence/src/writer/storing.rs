//! Storing a batch: again with more room, and without what has none.

use heed::MdbError;

use super::apply::{self, Outcome};
use super::retain;
use super::room::{self, Reserve};
use super::{Request, Writer};
use crate::error::{Fault, Refusal};
use crate::figures::now;

/// What a batch may do to have room.
struct Means {
    reserve: Reserve,
    /// What may go has gone.
    freed: bool,
    /// Why none of its transactions may append.
    no_room: Option<Refusal>,
}

/// Why a batch was not stored.
enum Failure {
    MapFull,
    DiskFull,
    Broken(Fault),
}

impl Writer {
    /// Stores a batch and answers it.
    pub(super) fn store(&mut self, batch: &mut Vec<Request>) {
        if let Some(fault) = self.shared.fault.get() {
            refuse(batch.extract_if(.., |request| request.may_add()), &Refusal::Faulted);
            return leave_open(batch, &fault.clone());
        }
        let mut means =
            Means { reserve: Reserve::None, freed: false, no_room: self.refuse_for_the_disk(batch) };
        loop {
            let begun = self.shared.on_committed.is_some().then(now);
            // In the reserve what was asked for comes first.
            let segments = if means.reserve == Reserve::None { usize::MAX } else { 0 };
            let failure = match self.attempt(batch, &means, segments) {
                Ok(outcomes) => {
                    self.leaves_pages |= !batch.is_empty();
                    self.committed(begun, batch, &outcomes);
                    self.answer(batch, outcomes);
                    break;
                }
                Err(failure) => failure,
            };
            let no_room = match self.make_room(failure, means.reserve, batch) {
                Ok(None) => continue,
                Ok(Some(refusal)) => refusal,
                Err(fault) => return self.fail(batch, fault),
            };
            self.state.begin();
            match self.give_way(batch, &mut means, no_room) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => return self.fail(batch, fault),
            }
        }
        if means.reserve != Reserve::None
            && let Err(fault) = self.free_in_reserve()
        {
            self.fail(batch, fault);
        }
    }

    /// Refuses what the disk has no room for, and says why what is left of the batch may not append, if it may not.
    fn refuse_for_the_disk(&self, batch: &mut Vec<Request>) -> Option<Refusal> {
        let free = self.shared.free_on_disk()?;
        let refusal = self.shared.storage_full(free);
        refuse(batch.extract_if(.., |request| request.adds()), &refusal);
        if free < self.shared.limits.reserve / 2 {
            // The other half is for what takes away.
            refuse(batch.extract_if(.., |request| request.may_add()), &refusal);
        }
        Some(refusal)
    }

    /// A batch has found no room: frees some, lets it use more of the reserve, or refuses what is least wanted of it. `false`: all of
    /// it is refused.
    fn give_way(
        &mut self,
        batch: &mut Vec<Request>,
        means: &mut Means,
        no_room: Refusal,
    ) -> Result<bool, Fault> {
        let is_limit = matches!(no_room, Refusal::StoreFull { .. });
        if is_limit && !means.freed && batch.iter().any(Request::may_add) {
            // What may go makes room for what comes.
            means.freed = true;
            self.free_in_reserve()?;
            return Ok(true);
        }
        // What adds to the store goes first; when that was not it, what keeps something; then nothing of the batch has room.
        if batch.iter().any(Request::adds) {
            refuse(batch.extract_if(.., |request| request.adds()), &no_room);
        } else if means.no_room.is_none() || (is_limit && means.reserve == Reserve::None) {
            means.no_room.get_or_insert(no_room);
            if is_limit {
                means.reserve = Reserve::Half;
            }
        } else if (is_limit && means.reserve == Reserve::Half)
            || batch.iter().any(|request| !request.takes_away())
        {
            refuse(batch.extract_if(.., |request| !request.takes_away()), &no_room);
            if is_limit {
                means.reserve = Reserve::All;
            }
        } else {
            refuse(batch.drain(..), &no_room);
            return Ok(false);
        }
        Ok(true)
    }

    /// Lets go what has expired, a segment a commit, in a store that has no room to do so otherwise.
    fn free_in_reserve(&mut self) -> Result<(), Fault> {
        loop {
            self.state.begin();
            if !retain::has_expired(&self.shared, &self.state) {
                return Ok(());
            }
            let means = Means { reserve: Reserve::All, freed: true, no_room: None };
            let Err(failure) = self.attempt(&mut [], &means, 1) else {
                self.leaves_pages = true;
                self.answer(&mut Vec::new(), Vec::new());
                continue;
            };
            if self.make_room(failure, Reserve::All, &[])?.is_some() {
                // It stays as it was, and is tried again behind the next batch.
                self.state.begin();
                return Ok(());
            }
        }
    }

    /// Room for a batch that had none: `None` when it may be tried again, else why there is none.
    fn make_room(
        &mut self,
        failure: Failure,
        reserve: Reserve,
        batch: &[Request],
    ) -> Result<Option<Refusal>, Fault> {
        let resizing = |error| fault("resizing the map", &error);
        let failure = match failure {
            Failure::MapFull if room::grow(&self.shared, reserve).map_err(resizing)? => return Ok(None),
            Failure::MapFull
                if (reserve == Reserve::All || batch.iter().any(Request::may_add))
                    && std::mem::take(&mut self.leaves_pages) =>
            {
                // The disk may be full at the same moment: that commit fails as any other may.
                match room::take_what_was_left(&self.shared, reserve) {
                    Ok(()) => return Ok(None),
                    Err(error) => self::failure("committing", &error),
                }
            }
            failure => failure,
        };
        match failure {
            Failure::MapFull => Ok(Some(Refusal::StoreFull { limit: self.shared.bytes_max() })),
            // Nothing was stored, if LMDB can still begin: it cannot when the block that ends a commit was begun.
            Failure::DiskFull => match self.shared.gate.write(|txn| drop(txn)) {
                Ok(()) => Ok(Some(self.shared.storage_full(self.shared.free_bytes().unwrap_or(0)))),
                Err(error) => Err(fault("committing", &error)),
            },
            Failure::Broken(fault) => Err(fault),
        }
    }

    /// Applies a batch in one transaction, lets go up to so many segments, and commits it.
    fn attempt(
        &mut self,
        batch: &mut [Request],
        means: &Means,
        segments: usize,
    ) -> Result<Vec<Outcome>, Failure> {
        let Self { shared, state, .. } = self;
        state.begin();
        let reserve = means.reserve;
        if reserve == Reserve::None && room::is_beyond_limit(shared) && batch.iter().any(Request::may_add) {
            room::keep_to_limit(shared)
                .map_err(|error| Failure::Broken(fault("resizing the map", &error)))?;
        }
        let applied = shared.gate.write(|mut txn| {
            let outcomes = apply::apply(shared, state, &mut txn, batch, (segments, means.no_room.as_ref()))
                .map_err(|error| failure("writing", &error))?;
            let fits = room::fits(shared, &txn, reserve).map_err(|error| failure("writing", &error))?;
            if !fits {
                return Err(Failure::MapFull);
            }
            txn.commit().map_err(|error| failure("committing", &error))?;
            Ok(outcomes)
        });
        applied.unwrap_or_else(|error| Err(failure("beginning a transaction", &error)))
    }

    /// The storage has failed: says so to everybody, now and from now on.
    pub(super) fn fail(&mut self, batch: &mut Vec<Request>, fault: Fault) {
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
