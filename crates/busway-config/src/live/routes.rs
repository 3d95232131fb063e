//! Routes in force, and how they become others.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use busway_engine::remote::RemoteSubscription;
use busway_engine::{
    Bus, DurableBuilder, DurableSubscription, Heritage, SubscribeBuilder, SubscribeError, Subscription,
};
use busway_middleware::{AnyHandler, Durable};
use busway_reliability::Idempotency;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};

use super::fresh::Fresh;
use super::leaving::Leaving;
use super::legacy::{Legacies, Legacy};
use super::order::Order;
use super::starting::begin;
use super::steps::{Made, Stack};
use super::transports::Carriers;
use crate::model::{CarrierSection, Route};
use crate::problem::{Problem, escaped, panicked};
use crate::read::{Given, Named};
use crate::value::Name;

/// A route in force.
#[derive(Debug)]
pub(super) struct Live {
    name: Given<String>,
    route: Arc<Route>,
    running: Running,
    pub(super) stack: Stack,
}

#[derive(Debug)]
pub(super) enum Running {
    Ephemeral(Subscription),
    Durable(DurableSubscription),
    Remote(RemoteSubscription),
    /// Of a stream that is carried: what is led here, and what is led there.
    Carried(DurableSubscription, Option<RemoteSubscription>),
}

/// What is in force, to be changed.
pub(super) struct InForce<'a> {
    pub(super) live: &'a mut BTreeMap<String, Live>,
    pub(super) carriers: &'a mut Carriers,
    pub(super) leaving: &'a Leaving,
    pub(super) legacies: &'a mut Legacies,
    pub(super) fresh: &'a mut Fresh,
}

/// What is to be known of a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// Access rules are: what was taken in may be handled whenever.
    pub(super) are_rules_same: bool,
    /// To what was in force.
    pub(super) is_back: bool,
}

/// A route that is to be in force, with what it needs.
pub(super) struct Wanted {
    pub(super) name: Given<String>,
    pub(super) route: Arc<Route>,
    pub(super) handler: AnyHandler<Durable>,
    made: Made,
}

/// What is needed for routes to be in force. Nothing is changed by it.
pub(super) fn make(
    routes: &Named<Route>,
    (live, legacies): (&BTreeMap<String, Live>, &Legacies),
    bus: &Bus,
    problems: &mut Vec<Problem>,
) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for (name, route) in routes.shared() {
        let fresh = Stack::default();
        let stack = live.get(name.value()).map_or(&fresh, |live| &live.stack);
        let before = legacies.stack(name.value());
        let made = stack.make((route.middleware.as_ref(), before), bus, problems);
        // That there is none was said by whoever looked whether it fits.
        if let Some(handler) = bus.named_handler(route.handler.value()) {
            wanted.push(Wanted { name: name.clone(), route: Arc::clone(route), handler, made });
        }
    }
    wanted
}

