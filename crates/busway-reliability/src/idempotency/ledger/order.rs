//! Keys that are done in the order of their ids, which is that in which they lie.
//!
//! Ids that rise (see `rising`) are done about in their order. One that is above all that were done before it needs no place in a table: records of such keys are sorted as they lie, others
//! between them, and one is found from the nearest before it of every [`BLOCK`]th. That is a byte a key, where a table takes 15 to 30, which have to be touched for the first time, and two
//! lines that no cache has.

use std::collections::VecDeque;

use super::super::key::IdempotencyKey;
use super::rising::rising;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct InOrder {
    highest: u128,
    /// Every so often one of the keys, and the number of its record. All that are in order from it to the next one lie less than [`BLOCK`] behind it.
    starts: VecDeque<(u128, u32)>,
}

impl InOrder {
    /// Whether the record of this key, which is the last one and has this number, is in order: then it is found by this.
    #[inline]
    pub(super) fn append(&mut self, key: IdempotencyKey, number: u32) -> bool {
        let Some(id) = rising(key).filter(|id| *id > self.highest) else { return false };
        self.highest = id;
        if self.starts.back().is_none_or(|(_, start)| number.wrapping_sub(*start) >= BLOCK) {
            self.starts.push_back((id, number));
        }
        true
    }

    /// Among which records that of a key is, if it is in order. They may be gone.
    #[inline]
    pub(super) fn find(&self, key: IdempotencyKey) -> Option<impl Iterator<Item = u32> + use<>> {
        let id = rising(key).filter(|id| *id <= self.highest)?;
        let start = self.start(id)?;
        Some((0..BLOCK).map(move |step| start.wrapping_add(step)))
    }

    /// The number of the last start that is not above an id. Looked for from the end: ids that come late are not late by much.
    fn start(&self, id: u128) -> Option<u32> {
        let is_above = |at: usize| self.starts.get(at).is_some_and(|(start, _)| *start > id);
        let count = self.starts.len();
        let mut from_end = 1;
        while from_end < count && is_above(count - from_end) {
            from_end *= 2;
        }
        let (mut low, mut high) = (count.saturating_sub(from_end), count - from_end / 2);
        while low < high {
            let middle = low.midpoint(high);
            if is_above(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        self.starts.get(low.checked_sub(1)?).map(|(_, number)| *number)
    }

    /// All records before this number are gone.
    #[inline]
    pub(super) fn forget_before(&mut self, first: u32) {
        while self.starts.get(1).is_some_and(|(_, second)| first.wrapping_sub(*second) <= u32::MAX / 2) {
            self.starts.pop_front();
        }
    }

    /// How many keys are found from.
    #[cfg(test)]
    pub(super) fn starts(&self) -> usize {
        self.starts.len()
    }
}

/// A few lines of memory behind one another, which are fetched ahead.
const BLOCK: u32 = 32;
