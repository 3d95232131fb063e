//! Finding: where an event lies, by its id or by when the store took it.
//!
//! Ids that publishers give are indexed. Ids that busway makes are not, because they say when they were made (UUID version 7):
//! an event was taken within moments of that, so it is looked for among those that were taken around then. One that waited in the schedule
//! came into the log later: its id is indexed when it does, see [`is_found_by_time`].

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
        for partition in 0..u32::try_from(self.partitions.len()).unwrap_or(u32::MAX) {
            let mut from = self.offset_at(partition, made.saturating_sub(CLOCKS_APART))?;
            while let Some(next) = self.look_for(partition, id, from, made.saturating_add(PUBLISH_MAX))? {
                match next {
                    Looked::Found(position) => return Ok(Some(position)),
                    Looked::Until(offset) => from = offset,
                }
            }
        }
        Ok(None)
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

    /// Looks at a bounded number of records. `None`: it is not there.
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
        let (mut low, mut high) = (segment.first, segment.next);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.appended_at(&view, partition, segment, middle)? < time {
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

/// When busway made the id.
fn made_at(id: EventId) -> Option<Timestamp> {
    let (seconds, nanos) = id.as_uuid().get_timestamp()?.to_unix();
    let seconds = i64::try_from(seconds).ok()?;
    Some(Timestamp::from_nanos(seconds.checked_mul(1_000_000_000)?.checked_add(i64::from(nanos))?))
}

/// Whether an event that is taken at this time is found by its id though that is not indexed: the log is looked at around when the id was made.
pub(crate) fn is_found_by_time(id: EventId, taken: Timestamp) -> bool {
    let is_around = |made: Timestamp| {
        made.saturating_sub(CLOCKS_APART) <= taken && taken <= made.saturating_add(PUBLISH_MAX)
    };
    made_at(id).is_some_and(is_around)
}

/// The id and the time of an append come from the same clock, read at different moments; it may step back in between.
const CLOCKS_APART: Duration = Duration::from_secs(2);
/// No publish waits longer than this for its append.
const PUBLISH_MAX: Duration = Duration::from_secs(60);
/// Records that one transaction looks at.
const LOOKED_AT_ONCE: u64 = 1 << 14;
