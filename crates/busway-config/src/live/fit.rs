//! Whether a configuration fits a bus.

use std::collections::BTreeSet;

use busway_engine::cutover::{CutOverMode, StreamLead};
use busway_engine::{Bus, SubscribeProblem};

use super::routes::{NEEDS_DURABLE, base, durable_of, is_in};
use super::state::Seen;
use super::steps::Stack;
use super::transports;
use crate::access::Rules;
use crate::model::{Config, Route};
use crate::problem::{Problem, did_you_mean, escaped};
use crate::read::Given;

impl Config {
    /// Everything that keeps it from being applied to a bus.
    pub(super) fn misfits(&self, bus: &Bus, seen: &Seen) -> Vec<Problem> {
        let mut problems = Vec::new();
        let Seen { config: before, leaving } = seen;
        let recarried = self.carriers.differing(&before.carriers);
        let rules = Rules::of(&self.access);
        // Names in the store that this configuration has taken itself.
        let own: BTreeSet<&str> =
            before.routes.iter().filter_map(|(_, route)| Some(route.durable.as_ref()?.as_str())).collect();
        for (name, route) in self.routes.iter() {
            let identity = route.identity(name.value());
            if let Some(reason) = rules.refuses(identity, route.filter.value()) {
                let message = format!("\"{}\" may not subscribe to this: {reason}", escaped(identity));
                problems.push(Problem::at(route.filter.place(), message));
            }
            // What is in force fits, but perhaps not where its stream is to be led.
            let old = before.routes.get(name.value());
            if old.is_some_and(|old| old == route && !is_in(old, &recarried, bus)) {
                continue;
            }
            let is_ours = |name: &str| own.contains(name) || leaving.bear(name);
            let is_ours = old.is_some()
                || is_ours(name.value())
                || route.durable.as_ref().is_some_and(|name| is_ours(name.as_str()));
            problems.extend(misfits_of(bus, name, route, is_ours));
            problems.extend(self.misfits_at_a_broker(bus, name, route));
        }
        problems.extend(transports::misfits(bus, &self.carriers, &self.routes));
        problems
    }
}

impl Config {
    /// Of a route whose events come from a broker: what it says and no broker can do.
    fn misfits_at_a_broker(&self, bus: &Bus, name: &Given<String>, route: &Route) -> Vec<Problem> {
        let stream = route.durable.as_ref().and_then(|_| bus.stream_within(route.filter.value()));
        let carrier = stream.as_ref().and_then(|stream| self.carriers.get(stream));
        let is_remote = carrier.is_some_and(|carrier| carrier.mode() == CutOverMode::Remote);
        // Whoever was led there once handles what is left there, whoever leads now.
        let was_led_there = || {
            stream.is_some_and(|stream| {
                matches!(bus.stream_lead(&stream), Ok(StreamLead::HereAgain | StreamLead::There))
            })
        };
        let is_carried = is_remote || carrier.is_some() && was_led_there();
        if !is_carried && route.at.is_none() {
            return Vec::new();
        }
        let Some(handler) = bus.named_handler(route.handler.value()) else { return Vec::new() };
        let Some(handler) = handler.for_ephemeral() else {
            // Of a route that is at a broker alone this has been said.
            let problem = is_carried.then(|| Problem::at(route.handler.place(), NEEDS_DURABLE));
            return problem
                .map(|problem| problem.hint("events of its stream are handled at a broker"))
                .into_iter()
                .collect();
        };
        let builder = base(bus, name, route, &Stack::default().make((None, None), bus, &mut Vec::new()));
        let found = builder.problems_at_a_broker(&handler);
        // Its name there is another one; and what is wrong in the store too is said once.
        let others = found.into_iter().filter(|problem| match problem {
            SubscribeProblem::NotRemote { .. } | SubscribeProblem::RetryRateInMemory => true,
            SubscribeProblem::NameTaken => false,
            _ => !is_carried,
        });
        let mut problems: Vec<_> =
            others.map(|problem| Problem::at(name.place(), escaped(&problem.to_string()))).collect();
        let letters = route.dead_letters.as_ref();
        let of_the_store = [
            ("capacity", letters.and_then(|letters| Some(letters.capacity.as_ref()?.place()))),
            ("expire_after", letters.and_then(|letters| Some(letters.expire_after.as_ref()?.place()))),
            ("with_expired", letters.and_then(|letters| Some(letters.with_expired.as_ref()?.place()))),
            ("at_most_once", route.at_most_once().map(Given::place)),
            ("ttl", route.limits.as_ref().and_then(|limits| Some(&limits.ttl.as_ref()?.place.0))),
        ];
        for (field, place) in of_the_store {
            let Some(place) = place.filter(|_| is_remote) else { continue };
            let message = format!(
                "\"{field}\" is of the store, and the stream of this route is handled at a broker (mode: remote)"
            );
            problems.push(Problem::at(place, message).hint("leave it out before the stream is cut over"));
        }
        problems
    }
}

