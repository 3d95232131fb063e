//! A bus for tests: manual clock, a memory of what happened, assertions.

use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Bus, BusBuilder, ShutdownReport};
use busway_event::{AnyEvent, EventType, Filter};

use crate::clock::ManualClock;
use crate::spy::{Handled, Spy};

/// An in-memory bus on a [`ManualClock`] that remembers what was published and handled. Dereferences to [`Bus`].
#[derive(Debug)]
pub struct TestBus {
    bus: Bus,
    clock: ManualClock,
    spy: Arc<Spy>,
}

impl TestBus {
    /// A bus with defaults.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start() -> Self {
        Self::build(|builder| builder).await
    }

    /// A bus that `configure` has set up: states, settings, middleware.
    ///
    /// # Panics
    /// When it does not start; the message lists what is wrong.
    pub async fn build(configure: impl FnOnce(BusBuilder) -> BusBuilder) -> Self {
        let (clock, spy) = (ManualClock::new(), Arc::new(Spy::default()));
        let builder = configure(Bus::memory().producer("test"));
        let builder = builder.clock(Arc::new(clock.clone())).observer(Arc::clone(&spy) as _);
        let bus = match builder.start().await {
            Ok(bus) => bus,
            Err(error) => panic!("{error}"),
        };
        Self { bus, clock, spy }
    }

    /// The bus's clock.
    #[must_use]
    pub const fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Waits until nothing waits and nothing runs. A handler that waits for the clock keeps this from ending: then use
    /// [`settle_within`](TestBus::settle_within).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn settle(&self) {
        self.bus.idle().await;
    }

    /// As [`settle`](TestBus::settle), and moves the clock on to the next timer whenever only timers are left, for at most
    /// `virtual_time`. Says whether everything came to rest. Meant for tests on a current-thread runtime, where everything
    /// that can run has run when this is polled again.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn settle_within(&self, virtual_time: Duration) -> bool {
        let mut left = virtual_time;
        loop {
            // Everything else runs before this is polled again; a few turns let chains of handlers finish.
            for _ in 0..SETTLE_TURNS {
                tokio::task::yield_now().await;
            }
            let idle = self.bus.idle();
            tokio::pin!(idle);
            if std::future::poll_fn(|context| std::task::Poll::Ready(idle.as_mut().poll(context).is_ready()))
                .await
            {
                return true;
            }
            match self.clock.next_due() {
                Some(due) if due <= left => {
                    left -= due;
                    self.clock.advance(due);
                }
                _ => return false,
            }
        }
    }

    /// Events that were published, in order.
    #[must_use]
    pub fn published(&self) -> Vec<AnyEvent> {
        self.spy.published.lock().clone()
    }

    /// Events that were published to topics of `filter`, in order.
    ///
    /// # Panics
    /// When `filter` is none.
    #[must_use]
    #[track_caller]
    pub fn published_on(&self, filter: &str) -> Vec<AnyEvent> {
        let filter = match Filter::new(filter) {
            Ok(filter) => filter,
            Err(error) => panic!("{error}"),
        };
        self.published().into_iter().filter(|event| filter.matches(event.topic())).collect()
    }

    /// What subscriptions have handled, in order.
    #[must_use]
    pub fn handled(&self) -> Vec<Handled> {
        self.spy.handled.lock().clone()
    }

    /// `count` events were published to topics of `filter`.
    ///
    /// # Panics
    /// When it were more or fewer.
    #[track_caller]
    pub fn assert_published(&self, filter: &str, count: usize) {
        let found = self.published_on(filter);
        let topics: Vec<&str> = found.iter().map(|event| event.topic().as_str()).collect();
        assert!(
            found.len() == count,
            "expected {count} events on {filter}, published {}: {topics:?}",
            found.len()
        );
    }

    /// The payloads that were published to topics of `filter` were these.
    ///
    /// # Panics
    /// When they were not, or not of this type.
    #[track_caller]
    pub fn assert_payloads<T: EventType + PartialEq + Debug + Clone>(&self, filter: &str, expected: &[T]) {
        let decode = |event: &AnyEvent| match event.typed::<T>() {
            Ok(event) => event.payload().clone(),
            Err(error) => panic!("an event on {}: {error}", event.topic()),
        };
        let found: Vec<T> = self.published_on(filter).iter().map(decode).collect();
        assert_eq!(found, expected, "payloads published on {filter}");
    }

    /// Everything that was published is on a topic of one of these filters: nothing unexpected was said.
    ///
    /// # Panics
    /// When something else was published; the message names its topics.
    #[track_caller]
    pub fn assert_published_only(&self, filters: &[&str]) {
        let expected: Vec<AnyEvent> = filters.iter().flat_map(|filter| self.published_on(filter)).collect();
        let is_expected = |event: &AnyEvent| expected.iter().any(|known| known.id() == event.id());
        let others: Vec<String> = self
            .published()
            .iter()
            .filter(|event| !is_expected(event))
            .map(|event| event.topic().to_string())
            .collect();
        assert!(others.is_empty(), "published beside {filters:?}: {others:?}");
    }

    /// The outcomes of a subscription were these, in order.
    ///
    /// # Panics
    /// When they were not.
    #[track_caller]
    pub fn assert_outcomes(&self, subscription: &str, expected: &[&str]) {
        let handled = self.handled();
        let of_subscription = handled.iter().filter(|handled| handled.subscription == subscription);
        let found: Vec<&str> = of_subscription.map(|handled| handled.outcome).collect();
        assert_eq!(found, expected, "outcomes of {subscription}");
    }

    /// For each subscription: offered = delivered + dropped + expired + abandoned, and nothing waits or runs.
    ///
    /// # Panics
    /// When something is missing; the message shows the account.
    #[track_caller]
    pub fn assert_balanced(&self) {
        for stats in self.bus.stats().subscriptions {
            let balanced = stats.tally.offered == stats.tally.settled() && stats.running == 0;
            assert!(balanced, "{stats}, {} running", stats.running);
        }
    }

    /// Shuts down with a virtual minute of grace, and checks that the accounts are balanced and no timer is left.
    ///
    /// # Panics
    /// When they are not.
    pub async fn finish(self) -> ShutdownReport {
        let report = self.bus.shutdown(Duration::from_secs(60)).await;
        let tally = &report.tally;
        assert!(tally.offered == tally.settled(), "{report}");
        assert!(self.clock.sleepers() == 0, "{} timers are left", self.clock.sleepers());
        report
    }
}

impl Deref for TestBus {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.bus
    }
}

/// Each turn lets every task that is ready run once.
const SETTLE_TURNS: usize = 64;
