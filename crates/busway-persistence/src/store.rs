//! The store: a handle that everybody may hold.

use std::fmt;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use busway_event::codec::PAYLOAD_BYTES_MAX;
use busway_event::{AnyEvent, EventId, Filter, Timestamp, Topic};
use crossbeam_channel::{SendError, Sender, TrySendError, bounded};
use uuid::Uuid;

use crate::append::{Append, Appended, Entry, OnAppended, Position};
use crate::backup::{Backup, BackupError};
use crate::error::{EntryError, Fault, ReadError, Refusal};
use crate::open::{Claimed, OpenError};
use crate::options::StoreOptions;
use crate::read::{Page, ReadLimits};
use crate::settle::{OnRegistered, OnSettled, Register, Remove, Seek, Settle, Settlement};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::standing::StoredSubscription;
use crate::table::{self, FullRange, TableEntries, TableId};
use crate::tail::StoredEvent;
use crate::writer::{Request, Writer};

/// A store in a directory: streams, cursors and tables. One process opens it, once.
///
/// Requests go to its writer and are answered by callbacks from the writer's thread; those that are stored, in the order in which
/// they were made by one caller. A callback that panics costs the others nothing. Dropping the store, or [`close`](Store::close), lets the writer finish what it was asked for, and gives the
/// directory free.
pub struct Store {
    /// Holds the environment; the writer has the only other copy, and ends first.
    pub(crate) shared: Arc<Shared>,
    requests: Option<Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    /// Given up last, by whoever of handle and writer ends last: when the environment is closed.
    _claimed: Arc<Claimed>,
}

/// The store takes no more requests at the moment: its writer has as many to do as it holds. What was to be asked is given back.
#[derive(thiserror::Error)]
#[error("the store's writer has {REQUESTS_MAX} requests to do; try again when some are answered")]
pub struct Busy<T>(pub T);

/// A settlement that the store does not take at the moment, as it was given.
pub type Unsettled = Busy<Box<(Arc<Settlement>, Option<OnSettled>)>>;

/// What it gives back is not shown: callbacks have nothing to show.
impl<T> fmt::Debug for Busy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Busy")
    }
}

impl Store {
    /// Opens the store in a directory, or makes one in a directory that is empty or not there.
    ///
    /// # Errors
    /// [`OpenError`]. Nothing was made, changed or deleted then, but for a store whose making had been cut short before.
    pub fn open(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self, OpenError> {
        let (shared, state, claimed) = crate::opening::open(path.as_ref(), options)?;
        let shared = Arc::new(shared);
        let (requests, receiver) = bounded(REQUESTS_MAX);
        let claimed = Arc::new(claimed);
        let writer = Writer::new(Arc::clone(&shared), receiver, state, Arc::clone(&claimed));
        let writer = spawn(writer).map_err(|source| OpenError::Io {
            path: shared.path.clone(),
            doing: "starting the writer's thread",
            source,
        })?;
        Ok(Self { shared, requests: Some(requests), writer: Some(writer), _claimed: claimed })
    }

    /// The stream that captures a topic, by name.
    #[must_use]
    pub fn stream_of(&self, topic: &Topic) -> Option<&str> {
        self.shared.capturing(topic).map(|(_, name)| name)
    }

    /// Whether the store was opened with a stream of this name.
    pub(crate) fn declares(&self, stream: &str) -> bool {
        self.shared.streams.iter().any(|known| known.name == stream && known.declared.is_some())
    }

    /// The numbers of a stream's partitions. `None` when there is no such stream.
    #[must_use]
    pub fn partitions(&self, stream: &str) -> Option<std::ops::Range<u32>> {
        let stream = self.shared.streams.iter().find(|known| known.name == stream)?;
        Some(stream.first..stream.first + u32::from(stream.partitions))
    }

    /// The first offset of a partition, and the one behind its last. A glance: both may have risen since.
    #[must_use]
    pub fn bounds(&self, partition: u32) -> Option<(u64, u64)> {
        self.shared.partition(partition).map(crate::shared::Partition::bounds)
    }

    /// Makes an event ready to be stored in the stream that captures its topic: encodes it, chooses its partition by its key,
    /// or by its id when it has none. `given` says that the publisher gave the id: then the same id is stored once.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn entry(&self, event: AnyEvent, given: bool, now: Timestamp) -> Result<Entry, EntryError> {
        self.entry_within(event, given, now, PAYLOAD_BYTES_MAX).map_err(|refused| refused.1)
    }

