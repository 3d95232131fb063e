//! A bus for tests: manual clock, a memory of what happened, assertions.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Bus, BusBuilder, ShutdownReport};
use busway_event::{AnyEvent, EventType, Filter};

use crate::clock::ManualClock;
use crate::spy::{BreakerMove, FellBack, Handled, Spy};

/// A bus on a [`ManualClock`] that remembers what was published and handled. Dereferences to [`Bus`].
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

    /// A bus that `configure` has set up: states, settings, middleware. A clock set there is replaced by the
    /// test bus's own; collectors are told too.
    ///
    /// # Panics
    /// When it does not start; the message lists what is wrong.
    pub async fn build(configure: impl FnOnce(BusBuilder) -> BusBuilder) -> Self {
        Self::build_on(ManualClock::new(), configure).await
    }

    /// As [`build`](TestBus::build), on a clock that exists already: for states and middleware that need the same one.
    ///
    /// # Panics
    /// When it does not start; the message lists what is wrong.
    pub async fn build_on(clock: ManualClock, configure: impl FnOnce(BusBuilder) -> BusBuilder) -> Self {
        Self::start_on(clock, configure(Bus::memory().producer("test"))).await
    }

    /// A bus with a store in a directory, as `configure` has set it up: streams, states, settings.
    ///
    /// # Panics
    /// When it does not start; the message lists what is wrong.
    pub async fn open(path: impl Into<PathBuf>, configure: impl FnOnce(BusBuilder) -> BusBuilder) -> Self {
        Self::open_on(ManualClock::new(), path, configure).await
    }

    /// As [`open`](TestBus::open), on a clock that exists already: a bus that is started again goes on in the same time.
    ///
    /// # Panics
    /// When it does not start; the message lists what is wrong.
    pub async fn open_on(
        clock: ManualClock,
        path: impl Into<PathBuf>,
        configure: impl FnOnce(BusBuilder) -> BusBuilder,
    ) -> Self {
        Self::start_on(clock, configure(Bus::open(path).producer("test"))).await
    }

    async fn start_on(clock: ManualClock, builder: BusBuilder) -> Self {
        let spy = Arc::new(Spy::default());
        let builder = builder.clock(Arc::new(clock.clone())).collector(Arc::clone(&spy) as _);
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
    /// `virtual_time`. Says whether everything came to rest; not, when handlers wait for something else than time or feed
    /// themselves for ever. Meant for tests on a current-thread runtime with async or inline handlers: it cannot see that
    /// another thread is about to do something.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn settle_within(&self, virtual_time: Duration) -> bool {
        let mut left = virtual_time;
        loop {
            if !self.quiet().await {
                return false;
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

    /// Lets everything else run until nothing is published, handled or put to sleep any more; `false` when that has no end.
    async fn quiet(&self) -> bool {
        let (mut seen, mut quiet) = (self.activity(), 0);
        for _ in 0..TURNS_MAX {
            tokio::task::yield_now().await;
            let now = self.activity();
            quiet = if now == seen { quiet + 1 } else { 0 };
            seen = now;
            if quiet == QUIET_TURNS {
                return true;
            }
        }
        false
    }

    fn activity(&self) -> (usize, usize, u64) {
        (self.spy.published.lock().len(), self.spy.handled.lock().len(), self.clock.sleepers_ever())
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
        let filter = parse(filter);
        self.published().into_iter().filter(|event| filter.matches(event.topic())).collect()
    }

    /// What subscriptions have handled, in order.
    #[must_use]
    pub fn handled(&self) -> Vec<Handled> {
        self.spy.handled.lock().clone()
    }

    /// How the circuits of a subscription have moved, in order: where each was, and where it went.
    #[must_use]
    pub fn breaker_moves(&self, subscription: &str) -> Vec<BreakerMove> {
        let moves = self.spy.breaker_moves.lock();
        moves.iter().filter(|moved| moved.subscription == subscription).cloned().collect()
    }

    /// What the breaker of a subscription did in the place of calls, in order.
    #[must_use]
    pub fn fallbacks(&self, subscription: &str) -> Vec<FellBack> {
        let fallbacks = self.spy.fallbacks.lock();
        fallbacks.iter().filter(|fell_back| fell_back.subscription == subscription).cloned().collect()
    }

    /// Events whose handlers on a subscription have overrun their deadline and could not be cancelled, in order.
    #[must_use]
    pub fn hung(&self, subscription: &str) -> Vec<AnyEvent> {
        let hung = self.spy.hung.lock();
        hung.iter().filter(|(name, _)| name == subscription).map(|(_, event)| event.clone()).collect()
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
    /// When something else was published, the message names its topics; when one of `filters` is none.
    #[track_caller]
    pub fn assert_published_only(&self, filters: &[&str]) {
        let filters_parsed: Vec<Filter> = filters.iter().map(|filter| parse(filter)).collect();
        let is_expected =
            |event: &AnyEvent| filters_parsed.iter().any(|filter| filter.matches(event.topic()));
        let others: Vec<String> = self
            .published()
            .iter()
            .filter(|event| !is_expected(event))
            .map(|event| event.topic().to_string())
            .collect();
        assert!(others.is_empty(), "published beside {filters:?}: {others:?}");
    }

    /// A subscription has handled `count` events, whatever the outcome. A name that no subscription has counts as 0.
    ///
    /// # Panics
    /// When it were more or fewer; the message lists who has handled how many.
    #[track_caller]
    pub fn assert_handled(&self, subscription: &str, count: usize) {
        let mut counts = BTreeMap::<String, usize>::new();
        for handled in self.handled() {
            *counts.entry(handled.subscription).or_default() += 1;
        }
        let found = counts.get(subscription).copied().unwrap_or(0);
        assert!(
            found == count,
            "expected {count} events handled by {subscription}, handled {found}; by all: {counts:?}"
        );
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

    /// Shuts down with a virtual minute of grace, and checks that the bus's account is balanced and no timer is left. A
    /// handler that does not end keeps this from ending, until somebody moves the clock over the grace.
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

#[track_caller]
fn parse(filter: &str) -> Filter {
    match Filter::new(filter) {
        Ok(filter) => filter,
        Err(error) => panic!("{error}"),
    }
}

/// Each turn lets every task that is ready run once. A handler may take a few turns to do something that can be seen.
const QUIET_TURNS: usize = 64;

/// What is not quiet after so many turns feeds itself.
const TURNS_MAX: usize = 2_048;
