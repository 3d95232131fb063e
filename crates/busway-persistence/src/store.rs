//! The store: a handle that everybody may hold.

use std::fmt;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use busway_event::codec::PAYLOAD_BYTES_MAX;
use busway_event::{AnyEvent, EventId, Filter, Timestamp, Topic};
use crossbeam_channel::{Sender, TrySendError, bounded};
use uuid::Uuid;

use crate::append::{Append, Appended, Entry, OnAppended, Position};
use crate::error::{EntryError, Fault, ReadError};
use crate::open::{Claimed, OpenError};
use crate::options::StoreOptions;
use crate::read::{Page, ReadLimits};
use crate::record::{self, NameIds};
use crate::settle::{OnRegistered, OnSettled, Register, Seek, Settle, Settlement};
use crate::shared::Shared;
use crate::stream::partition_of;
use crate::table::{self, TableEntries, TableId};
use crate::transact::{OnTransacted, Transact, Tx, TxError};
use crate::verify::Verified;
use crate::writer::{Request, Writer};

/// A store in a directory: streams, cursors and tables. One process opens it, once.
///
/// Requests go to its writer and are answered by callbacks from the writer's thread, in the order in which they were made by
/// one caller. Dropping the store, or [`close`](Store::close), lets the writer finish what it was asked for, and gives the
/// directory free.
pub struct Store {
    /// Holds the environment; the writer has the only other copy, and ends first.
    shared: Arc<Shared>,
    requests: Option<Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    /// Given up last: when the environment is closed.
    _claimed: Claimed,
}

/// The store takes no more requests at the moment: its writer has as many to do as it holds. What was to be asked is given back.
#[derive(thiserror::Error)]
#[error("the store's writer has {REQUESTS_MAX} requests to do; try again when some are answered")]
pub struct Busy<T>(pub T);

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
        let writer = Writer::new(Arc::clone(&shared), receiver, state);
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
        self.capturing(topic).map(|(_, name)| name)
    }

    fn capturing(&self, topic: &Topic) -> Option<(u32, &str)> {
        let mut streams = (0..).zip(&self.shared.streams);
        let (number, stream) = streams
            .find(|(_, stream)| stream.declared.as_ref().is_some_and(|declared| declared.captures(topic)))?;
        Some((number, &stream.name))
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
        let unknown = || EntryError::UnknownStream { stream: event.topic().to_string() };
        let (stream, _) = self.capturing(event.topic()).ok_or_else(unknown)?;
        let stored =
            usize::try_from(stream).ok().and_then(|at| self.shared.streams.get(at)).ok_or_else(unknown)?;
        let partition = match event.key() {
            Some(key) => partition_of(key, stored.partitions),
            None => {
                u16::try_from(event.id().as_uuid().as_u128() % u128::from(stored.partitions)).unwrap_or(0)
            }
        };
        let names = &self.shared.names;
        let ids = NameIds {
            topic: names.number_of(event.topic().as_str()),
            type_name: names.number_of(event.type_name()),
            producer: names.number_of(event.metadata().producer()),
        };
        let value_max = self.shared.value_bytes_max;
        let recorded = record::encode(&event, PAYLOAD_BYTES_MAX, ids, now, given, value_max)?;
        let hash = || {
            Ok::<_, EntryError>(record::body_hash(
                &event.encoded(PAYLOAD_BYTES_MAX)?,
                event.topic(),
                event.key(),
            ))
        };
        let body = given.then(hash).transpose()?;
        Ok(Entry {
            stream,
            partition: stored.first + u32::from(partition),
            event,
            appended: now,
            recorded,
            given: body,
            offset: 0,
            outdated: None,
            first_place: None,
        })
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
        let request = Request::Append(Append { entries, done });
        self.submit(request).map_err(|request| match request {
            Request::Append(Append { entries, done }) => Busy((entries, done)),
            _ => unreachable!("what could not be sent is what was to be sent"),
        })
    }

    /// Stores what a subscription has decided about events of a partition.
    ///
    /// # Errors
    /// [`Busy`], with the settlement and `done`, which was not called.
    pub fn settle(
        &self,
        subscription: u32,
        partition: u32,
        settlement: Settlement,
        done: Option<OnSettled>,
    ) -> Result<(), Busy<(Settlement, Option<OnSettled>)>> {
        let request = Request::Settle(Settle { subscription, partition, settlement, done });
        self.submit(request).map_err(|request| match request {
            Request::Settle(Settle { settlement, done, .. }) => Busy((settlement, done)),
            _ => unreachable!("what could not be sent is what was to be sent"),
        })
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

    /// Runs a transaction on the writer's thread: all that it does through its [`Tx`] is stored in one commit, or nothing of it.
    /// It may be run more than once, and only the last run counts. Waits while the writer is busy.
    pub fn transact(
        &self,
        work: impl FnMut(&mut Tx<'_>) -> Result<(), TxError> + Send + 'static,
        done: OnTransacted,
    ) {
        self.ask(Request::Transact(Transact { work: Box::new(work), entries: Vec::new(), done: Some(done) }));
    }

    /// The value of a key of a table, as the last commit left it.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let txn = self.shared.gate.read().map_err(|error| self.shared.storage(&error))?;
        let found = table::get(&self.shared.databases, &txn, table, key);
        Ok(found.map_err(|error| self.shared.storage(&error))?.map(<[u8]>::to_vec))
    }

    /// Up to `limit` entries of a range of a table's keys, in their order, as the last commit left them.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn range(
        &self,
        table: TableId,
        keys: impl RangeBounds<[u8]>,
        limit: usize,
    ) -> Result<TableEntries, ReadError> {
        let txn = self.shared.gate.read().map_err(|error| self.shared.storage(&error))?;
        let keys = (keys.start_bound(), keys.end_bound());
        let found = table::range(&self.shared.databases, &txn, table, keys, limit);
        found.map_err(|error| self.shared.storage(&error))
    }

    /// Calls `done` when everything that was asked for before is stored. Waits while the writer is busy.
    pub fn flush(&self, done: impl FnOnce() + Send + 'static) {
        self.ask(Request::Flush(Box::new(done)));
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

    /// Where the event with this id lies; `None` when it does not, or no longer. An id that busway made is looked for among the
    /// events that were taken within a minute of it.
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

    /// Reads and checks everything that is stored, a page at a time, while the store is in use.
    ///
    /// # Errors
    /// [`ReadError`], when the system refuses. Damage is part of what it finds.
    pub fn verify(&self) -> Result<Verified, ReadError> {
        self.shared.verify()
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

    fn submit(&self, request: Request) -> Result<(), Request> {
        let Some(requests) = &self.requests else { return Err(request) };
        requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(request) | TrySendError::Disconnected(request) => request,
        })
    }

    fn ask(&self, request: Request) {
        if let Some(requests) = &self.requests {
            // The writer lives for as long as somebody can ask it.
            _ = requests.send(request);
        }
    }

    fn end(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
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
