//! Lingering: a thread that finds nothing looks again for a moment before it sleeps.
//!
//! Waking a sleeper costs its publisher a system call and the event some microseconds; under load the next event is there
//! sooner than that. So a thread spins and then gives way a few times, as crossbeam's `Backoff` does. The first look comes
//! after a pause: looking takes the queue's cache line away from the publisher, and what has gathered meanwhile is handled in
//! one go. An idle subscription pays this once for each time that it falls asleep.
//!
//! A task does not linger: its runtime finds other work for the core, and wakes it without a system call.

use std::hint::spin_loop;
use std::thread;

use crate::subscription::SubscriptionCore;

/// Looks for new events for a few microseconds; `false` when none came.
pub(super) fn linger(core: &SubscriptionCore) -> bool {
    for step in SPINS.chain(YIELDS) {
        match SPINS.contains(&step) {
            true => (0..1 << step).for_each(|_| spin_loop()),
            false => thread::yield_now(),
        }
        if core.mailbox.has_queued() {
            return true;
        }
    }
    false
}

/// 2⁵ + 2⁶ + 2⁷ pauses of some 10 ns to 40 ns, and then.
const SPINS: std::ops::Range<u32> = 5..8;
const YIELDS: std::ops::Range<u32> = 8..12;
