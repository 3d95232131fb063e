//! The named databases of a store, and what lies in each. Their keys and values, byte by byte: `docs/design/format.md`.
//!
//! All are opened once, in the transaction that opens the store, and none is ever removed: removing one closes its handle,
//! which a failed commit would still need. How many there are is known before the file is mapped, because every
//! transaction of LMDB pays for each that might exist.

use heed::{CommitToken, DatabaseOpener, OnCommit, RwTxn, WithoutTls};

use crate::lmdb::Db;

/// See the module.
#[derive(Debug)]
pub(crate) struct Databases<'t> {
    /// `store-id`; `stream/<name>`, `table/<name>`: what streams and tables there are; `attended/`, `mark/`: see
    /// [`attendance`](crate::attendance).
    pub(crate) meta: Db<'t>,
    /// Number (4) → name.
    pub(crate) names: Db<'t>,
    /// Partition (4), slot (2) → segment.
    pub(crate) segments: Db<'t>,
    /// `name` → number of a durable subscription and what it was made with.
    pub(crate) subscriptions: Db<'t>,
    /// Subscription (4), partition (4) → cursor.
    pub(crate) cursors: Db<'t>,
    /// Subscription (4), partition (4), offset (8) → what is known of an event that failed and waits.
    pub(crate) parked: Db<'t>,
    /// Subscription (4), partition (4), offset (8) → dead letter.
    pub(crate) dead: Db<'t>,
    /// Stream (4), id (16) → where an event lies whose publisher gave the id.
    pub(crate) ids: Db<'t>,
    /// Partition (4), slot (2), id (16) → nothing: which ids go with a segment.
    pub(crate) segment_ids: Db<'t>,
    /// Partition (4), offset (8) → the chain of an audit stream behind that record.
    pub(crate) links: Db<'t>,
    /// Partition (4), offset (8) → a head of it. Partition (4) → where retention has let it begin.
    pub(crate) heads: Db<'t>,
    /// Subscription (4), number (8) → keys that are done, see [`done`](crate::done).
    pub(crate) done: Db<'t>,
    /// What is published later, see [`schedule`](crate::schedule).
    pub(crate) schedule: Db<'t>,
    /// Table (4), key → value: the user's own tables.
    pub(crate) tables: Db<'t>,
    /// Partition by partition, slot by slot: offset (8) → record or pack; offset (8), number (2) → chunk. Read through `records.rs`.
    rings: Vec<Vec<Db<'t>>>,
}

impl<'t> Databases<'t> {
    /// Opens all, makes those that are missing. `rings` has the slots of each partition.
    pub(crate) fn create(
        opener: &DatabaseOpener<'t, WithoutTls>,
        txn: &mut RwTxn<'t>,
        rings: &[u16],
    ) -> heed::Result<Self> {
        let mut create = |name: &str| opener.create_database(txn, Some(name));
        let mut all = Vec::with_capacity(rings.len());
        for (partition, &slots) in rings.iter().enumerate() {
            let ring = (0..slots).map(|slot| create(&format!("segment/{partition}/{slot}")));
            all.push(ring.collect::<heed::Result<Vec<_>>>()?);
        }
        Ok(Self {
            meta: create(META)?,
            names: create("names")?,
            segments: create("segments")?,
            subscriptions: create("subscriptions")?,
            cursors: create("cursors")?,
            parked: create("parked")?,
            dead: create("dead")?,
            ids: create("ids")?,
            segment_ids: create("segment-ids")?,
            links: create("links")?,
            heads: create("heads")?,
            done: create("done")?,
            schedule: create("schedule")?,
            tables: create("tables")?,
            rings: all,
        })
    }

