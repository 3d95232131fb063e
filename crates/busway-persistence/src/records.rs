//! The records of a segment, wherever they lie: one by one in their order, or one by its offset.

use heed::{RoRange, RoTxn};

use heed::types::Bytes as Blob;

use crate::corrupt::Corrupt;
use crate::lmdb::Db;
use crate::record::{self, Held, Place};
use crate::stored::Unreadable;

/// The value of the record at `place`, not checked yet. `None` when it is not there.
///
/// # Errors
/// The storage fails, or the pack that holds the record cannot be read.
pub(crate) fn find<'t>(
    database: Db<'_>,
    txn: &'t RoTxn<'_>,
    place: Place,
) -> Result<Option<&'t [u8]>, Unreadable> {
    let Some((key, value)) = database.get_greater_than_or_equal_to(txn, &place.offset.to_be_bytes())? else {
        return Ok(None);
    };
    // A longer key is that of a chunk, whose record would lie before it.
    let Ok(last) = key.try_into().map(u64::from_be_bytes) else { return Ok(None) };
    let held = Held::read(Place { offset: last, ..place }, value)
        .map_err(|reason| record::damaged(place, &reason))?;
    Ok(held.record(place.offset))
}

/// The offset of a record, and its value.
type Passed<'t> = (u64, Result<&'t [u8], Corrupt>);

/// Records from an offset on. Ends behind the last one; a gap is for the caller to see.
pub(crate) struct Records<'t> {
    values: RoRange<'t, Blob, Blob>,
    partition: u32,
    /// What the last key holds: intact, or why it cannot be read. The offset is that of the key.
    at_hand: Option<(u64, Result<Held<'t>, String>)>,
    /// Its bytes.
    value: &'t [u8],
    next: u64,
    /// Records and chunks that were passed.
    passed: usize,
}

impl<'t> Records<'t> {
    pub(crate) fn from(database: Db<'_>, txn: &'t RoTxn<'_>, from: Place) -> heed::Result<Self> {
        let key = from.offset.to_be_bytes();
        let range = (std::ops::Bound::Included(&key[..]), std::ops::Bound::Unbounded);
        let values = database.range(txn, &range)?;
        Ok(Self {
            values,
            partition: from.partition,
            at_hand: None,
            value: &[],
            next: from.offset,
            passed: 0,
        })
    }

    /// Records and chunks that were passed so far.
    pub(crate) const fn passed(&self) -> usize {
        self.passed
    }

    /// The bytes of the value that holds the record which was passed last: it, or a pack.
    pub(crate) const fn value(&self) -> &'t [u8] {
        self.value
    }

    /// The offset of the next record that is there, with its value; an error in place of each that lies in a pack which cannot be read.
    #[inline]
    pub(crate) fn advance(&mut self) -> heed::Result<Option<Passed<'t>>> {
        loop {
            if let Some((last, held)) = &self.at_hand
                && *last >= self.next
            {
                let offset = held.as_ref().map_or(self.next, |held| held.first().max(self.next));
                let place = Place { partition: self.partition, offset };
                let value = match held {
                    Ok(held) => held
                        .record(offset)
                        .ok_or_else(|| record::damaged(place, "it ends before that record")),
                    Err(reason) => Err(record::damaged(place, reason)),
                };
                self.next = offset.saturating_add(1);
                self.passed += 1;
                return Ok(Some((offset, value)));
            }
            let Some(entry) = self.values.next() else { return Ok(None) };
            let (key, value) = entry?;
            // Chunks lie behind their record, under longer keys.
            match key.try_into().map(u64::from_be_bytes) {
                Ok(last) => {
                    let place = Place { partition: self.partition, offset: last };
                    self.value = value;
                    self.at_hand = Some((last, Held::read(place, value)));
                }
                Err(_) => self.passed += 1,
            }
        }
    }
}
