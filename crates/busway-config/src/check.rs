//! What cannot be told from one field alone, and needs no bus.

use std::collections::HashMap;

use busway_event::Filter;

use crate::model::{
    AccessRule, Config, DeadLetterKeeping, KeyFrom, Limits, Overflowing, Route, StreamSection,
};
use crate::problem::{Problem, escaped};
use crate::read::{Given, Named};
use crate::step;
use crate::value::{NAME_RULE, is_name};

/// Everything.
pub(crate) fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    streams(&config.streams, &mut problems);
    config.limits.iter().for_each(|own| limits(own, None, &mut problems));
    for (filter, own) in config.filters.iter() {
        if let Err(error) = Filter::new(filter.value()) {
            problems.push(Problem::at(filter.place(), error.to_string()));
        }
        limits(own, None, &mut problems);
    }
    config.middleware.iter().for_each(|steps| step::check(steps, &mut problems));
    for (name, own) in config.routes.iter() {
        route(name, own, &mut problems);
    }
    shared_names(&config.routes, &mut problems);
    config.access.iter().for_each(|rule| access(rule, &mut problems));
    problems
}

fn name(name: &Given<String>, problems: &mut Vec<Problem>) {
    if !is_name(name.value()) {
        let message = format!("\"{}\" cannot be a name", escaped(name.value()));
        problems.push(Problem::at(name.place(), message).hint(NAME_RULE));
    }
}

fn streams(streams: &Named<StreamSection>, problems: &mut Vec<Problem>) {
    let mut captured: Vec<(&Given<String>, &Given<Filter>)> = Vec::new();
    for (stream, section) in streams.iter() {
        name(stream, problems);
        if section.capture.is_empty() {
            let message = format!("stream \"{}\" captures nothing", escaped(stream.value()));
            problems
                .push(Problem::at(stream.place(), message).hint("give it \"capture\": a list of filters"));
        }
        for filter in &section.capture {
            if captured.len() == CAPTURES_MAX {
                let message = format!("streams capture more than {CAPTURES_MAX} filters");
                problems
                    .push(Problem::at(filter.place(), message).hint("\"+\" and \"#\" stand for many topics"));
                return;
            }
            let mut others = captured.iter().filter(|(other, theirs)| {
                other.value() != stream.value() && theirs.value().overlaps(filter.value())
            });
            // One says it: there may be thousands.
            if let Some((other, theirs)) = others.next() {
                let message = format!(
                    "{} and {} of stream \"{}\" have topics in common",
                    filter.value(),
                    theirs.value(),
                    escaped(other.value()),
                );
                let hint = format!("a topic is stored by one stream; the other one is at {}", theirs.place());
                problems.push(Problem::at(filter.place(), message).hint(hint));
            }
            captured.push((stream, filter));
        }
    }
}

/// Of a route, whether it is durable.
fn limits(limits: &Limits, is_durable: Option<bool>, problems: &mut Vec<Problem>) {
    let is_block = limits.overflow.as_ref().is_some_and(|overflow| *overflow.value() == Overflowing::Block);
    if let Some(deadline) = limits.block_deadline.as_ref().filter(|_| !is_block) {
        let problem = Problem::at(deadline.place(), "nobody waits without \"overflow: block\"");
        problems.push(problem.hint("set overflow beside it, or leave this out"));
    }
    if let (Some(false), Some(parked)) = (is_durable, &limits.parked_max) {
        let message = "\"parked_max\" is of no effect: an ephemeral subscription parks nothing";
        problems
            .push(Problem::at(parked.place(), message).hint("leave it out, or give the route \"durable\""));
    }
    if is_durable != Some(true) {
        return;
    }
    let of_queues = [
        limits.capacity.as_ref().map(|given| ("capacity", given.place())),
        limits.capacity_bytes.as_ref().map(|given| ("capacity_bytes", given.place())),
        limits.overflow.as_ref().map(|given| ("overflow", given.place())),
    ];
    for (field, place) in of_queues.into_iter().flatten() {
        let message = format!("\"{field}\" is of no effect: a durable subscription waits in the log");
        problems.push(Problem::at(place, message).hint("leave it out, or leave out \"durable\""));
    }
}

fn route(route: &Given<String>, section: &Route, problems: &mut Vec<Problem>) {
    name(route, problems);
    let is_durable = section.durable.is_some();
    section.limits.iter().for_each(|own| limits(own, Some(is_durable), problems));
    section.middleware.iter().for_each(|steps| step::check(steps, problems));
    if !is_durable {
        let start_at = section.start_at.as_ref().filter(|_| section.at.is_none());
        let of_durable = [
            start_at.map(|given| ("start_at", given.place())),
            section.dead_letters.as_ref().map(|given| ("dead_letters", &given.place.0)),
            section.deadline.as_ref().map(|given| ("deadline", given.place())),
            section.at_most_once().map(|given| ("at_most_once", given.place())),
        ];
        for (field, place) in of_durable.into_iter().flatten() {
            let message = format!("\"{field}\" is for durable subscriptions, and this one is in memory");
            problems.push(Problem::at(place, message).hint("give the route a name in the store: durable"));
        }
    }
    at_a_broker(section, problems);
    recovery(section, is_durable, problems);
    if let Some(rule) = section.group_rule.as_ref().filter(|_| section.group.is_none()) {
        let problem = Problem::at(rule.place(), "\"group_rule\" is of no effect without a group");
        problems.push(problem.hint("give the route a group, or leave this out"));
    }
}

