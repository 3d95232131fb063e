//! Taking: a member of a durable subscription that has no handler. Somebody comes for its events, many at a time, and says later what became of each.
//!
//! What a worker does for a handler, this does for who takes: it starts events of the window, keeps in mind what was started, and ends it with the verdict. So lanes, places among those
//! that run, parking, dead letters and the cursor are the subscription's, as with any handler, and there is no second way to move a cursor. What there is not: a task, a timer and a
//! channel for each event, and middleware around it.
//!
//! An event is *under way* from [`take`](Taking::take) to [`end`](Taking::end). Each is ended by itself: one that nobody decides holds its own lane, and nobody else.
//!
//! # Crash points
//! Between `take` and `end`: nothing is stored of it, and it is given again. Between `end` and the commit of its settlement: likewise. While events are attempted
//! [one by one](super::caution), the mark of an event is stored before it is handed over.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use busway_event::AnyEvent;
use busway_middleware::chain::drop_contained;
use busway_middleware::{Delivery, IntoHandler as _, Outcome, Position};
use busway_observability::trace::Place;
use busway_reliability::KeyHashing;
use parking_lot::Mutex;

use super::attempt::Ended;
use super::ending::{Ending, judge};
use super::hand::Presence;
use super::traced::concluded;
use super::window::{Made, Started, Verdict};
use super::{DurableBuilder, DurableCore, DurableSubscription, Member};
use crate::stats::State;
use crate::subscription::SubscribeError;

/// Takes the events of a member. Dropped it ends nothing: [`close`](Self::close) gives back, and the subscription goes on until it is stopped.
#[derive(Debug)]
pub(crate) struct Taking {
    core: Arc<DurableCore>,
    member: Arc<Member>,
}

/// An event that was taken.
#[derive(Debug)]
pub(crate) struct TakenEvent {
    /// What it is called when it is [ended](Taking::end).
    pub(crate) id: u64,
    pub(crate) event: AnyEvent,
    pub(crate) attempt: NonZeroU32,
    pub(crate) position: Option<Position>,
}

/// What became of an event that was taken.
#[derive(Debug)]
pub(crate) enum Fate {
    /// What a handler would have said.
    Decided(Outcome),
    /// It was not attempted: it may be taken again at once, and nothing is charged to it.
    Back,
}

/// What was taken of a member. Its lock is taken before that of the hand, and held for moments: whoever closes sees all that was started, and nothing is started behind that.
#[derive(Debug, Default)]
pub(super) struct Taken(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// As many as run at once, at most: the window counts them.
    under_way: HashMap<u64, UnderWay, KeyHashing>,
    is_closed: bool,
}

/// An event that was taken and has not ended.
#[derive(Debug)]
struct UnderWay {
    started: Started<AnyEvent>,
    /// If that is timed.
    begun: Option<Instant>,
    /// If it is in a trace.
    place: Option<Box<Place>>,
}

/// What there was to take.
enum Found {
    /// These; whether they are to be marked before.
    Some(Vec<TakenEvent>, Marking),
    /// Nothing now: who waits was counted among those that sleep.
    Nothing,
    /// Nothing any more.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marking {
    Needed,
    No,
}

impl DurableBuilder {
    /// Begins it as one whose events are taken; or joins its group so. As with [`to`](Self::to).
    pub(crate) async fn taken(mut self) -> Result<(DurableSubscription, Taking), SubscribeError> {
        self.is_taken = true;
        let subscription = self.begin(taken.into_handler()).await?;
        let taking =
            Taking { core: Arc::clone(subscription.core()), member: Arc::clone(subscription.member()) };
        Ok((subscription, taking))
    }
}

/// Stands where a handler is named. Nobody calls it: a member whose events are taken has no workers. Were it called nothing would be lost by it.
async fn taken(_: Delivery) -> Outcome {
    Outcome::failed("its events are taken: nobody handles them")
}

