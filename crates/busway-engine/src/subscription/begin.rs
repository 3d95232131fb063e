//! The act of subscribing: what is asked for is checked as a whole, then the subscription is made, or a group joined.

use std::sync::Arc;

use busway_event::Filter;
use busway_middleware::{AnyHandler, Chain, Ephemeral, Identity, Registry, RegistryError, Run, Stage, Step};
use busway_reliability::{Idempotency, Retry};

use super::builder::SubscribeBuilder;
use super::core::SubscriptionCore;
use super::entry::{Entry, Making};
use super::error::{SubscribeError, SubscribeProblem};
use super::handle::Subscription;
use super::heritage::Heritage;
use super::member::{IDEMPOTENT, Member};
use crate::breaker::{BreakerStage, FallbackKind, Guard, Named};
use crate::bus::Source;
use crate::clock::Clock;
use crate::idempotency::Keeper;
use crate::mailbox::Handling;
use crate::settings::Effective;
use crate::worker::Again;

impl SubscribeBuilder {
    pub(crate) fn begin(mut self, handler: AnyHandler<Ephemeral>) -> Result<Subscription, SubscribeError> {
        let shown = self.name.clone().unwrap_or_else(|| match &self.filter {
            Ok(filter) => filter.to_string(),
            Err(error) => error.input().to_owned(),
        });
        let bus = Arc::clone(&self.bus);
        bus.sweep_few();
        // Until it has joined: what is checked here must still hold then.
        let _registering = bus.registering();
        let mut problems = std::mem::take(&mut self.problems);
        problems.extend(self.check(&handler));
        let guard = self.breaker.take().map(|breaker| {
            problems.extend(breaker.problems().into_iter().map(SubscribeProblem::Breaker));
            let is_retried = breaker.fallback.kind() == FallbackKind::AckAndRetryLater;
            if is_retried && handler.run() == Run::Inline {
                problems.push(SubscribeProblem::InlineRetry);
            }
            if is_retried && self.idempotent.is_some() {
                problems.push(SubscribeProblem::IdempotentRetryLater);
            }
            let inherited = self.heritage.as_ref().zip(self.filter.as_ref().ok());
            let inherited = inherited.and_then(|(heritage, filter)| heritage.guard(filter, &breaker));
            inherited.unwrap_or_else(|| Arc::new(Guard::new(Arc::clone(&bus.services), breaker)))
        });
        if let Some(guard) = &guard {
            let step = Step::passing(BreakerStage::new(
                Arc::clone(guard),
                self.classify.clone().unwrap_or_default(),
            ));
            let added = self.middleware.add(Stage::Breaker, "breaker", step);
            problems.extend(added.err().map(SubscribeProblem::Middleware));
        }
        let filter = match std::mem::replace(&mut self.filter, Ok(everything())) {
            Ok(filter) if problems.is_empty() => filter,
            filter => {
                problems.extend(filter.err().map(SubscribeProblem::Filter));
                return Err(SubscribeError { subscription: shown, problems });
            }
        };
        let settings = self.bus.levels.resolve_shared(&filter, &self.settings);
        let group = self.group.clone();
        let existing = group.as_deref().and_then(|group| self.bus.group(filter.as_str(), group));
        // A group whose place is taken as a whole may become another one of the same name.
        let existing =
            existing.filter(|core| !self.is_place_of(core) || differences(core, &settings).is_empty());
        // One that was aborted a moment ago may be forgotten already: then there is no group.
        let subscription = match existing.and_then(|core| Some((core.entry()?, core))) {
            Some((entry, core)) => {
                let differing = differences(&core, &settings);
                if !differing.is_empty() {
                    return Err(SubscribeError { subscription: shown, problems: differing });
                }
                let predecessor = self.predecessor.take();
                if let Some(guard) = &guard {
                    let (name, is_given) = (Arc::clone(&core.name), !entry.is_unnamed());
                    guard.named(Named { name, filter, is_given });
                }
                let joined = self.join(entry, &core, handler);
                if let Some(predecessor) = predecessor {
                    predecessor.leave(&bus);
                }
                joined
            }
            None => self.found((filter, settings), handler, guard.as_deref()),
        };
        if let Some(guard) = guard {
            bus.enter_guard(&guard);
        }
        Ok(subscription)
    }

