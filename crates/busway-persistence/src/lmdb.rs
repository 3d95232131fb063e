//! What LMDB asks of its caller and the compiler cannot check: the only file of the crate with `unsafe`.
//!
//! | LMDB wants | why it holds |
//! |---|---|
//! | the mapped file is changed by nobody else | [`open`](crate::open) took our own lock before, refused file systems that cannot lock, and looked at the header; nothing in the crate opens the file for writing beside LMDB |
//! | one environment a file and process | the same lock: a second open fails there, also through links, because paths are resolved first |
//! | no transaction is open while the map grows or shrinks | every transaction is begun through [`Gate`], and a change of size takes all of it |

use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use heed::types::Bytes as Blob;
use heed::{CompactionOption, Database, Env, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::figures::{Reader, Readers};

/// A named database: bytes to bytes, in the order of the keys' bytes.
pub(crate) type Db<'t> = Database<'t, Blob, Blob>;

/// The environment, and the gate that every transaction passes.
#[derive(Debug)]
pub(crate) struct Gate {
    env: Env<WithoutTls>,
    /// Read: a transaction is open. Written: none is, and the map may grow.
    open: RwLock<()>,
    /// Held by who copies the file, and by who makes the map larger, before `open`: a growth waits here for a copy, not at the gate, where all
    /// others would wait behind it.
    copying: Mutex<()>,
    readers: Readers,
}

/// The only one that copies the file.
pub(crate) struct Copying<'a> {
    gate: &'a Gate,
    _alone: MutexGuard<'a, ()>,
}

/// Maps the file in `dir`, which must be this process's own, and have passed the look at its header.
pub(crate) fn map(
    dir: &Path,
    map_size: usize,
    max_dbs: u32,
    readers_max: u32,
) -> heed::Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(map_size).max_dbs(max_dbs).max_readers(readers_max);
    // SAFETY: see the table at the top of the file: the store's lock is held by this process for as long as the environment
    // lives, and no flag weakens LMDB's own locking or syncing.
    #[expect(unsafe_code, reason = "mapping a file is unsafe; the table above says why it is sound here")]
    unsafe {
        options.open(dir)
    }
}

/// A read transaction. Short: while it is open no page that it sees is used again, and the map cannot grow.
pub(crate) struct Reading<'a> {
    // Ended before the gate is left.
    txn: RoTxn<'a, WithoutTls>,
    // Its guard keeps it on its thread.
    _passed: RwLockReadGuard<'a, ()>,
    _counted: Counted,
    _reader: Reader<'a>,
}

/// One of a thread's reads.
struct Counted;

impl Counted {
    fn new() -> Self {
        READS.set(READS.get() + 1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        READS.set(READS.get() - 1);
    }
}

thread_local! {
    /// Read transactions that the thread has open.
    static READS: Cell<u32> = const { Cell::new(0) };
}

impl<'a> std::ops::Deref for Reading<'a> {
    type Target = RoTxn<'a, WithoutTls>;

    fn deref(&self) -> &Self::Target {
        &self.txn
    }
}

impl Gate {
    /// Maps the file in `dir`, which must have been claimed: locked, looked at, and with room in its lock file.
    pub(crate) fn open(dir: &Path, map_size: usize, max_dbs: u32, readers_max: u32) -> heed::Result<Self> {
        let env = map(dir, map_size, max_dbs, readers_max)?;
        env.clear_stale_readers()?;
        Ok(Self { env, open: RwLock::new(()), copying: Mutex::new(()), readers: Readers::default() })
    }

    /// The environment, for what needs no transaction of the caller's.
    pub(crate) const fn env(&self) -> &Env<WithoutTls> {
        &self.env
    }

    pub(crate) fn read(&self) -> heed::Result<Reading<'_>> {
        // A growth that waits goes first, so that readers that overlap do not hold it up for ever; but for a thread that reads
        // within a read (code of others in a snapshot), which would wait for itself.
        let passed = match READS.get() {
            0 => self.open.read(),
            _ => self.open.read_recursive(),
        };
        let txn = self.env.read_txn()?;
        Ok(Reading { txn, _passed: passed, _counted: Counted::new(), _reader: self.readers.begin() })
    }

    /// Read transactions that are open.
    pub(crate) const fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Runs `work` in a write transaction, which it commits or drops. To be called by the writer's thread only.
    pub(crate) fn write<R>(&self, work: impl FnOnce(RwTxn<'_>) -> R) -> heed::Result<R> {
        let _passed = self.open.read();
        // Code of others runs within, and may read.
        let _counted = Counted::new();
        Ok(work(self.env.write_txn()?))
    }

    /// Grows the map, when no transaction is open. Waits for those that are, and new ones wait for it; but while the file is copied, which
    /// takes long, they go on. Does nothing when it is as large already, or somebody else made it so meanwhile.
    pub(crate) fn grow(&self, map_size: usize) -> heed::Result<()> {
        if self.map_size() >= map_size {
            return Ok(());
        }
        let _none_copies = self.copying.lock();
        let alone = self.open.write();
        match self.map_size() >= map_size {
            true => Ok(()),
            false => self.resize(map_size, &alone),
        }
    }

    /// Makes the map smaller, though never smaller than the file, if no transaction is open at the moment.
    pub(crate) fn shrink(&self, map_size: usize) -> heed::Result<()> {
        match self.open.try_write() {
            Some(alone) if self.map_size() > map_size => self.resize(map_size, &alone),
            _ => Ok(()),
        }
    }

    fn resize(&self, map_size: usize, _alone: &RwLockWriteGuard<'_, ()>) -> heed::Result<()> {
        // SAFETY: no transaction is open in this process: each holds the gate for reading while it lives, and the caller all of it.
        #[expect(unsafe_code, reason = "LMDB does not check that no transaction is open; the gate does")]
        unsafe {
            self.env.resize(map_size)
        }
    }

    /// Waits until nobody else copies the file, nor makes the map larger.
    pub(crate) fn begin_copy(&self) -> Copying<'_> {
        Copying { gate: self, _alone: self.copying.lock() }
    }

    /// Bytes of the file that hold something, or did.
    pub(crate) fn used_bytes(&self) -> u64 {
        let pages = self.env.info().last_page_number as u64 + 1;
        pages.saturating_mul(u64::from(self.env.unnamed_database_stat().page_size))
    }

    /// Closes the environment, and returns when it is closed: no transaction may be open.
    pub(crate) fn close(self) {
        self.env.prepare_for_closing().wait();
    }

    pub(crate) fn map_size(&self) -> usize {
        self.env.info().map_size
    }
}

impl Copying<'_> {
    /// Makes the map larger beforehand, unless somebody reads for long: the others are held up for [`HELD_UP`] at most.
    pub(crate) fn make_headroom(&self, map_size: usize) -> heed::Result<()> {
        match self.gate.open.try_write_for(HELD_UP) {
            Some(alone) if self.gate.map_size() < map_size => self.gate.resize(map_size, &alone),
            _ => Ok(()),
        }
    }

    /// Copies the file as the last commit left it. A transaction is open meanwhile: the map cannot grow.
    pub(crate) fn copy(&self, into: &mut File) -> heed::Result<()> {
        let _passed = self.gate.open.read();
        self.gate.env.copy_to_file(into, CompactionOption::Disabled)
    }
}

/// Several times what a read of a page takes.
const HELD_UP: Duration = Duration::from_millis(100);