impl Taking {
    /// Waits for events that may start, and takes as many as `max` of them; `None` when there will be none: the subscription ends, the member has left, or all was given back. Of
    /// each lane one is under way.
    ///
    /// # Cancel safety
    /// Safe: nothing was taken, or it is given back.
    pub(crate) async fn take(&self, max: usize) -> Option<Vec<TakenEvent>> {
        let Self { core, member } = self;
        loop {
            let more = member.more.notified();
            tokio::pin!(more);
            // Before it is looked: what comes behind the look rings.
            more.as_mut().enable();
            match self.take_now(max.max(1)) {
                Found::Some(events, Marking::No) => {
                    self.trace(&events);
                    return Some(events);
                }
                Found::Some(events, Marking::Needed) => match self.marked(events).await {
                    Ok(Some(events)) => {
                        self.trace(&events);
                        return Some(events);
                    }
                    Ok(None) => {}
                    // As a worker that ends.
                    Err(_) => return None,
                },
                Found::Nothing => {
                    let _asleep = Asleep { core, member };
                    more.await;
                }
                Found::Over => return None,
            }
        }
    }

    fn take_now(&self, max: usize) -> Found {
        let Self { core, member } = self;
        let Some(Taken(open)) = &member.taken else { return Found::Over };
        let (mut open, begun) = (open.lock(), core.services.begun());
        let mut hand = core.hand.lock();
        let is_over = open.is_closed || matches!(hand.state, State::Draining | State::Stopped);
        let is_careful = hand.careful > 0;
        let may_start = hand.goes_on() && (!is_careful || hand.may_start());
        let Some(presence) = hand.seat(member).filter(|_| !is_over).map(|seat| seat.presence) else {
            return Found::Over;
        };
        let mut events = Vec::new();
        match presence {
            Presence::Left => return Found::Over,
            Presence::Here if may_start => {
                let max = if is_careful { 1 } else { max };
                while events.len() < max
                    && let Some(started) = hand.start(member)
                {
                    events.push(open.enter(core, started, begun));
                }
            }
            Presence::Here | Presence::Paused => {}
        }
        if events.is_empty() {
            if let Some(seat) = hand.seat(member) {
                seat.asleep += 1;
            }
            return Found::Nothing;
        }
        // Of a group: what is left is somebody else's too.
        if hand.may_start() {
            hand.supply(core);
        }
        drop(hand);
        // There is less ahead now.
        core.flow.bell.notify_one();
        Found::Some(events, if is_careful { Marking::Needed } else { Marking::No })
    }

    /// Stores the marks of events before they are handed over. `Ok(None)`: they are wanted back, and wait; `Err`: the subscription ends, or its store takes nothing any more.
    async fn marked(&self, events: Vec<TakenEvent>) -> Result<Option<Vec<TakenEvent>>, Ended> {
        let Self { core, member } = self;
        let ids = || events.iter().map(|taken| taken.id);
        let mut unmarked = Unmarked { taking: self, ids: ids().collect() };
        for id in ids() {
            let Some(started) = self.started(id) else { continue };
            let marked = core.abort.run_until_cancelled(core.marked(member, &started)).await;
            let Err(ended) = marked.unwrap_or(Err(Ended::CutShort)) else { continue };
            unmarked.ids.clear();
            let left = self.leave(ids()).into_iter().flatten().map(|under_way| under_way.started.place);
            if let Ended::Waits(wait) = ended {
                left.for_each(|place| core.waits(place, wait, core.moment()));
                return Ok(None);
            }
            // They stay as they were.
            core.cut_short(left);
            return Err(ended);
        }
        unmarked.ids.clear();
        Ok(Some(events))
    }

    /// Ends events with what became of them, all at once, in the order given; says of each whether it was under way.
    pub(crate) fn end(&self, fates: Vec<(u64, Fate)>) -> Vec<bool> {
        let Self { core, member } = self;
        let (ids, fates): (Vec<u64>, Vec<Fate>) = fates.into_iter().unzip();
        let left = self.leave(ids.into_iter());
        let at = core.moment();
        // Not under the lock: what is told of an event is the user's code.
        let mut decided = Vec::with_capacity(left.len());
        for (under_way, fate) in left.iter().zip(fates) {
            let Some(UnderWay { started, begun, place }) = under_way else { continue };
            let verdict = match fate {
                Fate::Back => Verdict::Later { delay: Duration::ZERO },
                Fate::Decided(outcome) => {
                    core.handled(&started.event, &outcome, *begun);
                    let verdict =
                        judge(core, member, started, &Ending::of(&outcome, core.class_of(&outcome)), at);
                    concluded(place.as_deref(), started, &outcome, &verdict);
                    drop_contained(outcome);
                    verdict
                }
            };
            decided.push((started.place, verdict));
        }
        if !decided.is_empty() {
            let mut hand = core.hand.lock();
            decided
                .into_iter()
                .for_each(|(place, verdict)| hand.ended(core, place, (verdict, Made::Attempt), at));
            drop(hand);
            core.flow.bell.notify_one();
        }
        left.iter().map(Option::is_some).collect()
    }

