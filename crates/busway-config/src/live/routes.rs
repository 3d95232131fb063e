//! Routes in force, and how they become others.

use std::collections::{BTreeMap, BTreeSet};

use busway_engine::remote::RemoteSubscription;
use busway_engine::{
    Bus, DurableBuilder, DurableSubscription, Heritage, SubscribeBuilder, SubscribeError, Subscription,
};
use busway_middleware::{AnyHandler, Durable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};

use super::leaving::Leaving;
use super::starting::begin;
use super::steps::{Made, Stack};
use super::transports::Carriers;
use crate::model::{CarrierSection, IdempotencySection, Route};
use crate::problem::{Problem, escaped};
use crate::read::{Given, Named};
use crate::value::Name;

/// A route in force.
#[derive(Debug)]
pub(super) struct Live {
    name: Given<String>,
    route: Route,
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

/// A route that is to be in force, with what it needs.
pub(super) struct Wanted {
    pub(super) name: Given<String>,
    pub(super) route: Route,
    pub(super) handler: AnyHandler<Durable>,
    made: Made,
}

/// What is needed for routes to be in force. Nothing is changed by it.
pub(super) fn make(
    routes: &Named<Route>,
    live: &BTreeMap<String, Live>,
    bus: &Bus,
    problems: &mut Vec<Problem>,
) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for (name, route) in routes.iter() {
        let fresh = Stack::default();
        let stack = live.get(name.value()).map_or(&fresh, |live| &live.stack);
        let made = stack.make(route.middleware.as_ref(), bus, problems);
        // That there is none was said by whoever looked whether it fits.
        if let Some(handler) = bus.named_handler(route.handler.value()) {
            wanted.push(Wanted { name: name.clone(), route: route.clone(), handler, made });
        }
    }
    wanted
}

