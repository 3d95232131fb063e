//! The clock: the one place that reads time and waits for it.
//!
//! Decisions elsewhere take `now` as an argument, so a test can drive them with a clock of its own (the test kit has one).

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use busway_event::Timestamp;

/// A future that ends at some time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a bus takes its time from.
pub trait Clock: Any + fmt::Debug + Send + Sync {
    /// Monotonic time: what waits and deadlines are measured with.
    fn now(&self) -> Instant;

    /// Wall-clock time, UTC: what events are stamped with. It may jump.
    fn utc(&self) -> Timestamp;

    /// Ends when [`now`](Clock::now) has reached `until`; at once when it has already.
    fn sleep_until(&self, until: Instant) -> Sleep;

    /// The same for a limit that is not expected to be reached, and stands whether or not anybody waits for something at the moment: a clock in a
    /// test's hand does not take it for the next thing that happens. Default: [`sleep_until`](Clock::sleep_until).
    fn guard_until(&self, until: Instant) -> Sleep {
        self.sleep_until(until)
    }

    /// Ends after about this time. For a wait that only keeps busy tasks apart: nothing depends on how long it is. Default: by
    /// [`sleep_until`](Clock::sleep_until). A clock that somebody moves by hand lets other tasks have a turn instead: nobody would know that
    /// it is waited for.
    fn pause(&self, about: Duration) -> Sleep {
        self.sleep_until(self.now() + about)
    }

    /// What this clock would like to do once, where it may block a thread, before its readings are as quick as they can be.
    /// Asked when a bus starts. Default: nothing.
    fn prepare(&self) -> Option<fn()> {
        None
    }
}

/// The machine's clock, with tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this file owns the reading of clocks")]
impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// The operating system's time, asked for once a millisecond and thread; in between, the processor's own counter says
    /// how much has passed. So a step of the system's clock shows within a millisecond, and a reading costs a third.
    #[inline]
    fn utc(&self) -> Timestamp {
        let Some(clock) = TICKER.get() else { return Timestamp::from_nanos(system_nanos()) };
        ANCHOR.with(|anchor| {
            // The counter first: so nothing has to be kept while it is read.
            let now = clock.raw();
            let Anchor { ticks, nanos, ticks_max, rate } = anchor.get();
            // A counter that went back is far beyond all of this, as a number without a sign.
            let passed = now.wrapping_sub(ticks);
            if passed < ticks_max {
                // Of less than a millisecond, and of one the anchor has left room for: neither can run over.
                let passed = passed.wrapping_mul(rate) >> RATE_BITS;
                return Timestamp::from_nanos(nanos.wrapping_add(passed.cast_signed()));
            }
            Timestamp::from_nanos(anchored(clock, anchor))
        })
    }

    fn sleep_until(&self, until: Instant) -> Sleep {
        Box::pin(tokio::time::sleep_until(until.into()))
    }

    /// Calibrates the processor's counter: a millisecond as a rule, 200 at most on a machine that is busy. Until then the
    /// system is asked for each reading. The bus does it on a thread of its runtime that may block, once a process; a runtime
    /// that is dropped meanwhile waits for it.
    fn prepare(&self) -> Option<fn()> {
        TICKER.get().is_none().then_some(|| _ = TICKER.get_or_init(quanta::Clock::new))
    }
}

/// Asks the system, and notes what the counter says to it.
#[cold]
fn anchored(clock: &quanta::Clock, anchor: &Cell<Anchor>) -> i64 {
    let before = clock.raw();
    let nanos = system_nanos();
    let ticks = clock.raw();
    // A thread that was interrupted in between notes nothing: the two readings do not belong together.
    if clock.delta_as_nanos(before, ticks) < ANCHOR_ERROR_NANOS_MAX {
        anchor.set(Anchor::of(clock, ticks, nanos));
    }
    nanos
}

#[expect(clippy::disallowed_methods, reason = "this file owns the reading of clocks")]
fn system_nanos() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    // Not by `as_nanos`: 128 bits are four times the work, and i64 reaches to the year 2262.
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(since_epoch.subsec_nanos()))
}

/// A moment on both clocks.
#[derive(Clone, Copy)]
struct Anchor {
    ticks: u64,
    nanos: i64,
    /// For so many ticks it holds; none at first.
    ticks_max: u64,
    /// Nanoseconds of 2^32 ticks.
    rate: u64,
}

impl Anchor {
    fn of(clock: &quanta::Clock, ticks: u64, nanos: i64) -> Self {
        let rate = clock.delta_as_nanos(0, 1 << RATE_BITS);
        // The product of the two is the limit in nanoseconds, shifted: it fits.
        let ticks_max = (ANCHOR_NANOS_MAX << RATE_BITS).checked_div(rate).unwrap_or(0);
        Self { ticks, nanos: nanos.min(i64::MAX - ANCHOR_NANOS_MAX.cast_signed()), ticks_max, rate }
    }
}

thread_local! {
    static ANCHOR: Cell<Anchor> =
        const { Cell::new(Anchor { ticks: 0, nanos: 0, ticks_max: 0, rate: 0 }) };
}

/// Of the fraction in an [`Anchor`]'s rate: a millisecond of nanoseconds, shifted by them, is a word still.
const RATE_BITS: u32 = 32;

/// The counter of the processor, once it is calibrated. Where there is none that is steady, quanta reads the system's
/// monotonic clock.
static TICKER: OnceLock<quanta::Clock> = OnceLock::new();

/// An event waits no longer than this for its next attempt, whatever its row or its policy says: a clock that was wrong when the row was written
/// must not hold its lane for ever, and no delay ends behind the end of time.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Many times what the two readings take, and below what a switch to another thread does.
const ANCHOR_ERROR_NANOS_MAX: u64 = 20_000;

/// The counter's rate is known to about 20 in a million: 20 ns in this time.
const ANCHOR_NANOS_MAX: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_system() {
        for round in 0..10_000 {
            if let Some(work) = SystemClock.prepare().filter(|_| round == 100) {
                work();
            }
            let before = system_nanos();
            let said = SystemClock.utc().as_nanos();
            let after = system_nanos();
            // A fifth of the time between two anchors: no unit and no rate is wrong.
            let error = i64::try_from(ANCHOR_NANOS_MAX / 5).unwrap_or(i64::MAX);
            assert!((before - error..=after + error).contains(&said), "{before} {said} {after}");
        }
    }
}
