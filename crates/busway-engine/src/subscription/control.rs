//! What a handle can do to its subscription.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::SubscriptionCore;
use super::member::Member;
use crate::idempotency::IdempotencyStats;
use crate::stats::{State, SubscriptionStats};

impl SubscriptionCore {
    /// Goes on after a pause.
    pub(crate) fn resume(self: &Arc<Self>) {
        self.advance(State::Running);
        // Events may have come while there was no worker yet.
        if !self.mailbox.is_empty() {
            self.ensure_worker();
        }
    }

    /// Ends the subscription, or the member's part in it when there are others.
    pub(crate) async fn stop(self: &Arc<Self>, member: &Member) -> SubscriptionStats {
        if self.has_heir() {
            self.given_on().await;
        }
        if !self.begin_end(member) {
            return self.stats();
        }
        self.released().await;
        self.tracker.close();
        self.ended().await;
        // A publish that found the subscription before it was taken off the table may come now.
        self.close();
        self.retire();
        self.stats()
    }

    /// Takes the member out of its group; ends the subscription and says `true` when it was the last one. A member that
    /// joins at the same time joins before this, or finds no group any more.
    fn begin_end(self: &Arc<Self>, member: &Member) -> bool {
        let bus = self.bus.upgrade();
        let registering = bus.as_ref().map(|bus| bus.registering());
        if self.leave(member) {
            return false;
        }
        match self.state() {
            State::Paused => self.advance(State::Stopped),
            _ => self.advance(State::Draining),
        };
        drop(registering);
        self.end_or_drain();
        true
    }

    /// Handles what waits, then ends; a subscription that was paused starts nothing more.
    fn end_or_drain(self: &Arc<Self>) {
        self.unroute();
        match self.state() {
            State::Paused | State::Stopped => self.close(),
            State::Running | State::Draining => self.drain(),
        }
    }

    /// Handles what waits, then ends: by the policy `Disconnect`, or by `stop`.
    fn drain(self: &Arc<Self>) {
        self.advance(State::Draining);
        if self.has_waiting() {
            self.ensure_worker();
        }
    }

    /// Ends because a publisher found no room.
    pub(crate) fn disconnect(self: &Arc<Self>) {
        self.end_or_drain();
        self.tracker.close();
        self.touch();
    }

    /// Whether no worker is left and no inline handler runs.
    pub(crate) fn has_ended(&self) -> bool {
        self.tracker.is_empty() && self.mailbox.account.active() == 0
    }

    /// Waits until that is so for good: not before the tracker is closed.
    pub(crate) async fn ended(&self) {
        self.tracker.wait().await;
        self.services.idle.until(|| (self.mailbox.account.active() == 0).then_some(())).await;
    }

    /// Forgets the subscription, but for its account; one whose handlers still run is forgotten later.
    fn retire(&self) {
        if let Some(bus) = self.bus.upgrade().filter(|_| self.has_ended()) {
            bus.forget(self);
        }
    }

    /// Ends at once: what waits is abandoned, what runs is cut short.
    pub(crate) fn abort_now(&self) {
        self.stopping.cancel();
        self.cut_handlers();
        self.close();
        self.retire();
    }

    /// Takes a member out of its group, unless it has left already; `false` when it is the last one.
    fn leave(&self, member: &Member) -> bool {
        let mut members = self.members.write();
        if members.iter().all(|other| other.id == member.id) {
            return false;
        }
        members.retain(|other| other.id != member.id);
        self.left.lock().add(member.keeper.as_ref());
        drop(members);
        member.leave();
        self.mailbox.part(member.id);
        true
    }

    /// Steps of the idempotency of all its members.
    fn idempotency(&self) -> Option<IdempotencyStats> {
        let members = self.members.read();
        self.left.lock().with(members.iter().filter_map(|member| member.keeper.as_ref()))
    }

    pub(crate) fn stats(&self) -> SubscriptionStats {
        let running = self.mailbox.account.running();
        let [done, failed, dead, skipped] = self.mailbox.account.outcomes();
        let tally = self.mailbox.account.tally();
        SubscriptionStats {
            name: Arc::clone(&self.name),
            state: self.state(),
            tally,
            done,
            failed,
            dead,
            skipped,
            retried: self.retried.load(Ordering::Relaxed),
            over_budget: self.budget.as_ref().map_or(0, |budget| budget.waiting()),
            // Read before the tally: what was handled meanwhile runs no more.
            running: running.min(tally.waiting()),
            queued_bytes: self.mailbox.bytes(),
            idempotency: self.idempotency(),
            last_failure: self.last_failure(),
        }
    }
}
