//! A subscription in the place of another one, without an event lost or doubled.
//!
//! # The moment
//! The new subscription takes the route of the old one in one change of the routing table: a publisher finds one of the two. Then the old one takes in nothing more
//! (`Mailbox::shut`): a publisher that found it before, and comes now, is sent on to the new one (`bus/succession.rs`); one that is in the middle of its offer is waited
//! for.
//!
//! # The order
//! The new one takes events in at once, and starts none while the old one has some: it is *held*. A task waits for the end of the old one and lets it go. So the
//! lanes of the two never overlap. An inline handler is not held, as it has no queue: its publishers' own order is all that it has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use busway_middleware::{AnyHandler, Ephemeral};
use tokio_util::sync::CancellationToken;

use super::builder::SubscribeBuilder;
use super::core::SubscriptionCore;
use super::entry::{Entry, Making};
use super::error::SubscribeProblem;
use super::handle::Subscription;
use super::member::Member;
use super::place::Place;
use crate::breaker::Breaker;
use crate::bus::BusCore;
use crate::mailbox::Handling;
use crate::settings::Settings;
use crate::stats::State;

/// What a subscription knows of those before and behind it.
#[derive(Debug, Default)]
pub(super) struct Succession {
    /// Starts nothing, whatever its state is: whose place it takes has not come to its end yet.
    is_held: AtomicBool,
    /// Set when it is held.
    hold: OnceLock<Hold>,
    /// Set when another one has taken its place: whoever waited for room here, and came too late, goes to who has it.
    place: OnceLock<Arc<Place>>,
}

#[derive(Debug)]
struct Hold {
    /// Those who have to come to their end before.
    ahead: Vec<u64>,
    /// Cancelled when it is let go.
    released: CancellationToken,
}

/// Whose place is taken.
pub(super) struct Predecessor {
    pub(super) entry: Arc<Entry>,
    member: Arc<Member>,
}

impl SubscribeBuilder {
    /// Takes the place of `subscription` when it begins: at one moment what is published goes to this one, each event to one of the two. The old one handles
    /// what it had and ends; this one starts nothing before that. It may have another filter, handler and settings, and the same name; it
    /// [inherits](Self::inherit) what the old one has learnt. One that is paused leaves its place paused, and handles what it had; but what its breaker has
    /// [put aside](crate::Fallback::ack_and_retry_later) is the new one's.
    ///
    /// Of a group this joins the old one's group, if it asks for the same, and the old one leaves it. If it asks for something else, another filter or other
    /// limits, it takes the place of the whole group: all members of the old one handle what they had and end. They may take part in the new one by taking over in
    /// their turn.
    ///
    /// When this one does not begin, the old one goes on.
    pub fn taking_over(mut self, subscription: &Subscription) -> Self {
        let (entry, member) = (Arc::clone(&subscription.entry), Arc::clone(&subscription.member));
        self.predecessor = Some(Predecessor { entry, member });
        self.heritage = Some(subscription.heritage());
        self
    }

    /// All settings at once; they win over those that were set before.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Everything that would keep it from beginning with this handler, as far as can be told without beginning: what [`to`](Self::to) would list.
    #[must_use]
    pub fn problems_with(&self, handler: &AnyHandler<Ephemeral>) -> Vec<SubscribeProblem> {
        let mut problems = self.problems.clone();
        problems.extend(self.check(handler));
        let breaker = self.breaker.iter().flat_map(Breaker::problems);
        problems.extend(breaker.map(SubscribeProblem::Breaker));
        problems.extend(self.filter.as_ref().err().cloned().map(SubscribeProblem::Filter));
        problems
    }

    /// Whether this is to take a place in it.
    pub(super) fn is_place_of(&self, core: &Arc<SubscriptionCore>) -> bool {
        let predecessor = self.predecessor.as_ref().and_then(|predecessor| predecessor.entry.awake());
        predecessor.is_some_and(|own| Arc::ptr_eq(own, core))
    }
}

impl Predecessor {
    /// Whether the name is its own, and so free for whoever takes its place.
    pub(super) fn bears(&self, name: &str) -> bool {
        self.entry.bears(name)
    }

