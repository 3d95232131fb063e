//! Whether a configuration fits a bus.

use std::collections::BTreeSet;

use busway_engine::{Bus, SubscribeProblem};

use super::routes::{NEEDS_DURABLE, base, durable_of};
use super::state::State;
use super::steps::Stack;
use super::transports;
use crate::access::Rules;
use crate::model::{Config, Route};
use crate::problem::{Problem, did_you_mean, escaped};
use crate::read::Given;

impl Config {
    /// Everything that keeps it from being applied to a bus.
    pub(super) fn misfits(&self, bus: &Bus, state: &State) -> Vec<Problem> {
        let mut problems = Vec::new();
        let rules = Rules::of(&self.access);
        // Names in the store that this configuration has taken itself.
        let own: BTreeSet<&str> =
            state.routes.values().filter_map(|live| Some(live.durable_name()?.as_str())).collect();
        for (name, route) in self.routes.iter() {
            let identity = route.identity(name.value());
            if let Some(reason) = rules.refuses(identity, route.filter.value()) {
                let message = format!("\"{}\" may not subscribe to this: {reason}", escaped(identity));
                problems.push(Problem::at(route.filter.place(), message));
            }
            // What is in force, fits.
            if state.routes.get(name.value()).is_some_and(|live| live.is(route)) {
                continue;
            }
            let is_ours = |name: &str| own.contains(name) || state.leaving.bear(name);
            let is_ours = state.routes.contains_key(name.value())
                || is_ours(name.value())
                || route.durable.as_ref().is_some_and(|name| is_ours(name.as_str()));
            problems.extend(misfits_of(bus, name, route, is_ours));
        }
        problems.extend(transports::misfits(bus, &self.carriers, &self.routes));
        problems
    }
}

fn misfits_of(bus: &Bus, name: &Given<String>, route: &Route, is_ours: bool) -> Vec<Problem> {
    let Some(handler) = bus.named_handler(route.handler.value()) else {
        return vec![no_handler(bus, &route.handler)];
    };
    // Middleware is made elsewhere, which says what is wrong with it.
    let builder = base(bus, name, route, &Stack::default().make(None, bus, &mut Vec::new()));
    let problems = match &route.durable {
        // What the transport says is known when it is asked.
        None if route.at.is_some() && handler.for_ephemeral().is_some() => Vec::new(),
        Some(_) => durable_of(builder, route).problems_with(&handler),
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
    let message = format!("no handler \"{}\" is registered", escaped(handler.value()));
    let known: Vec<&str> = bus.handler_names().collect();
    let hint =
        did_you_mean(handler.value(), known.iter().copied()).unwrap_or_else(|| match known.as_slice() {
            [] => "register it when the bus is built: .handler(name, handler)".to_owned(),
            known => format!("registered are {}", known.join(", ")),
        });
    Problem::at(handler.place(), message).hint(hint)
}
