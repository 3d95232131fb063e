//! Stopping a bus: carries out what `busway_reliability::Shutdown` decides.
//!
//! The first call starts a task that drives the state machine; every call waits for its report. So a caller that gives up
//! does not stop the shutdown, and a second call can only shorten it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use busway_reliability::{Begun, End, Shutdown, Step, Tally};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::BusCore;
use super::dispatch::Source;
use super::latch::Latch;
use crate::stats::State;
use crate::subscription::SubscriptionCore;

/// How far the closing of a bus has come.
#[derive(Debug)]
pub(crate) struct Closing {
    latch: Latch,
    machine: Mutex<Shutdown>,
    /// Rung when another call shortened the grace.
    shortened: Notify,
    report: watch::Sender<Option<ShutdownReport>>,
}

impl Default for Closing {
    fn default() -> Self {
        Self {
            latch: Latch::new(),
            machine: Mutex::new(Shutdown::new()),
            shortened: Notify::new(),
            report: watch::Sender::new(None),
        }
    }
}

impl Closing {
    /// Whether a publish passes.
    #[inline]
    pub(crate) fn admits(&self, from: Source) -> bool {
        self.latch.admits(from)
    }

    /// Lets nothing pass any more.
    pub(crate) fn close(&self) {
        self.latch.close();
    }
}

impl BusCore {
    /// See [`Bus::shutdown`](super::Bus::shutdown).
    pub(crate) async fn shutdown(self: &Arc<Self>, grace: Duration) -> ShutdownReport {
        let now = self.services.clock.now();
        let mut report = self.closing.report.subscribe();
        let begun = self.closing.machine.lock().begin(now, grace);
        match begun {
            Begun::First { .. } => {
                self.closing.latch.refuse_outside();
                let core = Arc::clone(self);
                // A task of its own: the shutdown goes on when its caller gives up.
                drop(self.services.runtime.spawn(async move { core.drive(now).await }));
            }
            Begun::Shortened { .. } => self.closing.shortened.notify_one(),
            _ => {}
        }
        loop {
            if let Some(report) = report.borrow_and_update().clone() {
                return report;
            }
            if report.changed().await.is_err() {
                // The sender lives in this very core.
                return ShutdownReport::default();
            }
        }
    }

    async fn drive(self: Arc<Self>, started: Instant) {
        // Durable ones start nothing more: what waits for them is in the log, and stays there.
        // Under the lock: one that is being made is in the list, or finds the bus closed.
        let registering = self.registering();
        self.durable.list().iter().for_each(|core| core.advance(State::Draining));
        drop(registering);
        // What brokers still have is for others, or for the next start.
        self.remotes.stop();
        // What is due from now on is published after the next start.
        if let Some(log) = &self.log {
            log.schedule.stop();
        }
        // Paused subscriptions start nothing more: what waits in them is abandoned now, not after the grace.
        for core in self.subscriptions() {
            if core.state() == State::Paused {
                core.close();
            }
        }
        let clock = Arc::clone(&self.services.clock);
        let end = loop {
            let step = self.closing.machine.lock().step(clock.now(), self.outstanding());
            let until = match step {
                Step::Close(end) => break end,
                Step::Run => break End::Drained,
                Step::Wait { until } => until,
                Step::Cancel { until } => {
                    self.stop_handlers();
                    until
                }
            };
            tokio::select! {
                () = self.services.idle.until(|| self.may_step().then_some(())) => {}
                () = self.closing.shortened.notified() => {}
                () = clock.sleep_until(until) => {}
            }
        };
        let stuck = self.end_all().await;
        self.remotes.end();
        self.remotes.ended().await;
        self.close_log().await;
        let report = self.report(end, stuck, clock.now().saturating_duration_since(started));
        tracing::info!(%report, "bus stopped");
        self.closing.report.send_replace(Some(report));
    }

    /// Whether the state machine would do something but wait.
    fn may_step(&self) -> bool {
        let work = self.outstanding();
        work.is_empty() || (work.running == 0 && self.stopping.is_cancelled())
    }

    /// Tells handlers to stop and starts nothing more.
    fn stop_handlers(&self) {
        for entry in self.entries() {
            if let Some(core) = entry.end() {
                core.close();
            }
        }
        self.stopping.cancel();
        self.services.idle.touch();
    }

