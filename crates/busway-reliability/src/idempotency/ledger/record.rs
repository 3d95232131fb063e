//! What is known of a key that is done, in 24 bytes.

use std::time::{Duration, Instant};

use super::super::key::IdempotencyKey;

/// A key, and until when it is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) key: IdempotencyKey,
    /// Nanoseconds, zero for one that was done again and lies further behind; and [`IN_ORDER`].
    until: u64,
}

impl Record {
    #[inline]
    pub(super) const fn new(key: IdempotencyKey, until: Until, is_in_order: bool) -> Self {
        Self { key, until: if is_in_order { until.0 | IN_ORDER } else { until.0 } }
    }

    /// `None`: it was done again.
    #[inline]
    pub(super) const fn until(&self) -> Option<Until> {
        match self.until & !IN_ORDER {
            0 => None,
            until => Some(Until(until)),
        }
    }

    #[inline]
    pub(super) const fn is_in_order(&self) -> bool {
        self.until & IN_ORDER != 0
    }

    /// It was done again.
    pub(super) const fn clear(&mut self) {
        self.until &= IN_ORDER;
    }
}

/// A time in eight bytes: nanoseconds from some other time on, and so many more that it is never zero. 73 years before and behind that are the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Until(u64);

impl Until {
    #[inline]
    pub(super) fn new(until: Instant, base: Instant) -> Self {
        match until.checked_duration_since(base) {
            Some(behind) => Self(MIDDLE + nanos(behind)),
            None => Self(MIDDLE - nanos(base.saturating_duration_since(until))),
        }
    }

    #[inline]
    pub(super) fn at(self, base: Instant) -> Instant {
        let at = match self.0.checked_sub(MIDDLE) {
            Some(behind) => base.checked_add(Duration::from_nanos(behind)),
            None => base.checked_sub(Duration::from_nanos(MIDDLE - self.0)),
        };
        at.unwrap_or(base)
    }
}

#[inline]
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).min(MIDDLE - 1)
}

/// Whether the record is found by the order of keys, and not in the table.
const IN_ORDER: u64 = 1 << 63;
const MIDDLE: u64 = 1 << 61;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::epoch;

    const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

    #[test]
    fn a_time_is_what_it_was_to_the_nanosecond_on_either_side_and_ends_far_away() {
        let base = epoch() + YEAR * 100;
        let key = IdempotencyKey::from_bytes([7; 16]);
        for span in [Duration::ZERO, Duration::from_nanos(1), Duration::new(3_600, 999_999_999), YEAR * 70] {
            for until in [base + span, base.checked_sub(span).unwrap()] {
                for is_in_order in [false, true] {
                    let mut record = Record::new(key, Until::new(until, base), is_in_order);
                    assert_eq!(record.until().map(|until| until.at(base)), Some(until));
                    record.clear();
                    assert_eq!((record.until(), record.is_in_order()), (None, is_in_order));
                }
            }
        }
        let before = |years: u32| base.checked_sub(YEAR * years).unwrap();
        let (first, last) = (Until::new(before(90), base), Until::new(base + YEAR * 90, base));
        assert!(first.at(base) < before(70) && last.at(base) > base + YEAR * 70 && first < last);
        assert_eq!(size_of::<Record>(), 24);
    }
}