/// Starts, alters and stops routes until what is in force is what is wanted. Gives back what went wrong: a route that could not begin is not in force.
///
/// What may fail for others' reasons comes first: new routes at brokers, and when one of them does not begin nothing else has changed. What would lose events
/// comes last: routes that nothing takes the place of leave when all else has begun, and not at all when it has not.
///
/// On the way back it goes on whatever fails: as much is restored as can be.
///
/// It returns when those have ended that had to end first, and where access rules differ when those have that others took the place of.
pub(super) async fn reconcile(
    InForce { live, carriers, leaving, legacies, fresh }: InForce<'_>,
    (wanted, carried): (Vec<Wanted>, Named<CarrierSection>),
    way: Way,
    bus: &Bus,
) -> Vec<Problem> {
    let order = Order::of(live, &wanted, leaving);
    let (ahead, wanted): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|wanted| order.ahead.contains(wanted.name.value()));
    let ahead = ahead.into_iter().map(|wanted| legacies.with(wanted)).collect();
    let mut failures = begin_all(bus, (live, carriers, leaving), ahead).await;
    if !failures.is_empty() && !way.is_back {
        return failures;
    }
    let differing = carriers.differing(&carried);
    let durables: BTreeSet<String> = wanted.iter().filter_map(Wanted::durable_name).collect();
    let unknown = if way.is_back { BTreeSet::new() } else { Fresh::candidates(&durables, live) };
    for gone in order.first.iter().filter_map(|name| live.remove(name)) {
        gone.leave(bus, leaving, legacies);
    }
    let mut restarted: Vec<(Wanted, Live)> = Vec::new();
    let mut begun: Vec<Wanted> = Vec::new();
    for wanted in order.renamed.first(wanted) {
        let name = wanted.name.value();
        let renamed = order.renamed.turn_of(name, leaving).await;
        let Some(old) = live.remove(renamed.unwrap_or(name)) else {
            begun.push(wanted);
            continue;
        };
        legacies.keep_stack(old.name.value(), &old.stack);
        let is_recarried = is_in(&old.route, &differing, bus);
        match old.succession(&wanted, order.parting.contains(name), is_recarried) {
            Succession::Same => {
                let name = wanted.name.value().clone();
                let (altered, problems) = old.altered(wanted);
                live.insert(name, altered);
                failures.extend(problems);
            }
            Succession::Takeover => match take_over(bus, wanted, old).await {
                Ok((new, old)) => {
                    // A name that is free again is waited for.
                    if !way.are_rules_same || renamed.is_some() {
                        old.leave(bus, leaving, legacies);
                    }
                    live.insert(new.name.value().clone(), new);
                }
                Err((old, problem)) => {
                    live.insert(old.name.value().clone(), *old);
                    failures.push(problem);
                }
            },
            Succession::Restart => restarted.push((wanted, old)),
        }
    }
    // What ends first: names become free, and a group is made anew only when all of its members have gone.
    let mut starts = Vec::new();
    for (wanted, old) in restarted {
        old.leave(bus, leaving, legacies);
        starts.push(legacies.with(wanted));
    }
    leaving.ended().await;
    carriers.retain_local(&durables);
    failures.extend(carriers.exchange(&differing, &carried, bus).await);
    starts.extend(begun.into_iter().map(|wanted| legacies.with(wanted)));
    fresh.note(unknown, bus).await;
    failures.extend(begin_all(bus, (live, carriers, leaving), starts).await);
    leaving.ended().await;
    failures.extend(carriers.begin().await);
    if failures.is_empty() || way.is_back {
        for gone in order.last.iter().filter_map(|name| live.remove(name)) {
            gone.leave(bus, leaving, legacies);
        }
        leaving.ended().await;
    }
    fresh.end(way, &durables, bus).await;
    failures
}

/// Begins routes at once. Gives back what went wrong.
async fn begin_all(
    bus: &Bus,
    (live, carriers, leaving): (&mut BTreeMap<String, Live>, &Carriers, &Leaving),
    starts: Vec<(Wanted, Option<Legacy>)>,
) -> Vec<Problem> {
    let starts = starts.into_iter().map(|(wanted, legacy)| async {
        let name = wanted.name.clone();
        // Transports are the program's code too.
        let begun = AssertUnwindSafe(begin(bus, (carriers, leaving), wanted, legacy)).catch_unwind().await;
        begun.unwrap_or_else(|panic| Err(Problem::at(name.place(), panicked("what begins it", &*panic))))
    });
    // Each is taken up when it has begun: dropped before the last has, this loses hold of none that runs.
    let mut starting: FuturesUnordered<_> = starts.collect();
    let mut failures = Vec::new();
    while let Some(result) = starting.next().await {
        match result {
            Ok(new) => _ = live.insert(new.name.value().clone(), new),
            Err(problem) => failures.push(problem),
        }
    }
    failures
}

/// Whether the stream of a durable route is one of these.
pub(super) fn is_in(route: &Route, streams: &BTreeSet<String>, bus: &Bus) -> bool {
    let stream = || bus.stream_within(route.filter.value());
    !streams.is_empty() && route.durable.is_some() && stream().is_some_and(|stream| streams.contains(&stream))
}