/// What a route at a broker cannot be as well.
fn at_a_broker(section: &Route, problems: &mut Vec<Problem>) {
    let Some(at) = &section.at else { return };
    let of_this_bus = [
        section.durable.as_ref().map(|given| ("durable", given.place())),
        section.group.as_ref().map(|given| ("group", given.place())),
    ];
    for (field, place) in of_this_bus.into_iter().flatten() {
        let message = format!("\"{field}\" is of this bus, and this route is at a broker");
        problems.push(Problem::at(place, message).hint("leave it out, or leave out \"at\""));
    }
    if at.stream.is_empty() {
        problems.push(Problem::at(at.stream.place(), "a stream has a name"));
    }
}

fn recovery(section: &Route, is_durable: bool, problems: &mut Vec<Problem>) {
    if let Some(retry) = &section.retry {
        let doubled = retry.first_delay.as_ref().or(retry.longest_delay.as_ref());
        match doubled {
            Some(doubled) if !retry.delays.is_empty() => {
                let message = "delays are either listed or doubled";
                let hint = "leave out \"delays\", or \"first_delay\" and \"longest_delay\"";
                problems.push(Problem::at(doubled.place(), message).hint(hint));
            }
            _ => problems.extend(
                retry
                    .retry(is_durable)
                    .problems()
                    .iter()
                    .map(|problem| Problem::at(&retry.place.0, problem.to_string())),
            ),
        }
        if let Some(budget) = &retry.budget {
            let own = budget.budget().problems();
            problems.extend(own.iter().map(|problem| Problem::at(&budget.place.0, problem.to_string())));
        }
    }
    let rate = section.breaker.as_ref().and_then(|breaker| breaker.rate.as_ref());
    if let Some(rate) = rate.filter(|rate| rate.window.duration() > A_DAY) {
        problems.push(Problem::at(rate.window.place(), "a window is a day at most"));
    }
    if let Some(once) = &section.idempotency {
        if let (KeyFrom::Id, Some(field)) = (once.by.value(), once.fields.first()) {
            let problem = Problem::at(field.place(), "an id is a key by itself: \"fields\" are of no effect");
            problems.push(problem.hint("by: metadata, or by: payload"));
        }
        let of_a_store =
            [once.lease.as_ref().map(Given::place), once.on_unreachable.as_ref().map(Given::place)];
        for place in of_a_store.into_iter().flatten().filter(|_| once.store.is_none()) {
            let problem = Problem::at(place, "without a \"store\" this is of no effect");
            problems.push(problem.hint("name the store of keys: store"));
        }
        let own = match once.idempotency() {
            Ok(once) => once.problems().iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        };
        problems.extend(own.into_iter().map(|problem| Problem::at(&once.place.0, problem)));
    }
    if let Some(letters) = &section.dead_letters {
        let policy = letters.policy.as_ref().map(Given::value);
        let is_discarded = policy == Some(&DeadLetterKeeping::Discard);
        let bounds = [
            letters.capacity.as_ref().map(Given::place),
            letters.expire_after.as_ref().map(Given::place),
            letters.with_expired.as_ref().filter(|with| *with.value()).map(Given::place),
        ];
        for place in bounds.into_iter().flatten().filter(|_| is_discarded) {
            problems.push(Problem::at(place, "what is discarded is not kept: this is of no effect"));
        }
    }
}

/// Routes of the same name in the store have to be members of one group, and want the same topics.
fn shared_names(routes: &Named<Route>, problems: &mut Vec<Problem>) {
    let mut seen: HashMap<&str, (&Given<String>, &Route)> = HashMap::new();
    for (route, section) in routes.iter() {
        let Some(durable) = &section.durable else { continue };
        let Some((first, other)) = seen.get(durable.as_str()) else {
            seen.insert(durable.as_str(), (route, section));
            continue;
        };
        let first = format!("\"{}\" at {}", escaped(first.value()), first.place());
        if section.group.is_none() || section.group != other.group {
            let message = format!("the name \"{durable}\" in the store is taken by route {first}");
            let hint = "choose another one, or let both be members of the same group";
            problems.push(Problem::at(durable.place(), message).hint(hint));
        } else if section.filter != other.filter {
            let message = format!("members of a group want the same topics; {first} wants {}", *other.filter);
            problems.push(Problem::at(section.filter.place(), message));
        }
    }
}

fn access(rule: &AccessRule, problems: &mut Vec<Problem>) {
    if rule.identity.is_empty() {
        let problem = Problem::at(rule.identity.place(), "nobody has an empty name");
        problems.push(problem.hint("a producer, a subscription, or \"*\" for everybody"));
    }
}

/// Each is compared with each of the others.
const CAPTURES_MAX: usize = 4_096;
const A_DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);
