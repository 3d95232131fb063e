//! In which order routes are changed.

use std::collections::{BTreeMap, BTreeSet};

use super::leaving::Leaving;
use super::routes::{Live, Wanted};
use crate::model::Route;
use crate::value::Name;

/// Which routes are not changed with all the others, by name.
pub(super) struct Order {
    /// New ones at brokers for which nobody has to go: they begin before anything else changes.
    pub(super) ahead: BTreeSet<String>,
    /// Those that are gone and have to go before others begin, or may, since nothing of theirs is lost meanwhile.
    pub(super) first: BTreeSet<String>,
    /// Those that are gone and would lose what is published if they were to come back: they go when all else has begun.
    pub(super) last: BTreeSet<String>,
    /// See [`parting`].
    pub(super) parting: BTreeSet<String>,
    /// What routes are called until now that are to have another name: see [`renamed`].
    pub(super) renamed: Renamed,
}

impl Order {
    pub(super) fn of(live: &BTreeMap<String, Live>, wanted: &[Wanted], leaving: &Leaving) -> Self {
        let by_name: BTreeMap<&str, &Route> =
            wanted.iter().map(|wanted| (wanted.name.as_str(), &wanted.route)).collect();
        let renamed = renamed(live, wanted, &by_name, leaving);
        let goes = |name: &str| {
            !renamed.sources.contains(name) && (!by_name.contains_key(name) || renamed.source(name).is_some())
        };
        let gone = live.iter().filter(|(name, _)| goes(name));
        let (first, last): (Vec<_>, Vec<_>) = gone.partition(|(name, live)| {
            renamed.source(name).is_some() || makes_room(name, live.route(), wanted)
        });
        let is_free = |wanted: &&Wanted| {
            let (name, route) = (wanted.name.as_str(), &wanted.route);
            route.at.is_some()
                && !live.contains_key(name)
                && !leaving.bear(name)
                && live.iter().all(|(other, live)| {
                    let durable = live.durable_name().map(Name::as_str);
                    durable.is_none_or(|durable| durable != name && !is_there_as(durable, (name, route)))
                        && !are_one_there((other, live.route()), (name, route))
                })
        };
        let name_of = |(name, _): (&String, &Live)| name.clone();
        Self {
            ahead: wanted.iter().filter(is_free).map(|wanted| wanted.name.value().clone()).collect(),
            first: first.into_iter().map(name_of).collect(),
            last: last.into_iter().map(name_of).collect(),
            parting: parting(live, wanted),
            renamed,
        }
    }
}

/// Whether one that is gone leaves before others begin: it loses nothing, as a durable one, or another one needs its name or its group.
fn makes_room(name: &str, gone: &Route, wanted: &[Wanted]) -> bool {
    let needs = |wanted: &Wanted| {
        let route = &wanted.route;
        let name_of_durable = route.durable.as_ref().map(|durable| durable.as_str());
        // What is led at a broker bears that of the durable one too.
        let behind = name_of_durable.and_then(|durable| name.strip_prefix(durable));
        behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('@'))
            || name_of_durable.is_some_and(|durable| is_there_as(durable, (name, gone)))
            || (gone.group.is_some() && gone.group == route.group && gone.filter == route.filter)
            || are_one_there((name, gone), (wanted.name.as_str(), route))
    };
    gone.durable.is_some() || wanted.iter().any(needs)
}

/// Whether it is at a broker under this name.
fn is_there_as(durable: &str, (name, route): (&str, &Route)) -> bool {
    route.at.as_ref().is_some_and(|at| at.name_there(name) == durable)
}

/// Whether they are members of one subscription at a broker.
fn are_one_there((one, first): (&str, &Route), (other, second): (&str, &Route)) -> bool {
    let (Some(first), Some(second)) = (&first.at, &second.at) else { return false };
    first.transport == second.transport
        && first.stream == second.stream
        && first.name_there(one) == second.name_there(other)
}

/// Routes in memory that have another name and the filter and handler that they had: see [`renamed`].
#[derive(Debug, Default)]
pub(super) struct Renamed {
    /// By the name that each is to have: its turn, for who needs the name of another one comes behind it, and the name that it has until now.
    turns: BTreeMap<String, (usize, String)>,
    /// The names that they have until now.
    sources: BTreeSet<String>,
}

impl Renamed {
    /// What the route is called until now that is to have this name, if it has another one: when the name is free, for whose it was may have moved on just before.
    ///
    /// # Cancel safety
    /// Safe: until then the route is what it was.
    pub(super) async fn turn_of(&self, name: &str, leaving: &Leaving) -> Option<&str> {
        let source = self.source(name)?;
        if leaving.bear(name) {
            leaving.ended().await;
        }
        Some(source)
    }