fn misfits_of(bus: &Bus, name: &Given<String>, route: &Route, is_ours: bool) -> Vec<Problem> {
    let (handler, no_store) = (bus.named_handler(route.handler.value()), no_store(bus, route));
    let (Some(handler), None) = (&handler, &no_store) else {
        let no_handler = handler.is_none().then(|| no_handler(bus, &route.handler));
        return no_handler.into_iter().chain(no_store).collect();
    };
    // Middleware is made elsewhere, which says what is wrong with it.
    let builder = base(bus, name, route, &Stack::default().make((None, None), bus, &mut Vec::new()));
    let problems = match &route.durable {
        // What the transport says is known when it is asked.
        None if route.at.is_some() && handler.for_ephemeral().is_some() => Vec::new(),
        Some(_) => durable_of(builder, route).problems_with(handler),
        None => match handler.for_ephemeral() {
            Some(handler) => builder.problems_with(&handler),
            None => return vec![Problem::at(route.handler.place(), NEEDS_DURABLE)],
        },
    };
    let others = problems.into_iter().filter(|problem| !(is_ours && *problem == SubscribeProblem::NameTaken));
    let place = |problem: &SubscribeProblem| match problem {
        SubscribeProblem::StateMissing { .. }
        | SubscribeProblem::Transactions { .. }
        | SubscribeProblem::InlineInGroup
        | SubscribeProblem::IdempotentInline
        | SubscribeProblem::RetryNotPossible { .. } => route.handler.place().clone(),
        SubscribeProblem::NoStream { .. } | SubscribeProblem::Filter(_) => route.filter.place().clone(),
        SubscribeProblem::NoStore => {
            route.durable.as_ref().map_or_else(|| name.place().clone(), |name| name.place().clone())
        }
        _ => name.place().clone(),
    };
    others.map(|problem| Problem::at(&place(&problem), escaped(&problem.to_string()))).collect()
}

fn no_handler(bus: &Bus, handler: &Given<String>) -> Problem {
    not_registered(("handler", ".handler(name, handler)"), handler, bus.handler_names())
}

/// That the store of keys is not there which a route names.
fn no_store(bus: &Bus, route: &Route) -> Option<Problem> {
    let store = route.idempotency.as_ref()?.store.as_ref()?;
    let how = ("store of keys", ".idempotency_store(name, store)");
    bus.named_idempotency_store(store.value())
        .is_none()
        .then(|| not_registered(how, store, bus.idempotency_store_names()))
}

/// That nothing is registered by a name: what is, or how to register it.
pub(super) fn not_registered<'a>(
    (what, how): (&str, &str),
    name: &Given<String>,
    known: impl Iterator<Item = &'a str>,
) -> Problem {
    let message = format!("no {what} \"{}\" is registered", escaped(name.value()));
    let known: Vec<&str> = known.collect();
    let hint = did_you_mean(name.value(), known.iter().copied()).unwrap_or_else(|| match known.as_slice() {
        [] => format!("register it when the bus is built: {how}"),
        known => format!("registered are {}", known.join(", ")),
    });
    Problem::at(name.place(), message).hint(hint)
}
