//! The part of calls that failed within a window of time.
//!
//! The window is ten slots; the oldest is given up whole when a new one begins. So what is looked at is between nine tenths of the window
//! and all of it.

use std::time::{Duration, Instant};

use super::rules::FailureRate;

/// See the module.
#[derive(Debug)]
pub(super) struct RateWindow {
    rate: FailureRate,
    since: Instant,
    slots: [Slot; SLOTS],
    /// The number of the newest slot, from `since` on.
    newest: u128,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    calls: u32,
    failures: u32,
}

impl RateWindow {
    pub(super) fn new(rate: FailureRate, now: Instant) -> Self {
        Self { rate, since: now, slots: [Slot::default(); SLOTS], newest: 0 }
    }

    /// Notes a call that has ended; whether too many have failed.
    pub(super) fn note(&mut self, has_failed: bool, now: Instant) -> bool {
        self.move_on(now);
        let newest = self.newest;
        if let Some(slot) = slot_of(&mut self.slots, newest) {
            slot.calls = slot.calls.saturating_add(1);
            slot.failures = slot.failures.saturating_add(u32::from(has_failed));
        }
        let calls: u64 = self.slots.iter().map(|slot| u64::from(slot.calls)).sum();
        let failures: u64 = self.slots.iter().map(|slot| u64::from(slot.failures)).sum();
        has_failed
            && calls >= u64::from(self.rate.calls)
            && failures * 100 >= calls * u64::from(self.rate.percent)
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self, now: Instant) {
        *self = Self::new(self.rate, now);
    }

    /// A clock that turns back stands still.
    fn move_on(&mut self, now: Instant) {
        let number = now.saturating_duration_since(self.since).as_nanos() / slot_nanos(self.rate.window);
        let begun = number.saturating_sub(self.newest).min(SLOTS as u128);
        for step in 0..begun {
            if let Some(slot) = slot_of(&mut self.slots, number - step) {
                *slot = Slot::default();
            }
        }
        self.newest = self.newest.max(number);
    }
}

fn slot_of(slots: &mut [Slot; SLOTS], number: u128) -> Option<&mut Slot> {
    slots.get_mut(usize::try_from(number % SLOTS as u128).ok()?)
}

fn slot_nanos(window: Duration) -> u128 {
    (window.as_nanos() / SLOTS as u128).max(1)
}

const SLOTS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::epoch;

    const WINDOW: Duration = Duration::from_secs(10);

    fn window(percent: u8, calls: u32) -> RateWindow {
        RateWindow::new(FailureRate { percent, calls, window: WINDOW }, epoch())
    }

    #[test]
    fn a_rate_counts_from_so_many_calls_on_and_is_reached_exactly() {
        let mut half = window(50, 4);
        let notes = [true, true, true].map(|failed| half.note(failed, epoch()));
        assert_eq!(notes, [false; 3], "three are not enough to say");
        assert!(!half.note(false, epoch()), "a success opens nothing");
        assert!(!half.note(false, epoch()) && !half.note(false, epoch()));
        assert!(half.note(true, epoch()), "4 of 7");
        let mut half = window(50, 2);
        _ = half.note(false, epoch());
        assert!(half.note(true, epoch()), "1 of 2 is half");
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let mut window = window(50, 2);
        assert!(!window.note(true, epoch()));
        let late = epoch() + WINDOW;
        assert!(!window.note(true, late), "one of one call");
        assert!(window.note(true, late + WINDOW / 2), "two of two");
        assert!(!window.note(true, late + 1_000 * WINDOW));
        // A clock that turns back stands still.
        assert!(window.note(true, epoch()));
        window.clear(late);
        assert!(!window.note(true, late));
    }
}
