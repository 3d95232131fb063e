//! Events of an ephemeral subscription that were acknowledged while their channel was open: in memory, bounded, and offered to the
//! subscription again when the channel is probed or closes.
//!
//! They are owed as those are that wait in its queues: each is counted as offered anew when it is put aside, so it is *waiting* until it is handled. A subscription that is
//! stopped does not end before they are handled, and one that is closed abandons them. Whoever takes its place owes them from then on, as far as it wants their topics
//! and has a queue to put them into; the others are abandoned.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

use busway_event::{AnyEvent, Topic};
use busway_middleware::Delivery;
use busway_middleware::chain::drop_contained;
use busway_reliability::Room;

use super::guard::Guard;
use crate::bus::{Dispatched, PublisherSource};
use crate::mailbox::Offer;
use crate::stats::State;
use crate::subscription::SubscriptionCore;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Aside {
    events: VecDeque<AnyEvent>,
    /// One that was taken out is being offered.
    in_hand: bool,
    /// Who owes them, while there are any: it knows this guard for as long.
    owner: Weak<SubscriptionCore>,
    /// A task gives them back.
    is_returning: bool,
}

impl Aside {
    fn is_of(&self, core: &SubscriptionCore) -> bool {
        std::ptr::eq(self.owner.as_ptr(), core)
    }
}

/// What is to be given back next.
enum Back {
    /// An event, when the place for it is free.
    Event,
    /// When a channel is probed, unless one moves before.
    Wait(Option<Instant>),
    /// None is left, or another subscription owes them.
    Over,
}

impl Guard {
    /// Puts an event aside; `false` when there is no room, or nobody to handle it later.
    pub(super) fn put_aside(self: &Arc<Self>, delivery: &Delivery) -> bool {
        let Some(source) = delivery.scope().states().get::<PublisherSource>() else { return false };
        let mut aside = self.aside.lock();
        if aside.events.len() >= ASIDE_MAX {
            return false;
        }
        let found = || source.core.upgrade()?.subscription(source.subscription);
        let Some(owner) = self.owner(&mut aside, found, delivery.event().topic()) else { return false };
        owner.mailbox.account.offered();
        aside.events.push_back(delivery.event().clone());
        if !std::mem::replace(&mut aside.is_returning, true) {
            let guard = Arc::clone(self);
            drop(self.services().runtime.spawn(async move { guard.give_all_back().await }));
        }
        true
    }

    /// How many are aside that wait for a topic's channel.
    pub(crate) fn aside_on(&self, topic: &Topic) -> u64 {
        let aside = self.aside.lock();
        let waiting = aside.events.iter().filter(|event| event.topic() == topic).count();
        u64::try_from(waiting).unwrap_or(u64::MAX)
    }

    /// Whether a subscription owes any.
    pub(crate) fn owes_for(&self, core: &SubscriptionCore) -> bool {
        let aside = self.aside.lock();
        aside.is_of(core) && (aside.in_hand || !aside.events.is_empty())
    }

    /// A subscription is closed: those that it owes are abandoned.
    pub(crate) fn abandon_aside(&self, core: &SubscriptionCore) {
        let mut aside = self.aside.lock();
        if !aside.is_of(core) {
            return;
        }
        let left = std::mem::take(&mut aside.events);
        self.disown(&mut aside, core);
        drop(aside);
        self.abandoned(core, left);
    }

    /// Another subscription, unless there is none that has a queue, takes the place of one: it owes from now on what that one owed.
    pub(crate) fn hand_aside_on(
        self: &Arc<Self>,
        old: &SubscriptionCore,
        new: Option<&Arc<SubscriptionCore>>,
    ) {
        let mut aside = self.aside.lock();
        if !aside.is_of(old) {
            return;
        }
        let events = std::mem::take(&mut aside.events);
        self.disown(&mut aside, old);
        let mut left = VecDeque::new();
        for event in events {
            let owner = self.owner(&mut aside, || new.cloned(), event.topic());
            match owner {
                Some(owner) => {
                    // In this order: it is never seen to wait for nobody.
                    owner.mailbox.account.offered();
                    old.mailbox.account.retract();
                    aside.events.push_back(event);
                }
                None => left.push_back(event),
            }
        }
        drop(aside);
        self.abandoned(old, left);
    }

    /// Who is to owe an event: who owes others already, or the one that is found, or whoever has its place by now. It knows this guard then: who closes it, or takes its place,
    /// looks here behind this. `None` when it is over, or does not want the topic.
    fn owner(
        self: &Arc<Self>,
        aside: &mut Aside,
        find: impl FnOnce() -> Option<Arc<SubscriptionCore>>,
        topic: &Topic,
    ) -> Option<Arc<SubscriptionCore>> {
        if let Some(owner) = aside.owner.upgrade() {
            return Some(owner).filter(|owner| owner.filter.matches(topic));
        }
        let mut core = find()?;
        loop {
            if !core.filter.matches(topic) || core.inline.get().is_some() {
                return None;
            }
            core.owed.add(self);
            if !core.has_heir() && core.state() != State::Stopped {
                aside.owner = Arc::downgrade(&core);
                return Some(core);
            }
            core.owed.remove(self);
            let heir = core.heir()?.core().cloned()?;
            if Arc::ptr_eq(&heir, &core) {
                return None;
            }
            core = heir;
        }
    }

