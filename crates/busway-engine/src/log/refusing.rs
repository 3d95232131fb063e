//! Partitions that had no room for what was accepted: until something is stored in them again, events are not accepted for them but appended, so that
//! their publishers are told.
//!
//! Once a second one event is accepted all the same, to find out: who only publishes without waiting would never store anything again
//! otherwise. So a second of a full disk costs one accepted event a partition, beside those that were on their way already.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Refusing {
    /// Whether there are any: asked for each event.
    is_any: AtomicBool,
    /// When each is tried next; `None`: nobody was refused since.
    partitions: Mutex<BTreeMap<u32, Option<Instant>>>,
}

impl Refusing {
    /// Something that was accepted for these partitions was refused for want of room.
    pub(super) fn refused(&self, partitions: impl Iterator<Item = u32>) {
        let mut known = self.partitions.lock();
        for partition in partitions {
            known.entry(partition).or_default();
        }
        self.is_any.store(!known.is_empty(), Ordering::Relaxed);
    }

    /// Something was stored in these partitions.
    pub(super) fn stored(&self, partitions: impl Iterator<Item = u32>) {
        if !self.is_any.load(Ordering::Relaxed) {
            return;
        }
        let mut known = self.partitions.lock();
        for partition in partitions {
            known.remove(&partition);
        }
        self.is_any.store(!known.is_empty(), Ordering::Relaxed);
    }

    /// Whether an event for this partition is not to be accepted.
    pub(super) fn refuses(&self, partition: u32, now: impl FnOnce() -> Instant) -> bool {
        if !self.is_any.load(Ordering::Relaxed) {
            return false;
        }
        let mut known = self.partitions.lock();
        let Some(next) = known.get_mut(&partition) else { return false };
        let now = now();
        let is_tried = next.is_some_and(|next| next <= now);
        if next.is_none() || is_tried {
            *next = now.checked_add(TRIED_EVERY);
        }
        !is_tried
    }
}

const TRIED_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn a_partition_without_room_is_tried_once_a_second_and_costs_the_others_nothing() {
        let refusing = Refusing::default();
        let begun = SystemClock.now();
        let refuses =
            |partition, millis| refusing.refuses(partition, || begun + Duration::from_millis(millis));
        assert!(!refuses(1, 0));
        refusing.refused([1].into_iter());
        refusing.refused([1].into_iter());
        refusing.stored([2].into_iter());
        assert_eq!([0, 10, 999].map(|millis| (refuses(1, millis), refuses(2, millis))), [(true, false); 3]);
        assert_eq!([1_000, 1_001, 1_999].map(|millis| refuses(1, millis)), [false, true, true]);
        assert!(!refuses(1, 2_000));
        refusing.stored([1].into_iter());
        assert!(!refuses(1, 2_001) && !refusing.is_any.load(Ordering::Relaxed));
    }
}
