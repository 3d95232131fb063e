//! A record: how an event becomes stored bytes, and comes back.
//!
//! | from | bytes | what |
//! |---|---|---|
//! | 0 | 1 | format version, 1 |
//! | 1 | 1 | flags: 1 = the publisher gave the id, 2 = the body goes on in chunks |
//! | 2 | 4 | checksum of all other bytes and of the [`Place`] |
//! | 6 | 2 | length of the head |
//! | 8 | – | the body: the head, and right behind it the payload |
//!
//! `docs/design/format.md` says the same byte by byte, for readers without this code. What it says of version 1 holds for
//! ever: the files in `tests/golden/` keep it so. The places of version and checksum, and what the checksum covers, hold
//! for every later version too, so that a record of the future is told from a damaged one.
//!
//! # Chunks
//! A value that fits a page of LMDB needs no second one beside it. So a body that does not fit into the record's own value
//! goes on in chunks of their own, each with a checksum of its own. Head and payload are cut as one string of bytes: a head
//! of 16 KiB of metadata is nothing special.
//!
//! # Why the place is part of the checksum
//! LMDB does not notice bits that rot. A page that turns up under another key is intact in itself; only its place is wrong.

mod body_hash;
mod checksum;
mod copies;
mod head;
mod pack;
mod place;
mod read;
mod spare;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use self::body_hash::body_hash;
pub(crate) use self::copies::Copies;
pub(crate) use self::pack::{Held, Packing, damaged, records_bytes};
pub(crate) use self::place::Place;
#[cfg(test)]
use self::read::Peek;
pub(crate) use self::read::{Name, Record, StoredEvent};
pub(crate) use self::write::{NameIds, RecordTooLarge, Recorded, encode};

/// The format that is written, and the newest that is read.
const FORMAT_VERSION: u8 = 1;

/// Flag: the publisher gave the id, so publishing it again is a repetition to be looked for.
const GIVEN_ID: u8 = 1;

/// Flag: the body goes on in chunks.
const CHUNKED: u8 = 2;

/// Bytes before the body: version, flags, checksum, length of the head.
const PREFIX_LEN: usize = 8;

/// Bytes before the part of the body in a chunk: its checksum.
const CHUNK_PREFIX_LEN: usize = 4;
