//! A transaction on the thread of the store's writer.

use std::fmt;
use std::ops::Bound;

use busway_event::{AnyDraft, AnyEvent};
use busway_persistence::{ReadTables, TableEntries, TableId, TxError, WriteTables};

use super::commit::ToStore;
use crate::bus::{BusCore, Source, Wishes};
use crate::log::Log;

/// A transaction under way on the thread of the store's writer: [`ReadTables`] and [`WriteTables`] say what it can do with tables.
///
/// It sees everything that was committed or is about to be. Nothing of its own is stored before it has ended well, and then all of
/// it is, in one commit. It may be run more than once, and only the last run counts: it must do nothing but what it does through this,
/// and be short, because nothing else is stored meanwhile. After 100 ms of work, or five seconds by the clock, its calls fail, and nothing of it is
/// stored.
pub struct StoreTx<'a> {
    under: &'a mut (dyn Under + 'a),
    bus: &'a BusCore,
    from: Source,
    published: Published,
}

/// What a transaction publishes, in order.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) events: Vec<(AnyEvent, Fate)>,
}

/// What becomes of an event that is published in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A stream captures it: it is stored with the rest, in the log or until it is due.
    Stored,
    /// It lives in memory: it is offered when the rest is stored.
    Offered,
}

impl Published {
    /// Those that no stream captures: to be offered when the rest is stored.
    pub(crate) fn into_others(self) -> Vec<AnyEvent> {
        self.events.into_iter().filter(|(_, fate)| *fate == Fate::Offered).map(|(event, _)| event).collect()
    }
}

impl<'a> StoreTx<'a> {
    pub(super) fn new(under: &'a mut (dyn Under + 'a), bus: &'a BusCore, from: Source) -> Self {
        Self { under, bus, from, published: Published::default() }
    }

    /// Publishes an event with the rest: into its stream in the same commit, or, when no stream captures its topic, to its subscriptions
    /// right behind it.
    ///
    /// # Errors
    /// [`TxError::Other`] when the event is not valid or a publish middleware says no; [`TxError::Entry`], [`TxError::TooSlow`],
    /// [`TxError::TooLarge`].
    pub fn publish(&mut self, draft: impl Into<AnyDraft>) -> Result<(), TxError> {
        let draft = draft.into();
        let wishes = Wishes::of(draft.head());
        let event = self.bus.accept_any(draft, self.from).map_err(TxError::other)?;
        let fate = match self.bus.log.as_ref().filter(|log| log.captures(event.topic())) {
            None => Fate::Offered,
            Some(log) => {
                let to_store = ToStore::new(self.bus, log, event.clone(), wishes).map_err(TxError::other)?;
                self.under.store_event(&to_store, self.bus, log)?;
                Fate::Stored
            }
        };
        self.published.events.push((event, fate));
        Ok(())
    }

    pub(super) fn into_published(self) -> Published {
        self.published
    }
}

impl ReadTables for StoreTx<'_> {
    fn table_id(&self, name: &str) -> Option<TableId> {
        self.under.table_id(name)
    }

    fn get_bytes(&mut self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, TxError> {
        self.under.get_bytes(table, key)
    }

    fn range_bytes(
        &mut self,
        table: TableId,
        keys: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> Result<TableEntries, TxError> {
        self.under.range_bytes(table, keys, limit)
    }
}

impl WriteTables for StoreTx<'_> {
    fn put_bytes(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<(), TxError> {
        self.under.put_bytes(table, key, value)
    }

    fn delete_bytes(&mut self, table: TableId, key: &[u8]) -> Result<bool, TxError> {
        self.under.delete_bytes(table, key)
    }
}

impl fmt::Debug for StoreTx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreTx").field("published", &self.published).finish_non_exhaustive()
    }
}

/// The store's own transaction, whatever its lifetimes are.
pub(super) trait Under: WriteTables {
    fn store_event(&mut self, event: &ToStore, bus: &BusCore, log: &Log) -> Result<(), TxError>;
}

impl Under for busway_persistence::Tx<'_> {
    fn store_event(&mut self, event: &ToStore, bus: &BusCore, log: &Log) -> Result<(), TxError> {
        event.store(self, bus.services.clock.utc(), &log.schedule)
    }
}
