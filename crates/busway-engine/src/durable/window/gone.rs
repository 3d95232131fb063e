//! What cannot be read: a damaged record, and events that are not there any more.

use busway_persistence::{Attempts, DeadLetter};

use super::{Moment, Window};

impl<E> Window<E> {
    /// The record at the reading position cannot be read: it is given up.
    pub(crate) fn unreadable(&mut self, partition: u32, reason: String, handler: String, at: Moment) {
        let Some(reading) = self.partitions.get_mut(&partition) else { return };
        let offset = reading.next;
        if !reading.cursor.is_settled(offset) {
            let (attempts, attempt_count) = (Attempts::NONE, 0);
            let letter = DeadLetter { offset, at: at.utc, reason, handler, attempts, attempt_count };
            reading.settlements.dead(letter);
        }
        reading.next = reading.cursor.next_unsettled(offset + 1);
    }

    /// The log begins behind the reading position: what is before is gone. So many events of it were not settled; the store is not told that they
    /// are until somebody was [`told`](Self::told) of them.
    pub(crate) fn gap(&mut self, partition: u32, first: u64) -> u64 {
        let Some(reading) = self.partitions.get_mut(&partition) else { return 0 };
        let events = reading.cursor.unsettled_between(reading.next, first);
        reading.next = reading.cursor.next_unsettled(first);
        events
    }

    /// Somebody was told of what is gone: of runs that were not read, and of events that were parked.
    pub(crate) fn told(&mut self, partition: u32, unread: &[(u64, u64)], parked: &[u64]) {
        self.settle(partition, |settlements| {
            unread.iter().for_each(|&(start, end)| settlements.passed(start, end));
            parked.iter().for_each(|&offset| settlements.released(offset));
        });
    }
}
