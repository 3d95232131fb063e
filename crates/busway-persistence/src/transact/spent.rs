//! How long a transaction holds up the store, and how much of that is its own doing.
//!
//! What counts is the work that its thread did, not what the clock on the wall says: a machine with more to do than processors, a container over
//! its share of them or a process that was stopped for a moment takes the processor away for longer than any honest transaction runs, and that is no
//! fault of the closure's. The wall still ends one that waits for something, which does no work at all.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::{TX_MILLIS_MAX, TX_MILLIS_WAITED_MAX};

/// A transaction's beginning. It stays on the thread that it runs on: the work of others is none of its.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    begun: Instant,
    worked_before: Duration,
}

impl Spent {
    #[expect(
        clippy::disallowed_methods,
        reason = "measures how long the writer is held up; decides nothing that is stored"
    )]
    pub(super) fn now() -> Self {
        Self { begun: Instant::now(), worked_before: worked() }
    }

    /// Whether it must end. Asked at every step, and the work of a thread is told by the system alone: only once the wall gives
    /// cause is that asked.
    pub(super) fn is_too_much(&self) -> bool {
        let waited = self.begun.elapsed();
        waited > WORK_MAX && is_too_much(waited, || worked().saturating_sub(self.worked_before))
    }
}

fn is_too_much(waited: Duration, worked: impl FnOnce() -> Duration) -> bool {
    waited > WAITED_MAX || worked() > WORK_MAX
}

/// For how long this thread has had a processor since it began.
fn worked() -> Duration {
    let told = clock_gettime(ClockId::ThreadCPUTime);
    // Neither is ever negative.
    Duration::new(told.tv_sec.try_into().unwrap_or(0), told.tv_nsec.try_into().unwrap_or(0))
}

const WORK_MAX: Duration = Duration::from_millis(TX_MILLIS_MAX);
const WAITED_MAX: Duration = Duration::from_millis(TX_MILLIS_WAITED_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_counts_and_time_without_a_processor_does_not_until_it_is_five_seconds() {
        let millis = Duration::from_millis;
        let is_too_much = |waited, worked| is_too_much(millis(waited), || millis(worked));
        assert!(is_too_much(101, 101));
        assert!(!is_too_much(5_000, 100), "4,900 of them it was not let work");
        assert!(is_too_much(5_001, 0), "it waits for something");
    }

    #[test]
    fn a_thread_that_works_is_seen_to_work() {
        let before = Spent::now();
        while worked().saturating_sub(before.worked_before) < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        // It never works for longer than it is there, but for what the two clocks differ by.
        assert!(before.begun.elapsed() > Duration::from_millis(1));
    }
}
