//! Alarms about bounds: that one is met is told once, and again only when it is met anew.

use std::mem;

/// Whether somebody is to be told that a bound is met. It is told once. A place that becomes free and is taken again is no news: it is told again
/// when an eighth of the bound, one at least, had been free in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BoundAlarm {
    is_raised: bool,
}

impl BoundAlarm {
    /// There are `count` of at most `max` now. Whether that is to be told.
    pub const fn look(&mut self, count: u64, max: u64) -> bool {
        if count >= max {
            return !mem::replace(&mut self.is_raised, true);
        }
        if count <= max - max.div_ceil(SHARE) {
            self.is_raised = false;
        }
        false
    }
}

/// Of the bound: so much has to be free before it is met anew.
const SHARE: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_is_met_is_told_once_until_there_was_room() {
        let mut alarm = BoundAlarm::default();
        assert!(!alarm.look(15, 16) && alarm.look(16, 16));
        assert!(!alarm.look(15, 16) && !alarm.look(16, 16), "one place is no room");
        assert!(!alarm.look(14, 16) && alarm.look(17, 16));
        assert!(!alarm.look(0, 16) && alarm.look(16, 16));
        let mut one = BoundAlarm::default();
        assert!(one.look(1, 1) && !one.look(2, 1) && !one.look(0, 1) && one.look(1, 1));
        assert!(!BoundAlarm::default().look(u64::MAX - 1, u64::MAX));
    }
}