/// How a route becomes another one of its name, or of the name that it is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Succession {
    /// It is the same, but perhaps for its middleware.
    Same,
    /// A new subscription takes the place of the old one.
    Takeover,
    /// The old one ends, then the new one begins.
    Restart,
}

impl Live {
    /// Its name in the store.
    pub(super) fn durable_name(&self) -> Option<&Name> {
        self.route.durable.as_ref().map(Given::value)
    }

    fn succession(&self, wanted: &Wanted, is_parting: bool, is_recarried: bool) -> Succession {
        let has_its_name = self.name.value() == wanted.name.value();
        let wanted = &*wanted.route;
        let has_its_middleware = self.route.middleware == wanted.middleware;
        let is_same = match has_its_middleware {
            true => *self.route == *wanted,
            false => *self.route == Route { middleware: self.route.middleware.clone(), ..wanted.clone() },
        };
        let is_ephemeral =
            [&*self.route, wanted].iter().all(|route| route.durable.is_none() && route.at.is_none());
        // Two subscriptions have its middleware: it is not swapped in one of them.
        let is_whole = !matches!(self.running, Running::Carried(..)) || has_its_middleware;
        match (is_same && has_its_name && is_whole && !is_recarried, is_ephemeral) {
            (true, _) => Succession::Same,
            (false, true) if !is_parting => Succession::Takeover,
            (false, _) => Succession::Restart,
        }
    }

    /// With other middleware, and the new places of its settings; and what of it could not be exchanged.
    fn altered(mut self, wanted: Wanted) -> (Self, Vec<Problem>) {
        let Self { stack, running, .. } = &mut self;
        let problems = match running {
            Running::Ephemeral(running) => stack.exchange(&wanted.made, |stage| running.middleware(stage)),
            Running::Durable(running) | Running::Carried(running, _) => {
                stack.exchange(&wanted.made, |stage| running.middleware(stage))
            }
            Running::Remote(running) => {
                stack.exchange(&wanted.made, |stage| running.subscription().middleware(stage))
            }
        };
        (Self { name: wanted.name, route: wanted.route, ..self }, problems)
    }

    fn heritage(&self) -> Heritage {
        match &self.running {
            Running::Durable(running) | Running::Carried(running, _) => running.heritage(),
            Running::Ephemeral(running) => running.heritage(),
            Running::Remote(running) => running.subscription().heritage(),
        }
    }

    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// What was said of it.
    pub(super) fn said(&self) -> (Given<String>, Arc<Route>) {
        (self.name.clone(), Arc::clone(&self.route))
    }

    /// Handles what it had, and ends.
    fn leave(self, bus: &Bus, leaving: &Leaving, legacies: &mut Legacies) {
        let (name, heritage) = (self.name.value().clone(), self.heritage());
        // What one in memory has no hold of any more is lost to it: it is looked up before it is told to end. What was published and not offered to it yet is not its own.
        let before = match self.running {
            Running::Ephemeral(_) => bus.offered_ends(),
            _ => bus.log_ends(),
        };
        let durable = self.durable_name().map(|name| name.as_str().to_owned());
        let names = durable.into_iter().chain([name.clone()]).collect();
        let is_stored = matches!(self.running, Running::Durable(_) | Running::Carried(..));
        let end = match self.running {
            Running::Ephemeral(running) => running.stop().map(drop).boxed(),
            Running::Durable(running) | Running::Carried(running, None) => running.stop().map(drop).boxed(),
            Running::Remote(running) => running.stop().map(drop).boxed(),
            Running::Carried(here, Some(there)) => {
                async move { _ = futures_util::join!(here.stop(), there.stop()) }.boxed()
            }
        };
        leaving.push(names, end);
        // What a durable one has not started by now stays with its name.
        let ends = if is_stored { bus.log_ends() } else { before };
        legacies.keep(name, Legacy { heritage, ends, stack: self.stack });
    }
}

