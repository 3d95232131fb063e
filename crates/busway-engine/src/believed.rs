//! What time is believed, where something is let go by its age.
//!
//! What is let go does not come back, so age is judged by both clocks: while the wall clock is ahead of where the monotonic one says that it
//! should be, it counts for nothing (ADR 0050), and time goes on from where it was believed last. Set back, it is believed at once. One that is still ahead
//! after an hour is believed too: a machine that slept has a monotonic clock that stood. The wall clock at the start is taken as it is.

use std::time::{Duration, Instant};

use busway_event::Timestamp;

use crate::clock::Clock;

/// The time that age is judged by. See the module.
#[derive(Debug)]
pub(crate) struct Believed {
    time: Timestamp,
    at: Instant,
    /// Since when the wall clock is ahead of it.
    ahead_since: Option<Instant>,
}

impl Believed {
    pub(crate) fn at_the_start(clock: &dyn Clock) -> Self {
        Self { time: clock.utc(), at: clock.now(), ahead_since: None }
    }

    /// The time of now.
    pub(crate) fn look(&mut self, clock: &dyn Clock) -> Timestamp {
        // In this order: who is held up in between finds the wall clock earlier, not later.
        let (utc, now) = (clock.utc(), clock.now());
        let time = self.time.saturating_add(now.saturating_duration_since(self.at));
        let is_ahead = utc > time.saturating_add(CLOCKS_APART);
        let since = is_ahead.then(|| self.ahead_since.unwrap_or(now));
        let is_believed = since.is_none_or(|since| now.saturating_duration_since(since) >= BELIEVED_AFTER);
        *self = match is_believed {
            true => Self { time: utc, at: now, ahead_since: None },
            false => Self { time, at: now, ahead_since: since },
        };
        self.time
    }
}

/// What a wall clock may gain from one look to the next: corrections of a clock that runs are smaller.
const CLOCKS_APART: Duration = Duration::from_secs(10);
/// A clock that was set wrong has been seen and set right by then, most of the time.
const BELIEVED_AFTER: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Sleep;

    /// Two clocks that are set by hand, in seconds.
    #[derive(Debug)]
    struct Clocks(Instant, u64, i64);

    impl Clock for Clocks {
        fn now(&self) -> Instant {
            self.0 + Duration::from_secs(self.1)
        }

        fn utc(&self) -> Timestamp {
            Timestamp::from_nanos(self.2 * 1_000_000_000)
        }

        fn sleep_until(&self, _: Instant) -> Sleep {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant can only be made by reading a clock, once")]
    fn a_wall_clock_that_is_ahead_is_believed_when_it_was_so_for_an_hour_and_one_that_is_set_back_at_once() {
        let began = Instant::now();
        let mut believed = Believed::at_the_start(&Clocks(began, 0, 1_000));
        let mut look =
            |monotonic, wall| believed.look(&Clocks(began, monotonic, wall)).as_nanos() / 1_000_000_000;
        assert_eq!([look(60, 1_061), look(120, 1_120)], [1_061, 1_120], "clocks drift, and are corrected");
        assert_eq!([look(180, 90_000), look(240, 90_060)], [1_180, 1_240], "ahead");
        assert_eq!([look(300, 1_300), look(360, 900), look(420, 960)], [1_300, 900, 960], "set back");
        assert_eq!(look(480, 50_000), 1_020);
        assert_eq!([look(4_020, 53_540), look(4_079, 53_599)], [4_560, 4_619]);
        assert_eq!([look(4_080, 53_600), look(4_140, 53_660)], [53_600, 53_660], "for an hour");
        assert_eq!([look(4_200, 99_000), look(4_260, 53_780)], [53_720, 53_780]);
        assert_eq!(look(7_900, 99_000), 57_420, "ahead anew: the hour begins anew");
    }
}