    /// The database of a slot of a partition's ring.
    pub(crate) fn segment(&self, partition: u32, slot: u16) -> Option<Db<'t>> {
        let ring = self.rings.get(usize::try_from(partition).ok()?)?;
        ring.get(usize::from(slot)).copied()
    }

    /// Bytes of the pages that hold something, as the transaction sees them: of all databases, without the list of pages that are free.
    pub(crate) fn live_bytes(&self, txn: &RwTxn<'_>) -> heed::Result<u64> {
        let fixed = [
            self.meta,
            self.names,
            self.segments,
            self.subscriptions,
            self.cursors,
            self.parked,
            self.dead,
            self.ids,
            self.segment_ids,
            self.links,
            self.heads,
            self.done,
            self.schedule,
            self.tables,
        ];
        let mut bytes = 0_u64;
        for database in fixed.iter().chain(self.rings.iter().flatten()) {
            let stat = database.stat(txn)?;
            let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
            bytes += pages as u64 * u64::from(stat.page_size);
        }
        Ok(bytes)
    }

    /// How many databases a store with these rings has.
    pub(crate) fn count(rings: &[u16]) -> u32 {
        FIXED + rings.iter().map(|&slots| u32::from(slots)).sum::<u32>()
    }
}

/// They may be used for as long as the environment is open.
impl OnCommit for Databases<'_> {
    type Committed = Databases<'static>;

    fn on_commit(self, token: &CommitToken) -> Self::Committed {
        let on_commit = |database: Db<'_>| database.on_commit(token);
        Databases {
            meta: on_commit(self.meta),
            names: on_commit(self.names),
            segments: on_commit(self.segments),
            subscriptions: on_commit(self.subscriptions),
            cursors: on_commit(self.cursors),
            parked: on_commit(self.parked),
            dead: on_commit(self.dead),
            ids: on_commit(self.ids),
            segment_ids: on_commit(self.segment_ids),
            links: on_commit(self.links),
            heads: on_commit(self.heads),
            done: on_commit(self.done),
            schedule: on_commit(self.schedule),
            tables: on_commit(self.tables),
            rings: self.rings.into_iter().map(|ring| ring.into_iter().map(on_commit).collect()).collect(),
        }
    }
}

/// The only database that is looked into before the others are known.
pub(crate) const META: &str = "meta";
/// Databases beside the rings.
const FIXED: u32 = 14;

/// Key of the store's id in `meta`.
pub(crate) const STORE_ID: &[u8] = b"store-id";
/// Start of the keys of tables in `meta`; the name follows.
pub(crate) const TABLE: &[u8] = b"table/";
/// Start of the keys of audits in `meta`; the stream's name follows.
pub(crate) const AUDIT: &[u8] = b"audit/";
/// Start of the keys of streams in `meta`; the name follows.
pub(crate) const STREAM: &[u8] = b"stream/";

/// Start of the keys of what is known of the attendance of subscriptions in `meta`; a subscription's number follows.
pub(crate) const ATTENDED: &[u8] = b"attended/";
/// Start of the keys of marks in `meta`; a subscription's number follows.
pub(crate) const MARK: &[u8] = b"mark/";

/// A key of `meta` that ends with a number.
pub(crate) fn numbered_key(prefix: &[u8], number: u32) -> Vec<u8> {
    [prefix, &number.to_be_bytes()].concat()
}

/// A key of a partition's row: its number, then what follows, all big endian so that they lie in order.
pub(crate) fn slot_key(partition: u32, slot: u16) -> [u8; 6] {
    let mut key = [0; 6];
    let (start, end) = key.split_at_mut(4);
    start.copy_from_slice(&partition.to_be_bytes());
    end.copy_from_slice(&slot.to_be_bytes());
    key
}

/// Two numbers of 4 bytes: subscription and partition.
pub(crate) fn pair_key(first: u32, second: u32) -> [u8; 8] {
    ((u64::from(first) << 32) | u64::from(second)).to_be_bytes()
}

/// A pair, and an offset.
pub(crate) fn place_key(subscription: u32, partition: u32, offset: u64) -> [u8; 16] {
    let pair = u128::from(u64::from_be_bytes(pair_key(subscription, partition)));
    ((pair << 64) | u128::from(offset)).to_be_bytes()
}

/// A record's chunk: behind the record itself, whose key is the offset alone.
pub(crate) fn chunk_key(offset: u64, number: u16) -> [u8; 10] {
    let mut key = [0; 10];
    let (start, end) = key.split_at_mut(8);
    start.copy_from_slice(&offset.to_be_bytes());
    end.copy_from_slice(&number.to_be_bytes());
    key
}