    /// Closes everything and waits until every worker has ended, or until it is clear that some will not. Says how many.
    async fn end_all(&self) -> Vec<Arc<str>> {
        self.closing.close();
        self.stopping.cancel();
        let registering = self.registering();
        let entries = self.entries();
        drop(registering);
        let cores: Vec<_> = entries.iter().filter_map(|entry| entry.end().cloned()).collect();
        for core in &cores {
            core.cut_handlers();
            core.close();
        }
        let durable = self.durable.list();
        durable.iter().for_each(|core| core.cut());
        let clock = &self.services.clock;
        // Aborted tasks end at their next await; a blocking handler may never.
        let patience = clock.sleep_until(clock.now() + STUCK_AFTER);
        tokio::pin!(patience);
        let mut stuck = Vec::new();
        // A publish that was on its way may be in the middle of an offer: it finds the mailbox closed and says so.
        let at_rest = || self.is_at_rest().then_some(());
        tokio::select! {
            biased;
            () = self.services.idle.until(at_rest) => {}
            () = &mut patience => {}
        }
        for core in &cores {
            tokio::select! {
                biased;
                () = core.ended() => {}
                () = &mut patience => {}
            }
            if !core.has_ended() {
                stuck.push(Arc::clone(&core.name));
            }
        }
        for core in durable {
            tokio::select! {
                biased;
                () = core.ended() => {}
                () = &mut patience => {}
            }
            if !core.has_ended() {
                stuck.push(Arc::clone(&core.name));
            }
        }
        stuck
    }

    /// Stores what durable subscriptions have decided, and closes the store: its directory is free then.
    pub(super) async fn close_log(&self) {
        let Some(log) = &self.log else { return };
        log.ending.cancel();
        log.readers.close();
        let clock = &self.services.clock;
        tokio::select! {
            biased;
            () = log.readers.wait() => {}
            // A disk that does not answer: what it does not say is stored is handled again.
            () = clock.sleep_until(clock.now() + FLUSH_AFTER) => {}
        }
        let (closing, now) = (Arc::clone(log), clock.utc());
        let close = move || {
            // Who was attended here was so until now.
            closing.with(|store| store.retain(now));
            closing.close();
        };
        if self.services.runtime.spawn_blocking(close).await.is_err() {
            tracing::warn!("the runtime ended before the store was closed");
        }
        self.services.idle.touch();
    }

    fn report(&self, end: End, stuck: Vec<Arc<str>>, elapsed: Duration) -> ShutdownReport {
        let cores = self.subscriptions();
        let durable = self.durable.list();
        let of_durable = durable.iter().filter_map(|core| {
            let events = core.stats().cut_short.saturating_add(core.unstored());
            (events > 0).then(|| Abandoned { subscription: Arc::clone(&core.name), events })
        });
        let left: Vec<_> = cores.iter().filter_map(|core| Abandoned::of(core)).chain(of_durable).collect();
        let tally = self.stats().tally;
        let end = match (end, tally.abandoned, left.is_empty()) {
            (End::Drained, 0, true) => ShutdownEnd::Drained,
            _ => ShutdownEnd::Abandoned,
        };
        cores.iter().for_each(|core| self.forget(core));
        ShutdownReport { end, tally, left, stuck, elapsed }
    }
}

/// What a shutdown came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Whether everything was handled.
    pub end: ShutdownEnd,
    /// The account of the whole bus, from its start.
    pub tally: Tally,
    /// Subscriptions that abandoned events.
    pub left: Vec<Abandoned>,
    /// Subscriptions with a handler that did not stop: its thread stays until it returns.
    pub stuck: Vec<Arc<str>>,
    /// From the call to the report.
    pub elapsed: Duration,
}

impl ShutdownReport {
    /// Whether everything was handled.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.end == ShutdownEnd::Drained
    }
}

impl Default for ShutdownReport {
    fn default() -> Self {
        Self {
            end: ShutdownEnd::Drained,
            tally: Tally::default(),
            left: Vec::new(),
            stuck: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            ShutdownEnd::Drained => write!(f, "drained in {:.1?}", self.elapsed)?,
            ShutdownEnd::Abandoned => {
                // What ephemeral subscriptions abandoned before they ended is in the tally alone.
                let left: u64 = self.left.iter().map(|left| left.events).sum();
                write!(f, "abandoned {} in {:.1?}", left.max(self.tally.abandoned), self.elapsed)?;
            }
        }
        write!(f, ": {}", self.tally)?;
        self.left.iter().try_for_each(|left| write!(f, "; {} left {}", left.subscription, left.events))?;
        self.stuck.iter().try_for_each(|name| write!(f, "; {name} did not stop"))
    }
}

/// How a shutdown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownEnd {
    /// Whatever was accepted was handled, dropped by policy, or expired, and what durable subscriptions have settled is stored.
    Drained,
    /// Events were left over, or abandoned before.
    Abandoned,
}

/// Events that a subscription abandoned. Those of a durable one had a handler that was cut short, and the attempt is not charged to them; or the store
/// had no room for what was decided about them, or has failed. They are attempted again after the next start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abandoned {
    /// Its name.
    pub subscription: Arc<str>,
    /// How many.
    pub events: u64,
}

impl Abandoned {
    fn of(core: &SubscriptionCore) -> Option<Self> {
        let events = core.mailbox.account.tally().abandoned;
        (events > 0).then(|| Self { subscription: Arc::clone(&core.name), events })
    }
}

/// A task that was aborted ends at its next await: at once, on a machine that runs at all. What has not ended by then is
/// code that does not return.
const STUCK_AFTER: Duration = Duration::from_millis(500);

/// How long the disk has to take what was decided.
const FLUSH_AFTER: Duration = Duration::from_secs(10);
