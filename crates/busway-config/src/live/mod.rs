//! Configurations in force: checking one against a bus, and applying it.
//!
//! What is in force is kept with the bus. Applying compares with it and changes what differs, nothing else: a subscription whose route is as it was
//! is not touched, nor is a middleware whose parameters are, so that a rate that was earned, circuits and keys survive.

mod fit;
mod fresh;
mod leaving;
mod legacy;
mod log_filter;
mod order;
mod routes;
mod starting;
mod state;
mod steps;
mod told;
mod transports;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use busway_engine::{Bus, BusBuilder};
use futures_util::FutureExt as _;

use self::legacy::Legacies;
pub use self::log_filter::on_log_filter;
use self::routes::{Live, Wanted};
use self::state::{InForce, Seen};
use self::steps::{Made, Stack};
pub(crate) use self::told::{tell, tell_lost};
use crate::diff::Diff;
use crate::model::Config;
use crate::parse::Format;
use crate::problem::{ConfigError, Problem, panicked};
use crate::read::{Given, Named};

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
            let mut state = in_force.hold().await;
            // What was given to the builder is in force; the rest is not yet.
            state.config = Some(Arc::new(Self {
                routes: Named::default(),
                carriers: Named::default(),
                middleware: None,
                access: Vec::new(),
                observability: None,
                ..config.clone()
            }));
            drop(state);
            let outcome = Box::pin(config.put(&bus)).await.map_err(|refused| refused.error);
            tell(bus.configuring(), &outcome);
            outcome.map(drop).map_err(Into::into)
        })
    }

    /// Whether it could be applied to a bus: handlers and kinds of middleware are registered there, take their parameters, and fit. Changes nothing; what is
    /// made to find out is dropped. While another one is being put in force, that is looked at which was before it; nobody is waited for.
    ///
    /// # Errors
    /// [`ConfigError`] lists everything that is wrong.
    ///
    /// # Cancel safety
    /// Safe.
    #[expect(
        clippy::unused_async,
        reason = "who asks a bus waits for it, as with everything else of a configuration"
    )]
    pub async fn check(&self, bus: &Bus) -> Result<(), ConfigError> {
        let seen = bus.attached::<InForce>().seen();
        self.prepared(bus, &seen, (&Stack::default(), &BTreeMap::new(), &Legacies::default())).map(drop)
    }

    /// What applying it would change, against what is in force on the bus: a dry run. While another one is being put in force, against what was before it; nobody is waited for.
    ///
    /// # Cancel safety
    /// Safe.
    #[expect(
        clippy::unused_async,
        reason = "who asks a bus waits for it, as with everything else of a configuration"
    )]
    pub async fn pending(&self, bus: &Bus) -> Diff {
        self.diff(&bus.attached::<InForce>().seen().config)
    }

    /// Puts it in the place of the configuration that is in force on the bus, and says what differed. What differs and needs a restart is in the
    /// diff and has no effect until then.
    ///
    /// It is checked as a whole first. Then middleware is swapped, and routes that differ are started, altered and stopped, without losing
    /// or doubling an event; access rules come last. Until they do, whatever either configuration allows is allowed, so that what a route had taken in is
    /// handled. By route:
    ///
    /// | what differs of a route | what is done |
    /// |---|---|
    /// | its middleware | swapped where it stands; deliveries that have begun end with what they began with |
    /// | anything else, of an ephemeral one | a new subscription takes the place of the old one in the routing table, at one moment: each event reaches one of them. The new one begins when the old one has handled what it had; meanwhile its queue fills, and its overflow policy decides. An inline handler has no queue and does not wait |
    /// | its name, of an ephemeral one in no group whose filter and handler stay | the same: it takes its own place under the new name. Where another route has that name until now, it does so when that one's running handlers have ended; routes that exchange their names in a ring are changed in their places |
    /// | the name in the store, of a durable one | running handlers end, then it begins anew under the new name: without `start_at: earliest` with what is published from when the old one was told to end. What the old name has left, parked events too, stays with it, and holds the log until [it is removed](busway_engine::CursorHandle::remove) |
    /// | anything else, of a durable one | running handlers end, then it goes on at its cursor; what is published meanwhile waits in the log |
    /// | anything of one at a broker, or of what carries the stream of a durable one | running handlers end, then it goes on where broker or cursor stand |
    /// | of a member of a group in memory | the new member joins, then the old one leaves; members whose filter or limits differ alike take the place of their group together, one that goes its own way leaves the others and begins anew |
    ///
    /// Circuits of a breaker, keys that are done in memory, and rates that were earned survive where they are set as before. It returns when durable
    /// subscriptions that differ have begun again, which is when their running handlers have ended, and those of routes that are gone or have another name; where access rules differ,
    /// also when ephemeral ones that others have taken the place of have handled what they had.
    ///
    /// A handler that waits for this, of a route that differs, waits for itself, and who applies another one behind it waits too: let it spawn a task that applies, and end.
    ///
    /// # Errors
    /// [`ConfigError`] lists everything that is wrong, a panic of a transport or of what sets the filter of the log too. Then the configuration in force stays so; what was begun of this one is taken back. Routes in memory that are gone leave
    /// when all else has begun, so that they lose no event when it does not, unless another route needs their group or their name.
    ///
    /// # Cancel safety
    /// Not safe: dropped before it ends, a part may be in force, and rules of both. [`pending`](Self::pending) says what is left; applying again, this one or another,
    /// waits for what was ending, and makes it whole.
    pub async fn apply(&self, bus: &Bus) -> Result<Diff, ConfigError> {
        let reloading = bus.reloading();
        let outcome = Box::pin(self.put(bus)).await.map_err(|refused| refused.error);
        tell(reloading, &outcome);
        outcome
    }

    /// As [`apply`](Self::apply), and nobody is told.
    pub(crate) async fn put(&self, bus: &Bus) -> Result<Diff, NotPut> {
        let in_force = bus.attached::<InForce>();
        let mut state = in_force.hold().await;
        let seen = state.seen();
        let before = &seen.config;
        let diff = self.diff(before);
        let made = self.prepared(bus, &seen, (&state.stack, &state.routes, &state.legacies))?;
        // The first thing that is put in force: nothing of what is refused is.
        let log_filter = in_force.log_filter.set(self.log_filter());
        log_filter.map_err(|problem| ConfigError::of(vec![problem]))?;
        let after = self.in_force_after(before);
        let exchanged = AssertUnwindSafe(Box::pin(state.exchange(after, made, bus))).catch_unwind().await;
        let mut failures =
            exchanged.unwrap_or_else(|panic| vec![has_panicked("what was to put it in force", &*panic)]);
        if !failures.is_empty() {
            let back =
                AssertUnwindSafe(Box::pin(state.take_back(Arc::clone(before), bus))).catch_unwind().await;
            if let Err(panic) = back {
                // What is in force then is known, and made whole by the next one.
                let problem = has_panicked("what was to take it back", &*panic);
                tell_lost(bus, &problem);
                failures.push(problem);
            }
            let filter = state.config.as_deref().and_then(Self::log_filter);
            if let Err(problem) = in_force.log_filter.set(filter) {
                tell_lost(bus, &problem);
            }
            return Err(NotPut { error: ConfigError::of(failures), was_begun: true });
        }
        Ok(diff)
    }

    /// All that is needed to put it in force, made; nothing has changed. Or everything that is wrong.
    fn prepared(
        &self,
        bus: &Bus,
        seen: &Seen,
        (stack, live, legacies): (&Stack, &BTreeMap<String, Live>, &Legacies),
    ) -> Result<(Made, Vec<Wanted>), ConfigError> {
        let mut problems = self.misfits(bus, seen);
        problems.extend(self.refused(&seen.config));
        let stack = stack.make((self.middleware.as_ref(), None), bus, &mut problems);
        let routes = routes::make(&self.routes, (live, legacies), bus, &mut problems);
        ConfigError::unless_empty(problems).map(|()| (stack, routes))
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
            let hint =
                "under another durable name it begins anew; what this one has left stays with this one";
            Problem::at(route.filter.place(), message).hint(hint)
        };
        moved.map(problem).collect()
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

/// Why a configuration is not in force.
pub(crate) struct NotPut {
    pub(crate) error: ConfigError,
    /// Whether it was found only when a part of it was in force already, which was taken back.
    pub(crate) was_begun: bool,
}

impl From<ConfigError> for NotPut {
    fn from(error: ConfigError) -> Self {
        Self { error, was_begun: false }
    }
}

fn has_panicked(who: &str, panic: &(dyn Any + Send)) -> Problem {
    Problem::without_place(panicked(who, panic))
}

/// A configuration that says nothing.
fn nothing() -> Config {
    match Config::parse("nothing", "{}", Format::Json) {
        Ok(config) => config,
        Err(_) => unreachable!("an empty table is a configuration"),
    }
}
