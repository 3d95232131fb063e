//! Keys and rows of the schedule. What lies where: see the folder's module.

use std::time::Duration;

use busway_event::{EventId, Timestamp};
use serde::{Deserialize, Serialize};

/// A place among what waits: when it is due, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(super) due: Timestamp,
    pub(super) number: u64,
}

/// Which event waits at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeadRow {
    pub(super) id: [u8; 16],
    pub(super) stream: u32,
    pub(super) partition: u32,
    /// Of its record's values.
    pub(super) bytes: u64,
}

/// When the event with an id is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdRow {
    pub(super) due: Timestamp,
    pub(super) number: u64,
    /// When it was scheduled.
    pub(super) taken: Timestamp,
    /// How long was asked for, in nanoseconds, when no time was named.
    pub(super) delay: Option<u64>,
    /// The hash of its body, when its publisher gave the id.
    pub(super) body: Option<u64>,
    pub(super) bytes: u64,
}

impl IdRow {
    /// When its delay began, by the clock that the schedule went by then, which may have been another one than `taken`: a schedule does not go
    /// back with the wall clock. Without a delay, when it was scheduled.
    pub(super) fn began(&self) -> Timestamp {
        let begun = |delay| self.due.saturating_sub(Duration::from_nanos(delay));
        self.delay.map_or(self.taken, begun)
    }
}

/// What was not published because it cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DamageRow {
    /// When that was found.
    pub(super) at: Timestamp,
    pub(super) reason: String,
}

impl Slot {
    /// `kind`, due, number.
    pub(super) fn key(self, kind: u8) -> [u8; SLOT_KEY_BYTES] {
        let mut key = [kind; SLOT_KEY_BYTES];
        if let Some((_, rest)) = key.split_first_mut() {
            let (due, number) = rest.split_at_mut(8);
            due.copy_from_slice(&ordered(self.due).to_be_bytes());
            number.copy_from_slice(&self.number.to_be_bytes());
        }
        key
    }

    /// The key of one of its values.
    pub(super) fn part(self, kind: u8, part: &[u8]) -> Vec<u8> {
        [&self.key(kind)[..], part].concat()
    }

    /// The place that a key of this kind begins with, and what follows it.
    pub(super) fn of(kind: u8, key: &[u8]) -> Option<(Self, &[u8])> {
        let (&first, rest) = key.split_first()?;
        let (due, rest) = rest.split_first_chunk()?;
        let (number, part) = rest.split_first_chunk()?;
        let slot = Self {
            due: Timestamp::from_nanos((u64::from_be_bytes(*due) ^ SIGN).cast_signed()),
            number: u64::from_be_bytes(*number),
        };
        (first == kind).then_some((slot, part))
    }

    /// The first place behind everything that is due at `time`.
    pub(super) const fn behind(time: Timestamp) -> Self {
        Self { due: time, number: u64::MAX }
    }
}

/// The key of an id: it leads to the events of that id in each stream.
pub(super) fn id_key(id: EventId, stream: u32) -> Vec<u8> {
    [&id_prefix(id)[..], &stream.to_be_bytes()].concat()
}

pub(super) fn id_prefix(id: EventId) -> Vec<u8> {
    [&[ID], &id.as_uuid().as_bytes()[..]].concat()
}

/// The key of a schedule by name.
pub(super) fn name_key(name: &str) -> Vec<u8> {
    [&[NAME], name.as_bytes()].concat()
}

/// What a chunk's key ends with.
pub(super) fn chunk_part(number: u16) -> [u8; 3] {
    let [high, low] = number.to_be_bytes();
    [CHUNK, high, low]
}

/// A number that sorts as its time does.
fn ordered(time: Timestamp) -> u64 {
    time.as_nanos().cast_unsigned() ^ SIGN
}

const SIGN: u64 = 1 << 63;
const SLOT_KEY_BYTES: usize = 17;

/// Kinds of keys.
pub(super) const WAITING: u8 = 0;
pub(super) const ID: u8 = 1;
pub(super) const DAMAGED: u8 = 2;
pub(super) const NAME: u8 = 3;

/// What follows the key of an event for its record and for the chunks of that.
pub(super) const RECORD: u8 = 0;
const CHUNK: u8 = 1;
/// What follows the key of a damaged one for the row that led to it.
pub(super) const HEAD: u8 = 2;

/// The partition that scheduled records are sealed for: no log has it.
pub(super) const SEALED_FOR: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_times_do_and_come_back() {
        let times = [i64::MIN, -1, 0, 1, 1_767_225_600_000_000_000, i64::MAX];
        let slots = times.map(|nanos| Slot { due: Timestamp::from_nanos(nanos), number: 7 });
        let keys = slots.map(|slot| slot.key(WAITING));
        assert!(keys.is_sorted());
        for (slot, key) in slots.into_iter().zip(keys) {
            assert_eq!(Slot::of(WAITING, &key), Some((slot, &[][..])));
            let chunk = slot.part(WAITING, &chunk_part(513));
            assert_eq!(Slot::of(WAITING, &chunk), Some((slot, &[CHUNK, 2, 1][..])));
            assert!(chunk[..] > key[..] && slot.part(WAITING, &[RECORD])[..] < chunk[..]);
            assert_eq!(Slot::of(DAMAGED, &key), None);
        }
        assert_eq!(Slot::of(WAITING, &[0; 16]), None);
        let later = Slot { number: 8, ..slots[2] };
        assert!(slots[2].key(WAITING) < later.key(WAITING) && later.key(WAITING) < slots[3].key(WAITING));
    }
}