    /// The same for a payload of so many bytes at most, in the codec of its type; the event comes back when it cannot be stored. No more
    /// than [`PAYLOAD_BYTES_MAX`], whatever is asked for.
    ///
    /// # Errors
    /// [`EntryError`], with the event.
    pub fn entry_within(
        &self,
        event: AnyEvent,
        given: bool,
        now: Timestamp,
        payload_bytes_max: usize,
    ) -> Result<Entry, Box<(AnyEvent, EntryError)>> {
        self.shared.entry(event, given, now, payload_bytes_max)
    }

    /// Stores an entry. `done` is called when it is synced, or refused.
    ///
    /// # Errors
    /// [`Busy`], with the entry and `done`, which was not called.
    pub fn append(&self, entry: Entry, done: OnAppended) -> Result<(), Busy<(Vec<Entry>, OnAppended)>> {
        self.append_batch(vec![entry], done)
    }

    /// Stores entries together, or none of them.
    ///
    /// # Errors
    /// [`Busy`], with the entries and `done`, which was not called.
    pub fn append_batch(
        &self,
        entries: Vec<Entry>,
        done: OnAppended,
    ) -> Result<(), Busy<(Vec<Entry>, OnAppended)>> {
        if entries.is_empty() {
            done(Ok(Appended::new(entries)));
            return Ok(());
        }
        match self.submit(Request::Append(Append { entries, done })) {
            Err(Request::Append(Append { entries, done })) => Err(Busy((entries, done))),
            _ => Ok(()),
        }
    }

    /// Stores what a subscription has decided about events of a partition. It is shared with a caller that keeps it until it hears of its end.
    ///
    /// # Errors
    /// [`Busy`], with the settlement and `done`, which was not called.
    pub fn settle(
        &self,
        subscription: u32,
        partition: u32,
        settlement: impl Into<Arc<Settlement>>,
        done: Option<OnSettled>,
    ) -> Result<(), Unsettled> {
        let settlement = settlement.into();
        let request = Box::new(Settle { subscription, partition, settlement, done });
        match self.submit(Request::Settle(request)) {
            Err(Request::Settle(request)) => Err(Busy(Box::new((request.settlement, request.done)))),
            _ => Ok(()),
        }
    }

    /// Registers a durable subscription, or finds it: `starts` has its partitions and where it begins in each that it has no
    /// cursor in yet. Waits while the writer is busy.
    pub fn register(&self, name: &str, filter: &Filter, starts: Vec<(u32, u64)>, done: OnRegistered) {
        let filter = filter.as_str().to_owned();
        self.ask(Request::Register(Register { name: name.to_owned(), filter, starts, done: Some(done) }));
    }

    /// Sets a subscription's cursor: everything before `offset` is settled, everything from it on is not. Waits while the
    /// writer is busy.
    pub fn seek(&self, subscription: u32, partition: u32, offset: u64, done: OnSettled) {
        self.ask(Request::Seek(Seek { subscription, partition, offset, done: Some(done) }));
    }

