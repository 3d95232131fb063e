//! Where a chain begins, held against what speaks of it.
//!
//! The row of an audit says where the chain of each partition began, and that never changes: retention removes what lies in front and
//! leaves a floor, which the key proves. So nothing that is made for the chain ever lies before it: no link, no head, in the store or
//! elsewhere, and no archive. What does tells that the row was moved, by who wanted nobody to look at what lies before.

use std::ops::Bound;

use heed::RoTxn;

use super::opening::Audited;
use super::rows::{corrupt, key, offset_of};
use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::shared::Shared;

impl Audited {
    /// What speaks against the beginning of a partition's chain, whose log ends at `end`. `None`: nothing in the store does.
    pub(super) fn disproved_start(
        &self,
        shared: &Shared,
        txn: &RoTxn<'_>,
        partition: u32,
        end: u64,
    ) -> Result<Option<Corrupt>, ReadError> {
        let start = self.start_of(shared, partition);
        if start > end {
            let reason = format!("it is said to be offset {start}, and the log ends at {end}");
            return Ok(Some(corrupt(start_place(shared, partition), reason)));
        }
        for (database, kind) in [(shared.databases.links, "a link"), (shared.databases.heads, "a head")] {
            let (from, to) = (key(partition, 0), key(partition, start));
            let range = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
            let mut before = database.range(txn, &range).map_err(|error| shared.storage(&error))?;
            let Some(found) = before.next() else { continue };
            let (place, _) = found.map_err(|error| shared.storage(&error))?;
            let offset = offset_of(place).unwrap_or_default();
            return Ok(Some(before_start(shared, partition, start, (kind, offset))));
        }
        Ok(None)
    }
}

/// That something is of a record which lies before the beginning.
pub(super) fn before_start(
    shared: &Shared,
    partition: u32,
    start: u64,
    (kind, offset): (&str, u64),
) -> Corrupt {
    let reason = format!("it is said to be offset {start}, and {kind} of record {offset} lies before it");
    corrupt(start_place(shared, partition), reason)
}

fn start_place(shared: &Shared, partition: u32) -> String {
    let (stream, index) = (shared.stream_name(partition), shared.index_in_stream(partition));
    format!("the beginning of the chain of partition {index} of stream {stream}")
}
