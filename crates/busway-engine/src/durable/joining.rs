//! Joining a group that is there: what a member wants has to be what its group has.

use std::sync::Arc;

use busway_event::Filter;
use busway_middleware::{AnyHandler, Durable};

use super::builder::DurableBuilder;
use super::group::Joining;
use super::guarded::shown;
use super::{DurableCore, DurableSubscription, deadline};
use crate::bus::Source;
use crate::settings::{Effective, is_for_durable};
use crate::subscription::{SubscribeError, SubscribeProblem};

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
        let Self { middleware, rule, .. } = self;
        Joining { handler, middleware, concurrency: settings.concurrency, rule }
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
            self.idempotent_pair(core),
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
