//! The time of the schedule: wall-clock time that never goes back while the bus runs.

use std::time::Instant;

use busway_event::Timestamp;
use parking_lot::Mutex;

use crate::clock::Clock;

/// See the module. A set-back wall clock is ridden out on the monotonic one.
#[derive(Debug, Default)]
pub(super) struct Reckoning {
    /// What it said last, and when. Locked while both clocks are read, so that the later reading is the later time.
    last: Mutex<Option<(Timestamp, Instant)>>,
}

impl Reckoning {
    pub(super) fn time(&self, clock: &dyn Clock) -> Timestamp {
        let mut last = self.last.lock();
        let (utc, now) = (clock.utc(), clock.now());
        let time = match *last {
            Some((time, at)) => time.saturating_add(now.saturating_duration_since(at)).max(utc),
            None => utc,
        };
        *last = Some((time, now));
        time
    }
}