/// Starts, alters and stops routes until what is in force is what is wanted. Gives back what went wrong: a route that could not begin is not in force.
///
/// It returns when those have ended that had to end first, and unless told otherwise when those have that others took the place of.
pub(super) async fn reconcile(
    (live, carriers, leaving): (&mut BTreeMap<String, Live>, &mut Carriers, &Leaving),
    (wanted, carried): (Vec<Wanted>, Named<CarrierSection>),
    may_outlast: bool,
    bus: &Bus,
) -> Vec<Problem> {
    let parting = parting(live, &wanted);
    let differing = carriers.differing(&carried);
    let names: BTreeSet<String> = wanted.iter().map(|wanted| wanted.name.value().clone()).collect();
    let durable = |wanted: &Wanted| wanted.route.durable.as_ref().map(|name| name.as_str().to_owned());
    let durables: BTreeSet<String> = wanted.iter().filter_map(durable).collect();
    let gone: Vec<String> = live.keys().filter(|name| !names.contains(*name)).cloned().collect();
    gone.iter().filter_map(|name| live.remove(name)).for_each(|gone| gone.leave(leaving));
    let mut restarted: Vec<(Wanted, Live)> = Vec::new();
    let mut begun: Vec<Wanted> = Vec::new();
    let mut failures = Vec::new();
    for wanted in wanted {
        let Some(old) = live.remove(wanted.name.value()) else {
            begun.push(wanted);
            continue;
        };
        let is_recarried = old.is_in(&differing, bus);
        match old.succession(&wanted.route, parting.contains(wanted.name.value()), is_recarried) {
            Succession::Same => {
                let name = wanted.name.value().clone();
                let (altered, problems) = old.altered(wanted);
                live.insert(name, altered);
                failures.extend(problems);
            }
            Succession::Takeover => match take_over(bus, wanted, old).await {
                Ok((new, old)) => {
                    if !may_outlast {
                        old.leave(leaving);
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
    let heritages: Vec<_> = restarted.iter().map(|(_, old)| Some(old.heritage())).collect();
    let mut again = Vec::new();
    for (wanted, old) in restarted {
        old.leave(leaving);
        again.push(wanted);
    }
    leaving.ended().await;
    carriers.retain_local(&durables);
    failures.extend(carriers.exchange(&differing, &carried, bus).await);
    let fresh = begun.into_iter().map(|wanted| (wanted, None));
    let starts = again.into_iter().zip(heritages).chain(fresh);
    let starts = starts.map(|(wanted, heritage)| begin(bus, (carriers, leaving), wanted, heritage));
    // Each is taken up when it has begun: dropped before the last has, this loses hold of none that runs.
    let mut starting: FuturesUnordered<_> = starts.collect();
    while let Some(result) = starting.next().await {
        match result {
            Ok(new) => _ = live.insert(new.name.value().clone(), new),
            Err(problem) => failures.push(problem),
        }
    }
    drop(starting);
    leaving.ended().await;
    failures.extend(carriers.begin().await);
    failures
}

/// Members of groups in memory that go another way than those who stay: they leave their group, which is there as before, and begin anew. Members that go the
/// same way all together are not among them: there the new group takes the place of the old one.
fn parting(live: &BTreeMap<String, Live>, wanted: &[Wanted]) -> BTreeSet<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<(&Route, &Wanted)>> = BTreeMap::new();
    for wanted in wanted {
        let Some(old) = live.get(wanted.name.value()).map(|live| &live.route) else { continue };
        if let (None, Some(group)) = (&old.durable, &old.group) {
            groups.entry((old.filter.as_str(), group.as_str())).or_default().push((old, wanted));
        }
    }
    let is_same = |one: &Route, other: &Route| {
        one.filter == other.filter && one.group == other.group && one.limits == other.limits
    };
    let mut parting = BTreeSet::new();
    for members in groups.into_values() {
        let [(_, first), rest @ ..] = members.as_slice() else { continue };
        let stays_one = |wanted: &Wanted| is_same(&first.route, &wanted.route);
        let keeps_group = |old: &Route, new: &Route| old.group == new.group;
        let is_together = rest.is_empty()
            || members.iter().all(|(old, wanted)| stays_one(wanted) && keeps_group(old, &wanted.route));
        let differing = members.iter().filter(|(old, wanted)| !is_together && !is_same(old, &wanted.route));
        parting.extend(differing.map(|(_, wanted)| wanted.name.value().clone()));
    }
    parting
}

/// How a route becomes another one of its name.
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

    /// Whether it is this one, to the last.
    pub(super) fn is(&self, route: &Route) -> bool {
        self.route == *route
    }

    /// Whether its stream is one of these.
    fn is_in(&self, streams: &BTreeSet<String>, bus: &Bus) -> bool {
        let stream = || bus.stream_within(self.route.filter.value());
        !streams.is_empty()
            && self.route.durable.is_some()
            && stream().is_some_and(|stream| streams.contains(&stream))
    }

    fn succession(&self, wanted: &Route, is_parting: bool, is_recarried: bool) -> Succession {
        let is_same = self.route == Route { middleware: self.route.middleware.clone(), ..wanted.clone() };
        let is_ephemeral =
            [&self.route, wanted].iter().all(|route| route.durable.is_none() && route.at.is_none());
        // Two subscriptions have its middleware: it is not swapped in one of them.
        let is_whole =
            !matches!(self.running, Running::Carried(..)) || self.route.middleware == wanted.middleware;
        match (is_same && is_whole && !is_recarried, is_ephemeral) {
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

    /// What was said of it.
    pub(super) fn said(&self) -> (Given<String>, Route) {
        (self.name.clone(), self.route.clone())
    }

    /// Handles what it had, and ends.
    fn leave(self, leaving: &Leaving) {
        let durable = self.durable_name().map(|name| name.as_str().to_owned());
        let names = durable.into_iter().chain([self.name.value().clone()]).collect();
        let end = match self.running {
            Running::Ephemeral(running) => running.stop().map(drop).boxed(),
            Running::Durable(running) | Running::Carried(running, None) => running.stop().map(drop).boxed(),
            Running::Remote(running) => running.stop().map(drop).boxed(),
            Running::Carried(here, Some(there)) => {
                async move { _ = futures_util::join!(here.stop(), there.stop()) }.boxed()
            }
        };
        leaving.push(names, end);
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
    let builder = ephemeral(bus, &wanted).taking_over(running);
    match builder.to(handler).await {
        Ok(running) => Ok((wanted.live(Running::Ephemeral(running)), old)),
        Err(error) => {
            let problem = failed(&wanted, &error);
            Err((Box::new(old), problem))
        }
    }
}

impl Wanted {
    pub(super) fn live(self, running: Running) -> Live {
        Live { name: self.name, route: self.route, running, stack: self.made.begun() }
    }
}

pub(super) fn failed(wanted: &Wanted, error: &SubscribeError) -> Problem {
    Problem::at(wanted.name.place(), escaped(&error.to_string()))
}

/// What all routes say in the same way.
fn subscribe(bus: &Bus, wanted: &Wanted) -> SubscribeBuilder {
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
    }
    if let Some(breaker) = &route.breaker {
        builder = builder.breaker(breaker.breaker());
    }
    if let Some(Ok(once)) = route.idempotency.as_ref().map(IdempotencySection::idempotency) {
        builder = builder.idempotent(once);
    }
    made.steps().fold(builder, |builder, (stage, name, step)| builder.middleware(stage, name, step))
}

pub(super) fn ephemeral(bus: &Bus, wanted: &Wanted) -> SubscribeBuilder {
    subscribe(bus, wanted)
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
    if let Some(budget) = route.retry.as_ref().and_then(|retry| retry.budget.as_ref()) {
        builder = builder.retry_budget(budget.budget());
    }
    if let Some(letters) = &route.dead_letters {
        builder = builder.dead_letters(letters.policy());
    }
    match &route.deadline {
        Some(deadline) => builder.deadline(deadline.duration()),
        None => builder,
    }
}

pub(super) const NEEDS_DURABLE: &str = "this handler needs a durable subscription: it takes a transaction, or something else that only the store can give";
