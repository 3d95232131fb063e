//! What the bus adds to a draft: id, time and producer.

use std::any::Any;
use std::sync::Arc;

use busway_event::{Moment, Stamp, Timestamp};

use super::BusCore;
use crate::clock::{Clock, SystemClock};
use crate::ids;

/// A clock as it is read for events. It may outlive the bus.
#[derive(Debug, Clone)]
pub(crate) enum Wall {
    /// The machine's: read without being asked which one it is.
    System,
    Other(Arc<dyn Clock>),
}

impl Wall {
    pub(super) fn of(clock: &Arc<dyn Clock>) -> Self {
        let any: &dyn Any = &**clock;
        match any.is::<SystemClock>() {
            true => Self::System,
            false => Self::Other(Arc::clone(clock)),
        }
    }

    /// The time, and an id that has it.
    ///
    /// Never inlined: what threads keep for times and ids is at hand here, and elsewhere only by calls.
    #[inline(never)]
    pub(super) fn moment(&self) -> Moment {
        let time = self.utc();
        Moment { id: ids::next(time), time }
    }

    #[inline]
    fn utc(&self) -> Timestamp {
        match self {
            Self::System => SystemClock.utc(),
            Self::Other(clock) => clock.utc(),
        }
    }
}

impl BusCore {
    /// The stamp for a draft that is published now.
    #[inline]
    pub(crate) fn stamp(&self) -> Stamp<'_> {
        self.stamp_of(&self.wall.moment())
    }

    /// The same for one that is published at a time that was read already.
    #[inline]
    pub(super) fn stamp_at(&self, time: Timestamp) -> Stamp<'_> {
        self.stamp_of(&Moment { id: ids::next(time), time })
    }

    /// The same where the id was made as well.
    #[inline]
    pub(super) const fn stamp_of(&self, moment: &Moment) -> Stamp<'_> {
        let Moment { id, time } = *moment;
        Stamp { id, time, metadata: &self.metadata, payload_bytes_max: self.payload_bytes_max }
    }
}
