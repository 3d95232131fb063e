//! Lingering: whether it is worth a moment to wait for those who were answered last.
//!
//! When N publishers wait for their receipts and are all answered at once, they come back within a fraction of the time that a
//! commit takes. A writer that begins its next commit with the first of them leaves the others to the one after: two
//! cohorts take turns, and each commit carries half of what it could. So it waits, for as long as more of the last cohort keep
//! coming and a millisecond at most. Of thousands half is enough: the sync is a small part of such a commit, and while one half is written the
//! other comes back, so that publishers and writer work at the same time instead of in turn. What is counted is all who are under way, those who are answered and those
//! who have come meanwhile: half of the last cohort alone would be less with each commit. One publisher alone is never waited for; neither is a cohort that did not come back last
//! time, until one does again.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::Request;

/// Those who were answered by the last commit.
#[derive(Debug, Default)]
pub(crate) struct Cohort {
    /// So many are worth a commit.
    enough: usize,
    since: Option<Instant>,
}

impl Cohort {
    /// So many requests are answered, and so many have come meanwhile.
    pub(super) fn answered(&mut self, size: usize, waiting: usize) {
        let under_way = size + waiting;
        self.enough = match under_way {
            _ if size < 2 => 0,
            LARGE.. => under_way / 2,
            _ => size,
        };
        self.since = None;
    }

    /// With so many requests at hand and no other there: waits for more of the cohort. `false` when none is to be expected.
    pub(super) fn comes(&mut self, at_hand: usize, requests: &Receiver<Request>) -> bool {
        if at_hand >= self.enough {
            return false;
        }
        let now = now();
        let since = *self.since.get_or_insert(now);
        while now.elapsed() < PAUSE_MAX && since.elapsed() < LINGER_MAX {
            for _ in 0..SPINS {
                spin_loop();
            }
            if !requests.is_empty() {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }
}

#[expect(clippy::disallowed_methods, reason = "measures its own pauses; decides nothing that is stored")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Looks for a request for a moment before the writer sleeps: who waits for each receipt comes back before a sleep could begin
/// and end. Once for each time that it falls asleep.
pub(super) fn look(requests: &Receiver<Request>) {
    let begun = now();
    while requests.is_empty() && begun.elapsed() < LOOK_MAX {
        (0..SPINS).for_each(|_| spin_loop());
        std::thread::yield_now();
    }
}

/// Requests whose writing takes several times as long as their sync.
const LARGE: usize = 1_024;
/// Nobody came for so long: nobody else will.
const PAUSE_MAX: Duration = Duration::from_micros(60);
const LINGER_MAX: Duration = Duration::from_millis(1);
/// Less than the wake of a sleeper takes.
const LOOK_MAX: Duration = Duration::from_micros(50);
const SPINS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn enough(size: usize, waiting: usize) -> usize {
        let mut cohort = Cohort::default();
        cohort.answered(size, waiting);
        cohort.enough
    }

    #[test]
    fn a_few_are_waited_for_all_and_of_many_half_of_those_who_are_under_way() {
        assert_eq!([enough(64, 0), enough(600, 0), enough(600, 100)], [64, 600, 600]);
        assert_eq!([enough(1_500, 0), enough(4_096, 0), enough(100, 1_000)], [750, 2_048, 550]);
    }

    /// Whatever it begins with: those who are answered come back while the others are stored.
    #[test]
    fn commits_of_many_do_not_become_smaller_and_smaller() {
        let (all, mut size) = (4_096, 900);
        for _ in 0..20 {
            size = enough(size, all - size);
        }
        assert_eq!(size, all / 2);
    }

    #[test]
    fn one_alone_is_never_waited_for() {
        let (_sender, requests) = crossbeam_channel::bounded(4);
        let mut cohort = Cohort::default();
        cohort.answered(1, 0);
        assert!(!cohort.comes(1, &requests));
        cohort.answered(3, 0);
        assert!(!cohort.comes(3, &requests), "all are here");
    }
}
