//! Configurations in force: checking one against a bus, and applying it.
//!
//! What is in force is kept with the bus. Applying compares with it and changes what differs, nothing else: a subscription whose route is as it was
//! is not touched, nor is a middleware whose parameters are, so that a rate that was earned, circuits and keys survive.

mod fit;
mod routes;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;

use busway_engine::bus::Reloading;
use busway_engine::{Bus, BusBuilder};
use busway_middleware::{BoxError, PublishStage, Stage};
use busway_observability::audit::{self, Action, Ending};
use tokio::sync::Mutex;

use self::routes::{Live, Wanted};
use self::steps::{Made, Stack};
use crate::access::{Access, Rules};
use crate::diff::Diff;
use crate::model::{AccessRule, Config};
use crate::parse::Format;
use crate::problem::{ConfigError, Problem};
use crate::read::{Given, Named};

/// What of configurations is in force on a bus; kept with it.
#[derive(Debug, Default)]
struct InForce {
    /// One apply after the other.
    state: Mutex<State>,
    log_filter: parking_lot::Mutex<Option<LogFilter>>,
}

struct LogFilter(Arc<SetFilter>);

type SetFilter = dyn Fn(&str) -> Result<(), BoxError> + Send + Sync;

impl std::fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogFilter")
    }
}

#[derive(Debug, Default)]
struct State {
    /// `None`: nothing was ever applied.
    config: Option<Config>,
    routes: BTreeMap<String, Live>,
    stack: Stack,
    access: Access,
    is_access_judged: bool,
}

impl Config {
    /// Gives a bus that is being built what can only be given then: streams, limits, the bus as a whole; and applies the rest as part of the start, so
    /// that a start whose configuration does not fit fails. What the program says on the builder behind this wins.
    #[must_use]
    pub fn configure(&self, mut builder: BusBuilder) -> BusBuilder {
        for (name, stream) in self.streams.iter() {
            builder = builder.stream(stream.stream(name.value()));
        }
        if let Some(limits) = &self.limits {
            builder = builder.settings(limits.settings());
        }
        for (filter, limits) in self.filters.iter() {
            builder = builder.filter_settings(filter.as_str(), limits.settings());
        }
        builder = self.bus.iter().fold(builder, |builder, bus| bus.configure(builder));
        let config = self.clone();
        builder.on_start("configuration", move |bus| async move {
            let in_force = bus.attached::<InForce>();
            let mut state = in_force.state.lock().await;
            // What was given to the builder is in force; the rest is not yet.
            state.config = Some(Self {
                routes: Named::default(),
                middleware: None,
                access: Vec::new(),
                observability: None,
                ..config.clone()
            });
            drop(state);
            // No reload: nothing was in force before. It is audited all the same.
            let audit = audit::begin(Action::Reload, SUBJECT, bus.describe().producer);
            let outcome = Box::pin(config.put(&bus)).await;
            note(&outcome);
            audit.end(&ending(&outcome));
            outcome.map(drop).map_err(Into::into)
        })
    }

