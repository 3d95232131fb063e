//! A partition's log: a ring of segments, each a named database.
//!
//! The databases of the ring are made with the stream and never removed. A segment takes one of them for as long as it holds
//! events; retention empties whole segments and gives their databases back. Offsets run on through all of them. Where every
//! database is taken the newest segment grows.
//!
//! A wall clock that is set back begins another segment, too: within one, times rise, so that an event is found by its time ([`find`](crate::find)).
//!
//! A segment's row is written when it begins and when the next one does: a commit that only appends touches nothing but the
//! segment itself. What the newest holds is told by its database, see `stored.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use busway_event::Timestamp;

use crate::find::{SET_BACK_MAX, SET_BACK_NANOS_MAX};
use crate::stream::Retention;

/// A segment that holds events, or is about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Which database of the ring.
    pub(crate) slot: u16,
    /// Its first offset.
    pub(crate) first: u64,
    /// The offset behind its last one.
    pub(crate) next: u64,
    /// Bytes of its values.
    pub(crate) bytes: u64,
    /// When the store took its first and its last event.
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
    /// None of its events was taken later. As a rule that is `last_at`; behind a restart only the time of the last event is known, and not that of one before
    /// which says a later one, see [`found_again`](Self::found_again).
    latest_at: Timestamp,
}

impl Segment {
    const fn empty(slot: u16, first: u64) -> Self {
        let never = Timestamp::from_nanos(0);
        Self { slot, first, next: first, bytes: 0, first_at: never, last_at: never, latest_at: never }
    }

    pub(crate) const fn count(&self) -> u64 {
        self.next - self.first
    }

    /// Its last event was taken at this time, as is found when the store is opened. One before it may say a time that is so much later as may be within a segment: without
    /// a reserve for that, a clock that is set back before a restart and behind it would pass for one that was set back less.
    pub(crate) fn found_again(&mut self, last: Timestamp) {
        self.last_at = self.last_at.max(last);
        self.latest_at = self.last_at.saturating_add(SET_BACK_MAX);
    }

    /// Whether something of it may have been taken at a later time than `now`, by more than publishers wait.
    const fn is_of_a_time_behind(&self, now: Timestamp) -> bool {
        let ahead = self.latest_at.as_nanos().saturating_sub(now.as_nanos());
        self.count() > 0 && ahead > SET_BACK_NANOS_MAX
    }

    /// As its row is stored. The slot is part of the key.
    pub(crate) const fn to_row(self) -> SegmentRow {
        (self.first, self.next, self.bytes, self.first_at.as_nanos(), self.last_at.as_nanos())
    }

    /// `None` when the numbers are none of a segment.
    pub(crate) fn from_row(slot: u16, (first, next, bytes, first_at, last_at): SegmentRow) -> Option<Self> {
        let (first_at, last_at) = (Timestamp::from_nanos(first_at), Timestamp::from_nanos(last_at));
        (first <= next).then_some(Self { slot, first, next, bytes, first_at, last_at, latest_at: last_at })
    }
}

/// First offset, offset behind the last, bytes, time of the first and of the last event in nanoseconds since 1970.
pub(crate) type SegmentRow = (u64, u64, u64, i64, i64);

/// How large a segment of a partition grows before the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentSize {
    bytes: u64,
    count: u64,
    age: Option<Duration>,
    /// What segments hold at least that take one of the last databases, see [`LAST_SLOTS`].
    last_bytes: u64,
}

impl SegmentSize {
    /// So that what retention keeps lies in most of the ring, and freeing one segment gives a small part of it back.
    pub(crate) fn of(retention: &Retention, slots: u16) -> Self {
        // One is being filled and one is on its way out.
        let parts = u64::from(slots.saturating_sub(2).max(1));
        let limit = [retention.bytes, retention.cap.map(|cap| cap.bytes)].into_iter().flatten().min();
        // Where the limit is one of time or number, they alone say when a segment is full.
        let unlimited =
            if retention.count.is_some() || retention.age.is_some() { u64::MAX } else { SEGMENT_BYTES };
        Self {
            bytes: limit.map_or(unlimited, |bytes| (bytes / parts).max(SEGMENT_BYTES_MIN)),
            count: retention.count.map_or(u64::MAX, |count| (count / parts).max(1)),
            age: retention.age.map(|age| age / u32::try_from(parts).unwrap_or(1)),
            last_bytes: retention.cap.map_or(0, |cap| cap.bytes / (LAST_SLOTS + 1)),
        }
    }