    /// The table of this name; declared when the store was opened.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<TableId> {
        self.shared.tables.get(name).copied()
    }

    /// The name of a table.
    #[must_use]
    pub fn table_name(&self, table: TableId) -> Option<&str> {
        self.shared.tables.iter().find(|(_, id)| **id == table).map(|(name, _)| name.as_str())
    }

    /// All tables as the last commit left them, see [`Snapshot`].
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn snapshot(&self) -> Result<Snapshot<'_>, ReadError> {
        let txn = self.shared.gate.read().map_err(|error| self.shared.storage(&error))?;
        Ok(Snapshot { shared: &self.shared, txn })
    }

    /// The value of a key of a table, as the last commit left it.
    ///
    /// # Errors
    /// [`ReadError::Storage`], [`ReadError::Corrupt`].
    pub fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(full_key) = table::full_key(table, key) else { return Ok(None) };
        let Snapshot { txn, .. } = self.snapshot()?;
        let found = table::get(&self.shared.databases, &txn, &full_key);
        Ok(found.map_err(|error| self.shared.storage(&error))??)
    }

    /// Up to `limit` entries of a range of a table's keys, in their order, as the last commit left them; fewer when they have more than
    /// [`TX_BYTES_MAX`](crate::TX_BYTES_MAX) bytes.
    ///
    /// # Errors
    /// [`ReadError::Storage`], [`ReadError::Corrupt`].
    pub fn range(
        &self,
        table: TableId,
        keys: impl RangeBounds<[u8]>,
        limit: usize,
    ) -> Result<TableEntries, ReadError> {
        let range = table::full_range(table, (keys.start_bound(), keys.end_bound()));
        self.full_range(&range, limit).map(table::without_table)
    }

    pub(crate) fn full_range(&self, range: &FullRange, limit: usize) -> Result<TableEntries, ReadError> {
        let Snapshot { txn, .. } = self.snapshot()?;
        let found = table::range(&self.shared.databases, &txn, range, limit);
        Ok(found.map_err(|error| self.shared.storage(&error))??)
    }

    /// Calls `done` when everything that was asked for before is decided, with an error when the storage has failed. Waits while the writer is busy.
    pub fn flush(&self, done: OnSettled) {
        self.ask(Request::Flush(done));
    }

    /// All durable subscriptions of the store, in the order of their names, and where they stand as the last commit left them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn subscriptions(&self) -> Result<Vec<StoredSubscription>, ReadError> {
        self.shared.subscriptions()
    }

    /// The same of the one of this name, if there is one.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn subscription(&self, name: &str) -> Result<Option<StoredSubscription>, ReadError> {
        self.shared.subscription(name)
    }

    /// Removes a durable subscription with its cursors and what it has parked: it holds nothing any longer. Its dead letters
    /// stay. Waits while the writer is busy.
    pub fn remove_subscription(&self, name: &str, done: OnSettled) {
        self.ask(Request::Remove(Remove { name: name.to_owned(), done: Some(done) }));
    }

    /// Reads events of a partition from an offset on, those whose topic the filter matches.
    ///
    /// # Errors
    /// [`ReadError`]; a damaged record is reported when it is the first of a read, and reading goes on behind it.
    pub fn read(
        &self,
        partition: u32,
        from: u64,
        filter: Option<&Filter>,
        limits: ReadLimits,
    ) -> Result<Page, ReadError> {
        self.shared.read(partition, from, filter, limits)
    }

    /// Reads single events, those of a partition that are not in memory in one transaction: what became of each in the order of the places, `None` for one
    /// that is not there yet. Nothing bounds their bytes but their number.
    #[must_use]
    pub fn read_each(&self, places: &[Position]) -> Vec<Result<Option<StoredEvent>, ReadError>> {
        self.shared.read_each(places)
    }

    /// Where the event with this id lies; `None` when it does not, or no longer. An id that busway made is looked for among the
    /// events that were taken around the time that it says; one that was taken at another time is indexed, as ids that publishers give are.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn lookup(&self, id: EventId) -> Result<Option<Position>, ReadError> {
        self.shared.lookup(id)
    }

    /// The first offset of a partition whose event was taken at this time or later; the log's end when there is none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn offset_at(&self, partition: u32, time: Timestamp) -> Result<u64, ReadError> {
        self.shared.offset_at(partition, time)
    }

    /// Copies the store, as the last commit left it, into a directory that is empty or not there: it is opened like any store, has this
    /// one's [`id`](Store::id), and holds every stream, cursor and table as they were at one moment. Returns when the copy is synced.
    /// Reading and publishing go on meanwhile, though publishing waits for the copy where the map has to grow; another backup waits too. What that costs, and what a crash leaves, is said in the guide to operating a store. May lie on any
    /// file system: a copy is mapped only when it is opened. One that was cut short is told as such by [`open`](Store::open).
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<Backup, BackupError> {
        self.shared.backup(to.as_ref())
    }

    /// Its identity, the same for as long as it exists.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.shared.store_id
    }

    /// Why the store acknowledges nothing more, when that is so.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        self.shared.fault.get()
    }

    /// Finishes what it was asked for and ends its writer. The directory is free when this returns.
    pub fn close(mut self) {
        self.end();
    }

    /// Hands a request to the writer, or gives it back when that is busy. One that the writer can no longer take is answered.
    pub(crate) fn submit(&self, request: Request) -> Result<(), Request> {
        let sent = match &self.requests {
            Some(requests) => requests.try_send(request),
            None => Err(TrySendError::Disconnected(request)),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(request)) => Err(request),
            Err(TrySendError::Disconnected(request)) => {
                request.refuse(Refusal::Closed);
                Ok(())
            }
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn ask(&self, request: Request) {
        let sent = match &self.requests {
            Some(requests) => requests.send(request),
            None => Err(SendError(request)),
        };
        if let Err(SendError(request)) = sent {
            request.refuse(Refusal::Closed);
        }
    }

    fn end(&mut self) {
        drop(self.requests.take());
        let Some(writer) = self.writer.take() else { return };
        // A callback may have been the last to hold the store: its thread ends by itself.
        if writer.thread().id() != std::thread::current().id() && writer.join().is_err() {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.shared.path)
            .field("id", &self.shared.store_id)
            .finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one thread that this crate owns")]
fn spawn(writer: Writer) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("busway-store".to_owned()).spawn(move || writer.work())
}

/// Requests that wait for the writer. Twice as many as a commit takes: while one is written the next gathers.
pub const REQUESTS_MAX: usize = 8_192;