    /// Whether it could be applied to a bus: handlers and kinds of middleware are registered there, and fit. Changes nothing.
    ///
    /// # Errors
    /// [`ConfigError`] lists everything that is wrong.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn check(&self, bus: &Bus) -> Result<(), ConfigError> {
        let in_force = bus.attached::<InForce>();
        let state = in_force.state.lock().await;
        ConfigError::unless_empty(self.misfits(bus, &state))
    }

    /// What applying it would change, against what is in force on the bus: a dry run.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn pending(&self, bus: &Bus) -> Diff {
        let in_force = bus.attached::<InForce>();
        let state = in_force.state.lock().await;
        self.diff(state.config.as_ref().unwrap_or(&nothing()))
    }

    /// Puts it in the place of the configuration that is in force on the bus, and says what differed. What differs and needs a restart is in the
    /// diff and has no effect until then.
    ///
    /// It is checked as a whole first. Then middleware is swapped, and routes that differ are started, altered and stopped, without losing
    /// or doubling an event; access rules come last. Until they do, whatever either configuration allows is allowed, so that what a route that goes had taken in is
    /// handled; an event that waits for a route that stays and may not have it any more is refused to it. By route:
    ///
    /// | what differs of a route | what is done |
    /// |---|---|
    /// | its middleware | swapped where it stands; deliveries that have begun end with what they began with |
    /// | anything else, of an ephemeral one | a new subscription takes the place of the old one in the routing table, at one moment: each event reaches one of them. The new one begins when the old one has handled what it had; meanwhile its queue fills, and its overflow policy decides. An inline handler has no queue and does not wait |
    /// | anything else, of a durable one | running handlers end, then it goes on at its cursor; what is published meanwhile waits in the log |
    /// | of a member of a group in memory | the new member joins, then the old one leaves; members whose filter or limits differ alike take the place of their group together, one that goes its own way leaves the others and begins anew |
    ///
    /// Circuits of a breaker, keys that are done in memory, and rates that were earned survive where they are set as before. It returns when durable
    /// subscriptions that differ have begun again: that is when their running handlers have ended.
    ///
    /// # Errors
    /// [`ConfigError`] lists everything that is wrong. Then the configuration in force stays so; what was begun of this one is taken back.
    ///
    /// # Cancel safety
    /// Not safe: dropped before it ends, a part may be in force. Applying again, this one or another, makes it whole.
    pub async fn apply(&self, bus: &Bus) -> Result<Diff, ConfigError> {
        let reloading = bus.reloading();
        let outcome = Box::pin(self.put(bus)).await;
        tell(reloading, &outcome);
        outcome
    }

    /// As [`apply`](Self::apply), and nobody is told.
    pub(crate) async fn put(&self, bus: &Bus) -> Result<Diff, ConfigError> {
        let in_force = bus.attached::<InForce>();
        let mut state = in_force.state.lock().await;
        let before = state.config.clone().unwrap_or_else(nothing);
        let diff = self.diff(&before);
        let mut problems = self.misfits(bus, &state);
        problems.extend(self.refused(&before));
        let stack = state.stack.make(self.middleware.as_ref(), bus, &mut problems);
        let routes = routes::make(&self.routes, &state.routes, bus, &mut problems);
        // The first thing that is put in force: nothing of what is refused is.
        if problems.is_empty() {
            problems.extend(in_force.set_log_filter(self, &before).err());
        }
        ConfigError::unless_empty(problems)?;

        let failures = Box::pin(state.exchange(self, (stack, routes), bus)).await;
        if !failures.is_empty() {
            Box::pin(state.take_back(&before, bus)).await;
            _ = in_force.set_log_filter(&before, self);
            return Err(ConfigError::of(failures));
        }
        state.config = Some(self.in_force_after(&before));
        Ok(diff)
    }

    /// What is in force then: of what needs a restart, what was before.
    fn in_force_after(&self, before: &Self) -> Self {
        Self {
            bus: before.bus.clone(),
            streams: before.streams.clone(),
            limits: before.limits.clone(),
            filters: before.filters.clone(),
            observability: self.observability_after(before),
            ..self.clone()
        }
    }

    /// Changes that the store cannot follow, as problems.
    fn refused(&self, before: &Self) -> Vec<Problem> {
        let moved = self.routes.iter().filter(|(name, route)| {
            let old = before.routes.get(name.value());
            old.is_some_and(|old| {
                route.durable.is_some() && old.durable == route.durable && old.filter != route.filter
            })
        });
        let problem = |(_, route): (&Given<String>, &crate::model::Route)| {
            let message = "the store holds this durable subscription with another filter";
            Problem::at(route.filter.place(), message).hint("give the route another durable name")
        };
        moved.map(problem).collect()
    }
}

/// Says what became of a configuration, to whoever watches the bus, to the auditor, and in the log.
pub(crate) fn tell(reloading: Reloading<'_>, outcome: &Result<Diff, ConfigError>) {
    note(outcome);
    match outcome {
        Ok(diff) => reloading.applied(diff.changes()),
        Err(error) => reloading.refused(count(error), &first(error)),
    }
}

/// What differed, and what was wrong, are for a log: too long for an audit line.
fn note(outcome: &Result<Diff, ConfigError>) {
    match outcome {
        Ok(diff) if diff.is_empty() => {}
        Ok(diff) => tracing::info!(changes = %in_a_line(diff), "configuration applied"),
        Err(error) => {
            let (problems, first) = (count(error), first(error));
            tracing::error!(problems, first, "configuration refused: what was in force stays so");
        }
    }
}

fn ending(outcome: &Result<Diff, ConfigError>) -> Ending {
    match outcome {
        Ok(diff) => Ending::Done { count: u64::try_from(diff.changes()).ok() },
        Err(error) => Ending::Refused { reason: first(error) },
    }
}

