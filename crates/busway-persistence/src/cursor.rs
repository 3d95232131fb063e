//! A cursor: what a subscription has settled of a partition.
//!
//! A low mark, below which everything is settled, and runs of settled offsets above it. Events finish out of order when
//! several are handled at once; after a crash only those outside of the runs are attempted again.

use std::collections::BTreeMap;

/// The stored position of a subscription in a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    low: u64,
    /// Start to end, the end excluded. None touches another, none begins at or below the low mark.
    runs: BTreeMap<u64, u64>,
}

impl Cursor {
    /// Everything before `low` is settled, nothing else.
    #[must_use]
    pub const fn at(low: u64) -> Self {
        Self { low, runs: BTreeMap::new() }
    }

    /// The lowest offset that is not settled.
    #[must_use]
    pub const fn low(&self) -> u64 {
        self.low
    }

    /// Settled runs above the low mark, as start and end (excluded), in order.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.runs.iter().map(|(&start, &end)| (start, end))
    }

    /// How many runs there are.
    #[must_use]
    pub fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// Whether an offset is settled.
    #[must_use]
    pub fn is_settled(&self, offset: u64) -> bool {
        offset < self.low || self.runs.range(..=offset).next_back().is_some_and(|(_, &end)| offset < end)
    }

    /// Settles the offsets from `start` to `end`, the end excluded. Settling again changes nothing.
    pub fn settle(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start.max(self.low), end);
        if start >= end {
            return;
        }
        if let Some((&before, &its_end)) = self.runs.range(..=start).next_back()
            && its_end >= start
        {
            self.runs.remove(&before);
            (start, end) = (before, end.max(its_end));
        }
        while let Some((&next, &its_end)) = self.runs.range(start..=end).next() {
            self.runs.remove(&next);
            end = end.max(its_end);
        }
        match start <= self.low {
            true => self.low = end,
            false => _ = self.runs.insert(start, end),
        }
    }

    /// The first offset from `from` on that is not settled.
    #[must_use]
    pub fn next_unsettled(&self, from: u64) -> u64 {
        let from = from.max(self.low);
        match self.runs.range(..=from).next_back() {
            Some((_, &end)) if from < end => end,
            _ => from,
        }
    }

    /// Events before `end` that are not settled.
    #[must_use]
    pub fn unsettled_before(&self, end: u64) -> u64 {
        let settled: u64 = self.runs().map(|(start, run_end)| run_end.min(end).saturating_sub(start)).sum();
        end.saturating_sub(self.low).saturating_sub(settled)
    }

    /// Events from `from` on and before `end` that are not settled.
    #[must_use]
    pub fn unsettled_between(&self, from: u64, end: u64) -> u64 {
        match from < end {
            true => self.unsettled_before(end).saturating_sub(self.unsettled_before(from)),
            false => 0,
        }
    }

    /// As it is stored: the low mark, then start and end of each run.
    pub(crate) fn to_words(&self) -> Vec<u64> {
        let runs = self.runs().flat_map(|(start, end)| [start, end]);
        std::iter::once(self.low).chain(runs).collect()
    }

    /// `None` when the words are none of a cursor.
    pub(crate) fn from_words(words: &[u64]) -> Option<Self> {
        let (&low, runs) = words.split_first()?;
        let (runs, []) = runs.as_chunks::<2>() else { return None };
        let mut cursor = Self::at(low);
        let mut past = low;
        for &[start, end] in runs {
            // Runs rise, and do not touch: otherwise this is not what was written.
            if start <= past || end <= start {
                return None;
            }
            cursor.runs.insert(start, end);
            past = end;
        }
        Some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_the_set_of_what_was_settled(low in 0_u64..20, runs in prop::collection::vec((0_u64..60, 0_u64..9), 0..40)) {
            let mut cursor = Cursor::at(low);
            let mut settled: BTreeSet<u64> = (0..low).collect();
            for (start, len) in runs {
                cursor.settle(start, start + len);
                settled.extend(start..start + len);
                prop_assert!((0..80).all(|offset| cursor.is_settled(offset) == settled.contains(&offset)));
                let unsettled = (0..80).find(|offset| !settled.contains(offset)).unwrap();
                prop_assert_eq!(cursor.low(), unsettled);
                prop_assert_eq!(cursor.next_unsettled(30), (30..90).find(|offset| !settled.contains(offset)).unwrap());
                prop_assert_eq!(cursor.unsettled_before(50), (0..50).filter(|offset| !settled.contains(offset)).count() as u64);
                prop_assert_eq!(Cursor::from_words(&cursor.to_words()), Some(cursor.clone()));
            }
        }

        #[test]
        fn words_that_are_no_cursor_are_refused(words in prop::collection::vec(0_u64..40, 0..9)) {
            if let Some(cursor) = Cursor::from_words(&words) {
                prop_assert_eq!(cursor.to_words(), words);
            }
        }
    }
}
