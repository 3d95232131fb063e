//! What of configurations is in force on a bus, and how it becomes another.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use busway_engine::Bus;
use busway_middleware::{PublishStage, Stage};
use tokio::sync::{Mutex, MutexGuard};

use super::fresh::Fresh;
use super::leaving::Leaving;
use super::legacy::Legacies;
use super::log_filter::LogFilter;
use super::nothing;
use super::routes::{self, Live, Wanted, Way};
use super::steps::{Made, Stack};
use super::tell_lost;
use super::transports::Carriers;
use crate::access::{Access, Rules};
use crate::model::{AccessRule, CarrierSection, Config};
use crate::problem::Problem;
use crate::read::Named;

/// Kept with the bus.
#[derive(Debug, Default)]
pub(super) struct InForce {
    /// One apply after the other: held while handlers are waited for.
    state: Mutex<State>,
    /// For who only asks, and waits for nobody.
    seen: parking_lot::Mutex<Seen>,
    pub(super) log_filter: LogFilter,
}

/// What is in force; while it is being changed, what was before.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) config: Arc<Config>,
    pub(super) leaving: Arc<Leaving>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { config: Arc::new(nothing()), leaving: Arc::default() }
    }
}

/// What is in force, to be changed. Others see it when this is gone.
pub(super) struct Held<'a> {
    state: MutexGuard<'a, State>,
    seen: &'a parking_lot::Mutex<Seen>,
}

impl InForce {
    /// When nobody else changes it.
    pub(super) async fn hold(&self) -> Held<'_> {
        Held { state: self.state.lock().await, seen: &self.seen }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }
}

impl Deref for Held<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.seen.lock() = self.state.seen();
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// `None`: nothing was ever applied. What it says of routes is so when `is_whole`.
    pub(super) config: Option<Arc<Config>>,
    /// Not so from when a configuration begins to be exchanged until it is: who asked for it may go away in between.
    is_whole: bool,
    pub(super) routes: BTreeMap<String, Live>,
    pub(super) carriers: Carriers,
    leaving: Arc<Leaving>,
    pub(super) legacies: Legacies,
    fresh: Fresh,
    pub(super) stack: Stack,
    /// What was around all handlers before the last exchange.
    stack_before: Stack,
    access: Access,
    is_access_judged: bool,
}

impl State {
    /// The configuration in force; of one that was begun and cut short, what is of it.
    pub(super) fn in_force(&self) -> Arc<Config> {
        let config = self.config.clone().unwrap_or_else(|| Arc::new(nothing()));
        match self.is_whole {
            true => config,
            false => Arc::new(Config {
                routes: Named::of(self.routes.values().map(Live::said).collect()),
                carriers: Named::of(self.carriers.said()),
                ..Config::clone(&config)
            }),
        }
    }

    pub(super) fn seen(&self) -> Seen {
        Seen { config: self.in_force(), leaving: Arc::clone(&self.leaving) }
    }

    /// Puts a configuration in the place of the one in force. What of it did not become so is given back.
    ///
    /// What a route has taken in is judged by the rules that it came with: rules are widened first, and narrowed when everything that came before has been
    /// handled or has been given on.
    pub(super) async fn exchange(
        &mut self,
        config: Config,
        (stack, routes): (Made, Vec<Wanted>),
        bus: &Bus,
    ) -> Vec<Problem> {
        if let Err(problem) = self.have_judged(&config.access, bus) {
            return vec![problem];
        }
        self.stack_before = self.stack.clone();
        let failures = self.stack.exchange(&stack, |stage| bus.middleware(stage));
        if !failures.is_empty() {
            return failures;
        }
        let are_rules_same = self.config.as_ref().is_some_and(|before| before.access == config.access);
        let rules = Arc::new(Rules::of(&config.access));
        let carriers = config.carriers.clone();
        self.config = Some(Arc::new(config));
        self.is_whole = false;
        self.legacies.retain_gone(&self.routes);
        self.fresh.clear();
        self.access.widen(Arc::clone(&rules));
        let failures = self.reconcile((routes, carriers), Way { are_rules_same, is_back: false }, bus).await;
        if failures.is_empty() {
            self.access.set(rules);
            self.is_whole = true;
            self.legacies.clear();
        }
        failures
    }

    /// See [`routes::reconcile`].
    async fn reconcile(
        &mut self,
        wanted: (Vec<Wanted>, Named<CarrierSection>),
        way: Way,
        bus: &Bus,
    ) -> Vec<Problem> {
        let Self { routes: live, carriers, leaving, legacies, fresh, .. } = self;
        let in_force = routes::InForce { live, carriers, leaving, legacies, fresh };
        Box::pin(routes::reconcile(in_force, wanted, way, bus)).await
    }

    /// Back to a configuration that was in force.
    pub(super) async fn take_back(&mut self, before: Arc<Config>, bus: &Bus) {
        let mut problems = Vec::new();
        let steps = (before.middleware.as_ref(), Some(&self.stack_before));
        let stack = self.stack.make(steps, bus, &mut problems);
        let routes = routes::make(&before.routes, (&self.routes, &self.legacies), bus, &mut problems);
        problems.extend(self.stack.exchange(&stack, |stage| bus.middleware(stage)));
        let mut are_rules_same = true;
        if let Some(tried) = &mut self.config {
            are_rules_same = tried.access == before.access;
            Arc::make_mut(tried).middleware.clone_from(&before.middleware);
        }
        let way = Way { are_rules_same, is_back: true };
        problems.extend(self.reconcile((routes, before.carriers.clone()), way, bus).await);
        self.access.set(Arc::new(Rules::of(&before.access)));
        problems.iter().for_each(|problem| tell_lost(bus, problem));
        self.config = Some(before);
        self.is_whole = problems.is_empty();
        if self.is_whole {
            self.legacies.clear();
        }
    }

    /// Has access judged once there are rules: whom nobody asked to judge costs nothing. Without rules in force yet, everything may be.
    fn have_judged(&mut self, rules: &[AccessRule], bus: &Bus) -> Result<(), Problem> {
        let Some(first) = rules.first().filter(|_| !self.is_access_judged) else { return Ok(()) };
        let publish = bus.publish_middleware(PublishStage::Validate);
        let publishing = self.access.publishing(bus.describe().producer);
        let added = publish.add(ACCESS, publishing).and_then(|()| {
            let handling = bus.middleware(Stage::Decode).add(ACCESS, self.access.handling());
            // Half of it would judge half of what is done.
            handling.inspect_err(|_| _ = publish.remove(ACCESS))
        });
        added.map_err(|error| {
            let message = format!("access rules cannot be judged: {error}");
            Problem::at(&first.place.0, message).hint("give the program's middleware another name")
        })?;
        self.is_access_judged = true;
        Ok(())
    }
}

/// The name of the steps that judge access.
const ACCESS: &str = "busway-access";
