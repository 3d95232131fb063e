//! Members of a durable subscription come, pause and go, while it goes on.
//!
//! Lanes belong to the subscription, not to a member: what a member that pauses or leaves has not started goes to the others, and what
//! it runs ends with it, its lane closed until then. So nothing is lost, charged or overtaken.

use std::num::NonZeroU32;
use std::sync::Arc;

use busway_event::Filter;
use busway_middleware::{AnyHandler, Durable, Registry};
use busway_router::GroupRule;

use super::guarded::shown;
use super::hand::{Presence, Seat};
use super::member::Member;
use super::{DurableBuilder, DurableCore, DurableSubscription, deadline, time_to_live};
use crate::bus::Source;
use crate::settings::{Effective, is_for_durable};
use crate::stats::State;
use crate::subscription::{SubscribeError, SubscribeProblem};

/// Who wants to be a member.
pub(super) struct Joining {
    pub(super) handler: AnyHandler<Durable>,
    pub(super) middleware: Registry,
    pub(super) concurrency: NonZeroU32,
    pub(super) rule: Option<GroupRule>,
    /// Nobody is called: its events are [taken](super::taking).
    pub(super) is_taken: bool,
}

impl DurableBuilder {
    /// Joins a group that is there.
    pub(super) fn join(
        self,
        core: Arc<DurableCore>,
        handler: AnyHandler<Durable>,
        mut problems: Vec<SubscribeProblem>,
    ) -> Result<DurableSubscription, SubscribeError> {
        let bus = Arc::clone(&self.bus);
        let subscription = self.name.clone();
        let joining = match &self.filter {
            Err(error) => {
                problems.push(SubscribeProblem::Filter(error.clone()));
                None
            }
            Ok(filter) => {
                let settings = bus.levels.resolve_shared(filter, &self.settings);
                problems.extend(self.differences(&core, filter, &settings));
                Some(self.joining(&settings, handler)).filter(|_| problems.is_empty())
            }
        };
        let Some(joining) = joining else { return Err(SubscribeError { subscription, problems }) };
        // Under the lock: it joins before the bus closes, or not at all.
        let _registering = bus.registering();
        let joined = match bus.closing.admits(Source::Outside) {
            true => core.join(joining).ok_or(SubscribeProblem::GroupEnding),
            false => Err(SubscribeProblem::Closed),
        };
        match joined {
            Ok(member) => Ok(DurableSubscription::new(core, member)),
            Err(problem) => Err(SubscribeError { subscription, problems: vec![problem] }),
        }
    }

    pub(super) fn joining(self, settings: &Effective, handler: AnyHandler<Durable>) -> Joining {
        let Self { middleware, rule, is_taken, .. } = self;
        Joining { handler, middleware, concurrency: settings.concurrency, rule, is_taken }
    }

    /// What this member wants and its group has not.
    fn differences(
        &self,
        core: &DurableCore,
        filter: &Filter,
        settings: &Effective,
    ) -> Vec<SubscribeProblem> {
        let group = core.group.as_deref().unwrap_or_default();
        let wanted = self.group.as_deref().unwrap_or_default();
        let mut pairs = vec![
            ("group", group.to_owned(), wanted.to_owned()),
            ("filter", core.filter.to_string(), filter.to_string()),
            (
                "breaker",
                shown(core.guard.as_ref().map(|guard| guard.breaker())),
                shown(self.breaker.as_ref()),
            ),
            ("deadline", deadline::shown(core.deadline), deadline::shown(self.deadline)),
            ("ttl", time_to_live::shown(core.ttl), time_to_live::shown(self.settings.own_ttl())),
            self.idempotent_pair(core),
            self.at_most_once_pair(core),
        ];
        // Settings may come with a filter: those of another one are no news.
        if core.filter == *filter {
            let both = core.settings.described.iter().zip(&settings.described);
            let both =
                both.filter(|(existing, _)| is_for_durable(existing) && existing.name != "concurrency");
            pairs.extend(
                both.map(|(existing, wanted)| (existing.name, existing.value.clone(), wanted.value.clone())),
            );
        }
        let differing = pairs.into_iter().filter(|(_, existing, wanted)| existing != wanted);
        let problem = |(setting, existing, wanted)| SubscribeProblem::GroupMismatch {
            group: group.to_owned(),
            setting,
            existing,
            wanted,
        };
        differing.map(problem).collect()
    }
}

impl DurableCore {
    /// Adds a member; `None` when the subscription ends.
    pub(super) fn join(&self, joining: Joining) -> Option<Arc<Member>> {
        let member = {
            let mut hand = self.hand.lock();
            if !matches!(hand.state, State::Running | State::Paused) {
                return None;
            }
            let Joining { handler, middleware, concurrency, rule, is_taken } = joining;
            let member = Member::new(hand.take_member_id(), handler, middleware, concurrency);
            let member = Arc::new(if is_taken { member.taken() } else { member });
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

    /// Waits until a member that [has left](Self::leave) has no running handlers. The last one ends the subscription: what was decided is stored then,
    /// and the bus is left.
    pub(super) async fn left(&self, member: &Member, has_others: bool) {
        if has_others {
            let has_ended = || self.hand.lock().seat(member).is_none();
            self.services.idle.until(|| has_ended().then_some(())).await;
        } else {
            self.end().await;
        }
    }

    /// Takes a member out of its group, which starts nothing more of its own from now on; `false` when it is the last one: then the subscription starts nothing more, and nobody can join
    /// it.
    pub(super) fn leave(&self, member: &Member) -> bool {
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
