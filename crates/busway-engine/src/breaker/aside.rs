//! Events of an ephemeral subscription that were acknowledged while their channel was open: in memory, bounded, and offered to the
//! subscription again when the channel is probed or closes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use busway_event::{AnyEvent, Topic};
use busway_middleware::Delivery;
use busway_reliability::{MayWait, Room};

use super::guard::Guard;
use crate::bus::{Dispatched, PublisherSource};
use crate::extract::Stopping;
use crate::mailbox::Arrival;
use crate::stats::State;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Aside {
    events: VecDeque<AnyEvent>,
    /// A task gives them back.
    is_returning: bool,
}

/// Why a task ended that gives events back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Returned {
    All,
    /// The subscription is over.
    NobodyThere,
}

/// What is to be given back next.
enum Back {
    Event(AnyEvent),
    /// When a channel is probed, unless one moves before.
    Wait(Option<Instant>),
    Nothing,
}

impl Guard {
    /// Puts an event aside; `false` when there is no room.
    pub(super) fn put_aside(self: &Arc<Self>, delivery: &Delivery) -> bool {
        let states = delivery.scope().states();
        let (Some(source), Some(stopping)) = (states.get::<PublisherSource>(), states.get::<Stopping>())
        else {
            return false;
        };
        let mut aside = self.aside.lock();
        if aside.events.len() >= ASIDE_MAX {
            return false;
        }
        aside.events.push_back(delivery.event().clone());
        if !std::mem::replace(&mut aside.is_returning, true) {
            let (guard, source, stopping) = (Arc::clone(self), source.clone(), stopping.clone());
            drop(self.services().runtime.spawn(async move {
                tokio::select! {
                    biased;
                    () = stopping.stopped() => guard.lose_aside(),
                    end = guard.give_back(&source) => if end == Returned::NobodyThere { guard.lose_aside() },
                }
            }));
        }
        true
    }

    /// How many are aside that wait for a topic's channel.
    pub(super) fn aside_on(&self, topic: &Topic) -> u64 {
        let aside = self.aside.lock();
        let waiting = aside.events.iter().filter(|event| event.topic() == topic).count();
        u64::try_from(waiting).unwrap_or(u64::MAX)
    }

    /// Offers one after the other, each when nothing else waits: a full queue would lose them. Ends when none is left, or the
    /// subscription is over.
    async fn give_back(&self, source: &PublisherSource) -> Returned {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            match self.next_back() {
                Back::Event(event) => {
                    if !self.offer_again(source, event).await {
                        return Returned::NobodyThere;
                    }
                }
                Back::Wait(Some(until)) => tokio::select! {
                    () = moved => {}
                    () = self.services().clock.sleep_until(until) => {}
                },
                Back::Wait(None) => moved.await,
                Back::Nothing => return Returned::All,
            }
        }
    }

    fn next_back(&self) -> Back {
        let mut aside = self.aside.lock();
        let mut until = None;
        for at in 0..aside.events.len() {
            let room = aside.events.get(at).map(|event| self.room(event.topic()));
            match room {
                Some(room) if room.has_any() => {
                    return aside.events.remove(at).map_or(Back::Wait(None), Back::Event);
                }
                Some(Room::Until(time)) => until = until.into_iter().chain([time]).min(),
                _ => {}
            }
        }
        match aside.events.is_empty() {
            true => {
                // Under the lock: who puts one aside from now on starts another task.
                aside.is_returning = false;
                Back::Nothing
            }
            false => Back::Wait(until),
        }
    }

    /// `false` when there is nobody to offer it to any more.
    async fn offer_again(&self, source: &PublisherSource, event: AnyEvent) -> bool {
        let core = source
            .core
            .upgrade()
            .and_then(|bus| bus.subscriptions().into_iter().find(|core| core.id == source.subscription));
        let Some(core) = core else { return false };
        let has_room = || core.mailbox.depth() == 0 || core.state() == State::Stopped;
        self.services().idle.until(|| has_room().then_some(())).await;
        let arrival = Arrival::of(&event, event.weight());
        let offer = core.mailbox.offer(event, &arrival, MayWait::No);
        Dispatched::default().done(&core, offer);
        // It comes through, or asks for its call, before the next one is looked for.
        tokio::task::yield_now().await;
        core.state() != State::Stopped
    }

    /// The subscription is over: what is still aside is lost.
    fn lose_aside(&self) {
        let lost = std::mem::take(&mut self.aside.lock().events).len();
        if lost > 0 {
            tracing::warn!(
                subscription = self.subscription(),
                lost,
                "acknowledged events are not retried: their subscription is over"
            );
        }
    }
}

/// As many events in memory at most.
const ASIDE_MAX: usize = 1_024;