fn count(error: &ConfigError) -> usize {
    error.problems().len() + error.left_out()
}

fn first(error: &ConfigError) -> String {
    error.problems().first().map(Problem::in_a_line).unwrap_or_default()
}

fn in_a_line(diff: &Diff) -> String {
    diff.to_string().trim_end().replace('\n', "; ")
}

impl State {
    /// Puts a configuration in the place of the one in force. What of it did not become so is given back.
    ///
    /// Routes of both are there until all of the old ones have ended, or been given to the new ones, and each is judged by the rules that it came with: rules
    /// are widened first and narrowed last.
    async fn exchange(&mut self, config: &Config, made: (Made, Vec<Wanted>), bus: &Bus) -> Vec<Problem> {
        let (stack, routes) = made;
        if let Err(problem) = self.have_judged(&config.access, bus) {
            return vec![problem];
        }
        self.access.widen(Rules::of(&config.access));
        let mut failures = self.stack.exchange(&stack, |stage| bus.middleware(stage));
        if failures.is_empty() {
            failures = Box::pin(routes::reconcile(&mut self.routes, routes, bus)).await;
        }
        if failures.is_empty() {
            self.access.set(Rules::of(&config.access));
        }
        failures
    }

    /// Back to a configuration that was in force.
    async fn take_back(&mut self, before: &Config, bus: &Bus) {
        let mut problems = Vec::new();
        let stack = self.stack.make(before.middleware.as_ref(), bus, &mut problems);
        let routes = routes::make(&before.routes, &self.routes, bus, &mut problems);
        problems.extend(self.stack.exchange(&stack, |stage| bus.middleware(stage)));
        problems.extend(Box::pin(routes::reconcile(&mut self.routes, routes, bus)).await);
        self.access.set(Rules::of(&before.access));
        for problem in &problems {
            tracing::error!(%problem, "what was in force could not be restored as a whole");
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

impl InForce {
    /// Sets the filter of the log when it differs.
    fn set_log_filter(&self, config: &Config, before: &Config) -> Result<(), Problem> {
        let (Some(new), old) = (config.log_filter(), before.log_filter()) else { return Ok(()) };
        let set = self.log_filter.lock().as_ref().map(|set| Arc::clone(&set.0));
        match set {
            Some(set) if old != Some(new) => set(new)
                .map_err(|error| Problem::at(new.place(), format!("it is no filter of logs: {error}"))),
            _ => Ok(()),
        }
    }
}

impl Config {
    fn log_filter(&self) -> Option<&Given<String>> {
        self.observability.as_ref()?.log.as_ref()?.filter.as_ref()
    }

    /// As before, but for the filter of the log.
    fn observability_after(&self, before: &Self) -> Option<crate::model::Observability> {
        let mut after = before.observability.clone().or_else(|| {
            // Nothing of it was in force.
            let own = self.observability.clone()?;
            Some(crate::model::Observability { metrics: None, log: None, ..own })
        })?;
        let own = self.observability.as_ref().and_then(|own| own.log.clone());
        after.log = match (after.log, own) {
            (Some(log), own) => Some(crate::model::Log { filter: own.and_then(|own| own.filter), ..log }),
            (None, Some(own)) => Some(crate::model::Log { format: None, ..own }),
            (None, None) => None,
        };
        Some(after)
    }
}

/// Has `observability.log.filter` set by a function: called when a configuration with another filter is applied, on this bus. It says whether the text is a
/// filter at all; when it is not, the configuration is not applied.
pub fn on_log_filter<E: Into<BoxError>>(
    bus: &Bus,
    set: impl Fn(&str) -> Result<(), E> + Send + Sync + 'static,
) {
    let set = move |filter: &str| set(filter).map_err(Into::into);
    *bus.attached::<InForce>().log_filter.lock() = Some(LogFilter(Arc::new(set)));
}

/// A configuration that says nothing.
fn nothing() -> Config {
    match Config::parse("nothing", "{}", Format::Json) {
        Ok(config) => config,
        Err(_) => unreachable!("an empty table is a configuration"),
    }
}

/// The name of the steps that judge access.
const ACCESS: &str = "busway-access";

/// Of audit lines; as the engine calls it.
const SUBJECT: &str = "configuration";