    fn is_reached_by(&self, segment: &Segment, now: Timestamp) -> bool {
        segment.count() > 0
            && (segment.bytes >= self.bytes
                || segment.count() >= self.count
                || self.age.is_some_and(|age| now.saturating_since(segment.first_at) >= age))
    }
}

/// The segments of a partition, oldest first. There always is a newest one, which takes what is appended.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    segments: VecDeque<Segment>,
    slots: u16,
    size: SegmentSize,
}

impl Log {
    /// The log that these rows tell of, in any order. `None` when they do not fit each other.
    pub(crate) fn of(mut rows: Vec<Segment>, slots: u16, size: SegmentSize) -> Option<Self> {
        rows.sort_by_key(|segment| segment.first);
        let fits = rows.windows(2).all(|pair| matches!(pair, [older, newer] if older.next == newer.first));
        let mut taken: Vec<_> = rows.iter().map(|segment| segment.slot).collect();
        taken.sort_unstable();
        taken.dedup();
        if !fits || taken.len() != rows.len() || taken.iter().any(|&slot| slot >= slots) {
            return None;
        }
        if rows.is_empty() {
            rows.push(Segment::empty(0, 0));
        }
        Some(Self { segments: rows.into(), slots, size })
    }

    /// The first offset that is there; [`next`](Self::next) when none is.
    pub(crate) fn first(&self) -> u64 {
        self.segments.front().map_or(0, |segment| segment.first)
    }

    /// The offset of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.segments.back().map_or(0, |segment| segment.next)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    pub(crate) fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> + ExactSizeIterator {
        self.segments.iter()
    }

    /// The segment that takes an offset, or the first one behind it.
    pub(crate) fn at(&self, offset: u64) -> Option<&Segment> {
        let at = self.segments.partition_point(|segment| segment.next <= offset);
        self.segments.get(at)
    }

    /// Where the next event goes: begins another segment when the newest is full, or is of a time that is yet to come, and a database is free. The
    /// segment that it goes to, its offset, and whether there is something of such a time before it.
    pub(crate) fn place(&mut self, bytes: u64, now: Timestamp) -> (u16, u64, bool) {
        let is_last = u64::from(self.slots) <= self.segments.len() as u64 + LAST_SLOTS;
        let mut is_behind = self.segments.back().is_some_and(|newest| newest.is_of_a_time_behind(now));
        if let Some(newest) = self.segments.back()
            && (is_behind || self.size.is_reached_by(newest, now))
            && (!is_last || newest.bytes >= self.size.last_bytes)
            && let Some(slot) = self.free_slot()
        {
            let first = newest.next;
            self.segments.push_back(Segment::empty(slot, first));
            is_behind = false;
        }
        let Some(newest) = self.segments.back_mut() else { return (0, 0, false) };
        if newest.count() == 0 {
            newest.first_at = now;
        }
        let offset = newest.next;
        newest.next += 1;
        newest.bytes += bytes;
        // The clock may have gone back; a segment's end is not before its start.
        newest.last_at = newest.last_at.max(now);
        newest.latest_at = newest.latest_at.max(now);
        (newest.slot, offset, is_behind)
    }

    /// The segment that takes what is appended.
    pub(crate) fn newest(&self) -> Option<&Segment> {
        self.segments.back()
    }

    fn free_slot(&self) -> Option<u16> {
        (0..self.slots).find(|&slot| self.segments.iter().all(|segment| segment.slot != slot))
    }

    /// How many of the oldest segments retention lets go. `settled` is the lowest offset that some subscription still needs.
    pub(crate) fn expired(&self, retention: &Retention, settled: u64, now: Timestamp) -> usize {
        let (mut bytes, mut count) = (self.bytes(), self.next() - self.first());
        let may_go = |segment: &&Segment| {
            (bytes, count) = (bytes - segment.bytes, count - segment.count());
            let limits = [
                retention.bytes.map(|limit| bytes >= limit),
                retention.count.map(|limit| count >= limit),
                retention.age.map(|limit| now.saturating_since(segment.last_at) > limit),
            ];
            // Each limit that is set has to allow it; without one everything stays.
            let mut limits = limits.into_iter().flatten().peekable();
            segment.next <= settled && limits.peek().is_some() && limits.all(|allows| allows)
        };
        let oldest = self.segments.len().saturating_sub(1);
        self.segments.iter().take(oldest).take_while(may_go).count()
    }

    /// How many of the oldest segments go when the partition is at its cap: those that nobody needs, the newest too. A limit by number or bytes
    /// does not hold them, because nothing could ever be published then that makes up for them; an age does, it comes by itself.
    pub(crate) fn settled_at_cap(&self, retention: &Retention, settled: u64, now: Timestamp) -> usize {
        if retention.count.is_none() && retention.bytes.is_none() {
            return 0;
        }
        let is_old = |segment: &Segment| {
            retention.age.is_none_or(|limit| now.saturating_since(segment.last_at) > limit)
        };
        let may_go = |segment: &&Segment| segment.count() > 0 && segment.next <= settled && is_old(segment);
        self.segments.iter().take_while(may_go).count()
    }

    /// Lets the oldest segment go, unless it is the only one.
    fn drop_oldest(&mut self) -> Option<Segment> {
        (self.segments.len() > 1).then(|| self.segments.pop_front()).flatten()
    }

    /// The same of the only one too: an empty one takes its place.
    pub(crate) fn drop_oldest_or_only(&mut self) -> Option<Segment> {
        if self.segments.len() == 1
            && self.newest().is_some_and(|only| only.count() > 0)
            && let Some(slot) = self.free_slot()
        {
            let next = self.next();
            self.segments.push_back(Segment::empty(slot, next));
        }
        self.drop_oldest()
    }
}

