//! The timer: the one task of a bus that publishes what is due.
//!
//! It sleeps until the earliest due time that is known, and is rung when an earlier one is stored. What the store refuses at the moment (a
//! full disk, a partition at its cap) is tried again after a second. Which events are due, the store decides in the
//! transaction that publishes them; so nothing of a crash has to be remembered here.

use std::sync::{Arc, Weak};
use std::time::Duration;

use busway_event::Timestamp;
use busway_persistence::{Fired, RequestError, Rest, Store};
use tokio::sync::oneshot;

use super::declared::Declared;
use crate::bus::{BusCore, Services};
use crate::log::Log;

impl Log {
    /// Publishes what is due until the log ends.
    pub(crate) async fn run_schedule(self: Arc<Self>, services: Arc<Services>, bus: Weak<BusCore>) {
        let stopping = self.schedule.stopping.clone();
        let mut timer = Timer { log: self, services, is_failing: false };
        timer.begin().await;
        loop {
            if stopping.is_cancelled() {
                return;
            }
            let now = timer.log.schedule.time(&*timer.services.clock);
            if timer.log.schedule.begin(now) {
                let next = timer.fire(now).await;
                timer.log.schedule.end(next);
            }
            timer.tick(&bus, now).await;
            timer.services.idle.touch();
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = timer.log.schedule.changed.notified() => {}
                () = timer.until_due() => {}
            }
        }
    }
}

struct Timer {
    log: Arc<Log>,
    services: Arc<Services>,
    /// The store refused the last time: said once.
    is_failing: bool,
}

impl Timer {
    /// Brings delays near that a clock far ahead has begun, and looks when the first event is due.
    async fn begin(&self) {
        let now = self.log.schedule.time(&*self.services.clock);
        self.log.schedule.begin(now);
        let redate = move |store: &Store, answer: oneshot::Sender<_>| {
            store.redate(now, Box::new(move |result| _ = answer.send(result)));
        };
        if let Some(Err(error)) = self.log.ask(&self.services, redate).await {
            tracing::warn!(%error, "delays that a clock far ahead has begun wait on");
        }
        let next = match self.log.lend(&self.services, Store::next_due).await {
            Some(Ok(next)) => next,
            // It cannot be read: the store says so when it is asked to publish.
            Some(Err(_)) => Some(now),
            None => None,
        };
        self.log.schedule.end(next);
        self.services.idle.touch();
    }

    /// Moves what is due into the log; says when to look again.
    async fn fire(&mut self, until: Timestamp) -> Option<Timestamp> {
        let (mut rest, mut held) = (None, 0);
        loop {
            match self.fire_some(until, rest).await? {
                Ok(fired) => {
                    self.is_failing = false;
                    self.log.published_later(fired.events);
                    held += fired.held;
                    rest = fired.rest;
                    if rest.is_none() {
                        let again = (held > 0).then(|| until.saturating_add(AGAIN_AFTER));
                        return [fired.next, again].into_iter().flatten().min();
                    }
                    // What is left is published after the next start.
                    if self.log.schedule.stopping.is_cancelled() {
                        return None;
                    }
                }
                Err(error) => {
                    if !self.is_failing {
                        tracing::error!(%error, "what is due cannot be published; it waits, and is tried again each second");
                    }
                    self.is_failing = true;
                    return Some(until.saturating_add(AGAIN_AFTER));
                }
            }
        }
    }

    async fn fire_some(&self, until: Timestamp, rest: Option<Rest>) -> Option<Result<Fired, RequestError>> {
        let now = self.services.clock.utc();
        let fire = move |store: &Store, answer: oneshot::Sender<_>| {
            store.fire(until, now, FIRED_AT_ONCE, rest, Box::new(move |result| _ = answer.send(result)));
        };
        self.log.ask(&self.services, fire).await
    }

    /// Lets schedules tick whose time has come.
    async fn tick(&self, bus: &Weak<BusCore>, now: Timestamp) {
        for declared in self.log.schedule.due(now) {
            // Only lent for this tick: the timer does not keep its bus alive.
            let Some(bus) = bus.upgrade() else { return };
            if self.log.schedule.stopping.is_cancelled() {
                return;
            }
            Declared::tick(&declared, &bus, &self.log, now).await;
        }
    }

    async fn until_due(&self) {
        let Some(due) = self.log.schedule.earliest() else { return std::future::pending().await };
        let clock = &self.services.clock;
        let wait = due.saturating_since(self.log.schedule.time(&**clock)).min(LOOK_AGAIN_AFTER);
        clock.sleep_until(clock.now() + wait).await;
    }
}

/// Events of one commit: as many as it takes of others would hold up publishers for some ten milliseconds.
const FIRED_AT_ONCE: usize = 1_024;
/// What was refused is tried again.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A wall clock that is set forward does not wake a sleeper.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(60);
