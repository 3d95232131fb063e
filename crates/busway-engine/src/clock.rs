//! The clock: the one place that reads time and waits for it.
//!
//! Decisions elsewhere take `now` as an argument, so a test can drive them with a clock of its own (the test kit has one).

use std::fmt;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use busway_event::Timestamp;

/// A future that ends at some time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a bus takes its time from.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Monotonic time: what waits and deadlines are measured with.
    fn now(&self) -> Instant;

    /// Wall-clock time, UTC: what events are stamped with. It may jump.
    fn utc(&self) -> Timestamp;

    /// Ends when [`now`](Clock::now) has reached `until`; at once when it has already.
    fn sleep_until(&self, until: Instant) -> Sleep;
}

/// The machine's clock, with tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this file owns the reading of clocks")]
impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn utc(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        // Not by `as_nanos`: 128 bits are four times the work, and i64 reaches to the year 2262.
        let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
        let nanos =
            seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(since_epoch.subsec_nanos()));
        Timestamp::from_nanos(nanos)
    }

    fn sleep_until(&self, until: Instant) -> Sleep {
        Box::pin(tokio::time::sleep_until(until.into()))
    }
}
