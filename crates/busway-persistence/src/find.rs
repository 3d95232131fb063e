//! Finding: where an event lies, by its id or by when the store took it.
//!
//! Ids that publishers give are indexed. Ids that busway makes are not, because they say when they were made (UUID version 7):
//! an event was taken within moments of that, so it is looked for among those that were taken around then. One that was not is indexed like those that
//! are given, see [`is_out_of_time`]: it waited in the schedule, or the wall clock was set back and the ids of its thread did not go back with it.
//!
//! Within a segment times rise, but for [`SET_BACK_NANOS_MAX`]: a clock that is set back by more begins another one ([`Log::place`](crate::segment::Log::place)), or
//! where none is free what is stored by it is indexed too. So an event is looked for in each segment that has something of its time.

use std::time::Duration;

use busway_event::{EventId, Timestamp};
use heed::RoTxn;

use crate::append::Position;
use crate::error::ReadError;
use crate::record::{Place, Record};
use crate::records::{self, Records};
use crate::row;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::stored::Unreadable;
use crate::writer::{GivenRow, given_key};

impl Shared {
    /// Where the event with this id lies; `None` when it does not, or no longer.
    pub(crate) fn lookup(&self, id: EventId) -> Result<Option<Position>, ReadError> {
        if let Some(given) = self.lookup_given(id)? {
            return Ok(Some(given));
        }
        let Some(made) = made_at(id) else { return Ok(None) };
        // Nearly always it is where it should be: the other places are many more.
        for set_back in [Duration::ZERO, SET_BACK_MAX] {
            let from = made.saturating_sub(CLOCKS_APART + set_back);
            let until = made.saturating_add(PUBLISH_MAX + set_back);
            for partition in 0..u32::try_from(self.partitions.len()).unwrap_or(u32::MAX) {
                if let Some(found) = self.look_between(partition, id, (from, until))? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Looks among the events of a partition that were taken between two times.
    fn look_between(
        &self,
        partition: u32,
        id: EventId,
        times: (Timestamp, Timestamp),
    ) -> Result<Option<Position>, ReadError> {
        let mut behind = 0;
        while let Some((mut from, end)) = self.next_stretch(partition, behind, times)? {
            while from < end {
                match self.look_for(partition, id, from, times.1)? {
                    Some(Looked::Found(position)) => return Ok(Some(position)),
                    Some(Looked::Until(offset)) => from = offset,
                    None => break,
                }
            }
            behind = end;
        }
        Ok(None)
    }

    /// Where the first segment behind an offset that has something between two times reaches the first of them, and where it ends.
    fn next_stretch(
        &self,
        partition: u32,
        behind: u64,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<Option<(u64, u64)>, ReadError> {
        let view = self.view(partition)?;
        let has_some = |segment: &&Segment| {
            let is_behind = segment.next > behind && segment.count() > 0;
            is_behind && segment.last_at >= from && segment.first_at <= until
        };
        let Some(segment) = view.segments.iter().find(has_some) else { return Ok(None) };
        let start = self.first_since(&view, partition, segment, from)?;
        Ok(Some((start.max(behind), segment.next)))
    }

    fn lookup_given(&self, id: EventId) -> Result<Option<Position>, ReadError> {
        let txn = self.gate.read().map_err(|error| self.storage(&error))?;
        for stream in 0..u32::try_from(self.streams.len()).unwrap_or(u32::MAX) {
            let key = given_key(stream, id);
            let found = self.databases.ids.get(&txn, &key).map_err(|error| self.storage(&error))?;
            let Some(found) = found else { continue };
            let GivenRow { partition, offset, .. } = row::decode("id", &key, found)?;
            return Ok(Some(Position { partition, offset }));
        }
        Ok(None)
    }

    /// Looks at a bounded number of records of a segment. `None`: it is not there.
    fn look_for(
        &self,
        partition: u32,
        id: EventId,
        from: u64,
        until: Timestamp,
    ) -> Result<Option<Looked>, ReadError> {
        let view = self.view(partition)?;
        let Some(segment) = view.segments.iter().find(|segment| segment.next > from) else { return Ok(None) };
        let Some(database) = self.databases.segment(partition, segment.slot) else { return Ok(None) };
        let first = from.max(segment.first);
        let end = segment.next.min(first.saturating_add(LOOKED_AT_ONCE));
        let mut beyond = 0;
        let place = |offset| Place { partition, offset };
        let mut records =
            Records::from(database, &view, place(first)).map_err(|error| self.storage(&error))?;
        while let Some((offset, value)) = records.advance().map_err(|error| self.storage(&error))? {
            if offset >= end {
                break;
            }
            // A damaged record is reported to who reads it; here it is not the one.
            let record = value.and_then(|value| Record::check(place(offset), value));
            match record.map(|record| record.peek()) {
                Ok(peek) if peek.id == id => {
                    return Ok(Some(Looked::Found(Position { partition, offset })));
                }
                Ok(peek) if peek.appended > until => beyond += 1,
                _ => {}
            }
        }
        // Clocks of publishers differ: only when all of a stretch are later, what follows is later too.
        Ok((beyond < end - first).then_some(Looked::Until(end)))
    }

    /// The first offset of a partition whose event the store took at this time or later; the log's end when there is none.
    /// Times are those that publishers gave: where they do not rise, any place where they pass the time will do.
    pub(crate) fn offset_at(&self, partition: u32, time: Timestamp) -> Result<u64, ReadError> {
        let view = self.view(partition)?;
        let Some(segment) =
            view.segments.iter().find(|segment| segment.count() > 0 && segment.last_at >= time)
        else {
            return Ok(view.segments.last().map_or(0, |newest| newest.next));
        };
        self.first_since(&view, partition, segment, time)
    }

    /// The same within a segment.
    fn first_since(
        &self,
        txn: &RoTxn<'_>,
        partition: u32,
        segment: &Segment,
        time: Timestamp,
    ) -> Result<u64, ReadError> {
        let (mut low, mut high) = (segment.first, segment.next);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.appended_at(txn, partition, segment, middle)? < time {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }

    fn appended_at(
        &self,
        txn: &RoTxn<'_>,
        partition: u32,
        segment: &Segment,
        offset: u64,
    ) -> Result<Timestamp, ReadError> {
        let Some(database) = self.databases.segment(partition, segment.slot) else {
            return Ok(segment.first_at);
        };
        // The next intact one before a damaged one is as good.
        for offset in (segment.first..=offset).rev() {
            let place = Place { partition, offset };
            let value = match records::find(database, txn, place) {
                Ok(value) => value,
                Err(Unreadable::Corrupt(_)) => continue,
                Err(Unreadable::Storage(error)) => return Err(self.storage(&error)),
            };
            if let Some(record) = value.and_then(|value| Record::check(place, value).ok()) {
                return Ok(record.peek().appended);
            }
        }
        Ok(segment.first_at)
    }
}

enum Looked {
    Found(Position),
    /// Everything before this offset was looked at.
    Until(u64),
}

/// When busway made the id, to the millisecond.
#[inline]
fn made_at(id: EventId) -> Option<Timestamp> {
    let bits = id.as_uuid().as_u128();
    let millis = i64::try_from(bits >> 80).ok()?;
    let nanos = (bits >> 76 & 0xf == 7).then(|| millis.checked_mul(1_000_000)).flatten()?;
    Some(Timestamp::from_nanos(nanos))
}

/// Whether busway made the id, at another time than when an event with it is taken: it would not be found by that.
#[inline]
pub(crate) fn is_out_of_time(id: EventId, taken: Timestamp) -> bool {
    let Some(made) = made_at(id) else { return false };
    let later = taken.as_nanos().saturating_sub(made.as_nanos());
    !(-CLOCKS_APART_NANOS..=PUBLISH_NANOS_MAX).contains(&later)
}

/// The id and the time of an append come from the same clock, read at different moments; it may step back in between.
const CLOCKS_APART: Duration = Duration::from_nanos(CLOCKS_APART_NANOS.cast_unsigned());
const CLOCKS_APART_NANOS: i64 = 2_000_000_000;
/// No publish waits longer than this for its append.
pub(crate) const PUBLISH_MAX: Duration = Duration::from_nanos(PUBLISH_NANOS_MAX.cast_unsigned());
const PUBLISH_NANOS_MAX: i64 = 60_000_000_000;
/// So much later may what was stored before an event say that it was taken. More than publishers wait for their appends.
pub(crate) const SET_BACK_MAX: Duration = Duration::from_nanos(SET_BACK_NANOS_MAX.cast_unsigned());
pub(crate) const SET_BACK_NANOS_MAX: i64 = 120_000_000_000;
/// Records that one transaction looks at.
const LOOKED_AT_ONCE: u64 = 1 << 14;