    /// What is wrong with the handler, the name, the bus.
    pub(super) fn check(&self, handler: &AnyHandler<Ephemeral>) -> Vec<SubscribeProblem> {
        let info = handler.info();
        let missing = info.requirements.states().iter().filter(|(id, _)| !self.bus.states.contains(*id));
        let mut problems: Vec<SubscribeProblem> =
            missing.map(|(_, type_name)| SubscribeProblem::StateMissing { type_name }).collect();
        if info.run == Run::Inline && self.group.is_some() {
            problems.push(SubscribeProblem::InlineInGroup);
        }
        let retries = self.retry.iter().flat_map(Retry::problems).chain(self.settings.problems());
        problems.extend(retries.map(SubscribeProblem::Retry));
        let is_again = self.is_again() || self.settings.has_budget();
        if matches!(info.run, Run::Inline | Run::Batch(_)) && is_again {
            problems.push(SubscribeProblem::RetryNotPossible { run: info.run });
        }
        let is_own =
            |name: &str| self.predecessor.as_ref().is_some_and(|predecessor| predecessor.bears(name));
        let is_taken = |name: &str| !is_own(name) && self.bus.is_taken(name);
        if self.group.is_none() && self.name.as_deref().is_some_and(is_taken) {
            problems.push(SubscribeProblem::NameTaken);
        }
        if let Some(idempotency) = &self.idempotent {
            problems.extend(idempotency.problems().into_iter().map(SubscribeProblem::Idempotency));
            let steps = Chain::merge([&self.middleware]);
            let taken = steps.nodes().iter().filter(|node| IDEMPOTENT.contains(&node.name()));
            let taken = taken.map(|node| RegistryError::NameTaken { name: node.name().to_owned() });
            problems.extend(taken.map(SubscribeProblem::Middleware));
            if idempotency.rate_of_retries().is_some() {
                problems.push(SubscribeProblem::RetryRateInMemory);
            }
            if self.group.is_some() && idempotency.shared_store().is_none() {
                problems.push(SubscribeProblem::IdempotentInGroup);
            }
            let is_called = self.name.is_some() || self.group.is_some() || self.feed.is_some();
            if !is_called && idempotency.shared_store().is_some() {
                problems.push(SubscribeProblem::IdempotentUnnamed);
            }
            if info.run == Run::Inline && info.may_emit {
                problems.push(SubscribeProblem::IdempotentInline);
            }
        }
        if !self.bus.closing.admits(Source::Outside) {
            problems.push(SubscribeProblem::Closed);
        }
        problems
    }

    const fn is_again(&self) -> bool {
        self.retry.is_some() || self.classify.is_some()
    }

    /// What this member does about failures.
    fn again(&mut self) -> Option<Arc<Again>> {
        let asked = self.is_again();
        let (retry, classify) =
            (self.retry.unwrap_or(Retry::never()), self.classify.take().unwrap_or_default());
        asked.then(|| Arc::new(Again { retry, classify }))
    }

