//! The hashes: what each is made of. `docs/design/format.md` says the same; it holds for ever.
//!
//! All are BLAKE3, keyed with the stream's [`AuditKey`] when it has one. Each begins with a byte that says what it is, so that none can
//! be taken for another. Texts are led by their length (8 bytes, little endian); places are big endian, as in keys.

use busway_event::AnyEvent;
use uuid::Uuid;

use super::key::AuditKey;

/// A hash.
pub(crate) type Hash = [u8; 32];

/// Hashes with a stream's key, or without.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hashing {
    key: Option<AuditKey>,
}

impl Hashing {
    pub(crate) const fn new(key: Option<AuditKey>) -> Self {
        Self { key }
    }

    pub(crate) const fn is_keyed(&self) -> bool {
        self.key.is_some()
    }

    /// What a record holds, but for its checksums, which follow from it and its place; and the texts behind its numbers, which lie
    /// elsewhere. `value` and `chunks` as they are stored.
    pub(crate) fn record<'a>(
        &self,
        event: &AnyEvent,
        value: &[u8],
        chunks: impl Iterator<Item = &'a [u8]>,
    ) -> Hash {
        let mut hasher = self.hasher(RECORD);
        for text in [event.topic().as_str(), event.type_name(), event.metadata().producer()] {
            add(&mut hasher, text.as_bytes());
        }
        let (before, behind) = value.split_at_checked(2).unwrap_or((value, &[]));
        hasher.update(before);
        add(&mut hasher, behind.get(4..).unwrap_or_default());
        for chunk in chunks {
            add(&mut hasher, chunk.get(4..).unwrap_or_default());
        }
        *hasher.finalize().as_bytes()
    }

    /// Before the first record of a partition's chain.
    pub(crate) fn genesis(&self, store: Uuid, stream: &str, partition: u32, start: u64) -> Hash {
        let mut hasher = self.hasher(GENESIS);
        hasher.update(store.as_bytes());
        add(&mut hasher, stream.as_bytes());
        hasher.update(&partition.to_be_bytes());
        hasher.update(&start.to_be_bytes());
        *hasher.finalize().as_bytes()
    }

    /// The chain behind a run of records: each its place and its hash.
    pub(crate) fn link(&self, previous: &Hash, run: &[u8]) -> Hash {
        let mut hasher = self.hasher(LINK);
        hasher.update(previous);
        hasher.update(run);
        *hasher.finalize().as_bytes()
    }

    /// What proves that who has the key made these bytes; without a key, that they are as they were made.
    pub(crate) fn proof(&self, kind: Proof, bytes: &[u8]) -> Hash {
        let mut hasher = self.hasher(match kind {
            Proof::Head => HEAD,
            Proof::Floor => FLOOR,
            Proof::Seal => SEAL,
            Proof::Key => KEY,
        });
        hasher.update(bytes);
        *hasher.finalize().as_bytes()
    }

    fn hasher(&self, kind: u8) -> blake3::Hasher {
        let mut hasher = match &self.key {
            Some(key) => blake3::Hasher::new_keyed(key.bytes()),
            None => blake3::Hasher::new(),
        };
        hasher.update(&[kind]);
        hasher
    }
}

/// What is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    Head,
    Floor,
    Seal,
    /// That a key is the one that the stream was made with.
    Key,
}

/// A record of a run: its place and its hash, as [`Hashing::link`] takes them.
pub(crate) fn add_to_run(run: &mut Vec<u8>, partition: u32, offset: u64, hash: &Hash) {
    run.extend(partition.to_be_bytes());
    run.extend(offset.to_be_bytes());
    run.extend(hash);
}

/// What is kept of a record's hash beside its link, to tell which record of a run was altered.
pub(crate) fn mark(hash: &Hash) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn add(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

const RECORD: u8 = 1;
const GENESIS: u8 = 2;
const LINK: u8 = 3;
const HEAD: u8 = 4;
const FLOOR: u8 = 5;
const SEAL: u8 = 6;
const KEY: u8 = 7;
