//! Gap tracking: how far a partition may be committed when its events are settled in any order.
//!
//! Kafka keeps one position of a partition for a group. Here that is the offset of the first event that is not settled, never more; which of those above it are
//! settled already goes along as a bitmap in the commit's metadata, and whoever has the partition next leaves them out. What is between the position and the newest event that
//! was read is the *gap*: it is limited, so that the bitmap fits into the metadata (4096 bytes), and the partition is paused at the limit.
//!
//! Offsets that hold no event (of transactions, or compacted away) are settled by themselves.

use std::collections::BTreeSet;

/// A partition's offsets, as a member knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Read and not settled.
    open: BTreeSet<i64>,
    /// Behind the newest that was read.
    next: i64,
    /// Settled above the position, by who had the partition before; those below `next` are forgotten.
    before: BTreeSet<i64>,
}

/// What becomes of an offset that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// It is open now.
    New,
    /// It was settled by who had the partition before.
    Settled,
    /// It is in somebody's hands already.
    Again,
    /// It lies below the position, where all was settled: the log was cut, or made anew, and is read from its beginning. What is there is not what was settled.
    Reset,
}

impl Gap {
    /// From a committed position on, with what was settled above it.
    pub(crate) fn new(position: i64, settled: impl IntoIterator<Item = i64>) -> Self {
        Self { open: BTreeSet::new(), next: position, before: settled.into_iter().collect() }
    }

    /// An event was read.
    pub(crate) fn read(&mut self, offset: i64) -> Read {
        if offset < self.position() {
            return Read::Reset;
        }
        if offset < self.next {
            return Read::Again;
        }
        self.next = offset + 1;
        let is_settled = self.before.contains(&offset);
        if !self.before.is_empty() {
            self.before = self.before.split_off(&self.next);
        }
        if is_settled {
            return Read::Settled;
        }
        self.open.insert(offset);
        Read::New
    }

    /// An event is settled. Whether it was open.
    pub(crate) fn settle(&mut self, offset: i64) -> bool {
        self.open.remove(&offset)
    }

    /// The first offset that is not settled: what may be committed.
    pub(crate) fn position(&self) -> i64 {
        self.open.first().copied().unwrap_or(self.next)
    }

    /// From the position to the newest that was read.
    pub(crate) fn len(&self) -> u64 {
        u64::try_from(self.next - self.position()).unwrap_or(0)
    }

    /// What is settled above the position, below the [reach](Self::reach).
    pub(crate) fn settled(&self) -> Vec<i64> {
        let (position, reach) = (self.position(), self.reach());
        let is_all_open = u64::try_from(self.open.len()).is_ok_and(|open| open == self.len());
        if is_all_open {
            return self.before.range(..reach).copied().collect();
        }
        // No further, however far the newest is: a log may have holes of millions of offsets.
        let here = (position..self.next.min(reach)).filter(|offset| !self.open.contains(offset));
        here.chain(self.before.range(..reach).copied()).collect()
    }

    /// Behind the last offset that a commit can say is settled. What lies there, and beyond, has to wait until the position has come nearer.
    pub(crate) fn reach(&self) -> i64 {
        self.position().saturating_add(i64::try_from(LIMIT_MAX).unwrap_or(i64::MAX))
    }
}

/// The most that a limit of the gap may be: as many bits in base 64 leave a third of the metadata to the filter.
pub(crate) const LIMIT_MAX: u64 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_never_passes_what_is_open() {
        let mut gap = Gap::new(5, []);
        for offset in 5..10 {
            assert_eq!(gap.read(offset), Read::New);
        }
        assert!(gap.settle(7) && gap.settle(6));
        assert_eq!((gap.position(), gap.len(), gap.settled()), (5, 5, vec![6, 7]));
        assert!(gap.settle(5));
        assert_eq!((gap.position(), gap.settled()), (8, vec![]));
        assert!(gap.settle(9) && !gap.settle(9));
        assert_eq!((gap.position(), gap.settled()), (8, vec![9]));
        assert!(gap.settle(8));
        assert_eq!((gap.position(), gap.len(), gap.settled()), (10, 0, vec![]));
    }

    #[test]
    fn offsets_without_an_event_hold_nothing_up() {
        let mut gap = Gap::new(0, []);
        assert_eq!((gap.read(3), gap.read(9)), (Read::New, Read::New));
        assert_eq!(gap.position(), 3);
        assert!(gap.settle(3));
        assert_eq!((gap.position(), gap.settled()), (9, vec![]));
    }

    #[test]
    fn who_comes_next_leaves_out_what_was_settled() {
        let mut first = Gap::new(0, []);
        (0..6).for_each(|offset| _ = first.read(offset));
        [1, 2, 4].into_iter().for_each(|offset| _ = first.settle(offset));
        let mut next = Gap::new(first.position(), first.settled());
        // Nothing was read yet, and nothing is forgotten.
        assert_eq!((next.position(), next.settled()), (0, vec![1, 2, 4]));
        let read: Vec<_> = (0..6).map(|offset| next.read(offset)).collect();
        assert_eq!(read, [Read::New, Read::Settled, Read::Settled, Read::New, Read::Settled, Read::New]);
        assert_eq!(next.read(3), Read::Again);
        assert_eq!(next.read(-1), Read::Reset);
        assert!(next.settle(0));
        assert_eq!((next.position(), next.settled()), (3, vec![4]));
    }

    #[test]
    fn a_hole_of_millions_costs_nothing_and_what_lies_behind_it_is_not_said_to_be_settled() {
        let mut gap = Gap::new(0, []);
        let far = i64::MAX / 2;
        assert_eq!((gap.read(0), gap.read(1), gap.read(far)), (Read::New, Read::New, Read::New));
        assert!(gap.settle(far) && gap.settle(1));
        let settled = gap.settled();
        assert_eq!((settled.first(), settled.last()), (Some(&1), Some(&(gap.reach() - 1))));
        assert!(gap.settle(0));
        assert_eq!((gap.position(), gap.settled()), (far + 1, vec![]));
    }

    /// In any order, against the plain rule: the position is the least that is not settled.
    #[test]
    fn any_order_comes_to_the_same() {
        let mut state = 7_u64;
        for _ in 0..50 {
            let mut gap = Gap::new(0, []);
            (0..40).for_each(|offset| _ = gap.read(offset));
            let mut left: Vec<i64> = (0..40).collect();
            while !left.is_empty() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(state >> 33).unwrap() % left.len();
                assert!(gap.settle(left.swap_remove(at)));
                let least = left.iter().min().copied().unwrap_or(40);
                assert_eq!(gap.position(), least);
                let settled: Vec<_> = (least..40).filter(|offset| !left.contains(offset)).collect();
                assert_eq!(gap.settled(), settled);
            }
        }
    }
}