    fn source(&self, name: &str) -> Option<&str> {
        self.turns.get(name).map(|(_, old)| old.as_str())
    }

    /// Those that are renamed in their turn, then the others.
    pub(super) fn first(&self, mut wanted: Vec<Wanted>) -> Vec<Wanted> {
        wanted
            .sort_by_key(|wanted| self.turns.get(wanted.name.value()).map_or(usize::MAX, |(turn, _)| *turn));
        wanted
    }

    /// Of a ring none comes first: these are not renamed.
    fn of(mut pairs: BTreeMap<String, String>) -> Self {
        let held: BTreeSet<String> = pairs.values().cloned().collect();
        let first: Vec<String> = pairs.keys().filter(|new| !held.contains(*new)).cloned().collect();
        let mut renamed = Self::default();
        for mut name in first {
            // Whoever is to have the name that becomes free with this is next.
            while let Some(old) = pairs.remove(&name) {
                renamed.sources.insert(old.clone());
                renamed.turns.insert(name, (renamed.turns.len(), old.clone()));
                name = old;
            }
        }
        renamed
    }
}

/// Routes in memory that have another name and the filter and handler that they had: each takes the place of what it was at one moment, as a route does that keeps its name, so
/// that no event is handled by both, nor by nobody. Of several that are alike the one that differs in nothing else. Their names may move on from one to the next, but not around. Members of
/// a group are not among them: the others have what comes meanwhile.
fn renamed(
    live: &BTreeMap<String, Live>,
    wanted: &[Wanted],
    by_name: &BTreeMap<&str, &Route>,
    leaving: &Leaving,
) -> Renamed {
    let is_plain = |route: &Route| route.durable.is_none() && route.at.is_none() && route.group.is_none();
    let is_like = |one: &Route, other: &Route| one.filter == other.filter && one.handler == other.handler;
    let mut gone: BTreeMap<&String, &Route> =
        live.iter().map(|(name, live)| (name, live.route())).filter(|(_, route)| is_plain(route)).collect();
    gone.retain(|name, route| by_name.get(name.as_str()).is_none_or(|same| !is_like(route, same)));
    let is_new = |wanted: &&Wanted| {
        let name = wanted.name.value();
        let same = live.get(name).map(Live::route);
        let is_free = same.is_none_or(|same| is_plain(same) && !is_like(same, &wanted.route));
        is_plain(&wanted.route) && is_free && !leaving.bear(name)
    };
    let mut left: Vec<&Wanted> = wanted.iter().filter(is_new).collect();
    let mut pairs = BTreeMap::new();
    for is_all in [true, false] {
        left.retain(|new| {
            let is_it = |route: &Route| match is_all {
                true => *route == new.route,
                false => is_like(route, &new.route),
            };
            let Some(before) = gone.iter().find(|(_, route)| is_it(route)).map(|(name, _)| *name) else {
                return true;
            };
            gone.remove(before);
            pairs.insert(new.name.value().clone(), before.clone());
            false
        });
    }
    Renamed::of(pairs)
}

/// Members of groups in memory that go another way than those who stay: they leave their group, which is there as before, and begin anew. Members that go the
/// same way all together are not among them: there the new group takes the place of the old one.
fn parting(live: &BTreeMap<String, Live>, wanted: &[Wanted]) -> BTreeSet<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<(&Route, &Wanted)>> = BTreeMap::new();
    for wanted in wanted {
        let Some(old) = live.get(wanted.name.value()).map(Live::route) else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_name_another_one_needs_has_its_turn_first_and_a_ring_has_none() {
        let pairs = [("b", "a"), ("c", "b"), ("d", "c"), ("x", "y"), ("y", "x"), ("z", "q")];
        let renamed = Renamed::of(pairs.map(|(new, old)| (new.to_owned(), old.to_owned())).into());
        let turn = |name: &str| renamed.turns.get(name).map(|(turn, _)| *turn);
        assert!(turn("d").is_some() && turn("d") < turn("c") && turn("c") < turn("b"));
        assert_eq!((renamed.source("b"), renamed.source("z")), (Some("a"), Some("q")));
        assert_eq!((renamed.source("x"), renamed.source("y")), (None, None));
        assert!(["a", "b", "c", "q"].into_iter().eq(renamed.sources.iter().map(String::as_str)));
    }
}