    fn disown(&self, aside: &mut Aside, core: &SubscriptionCore) {
        aside.owner = Weak::new();
        core.owed.remove(self);
    }

    /// Counts events that nobody will handle. Behind the lock: their drops are code of the program's.
    fn abandoned(&self, core: &SubscriptionCore, left: VecDeque<AnyEvent>) {
        let lost = left.len();
        core.mailbox.account.abandoned(u64::try_from(lost).unwrap_or(u64::MAX));
        left.into_iter().for_each(drop_contained);
        if lost > 0 {
            let subscription = &*core.name;
            tracing::warn!(
                subscription,
                lost,
                "acknowledged events are not retried: their subscription is over"
            );
        }
        given_back(core);
        // Its task, too, has something to look at.
        self.moved.notify_waiters();
    }

    /// Gives back what is aside until there is nothing left, for one owner after the other.
    async fn give_all_back(self: Arc<Self>) {
        loop {
            let owner = {
                let mut aside = self.aside.lock();
                let owner = aside.owner.upgrade();
                // Under the lock: who puts one aside from now on starts another task.
                aside.is_returning = owner.is_some();
                owner
            };
            let Some(owner) = owner else { return };
            tokio::select! {
                biased;
                () = owner.stopping.cancelled() => self.abandon_aside(&owner),
                () = self.give_back_to(&owner) => {}
            }
        }
    }

    /// Offers one after the other, each when the one before was taken. Ends when this one owes none.
    async fn give_back_to(self: &Arc<Self>, core: &Arc<SubscriptionCore>) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let next = self.next_back(core, |_, _| ());
            match next {
                Back::Event => tokio::select! {
                    () = moved.as_mut() => {}
                    () = core.mailbox.may_return() => match self.offer_again(core) {
                        // It comes through, or asks for its call, before the next one is looked for.
                        true => tokio::task::yield_now().await,
                        // Whoever closes it says what becomes of them, and that something has moved.
                        false => moved.await,
                    },
                },
                Back::Wait(Some(until)) => tokio::select! {
                    () = moved => {}
                    () = self.services().clock.sleep_until(until) => {}
                },
                Back::Wait(None) => moved.await,
                Back::Over => return,
            }
        }
    }

    /// What is next, and takes it out if it is an event and that is wanted.
    fn next_back(&self, core: &SubscriptionCore, take: impl FnOnce(&mut Aside, usize)) -> Back {
        let mut aside = self.aside.lock();
        if !aside.is_of(core) {
            return Back::Over;
        }
        let mut until = None;
        for at in 0..aside.events.len() {
            match aside.events.get(at).map(|event| self.room(event.topic())) {
                Some(room) if room.has_any() => {
                    take(&mut aside, at);
                    return Back::Event;
                }
                Some(Room::Until(time)) => until = until.into_iter().chain([time]).min(),
                _ => {}
            }
        }
        if aside.events.is_empty() {
            self.disown(&mut aside, core);
            drop(aside);
            given_back(core);
            return Back::Over;
        }
        Back::Wait(until)
    }

    /// `false`: the subscription takes nothing more in, and who closes it has not been here yet.
    fn offer_again(self: &Arc<Self>, core: &Arc<SubscriptionCore>) -> bool {
        let mut taken = None;
        _ = self.next_back(core, |aside, at| {
            taken = aside.events.remove(at);
            aside.in_hand = taken.is_some();
        });
        let Some(event) = taken else { return true };
        // It is offered twice for a moment, and never not at all.
        let goes_on = match core.mailbox.offer_returned(event) {
            // Another breaker of the subscription was quicker.
            Err(event) => {
                self.keep_on(core, event);
                true
            }
            Ok(Offer::Closed(event)) => !self.keep_on(core, event),
            Ok(offer) => {
                Dispatched::default().done(core, offer);
                core.mailbox.account.retract();
                self.aside.lock().in_hand = false;
                true
            }
        };
        given_back(core);
        goes_on
    }

    /// Puts back what was taken out to be offered: its subscription owes it still, with all others (`true`). Or who closes that one was here meanwhile: then it goes
    /// where those have gone.
    fn keep_on(self: &Arc<Self>, core: &Arc<SubscriptionCore>, event: AnyEvent) -> bool {
        let mut aside = self.aside.lock();
        aside.in_hand = false;
        if aside.is_of(core) {
            aside.events.push_front(event);
            return true;
        }
        let owner = self.owner(&mut aside, || Some(Arc::clone(core)), event.topic());
        if let Some(owner) = owner {
            owner.mailbox.account.offered();
            core.mailbox.account.retract();
            aside.events.push_front(event);
            return false;
        }
        drop(aside);
        self.abandoned(core, VecDeque::from([event]));
        false
    }
}

/// Fewer are aside: a subscription that waited for them may end.
fn given_back(core: &SubscriptionCore) {
    core.mailbox.hand.wake_all();
    core.touch();
}

/// As many events in memory at most.
const ASIDE_MAX: usize = 1_024;
