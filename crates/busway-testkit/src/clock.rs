//! A clock that stands still until a test moves it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use busway_engine::Clock;
use busway_engine::clock::Sleep;
use busway_event::Timestamp;
use parking_lot::Mutex;

/// Time in a test's hand. Clones are the same clock. It starts at 2026-01-01T00:00:00Z and moves only by
/// [`advance`](ManualClock::advance).
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Mutex<State>>,
}

struct State {
    start: Instant,
    elapsed: Duration,
    utc: Timestamp,
    /// Waiting futures by due time; the number tells futures of the same time apart.
    sleepers: BTreeMap<(Instant, u64), Waker>,
    /// The same for limits that nobody expects to reach.
    guards: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

/// Which list a future waits in.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Sleep,
    Guard,
}

impl ManualClock {
    /// A clock that stands at its start.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "an instant can only be made by reading a clock, once")]
    pub fn new() -> Self {
        let state = State {
            start: Instant::now(),
            elapsed: Duration::ZERO,
            utc: Timestamp::from_nanos(START_UTC_NANOS),
            sleepers: BTreeMap::new(),
            guards: BTreeMap::new(),
            next: 0,
        };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// Moves both monotonic and wall time forward, and wakes what is due, earliest first. Monotonic time ends 200 years
    /// after the start: further than that it does not move.
    pub fn advance(&self, by: Duration) {
        let mut state = self.shared.lock();
        state.elapsed = state.elapsed.saturating_add(by).min(ELAPSED_MAX);
        state.utc = state.utc.saturating_add(by);
        let now = state.now();
        let [mut due, guards] = [Kind::Sleep, Kind::Guard].map(|kind| {
            let list = state.list(kind);
            let later = list.split_off(&(now, u64::MAX));
            std::mem::replace(list, later)
        });
        drop(state);
        due.extend(guards);
        due.into_values().for_each(Waker::wake);
    }

    /// Moves on to the next due time; `false` when nobody waits. Limits that stand whether or not anybody waits do not count, see
    /// [`Clock::guard_until`]: to reach one, [`advance`](ManualClock::advance).
    pub fn advance_to_next(&self) -> bool {
        let next = self.next_due();
        next.inspect(|by| self.advance(*by)).is_some()
    }

    /// How long until the next sleeper is due; `None` when nobody waits.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        let state = self.shared.lock();
        let ((due, _), _) = state.sleepers.first_key_value()?;
        Some(due.saturating_duration_since(state.now()))
    }

    /// How many futures wait: 0 at the end of a test means that no timer was left behind.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.shared.lock().sleepers.len()
    }

    /// How many sleepers there ever were: it changes when a task has come as far as its next timer.
    pub(crate) fn sleepers_ever(&self) -> u64 {
        self.shared.lock().next
    }

    /// Lets the wall clock jump, as a correction of the machine's clock would. Monotonic time stays.
    pub fn set_utc(&self, utc: Timestamp) {
        self.shared.lock().utc = utc;
    }
}

impl State {
    fn now(&self) -> Instant {
        self.start + self.elapsed
    }

    fn list(&mut self, kind: Kind) -> &mut BTreeMap<(Instant, u64), Waker> {
        match kind {
            Kind::Sleep => &mut self.sleepers,
            Kind::Guard => &mut self.guards,
        }
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.shared.lock().now()
    }

    fn utc(&self) -> Timestamp {
        self.shared.lock().utc
    }

    fn sleep_until(&self, until: Instant) -> Sleep {
        Box::pin(Sleeper { clock: self.clone(), kind: Kind::Sleep, until, number: None })
    }

    fn guard_until(&self, until: Instant) -> Sleep {
        Box::pin(Sleeper { clock: self.clone(), kind: Kind::Guard, until, number: None })
    }

    /// A turn of the other tasks: no timer.
    fn pause(&self, _about: Duration) -> Sleep {
        Box::pin(tokio::task::yield_now())
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("ManualClock")
            .field("elapsed", &state.elapsed)
            .field("utc", &state.utc)
            .field("sleepers", &state.sleepers.len())
            .finish_non_exhaustive()
    }
}

/// A future that waits for the clock; leaves the list when it is dropped.
struct Sleeper {
    clock: ManualClock,
    kind: Kind,
    until: Instant,
    number: Option<u64>,
}

impl Future for Sleeper {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.clock.shared);
        let mut state = shared.lock();
        if state.now() >= self.until {
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        let replaced = state.list(self.kind).insert((self.until, number), context.waker().clone());
        drop(state);
        // Not under the lock: with the last waker of a task may go timers of this very clock.
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // The lock is released before the waker is dropped: see `poll`.
            let mut state = self.clock.shared.lock();
            let waker = state.list(self.kind).remove(&(self.until, number));
            drop(state);
            drop(waker);
        }
    }
}

/// 2026-01-01T00:00:00Z.
const START_UTC_NANOS: i64 = 1_767_225_600_000_000_000;

/// 200 years: adding it to an instant is safe on every platform, and so is adding a timer's time to the sum.
const ELAPSED_MAX: Duration = Duration::from_secs(200 * 365 * 24 * 3_600);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_guard_is_woken_when_its_time_comes_and_is_not_what_happens_next() {
        let clock = ManualClock::new();
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut guard = clock.guard_until(clock.now() + Duration::from_secs(2));
        assert!(guard.as_mut().poll(&mut context).is_pending());
        assert_eq!((clock.sleepers(), clock.next_due(), clock.advance_to_next()), (0, None, false));
        clock.advance(Duration::from_secs(2));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(guard.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_sleeper_is_woken_when_it_is_due_and_not_before() {
        let clock = ManualClock::new();
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut sleep = clock.sleep_until(clock.now() + Duration::from_secs(2));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert_eq!((clock.sleepers(), clock.next_due()), (1, Some(Duration::from_secs(2))));
        clock.advance(Duration::from_millis(1_999));
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert!(clock.advance_to_next());
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(sleep.as_mut().poll(&mut context).is_ready());
        assert!(!clock.advance_to_next());
    }

    #[test]
    fn a_dropped_sleeper_leaves_nothing_behind() {
        let clock = ManualClock::new();
        let mut context = Context::from_waker(Waker::noop());
        let mut sleep = clock.sleep_until(clock.now() + Duration::from_secs(1));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        drop(sleep);
        assert_eq!(clock.sleepers(), 0);
    }

    #[test]
    fn the_wall_clock_jumps_alone() {
        let clock = ManualClock::new();
        let now = clock.now();
        assert_eq!(clock.utc().to_string(), "2026-01-01T00:00:00Z");
        clock.set_utc(Timestamp::from_nanos(0));
        assert_eq!((clock.now(), clock.utc().as_nanos()), (now, 0));
        clock.advance(Duration::from_nanos(5));
        assert_eq!(clock.utc().as_nanos(), 5);
    }
}
