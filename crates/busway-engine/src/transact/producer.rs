//! Transactions of producers, and reading tables.

use std::sync::Arc;

use busway_event::AnyEvent;
use busway_middleware::BoxError;
use busway_observability::trace::Place;
use busway_persistence::{Snapshot, TxError};
use parking_lot::Mutex;

use super::store_tx::{Fate, Published};
use super::{StoreTx, TransactionError};
use crate::bus::{Bus, BusCore, Receipt, Source};
use crate::log::{Placed, Wait};

/// A transaction that is stored.
#[derive(Debug)]
#[non_exhaustive]
pub struct Transacted<R> {
    /// What its closure returned, in the run that counts.
    pub value: R,
    /// Of its events, in the order in which they were published.
    pub receipts: Vec<Receipt>,
}

impl Bus {
    /// Runs a closure on the thread of the store's writer: what it writes into tables and publishes into streams is stored in one
    /// commit, or nothing of it. Returns when that is synced. What it publishes to topics that no stream captures is offered then.
    ///
    /// The closure may be run more than once, and only the last run counts. It must do nothing but what it does through its
    /// [`StoreTx`], and be short: nothing else is stored while it runs, and after 100 ms of work, or five seconds by the clock, it is aborted.
    ///
    /// # Errors
    /// [`TransactionError`].
    ///
    /// # Cancel safety
    /// Once it was handed to the store it is run and stored, whether somebody waits for it or not; before that, while the store has too much to do,
    /// dropping the future gives it up. What goes to topics that no stream captures is not offered when nobody waits.
    pub async fn transaction<R, E>(
        &self,
        mut work: impl FnMut(&mut StoreTx<'_>) -> Result<R, E> + Send + 'static,
    ) -> Result<Transacted<R>, TransactionError>
    where
        R: Send + 'static,
        E: Into<BoxError>,
    {
        let core = self.core();
        let log = core.log.as_ref().ok_or(TransactionError::NoStore)?;
        core.admit(Source::Outside).map_err(TransactionError::Refused)?;
        let weak = Arc::downgrade(core);
        let left: Arc<Mutex<Option<(R, Published)>>> = Arc::default();
        let (leaves, place) = (Arc::clone(&left), core.services.place());
        let work = Box::new(move |tx: &mut busway_persistence::Tx<'_>| {
            // Of an earlier run, which does not count.
            *leaves.lock() = None;
            let bus = weak.upgrade().ok_or_else(|| TxError::other("the bus is gone"))?;
            let _entered = place.as_ref().map(Place::enter);
            let mut store_tx = StoreTx::new(tx, &bus, Source::Outside);
            let value = work(&mut store_tx).map_err(TxError::other)?;
            *leaves.lock() = Some((value, store_tx.into_published()));
            Ok(())
        });
        let placed = log.transact(&core.services, work, Wait::ToDeadline).await?;
        let Some((value, published)) = left.lock().take() else {
            unreachable!("what is stored has ended well");
        };
        let receipts = core.transaction_receipts(&published, placed);
        core.offer_emits(published.into_others(), Source::Outside).await;
        Ok(Transacted { value, receipts })
    }

    /// Reads tables as the last commit left them, all as they were at one moment, on the calling thread. What is not in memory is waited
    /// for. While the closure runs the store's file cannot use space again that it sees: short, please.
    ///
    /// # Errors
    /// [`TransactionError::NoStore`], [`TransactionError::Refused`] when the bus is closed, [`TransactionError::Read`], and the closure's own.
    pub fn read<R>(
        &self,
        read: impl FnOnce(&mut Snapshot<'_>) -> Result<R, TxError>,
    ) -> Result<R, TransactionError> {
        let log = self.core().log.as_ref().ok_or(TransactionError::NoStore)?;
        let result = log.with(|store| {
            let mut snapshot = store.snapshot()?;
            Ok::<R, TransactionError>(read(&mut snapshot)?)
        });
        result.unwrap_or(Err(TransactionError::Refused(crate::bus::Refused::Closed)))
    }
}

impl BusCore {
    fn transaction_receipts(&self, published: &Published, placed: Vec<Placed>) -> Vec<Receipt> {
        let mut placed = placed.into_iter();
        let receipt = |(event, fate): &(AnyEvent, Fate)| match fate {
            Fate::Stored => self.stored_receipt(event.id(), event.topic(), placed.next()),
            Fate::Offered => self.unstored_receipt(event.id(), event.topic()),
        };
        published.events.iter().map(receipt).collect()
    }
}
