//! The clockwork that offers the load.

use std::time::{Duration, Instant};

use tokio::task::yield_now;

use super::RUN_MIN;
use crate::sample::Sample;

/// So many messages, evenly spaced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// How many messages a run has.
    pub(super) messages: u64,
    period_ns: f64,
}

impl Load {
    /// A load of about `per_second` for about `length`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive count, rounded on purpose"
    )]
    pub(super) fn new(per_second: f64, length: Duration) -> Self {
        let per_second = per_second.max(1_000.0);
        let messages = (per_second * length.max(RUN_MIN).as_secs_f64()) as u64;
        Self { messages, period_ns: 1e9 / per_second }
    }

    pub(super) fn per_second(&self) -> f64 {
        1e9 / self.period_ns
    }

    /// When message `number` should be sent, in nanoseconds from the start.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a run is shorter than 2^53 ns"
    )]
    fn due_ns(&self, number: u64) -> u64 {
        (number as f64 * self.period_ns) as u64
    }

    /// Starts the clock: messages are due from now on.
    pub(super) fn start(self, epoch: Instant) -> Offer {
        Offer { load: self, epoch, start_ns: nanoseconds_since(epoch), next: 0 }
    }
}

/// A load that is being offered.
#[derive(Debug)]
pub(super) struct Offer {
    load: Load,
    epoch: Instant,
    start_ns: u64,
    next: u64,
}

impl Offer {
    /// The next message, when it is due, or at once when it is overdue; its mark says when it was due, from the epoch on.
    /// Until then other tasks of the worker run.
    pub(super) async fn next(&mut self) -> Option<Sample> {
        let number = self.next;
        if number == self.load.messages {
            return None;
        }
        self.next += 1;
        let due_ns = self.start_ns + self.load.due_ns(number);
        while nanoseconds_since(self.epoch) < due_ns {
            yield_now().await;
        }
        Some(Sample::new(number).marked(due_ns))
    }
}

/// The clock of the latency suites.
#[inline]
pub(super) fn nanoseconds_since(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_marked_with_their_due_time_however_late_they_are() {
        let epoch = Instant::now();
        let mut offer = Load { messages: 3, period_ns: 1_000.0 }.start(epoch);
        let marks: Vec<u64> = pollster::block_on(async {
            let mut marks = Vec::new();
            // The first one is due at once; the others are overdue when they are asked for.
            while let Some(sample) = offer.next().await {
                while nanoseconds_since(epoch) < sample.mark + 50_000 {}
                marks.push(sample.mark);
            }
            marks
        });
        assert_eq!((marks[1] - marks[0], marks[2] - marks[1]), (1_000, 1_000));
    }

    #[test]
    fn a_load_lasts_as_long_as_it_should() {
        let load = Load::new(1e6, Duration::from_secs(1));
        assert_eq!((load.messages, load.due_ns(500_000)), (1_000_000, 500_000_000));
    }
}
