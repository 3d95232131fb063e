//! Transactions: table writes, events and settlements that are stored together, or not at all.
//!
//! The closure runs on the writer's thread and writes into memory, over what the tables hold; when it has ended well, and its events and
//! settlements may be stored, all goes into the transaction of the batch. When it fails, panics, is too slow, or one of its
//! events is refused, what it did is let go and the rest of the batch is not touched. It may be run again, when the map has to grow or the
//! disk is full: it must do nothing but what it does through its [`Tx`]. While it runs nothing else is stored, so it must be
//! short and must not wait: after [`TX_MILLIS_MAX`] of work, or [`TX_MILLIS_WAITED_MAX`] by the clock, its reads and writes fail, and it is aborted
//! when it returns. One that never returns stalls the store.
//!
//! # A crash
//! Nothing of a transaction is in the file before the commit of its batch, all of it afterwards.

mod error;
mod recorded;
mod spent;
mod tx;
mod writes;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use heed::RoTxn;

use crate::append::{Appended, Entry};
use crate::shared::Shared;
use crate::store::{Busy, Store};
use crate::writer::Request;

pub use self::error::{TX_BYTES_MAX, TX_MILLIS_MAX, TX_MILLIS_WAITED_MAX, TransactError, TxError};
pub use self::recorded::Recorded;
pub(crate) use self::tx::Done;
use self::tx::InTxn;
pub use self::tx::Tx;

/// What a transaction does. See the module for what it may do.
pub type Work = Box<dyn FnMut(&mut Tx<'_>) -> Result<(), TxError> + Send>;

/// Called by the writer's thread when a transaction is decided, with its events in the order in which they were appended. It must be
/// quick, and must not wait for the store.
pub type OnTransacted = Box<dyn FnOnce(Result<Appended, TransactError>) + Send>;

impl Store {
    /// Runs a transaction on the writer's thread: all that it does through its [`Tx`] is stored in one commit, or nothing of it.
    /// It may be run more than once, and only the last run counts.
    ///
    /// # Errors
    /// [`Busy`], with the work, which was not run, and `done`, which was not called.
    pub fn transact(&self, work: Work, done: OnTransacted) -> Result<(), Busy<(Work, OnTransacted)>> {
        self.run_in_writer(work, false, done)
    }

    /// The same for a transaction that [finishes](Tx::finish) events. Where there is no room for what is published it is run all the same, and
    /// stored if it finishes something and appends nothing: what it writes into tables may use half of the store's reserve, as dead letters may, and half
    /// of what is kept free on the disk. One that appends is refused then, as a publish is.
    ///
    /// # Errors
    /// As [`transact`](Self::transact).
    pub fn transact_to_settle(
        &self,
        work: Work,
        done: OnTransacted,
    ) -> Result<(), Busy<(Work, OnTransacted)>> {
        self.run_in_writer(work, true, done)
    }

    fn run_in_writer(
        &self,
        work: Work,
        settles: bool,
        done: OnTransacted,
    ) -> Result<(), Busy<(Work, OnTransacted)>> {
        let transact = Transact { work, settles, entries: Vec::new(), done: Some(done) };
        match self.submit(Request::Transact(transact)) {
            Err(Request::Transact(Transact { work, done: Some(done), .. })) => Err(Busy((work, done))),
            _ => Ok(()),
        }
    }
}

/// Runs a closure, and says what it leaves to be stored. An error on the outside is one of the storage.
pub(crate) fn run(
    shared: &Shared,
    txn: &RoTxn<'_>,
    work: &mut Work,
) -> heed::Result<Result<Done, TransactError>> {
    let tables = InTxn { shared, txn };
    let mut tx = Tx::new(&tables);
    // What it did is let go when it panics, and what it holds it must expect to be called again with.
    let ended = catch_unwind(AssertUnwindSafe(|| work(&mut tx)));
    if let Some(failed) = tx.failed.take() {
        return Err(failed);
    }
    let ended = match ended {
        Ok(ended) => ended.and_then(|()| tx.in_time()).map_err(TransactError::Aborted),
        Err(panic) => Err(TransactError::Panicked { message: message_of(&*panic) }),
    };
    Ok(ended.map(|()| tx.done))
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

pub(crate) struct Transact {
    pub(crate) work: Work,
    /// Whether it is there to finish events: then it is let near the reserve, see [`Store::transact_to_settle`].
    pub(crate) settles: bool,
    /// What the last run left to be stored.
    pub(crate) entries: Vec<Entry>,
    pub(crate) done: Option<OnTransacted>,
}
