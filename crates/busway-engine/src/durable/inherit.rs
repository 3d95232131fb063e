//! What a durable subscription leaves to the next one of its name, and what can be told of one that has not begun.

use std::sync::Arc;

use busway_middleware::{AnyHandler, Durable};

use super::{DurableBuilder, DurableSubscription};
use crate::subscription::{Heritage, SubscribeProblem};

impl DurableSubscription {
    /// What it has learnt and the store does not hold: the circuits of its breaker.
    #[must_use]
    pub fn heritage(&self) -> Heritage {
        let core = self.core();
        Heritage::new(core.filter.clone(), core.guard.clone(), None)
    }
}

impl DurableBuilder {
    /// Its name in the store, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes over what another subscription has learnt.
    pub fn inherit(mut self, heritage: &Heritage) -> Self {
        self.heritage = Some(heritage.clone());
        self
    }

    /// Everything that would keep it from beginning with this handler, as far as can be told without beginning: what [`to`](Self::to) would list, but for what
    /// only the store knows.
    #[must_use]
    pub fn problems_with(&self, handler: &AnyHandler<Durable>) -> Vec<SubscribeProblem> {
        let mut problems = self.problems.clone();
        problems.extend(self.check(handler));
        if self.bus.durable.has_name(&self.name) {
            problems.push(SubscribeProblem::NameTaken);
        }
        match (&self.bus.log, &self.filter) {
            (None, _) => problems.push(SubscribeProblem::NoStore),
            (Some(log), Ok(filter)) if Arc::as_ref(log).partitions_of(filter).is_empty() => {
                problems.push(SubscribeProblem::NoStream { filter: filter.to_string() });
            }
            (Some(_), Err(error)) => problems.push(SubscribeProblem::Filter(error.clone())),
            (Some(_), Ok(_)) => {}
        }
        problems
    }
}
