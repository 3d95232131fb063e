//! What the bus adds to a draft: id, time and producer.

use busway_event::{Stamp, Timestamp};

use super::BusCore;
use crate::clock::{Clock as _, SystemClock};
use crate::ids;

impl BusCore {
    /// The stamp for a draft that is published now.
    ///
    /// Never inlined: what threads keep for times and ids is at hand here, and elsewhere only by calls.
    #[inline(never)]
    pub(crate) fn stamp(&self) -> Stamp<'_> {
        let time = match self.has_system_clock {
            true => SystemClock.utc(),
            false => self.services.clock.utc(),
        };
        self.stamp_at(time)
    }

    /// The same for one that is published at a time that was read already.
    #[inline]
    pub(super) fn stamp_at(&self, time: Timestamp) -> Stamp<'_> {
        let mut stamp = Stamp::new(ids::next(time), time, &self.metadata);
        stamp.payload_bytes_max = self.payload_bytes_max;
        stamp
    }
}