    /// Routes to `heir` what was routed to this, and sees to its end.
    pub(super) fn give_way(self, bus: &Arc<BusCore>, heir: &Arc<Entry>) {
        let place = self.entry.place();
        let Some(old) = place.give_unless(&self.entry, heir, || self.entry.end_in_place().cloned()) else {
            // It never had an event.
            bus.enter(heir, Some(&self.entry));
            _ = bus.forget_entry(self.entry.id);
            return;
        };
        let new = match heir.handling() {
            Handling::Inline => None,
            _ => heir.wake(Making::default()).cloned(),
        };
        if let Some(new) = &new {
            new.hold(&old);
        }
        bus.enter(heir, Some(&self.entry));
        // Held by now: an event that is sent on from a place further back starts behind those of the old one.
        place.give(&self.entry, heir);
        _ = old.succession.place.set(Arc::clone(place));
        // Whoever puts another one aside from here on finds the heir by itself.
        old.hand_owed_on(new.as_ref());
        // From here on publishers that still have the old table are sent on by themselves.
        old.mailbox.shut();
        if old.state() == State::Paused {
            heir.core().iter().for_each(|new| _ = new.advance(State::Paused));
            old.resume();
        }
        let members = old.members.read().clone();
        end(bus, old, members, new);
    }

    /// Goes, as another one has joined a group.
    pub(super) fn leave(self, bus: &Arc<BusCore>) {
        if let Some(old) = self.entry.end().cloned() {
            end(bus, old, vec![self.member], None);
        }
    }
}

/// Has members of a subscription come to their end, and lets go of what is held until then.
fn end(
    bus: &Arc<BusCore>,
    old: Arc<SubscriptionCore>,
    members: Vec<Arc<Member>>,
    new: Option<Arc<SubscriptionCore>>,
) {
    let ending = async move {
        // All but the last leave at once.
        for member in &members {
            _ = old.stop(member).await;
        }
        if let Some(new) = new {
            new.release();
        }
    };
    drop(bus.services.runtime.spawn(ending));
}

impl SubscriptionCore {
    /// Starts nothing until it is released, when `old` has ended. To be called before it has had an event.
    fn hold(&self, old: &Self) {
        let further = old.succession.hold.get().filter(|_| old.is_held());
        let further = further.into_iter().flat_map(|hold| &hold.ahead).copied();
        let ahead = further.chain([old.id]).collect();
        _ = self.succession.hold.set(Hold { ahead, released: CancellationToken::new() });
        self.succession.is_held.store(true, Ordering::SeqCst);
    }

    /// Waits until it is let go, if it is held: whose place it took comes to its end first.
    pub(super) async fn released(&self) {
        if let Some(hold) = self.succession.hold.get() {
            hold.released.cancelled().await;
        }
    }

    /// Waits, when another one has its place, until it has handled all that it was offered, by whoever was in the middle of that too: nothing comes behind it.
    /// Who paused or stopped it meanwhile has said more.
    pub(super) async fn given_on(&self) {
        self.released().await;
        let is_over = || self.mailbox.account.tally().waiting() == 0 || self.state() != State::Running;
        self.services.idle.until(|| is_over().then_some(())).await;
    }

    /// Whether it starts nothing, whatever its state is.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.succession.is_held.load(Ordering::SeqCst)
    }

    /// Whether it waits for that subscription to end: whose handler would wait for itself if it waited for room here.
    pub(crate) fn is_held_for(&self, subscription: u64) -> bool {
        self.is_held() && self.succession.hold.get().is_some_and(|hold| hold.ahead.contains(&subscription))
    }

    /// Whether another one has taken its place.
    pub(crate) fn has_heir(&self) -> bool {
        self.succession.place.get().is_some()
    }

    /// Who has the place that was its own.
    pub(crate) fn heir(&self) -> Option<Arc<Entry>> {
        self.succession.place.get()?.owner()
    }

    /// Takes [`hold`](Self::hold) back. Whoever has paused or stopped it meanwhile has said that beside.
    fn release(self: &Arc<Self>) {
        self.succession.is_held.store(false, Ordering::SeqCst);
        self.mailbox.hand.wake_all();
        // Events may have come while there was no worker yet.
        if matches!(self.state(), State::Running | State::Draining) && !self.mailbox.is_empty() {
            self.ensure_worker();
        }
        self.succession.hold.get().iter().for_each(|hold| hold.released.cancel());
    }
}
