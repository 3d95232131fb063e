//! Members of a durable subscription come, pause and go, while it goes on.
//!
//! Lanes belong to the subscription, not to a member: what a member that pauses or leaves has not started goes to the others, and what
//! it runs ends with it, its lane closed until then. So nothing is lost, charged or overtaken.

use std::num::NonZeroU32;
use std::sync::Arc;

use busway_middleware::{AnyHandler, Durable, Registry};
use busway_router::GroupRule;

use super::DurableCore;
use super::hand::{Presence, Seat};
use super::member::Member;
use crate::stats::State;

/// Who wants to be a member.
pub(super) struct Joining {
    pub(super) handler: AnyHandler<Durable>,
    pub(super) middleware: Registry,
    pub(super) concurrency: NonZeroU32,
    pub(super) rule: Option<GroupRule>,
}

impl DurableCore {
    /// Adds a member; `None` when the subscription ends.
    pub(super) fn join(&self, joining: Joining) -> Option<Arc<Member>> {
        let member = {
            let mut hand = self.hand.lock();
            if !matches!(hand.state, State::Running | State::Paused) {
                return None;
            }
            let Joining { handler, middleware, concurrency, rule } = joining;
            let member = Arc::new(Member::new(hand.take_member_id(), handler, middleware, concurrency));
            hand.seats.push(Seat::new(Arc::clone(&member)));
            hand.rule = rule.unwrap_or(hand.rule);
            hand.window.join(member.id);
            hand.resize(self.settings.limits);
            // All others pause: this one does not.
            hand.state = State::Running;
            member
        };
        self.has_changed();
        Some(member)
    }

    /// Gives a member nothing more to start. When all pause, the subscription does: nothing more is read then. `false`: it has left.
    pub(super) fn pause(&self, member: &Member) -> bool {
        {
            let mut hand = self.hand.lock();
            match hand.seat(member) {
                Some(seat) if seat.presence == Presence::Here => seat.presence = Presence::Paused,
                seat => return seat.is_some_and(|seat| seat.presence == Presence::Paused),
            }
            hand.window.part(member.id);
            if hand.state == State::Running && hand.is_deserted() {
                hand.state = State::Paused;
            }
        }
        self.has_changed();
        true
    }

    /// Takes a pause back. `false`: it has left.
    pub(super) fn resume(&self, member: &Member) -> bool {
        {
            let mut hand = self.hand.lock();
            match hand.seat(member) {
                Some(seat) if seat.presence == Presence::Paused => seat.presence = Presence::Here,
                seat => return seat.is_some_and(|seat| seat.presence == Presence::Here),
            }
            hand.window.join(member.id);
            if hand.state == State::Paused {
                hand.state = State::Running;
            }
        }
        self.has_changed();
        true
    }

    /// Ends a member's part, and waits for its running handlers. The last one ends the subscription: what was decided is stored then,
    /// and the bus is left.
    pub(super) async fn stop(&self, member: &Member) {
        if self.leave(member) {
            let has_ended = || self.hand.lock().seat(member).is_none();
            self.services.idle.until(|| has_ended().then_some(())).await;
        } else {
            self.end().await;
        }
    }

    /// Takes a member out of its group; `false` when it is the last one: then the subscription starts nothing more, and nobody can join
    /// it.
    fn leave(&self, member: &Member) -> bool {
        let is_last = {
            let mut hand = self.hand.lock();
            let is_last = hand.members().all(|seat| seat.member.id == member.id);
            match is_last {
                true => _ = hand.advance(State::Draining),
                false => {
                    if let Some(seat) = hand.seat(member) {
                        seat.presence = Presence::Left;
                    }
                    hand.window.part(member.id);
                    hand.dismiss(self.settings.limits);
                    if hand.state == State::Running && hand.is_deserted() {
                        hand.state = State::Paused;
                    }
                }
            }
            is_last
        };
        self.has_changed();
        !is_last
    }
}
