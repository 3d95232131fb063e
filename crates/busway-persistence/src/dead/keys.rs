//! Where dead letters lie, and what lies beside them. `docs/design/format.md` has it byte by byte.
//!
//! A letter's key is subscription, partition, offset; what belongs to it follows that key with one byte more. No subscription has the number
//! 0: rows that are not one letter's have keys that begin with it.

use std::fmt;

use busway_event::Timestamp;
use serde::{Deserialize, Serialize};

use crate::layout::place_key;

/// Names a dead letter in a store. In the order in which they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LetterKey {
    /// Its subscription's number in the store.
    pub subscription: u32,
    /// The partition's number in the store.
    pub partition: u32,
    /// The event's position in it.
    pub offset: u64,
}

impl LetterKey {
    pub(crate) fn bytes(self) -> [u8; 16] {
        place_key(self.subscription, self.partition, self.offset)
    }

    /// The key of something that belongs to it.
    pub(crate) fn part(self, part: u8) -> [u8; 17] {
        let mut key = [part; 17];
        let (start, _) = key.split_at_mut(16);
        start.copy_from_slice(&self.bytes());
        key
    }

    /// The key of a chunk.
    pub(crate) fn chunk(self, part: u8, number: u16) -> [u8; 19] {
        let mut key = [0; 19];
        let (start, end) = key.split_at_mut(17);
        start.copy_from_slice(&self.part(part));
        end.copy_from_slice(&number.to_be_bytes());
        key
    }

    /// Of a key, and what follows it.
    pub(crate) fn read(key: &[u8]) -> Option<(Self, &[u8])> {
        let (key, rest) = key.split_first_chunk::<16>()?;
        let number = u128::from_be_bytes(*key);
        let (subscription, partition) =
            (u32::try_from(number >> 96).ok()?, (number >> 64) & u128::from(u32::MAX));
        let offset = u64::try_from(number & u128::from(u64::MAX)).ok()?;
        Some((Self { subscription, partition: u32::try_from(partition).ok()?, offset }, rest))
    }

    /// The first key behind all that belongs to it.
    pub(crate) fn end(self) -> [u8; 16] {
        u128::from_be_bytes(self.bytes()).saturating_add(1).to_be_bytes()
    }

    /// The one behind it, whether there is one or not.
    #[must_use]
    pub fn next(self) -> Self {
        Self::read(&self.end()).map_or(self, |(key, _)| key)
    }

    /// Before all of a subscription.
    #[must_use]
    pub const fn first_of(subscription: u32) -> Self {
        Self { subscription, partition: 0, offset: 0 }
    }
}

impl fmt::Display for LetterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.subscription, self.partition, self.offset)
    }
}

/// Of a parked event that is a dead letter given again: behind its key in `parked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RedrivenRow {
    /// The number of the operation.
    pub(crate) operation: u64,
    pub(crate) at: Timestamp,
}

/// The key of a row that is not one letter's.
pub(crate) fn own_key(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, kind], rest].concat()
}

/// What follows a letter's key for a record that somebody has edited and for its chunks, and when it was handled.
pub(crate) const EDITED: u8 = 3;
pub(crate) const EDITED_CHUNK: u8 = 4;
pub(crate) const HANDLED: u8 = 5;
/// What follows a parked event's key when it is a dead letter that is given again.
pub(crate) const REDRIVEN: u8 = 0;

/// Number (8) → operation.
pub(crate) const OPERATION: u8 = b'o';
/// Request → number of its operation.
pub(crate) const REQUEST: u8 = b'r';
/// Subscription (4) → name of one that was removed and left letters.
pub(crate) const NAME: u8 = b'n';
/// Subscription (4) → how many letters it has. Nothing → they are counted.
pub(crate) const COUNT: u8 = b'c';

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row;

    /// Byte by byte as `docs/design/format.md` has it.
    #[test]
    fn the_golden_mark_is_what_is_written_today() {
        let key = LetterKey { subscription: 3, partition: 1, offset: 17 }.part(REDRIVEN);
        let mark = RedrivenRow { operation: 5, at: Timestamp::from_nanos(1_760_000_000_000_000_000) };
        let golden = "01e693ad4a05000000000000000000b0d4acc66c18";
        assert_eq!(row::hex(&row::encode(&key, &mark).unwrap()), golden);
    }

    #[test]
    fn a_key_comes_back_and_what_belongs_to_it_lies_before_the_next() {
        let key = LetterKey { subscription: 3, partition: 2, offset: u64::MAX };
        assert_eq!(LetterKey::read(&key.part(7)), Some((key, &[7][..])));
        assert_eq!(key.next(), LetterKey { subscription: 3, partition: 3, offset: 0 });
        assert!(key.bytes()[..] < key.part(0)[..] && key.chunk(EDITED_CHUNK, u16::MAX)[..] < key.end()[..]);
        assert!(own_key(b'z', &[0xff; 64])[..] < LetterKey::first_of(1).bytes()[..]);
    }
}