/// Bytes of a segment of a stream that keeps everything.
const SEGMENT_BYTES: u64 = 64 << 20;
/// A partition with a cap keeps so many databases for segments that hold a part of the cap each. Otherwise all would be taken by small ones while a
/// subscription falls behind, and the newest grow to all that is left of the cap, which then goes at once or not at all.
const LAST_SLOTS: u64 = 3;
/// A segment of less than this would be begun and emptied all the time.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::AtCap;

    const NOW: Timestamp = Timestamp::from_nanos(1_000_000_000_000);

    fn log(retention: Retention, slots: u16, events: u64, bytes: u64) -> Log {
        let mut log = Log::of(Vec::new(), slots, SegmentSize::of(&retention, slots)).unwrap();
        for offset in 0..events {
            assert_eq!(log.place(bytes, NOW).1, offset);
        }
        log
    }

    #[test]
    fn offsets_run_on_through_segments_and_rows_tell_them_again() {
        let retention = Retention::forever().count(100);
        let log = log(retention, 6, 90, 10);
        assert_eq!((log.first(), log.next(), log.bytes()), (0, 90, 900));
        assert_eq!(log.segments().map(Segment::count).collect::<Vec<_>>(), [25, 25, 25, 15]);
        assert_eq!(log.at(25).map(|segment| segment.first), Some(25));
        assert_eq!(log.at(90), None);
        let rows = log.segments().map(|segment| Segment::from_row(segment.slot, segment.to_row()).unwrap());
        let again = Log::of(rows.rev().collect(), 6, SegmentSize::of(&retention, 6)).unwrap();
        assert!(again.segments().eq(log.segments()));
    }

    #[test]
    fn retention_keeps_what_its_limits_say_and_what_is_not_settled() {
        let retention = Retention::forever().count(50);
        let mut log = log(retention, 6, 90, 10);
        // Segments of 12: the first three hold 36, and 54 are left.
        assert_eq!(log.expired(&retention, 90, NOW), 3);
        assert_eq!(log.expired(&retention, 30, NOW), 2, "offset 30 lies in the third");
        assert_eq!(log.expired(&Retention::forever(), 90, NOW), 0);
        let older = Retention::forever().count(50).age(Duration::from_secs(1));
        assert_eq!(log.expired(&older, 90, NOW), 0, "each limit has to allow it");
        assert_eq!(log.drop_oldest().map(|segment| segment.first), Some(0));
        assert_eq!(log.first(), 12);
    }

    #[test]
    fn a_clock_that_is_set_back_begins_a_segment_while_there_is_a_free_one() {
        let mut log = log(Retention::forever(), 3, 2, 10);
        let at = |seconds: u64| NOW.saturating_add(Duration::from_secs(seconds));
        assert_eq!(log.place(10, at(7_200)), (0, 2, false));
        assert_eq!(log.place(10, at(7_200 - 120)), (0, 3, false), "as far as publishers wait");
        assert_eq!(log.place(10, at(3_600)), (1, 4, false));
        assert_eq!(log.place(10, at(3_601)), (1, 5, false));
        assert_eq!([log.place(10, at(1)), log.place(10, at(10_000))], [(2, 6, false), (2, 7, false)]);
        assert_eq!(log.place(10, at(2)), (2, 8, true));
    }

    #[test]
    fn behind_a_restart_any_setting_back_begins_a_segment_and_ages_are_what_they_were() {
        let at = |seconds: u64| NOW.saturating_add(Duration::from_secs(seconds));
        let mut log = log(Retention::forever(), 3, 1, 10);
        log.place(10, at(100));
        log.place(10, at(10));
        let row = log.newest().unwrap().to_row();
        let mut newest = Segment::from_row(0, (row.0, row.1, row.2, row.3, NOW.as_nanos())).unwrap();
        newest.found_again(at(10));
        assert_eq!(newest.last_at, at(10));
        let size = SegmentSize::of(&Retention::forever(), 3);
        let mut log = Log::of(vec![newest], 3, size).unwrap();
        assert_eq!(log.place(10, at(10)), (0, 3, false));
        assert_eq!(log.place(10, at(9)), (1, 4, false));
    }

    #[test]
    fn a_full_ring_lets_the_newest_segment_grow() {
        let log = log(Retention::forever().count(10), 3, 100, 10);
        assert_eq!(log.segments().map(Segment::count).collect::<Vec<_>>(), [10, 10, 80]);
    }

    #[test]
    fn the_last_databases_below_a_cap_hold_a_part_of_it_each() {
        let retention = Retention::forever().count(10).cap(1_000, AtCap::RefusePublish);
        let log = log(retention, 8, 100, 10);
        // The count says 1; the last three hold a quarter of the cap before the next one begins.
        assert_eq!(log.segments().map(Segment::count).collect::<Vec<_>>(), [1, 1, 1, 1, 25, 25, 25, 21]);
    }

    #[test]
    fn what_nobody_needs_goes_at_the_cap_the_only_segment_too() {
        let retention = Retention::forever().count(50);
        let mut log = log(retention, 3, 40, 10);
        assert_eq!(log.settled_at_cap(&retention, 39, NOW), 0, "one event is needed");
        assert_eq!(log.settled_at_cap(&retention, 40, NOW), 1);
        assert_eq!(log.settled_at_cap(&retention.age(Duration::from_secs(1)), 40, NOW), 0, "an age holds");
        assert_eq!(log.settled_at_cap(&Retention::forever(), 40, NOW), 0, "everything is kept");
        assert_eq!(log.drop_oldest_or_only().map(|segment| (segment.first, segment.next)), Some((0, 40)));
        assert_eq!((log.first(), log.next(), log.bytes()), (40, 40, 0));
        assert_eq!(log.drop_oldest_or_only(), None, "it is empty");
        assert_eq!(log.place(10, NOW).1, 40);
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let size = SegmentSize::of(&Retention::forever(), 4);
        let row = |slot, first, next| Segment { next, ..Segment::empty(slot, first) };
        assert!(Log::of(vec![row(0, 0, 5), row(1, 6, 9)], 4, size).is_none(), "a gap");
        assert!(Log::of(vec![row(0, 0, 5), row(0, 5, 9)], 4, size).is_none(), "one database, twice");
        assert!(Log::of(vec![row(4, 0, 5)], 4, size).is_none(), "no such database");
        assert_eq!(Segment::from_row(0, (5, 4, 0, 0, 0)), None);
    }
}