    /// Makes the subscription that this is the first member of, and routes events to it.
    fn found(
        mut self,
        (filter, settings): (Filter, Arc<Effective>),
        handler: AnyHandler<Ephemeral>,
        guard: Option<&Guard>,
    ) -> Subscription {
        let again = self.again();
        let keys_of = self.keys_of(&filter);
        let with = (self.middleware, self.idempotent.as_ref(), (again, self.identity));
        let (clock, heritage) = (&self.bus.services.clock, self.heritage.as_ref());
        let member = Self::member(0, handler, with, (&keys_of, clock, heritage));
        let name = self.name.map(Into::into);
        let entry = Entry::new(&self.bus, name, filter, settings, Arc::clone(&member));
        // What has lanes, members or keys to keep, or no queue to fill, is made at once.
        let is_fed = self.feed.is_some();
        if self.group.is_some()
            || self.coalesce.is_function()
            || is_fed
            || entry.handling() != Handling::OneWorker
        {
            let core = entry.wake(Making { group: self.group, coalesce: self.coalesce, feed: self.feed });
            if let (Some(core), Some(rule)) = (core, self.rule) {
                core.mailbox.set_rule(rule);
            }
        }
        if let Some(guard) = guard {
            let name = entry.fixed_name().map_or_else(|| entry.name(), Arc::clone);
            let (filter, is_given) = (entry.filter.clone(), !entry.is_unnamed());
            guard.named(Named { name, filter, is_given });
        }
        match self.predecessor {
            Some(predecessor) => predecessor.give_way(&self.bus, &entry),
            None if is_fed => self.bus.enter_unrouted(&entry),
            None => self.bus.enter(&entry, None),
        }
        Subscription::new(entry, member)
    }

    /// Under which name its keys lie in a shared store: one that all its members bear, in this process and in others.
    fn keys_of(&self, filter: &Filter) -> Arc<str> {
        match (&self.feed, &self.name, &self.group) {
            (Some(feed), ..) => feed.name().into(),
            (None, Some(name), _) => name.as_str().into(),
            (None, None, Some(group)) => format!("{filter} @{group}").into(),
            (None, None, None) => filter.as_str().into(),
        }
    }

    /// Makes a member of it.
    fn member(
        id: u64,
        handler: AnyHandler<Ephemeral>,
        (middleware, idempotent, (again, identity)): Own<'_>,
        (subscription, clock, heritage): (&str, &Arc<dyn Clock>, Option<&Heritage>),
    ) -> Arc<Member> {
        let mut member = Member::new(id, handler, middleware, (again, identity));
        let keeper = idempotent.and_then(|idempotency| {
            let inherited = heritage.and_then(|heritage| heritage.keeper(idempotency));
            inherited.or_else(|| Keeper::ephemeral(idempotency, subscription.into()).map(Arc::new))
        });
        if let Some(keeper) = keeper {
            member.be_idempotent(keeper, clock);
        }
        Arc::new(member)
    }

    /// Adds the handler to a group that is there.
    fn join(
        mut self,
        entry: Arc<Entry>,
        core: &Arc<SubscriptionCore>,
        handler: AnyHandler<Ephemeral>,
    ) -> Subscription {
        let id = core.next_member();
        let again = self.again();
        let with = (self.middleware, self.idempotent.as_ref(), (again, self.identity));
        let (clock, heritage) = (&self.bus.services.clock, self.heritage.as_ref());
        let member = Self::member(id, handler, with, (&core.name, clock, heritage));
        core.add(Arc::clone(&member));
        core.mailbox.join(id);
        if let Some(rule) = self.rule {
            core.mailbox.set_rule(rule);
        }
        Subscription::new(entry, member)
    }
}

/// What a member does not share with others of its group.
type Own<'a> = (Registry, Option<&'a Idempotency>, (Option<Arc<Again>>, Identity));

/// Settings of a group's new member that differ from the group's.
fn differences(core: &SubscriptionCore, wanted: &Effective) -> Vec<SubscribeProblem> {
    let pairs = core.settings.described.iter().zip(&wanted.described);
    let differing = pairs.filter(|(existing, wanted)| existing.value != wanted.value);
    let group = core.group.as_deref().unwrap_or_default();
    let problem = |(existing, wanted): (&crate::settings::Setting, &crate::settings::Setting)| {
        SubscribeProblem::GroupMismatch {
            group: group.to_owned(),
            setting: existing.name,
            existing: existing.value.clone(),
            wanted: wanted.value.clone(),
        }
    };
    differing.map(problem).collect()
}

fn everything() -> Filter {
    Filter::from_static("#").unwrap_or_else(|_| unreachable!("\"#\" is a filter"))
}