/// Gives back the new one, and the old one, which may not have ended yet.
async fn take_over(bus: &Bus, wanted: Wanted, old: Live) -> Result<(Live, Live), (Box<Live>, Problem)> {
    let Running::Ephemeral(running) = &old.running else {
        let problem = Problem::at(wanted.name.place(), "a durable subscription is not taken over");
        return Err((Box::new(old), problem));
    };
    let Some(handler) = wanted.handler.for_ephemeral() else {
        let problem = Problem::at(wanted.route.handler.place(), NEEDS_DURABLE);
        return Err((Box::new(old), problem));
    };
    let builder = subscribe(bus, &wanted).taking_over(running);
    match builder.to(handler).await {
        Ok(running) => Ok((wanted.live(Running::Ephemeral(running)), old)),
        Err(error) => {
            let problem = failed(&wanted, &error);
            Err((Box::new(old), problem))
        }
    }
}

impl Wanted {
    fn durable_name(&self) -> Option<String> {
        self.route.durable.as_ref().map(|name| name.as_str().to_owned())
    }

    pub(super) fn live(self, running: Running) -> Live {
        Live { name: self.name, route: self.route, running, stack: self.made.begun() }
    }
}

pub(super) fn failed(wanted: &Wanted, error: &SubscribeError) -> Problem {
    Problem::at(wanted.name.place(), escaped(&error.to_string()))
}

/// What all routes say in the same way.
pub(super) fn subscribe(bus: &Bus, wanted: &Wanted) -> SubscribeBuilder {
    base(bus, &wanted.name, &wanted.route, &wanted.made)
}

/// A builder with everything that a route says and an ephemeral subscription can be told.
pub(super) fn base(bus: &Bus, name: &Given<String>, route: &Route, made: &Made) -> SubscribeBuilder {
    let mut builder =
        bus.subscribe(route.filter.as_str()).name(name.value()).identity(route.identity(name.value()));
    if let Some(limits) = &route.limits {
        builder = builder.settings(limits.settings());
    }
    if let Some(group) = &route.group {
        builder = builder.group(group.as_str());
    }
    if let Some(rule) = &route.group_rule {
        builder = builder.group_rule((*rule.value()).into());
    }
    if let Some(retry) = &route.retry {
        builder = builder.retry(retry.retry(route.durable.is_some()));
        if let Some(budget) = &retry.budget {
            builder = builder.retry_budget(budget.budget());
        }
    }
    if let Some(breaker) = &route.breaker {
        builder = builder.breaker(breaker.breaker());
    }
    if let Some(section) = &route.idempotency
        && let Ok(once) = section.idempotency()
    {
        let store = section.store.as_ref().and_then(|store| bus.named_idempotency_store(store.value()));
        builder = builder.idempotent(store.into_iter().fold(once, Idempotency::store));
    }
    made.steps().fold(builder, |builder, (stage, name, step)| builder.middleware(stage, name, step))
}

pub(super) fn durable(bus: &Bus, wanted: &Wanted) -> DurableBuilder {
    durable_of(subscribe(bus, wanted), &wanted.route)
}

/// The same for a durable subscription.
pub(super) fn durable_of(builder: SubscribeBuilder, route: &Route) -> DurableBuilder {
    let name = route.durable.as_ref().map_or("", |name| name.as_str());
    let mut builder = builder.durable(name);
    if let Some(start) = &route.start_at {
        builder = builder.start_at((*start.value()).into());
    }
    if let Some(letters) = &route.dead_letters {
        builder = builder.dead_letters(letters.policy());
    }
    if route.at_most_once().is_some() {
        builder = builder.at_most_once();
    }
    match &route.deadline {
        Some(deadline) => builder.deadline(deadline.duration()),
        None => builder,
    }
}

pub(super) const NEEDS_DURABLE: &str = "this handler needs a durable subscription: it takes a transaction, or something else that only the store can give";