    /// One of these that is not under way.
    pub(crate) fn find_gone(&self, mut ids: impl Iterator<Item = u64>) -> Option<u64> {
        let open = self.member.taken.as_ref().map(|Taken(open)| open.lock());
        ids.find(|id| !open.as_ref().is_some_and(|open| open.under_way.contains_key(id)))
    }

    /// Gives back all that is under way; nothing is taken any more.
    pub(crate) fn close(&self) {
        let Some(Taken(open)) = &self.member.taken else { return };
        let ids: Vec<u64> = {
            let mut open = open.lock();
            open.is_closed = true;
            open.under_way.keys().copied().collect()
        };
        self.end(ids.into_iter().map(|id| (id, Fate::Back)).collect());
        // Who sleeps finds that it is over.
        self.member.more.notify_waiters();
    }

    /// They are not under way any more.
    fn leave(&self, ids: impl Iterator<Item = u64>) -> Vec<Option<UnderWay>> {
        let Some(Taken(open)) = &self.member.taken else { return Vec::new() };
        let mut open = open.lock();
        ids.map(|id| open.under_way.remove(&id)).collect()
    }

    /// Notes the places of events that are in traces. Not under a lock: a tracing system is asked.
    fn trace(&self, events: &[TakenEvent]) {
        for taken in events.iter().filter(|taken| self.core.services.is_traced(&taken.event)) {
            let place = self.started(taken.id).and_then(|started| self.core.place_of(&started)).map(Box::new);
            let Some(Taken(open)) = &self.member.taken else { return };
            if let Some(under_way) = open.lock().under_way.get_mut(&taken.id) {
                under_way.place = place;
            }
        }
    }

    /// The event itself, for who is asked about it without a lock.
    fn started(&self, id: u64) -> Option<Started<AnyEvent>> {
        let Taken(open) = self.member.taken.as_ref()?;
        let open = open.lock();
        let Started { place, event, attempt, replay, is_released, expires } =
            &open.under_way.get(&id)?.started;
        Some(Started {
            place: *place,
            event: event.clone(),
            attempt: *attempt,
            replay: *replay,
            is_released: *is_released,
            expires: *expires,
        })
    }
}

impl Open {
    fn enter(
        &mut self,
        core: &DurableCore,
        started: Started<AnyEvent>,
        begun: Option<Instant>,
    ) -> TakenEvent {
        let id = self.next;
        self.next += 1;
        let (event, attempt) = (started.event.clone(), started.attempt);
        let position = core.log.position(started.place);
        self.under_way.insert(id, UnderWay { started, begun, place: None });
        TakenEvent { id, event, attempt, position }
    }
}

impl DurableCore {
    /// What was taken is cut short: its events stay as they were. Whoever ends them later is told that they are gone.
    pub(super) fn cut_taken(&self) {
        for member in self.members() {
            let Some(Taken(open)) = &member.taken else { continue };
            let under_way = {
                let mut open = open.lock();
                open.is_closed = true;
                std::mem::take(&mut open.under_way)
            };
            self.cut_short(under_way.into_values().map(|under_way| under_way.started.place));
            member.more.notify_waiters();
        }
    }
}

/// Who takes and sleeps, counted as such until it has woken, or is dropped.
struct Asleep<'a> {
    core: &'a DurableCore,
    member: &'a Member,
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        if let Some(seat) = self.core.hand.lock().seat(self.member) {
            seat.asleep -= 1;
        }
    }
}

/// Events that are not handed over before they are marked. Dropped it gives them back.
struct Unmarked<'a> {
    taking: &'a Taking,
    ids: Vec<u64>,
}

impl Drop for Unmarked<'_> {
    fn drop(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        if !ids.is_empty() {
            self.taking.end(ids.into_iter().map(|id| (id, Fate::Back)).collect());
        }
    }
}

#[cfg(test)]
mod tests;
