//! What the bus adds to a draft: id, time and producer.

use busway_event::{Stamp, Timestamp};

use super::BusCore;
use crate::ids;

impl BusCore {
    /// The stamp for a draft that is published now.
    #[inline]
    pub(crate) fn stamp(&self) -> Stamp<'_> {
        self.stamp_at(self.services.clock.utc())
    }

    /// The same for one that is published at a time that was read already.
    #[inline]
    pub(super) fn stamp_at(&self, time: Timestamp) -> Stamp<'_> {
        let mut stamp = Stamp::new(ids::next(time), time, &self.metadata);
        stamp.payload_bytes_max = self.payload_bytes_max;
        stamp
    }
}
