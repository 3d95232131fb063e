//! In which order routes are changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::leaving::Leaving;
use super::routes::{Live, Wanted};
use crate::model::Route;

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
        let in_force = Names::of(live.iter().map(|(name, live)| (name.as_str(), live.route())));
        let to_be = Names::of(wanted.iter().map(|wanted| (wanted.name.as_str(), &*wanted.route)));
        let renamed = renamed(live, wanted, &to_be, leaving);
        let goes = |name: &str| {
            !renamed.sources.contains(name)
                && (!to_be.routes.contains_key(name) || renamed.source(name).is_some())
        };
        let gone = live.iter().filter(|(name, _)| goes(name));
        let (first, last): (Vec<_>, Vec<_>) = gone.partition(|(name, live)| {
            renamed.source(name).is_some() || makes_room((name, live.route()), &to_be)
        });
        let is_free = |wanted: &&Wanted| {
            let (name, route) = (wanted.name.as_str(), &wanted.route);
            route.at.is_some()
                && !live.contains_key(name)
                && !leaving.bear(name)
                && !in_force.durables.contains(name)
                && !in_force.meets((name, route))
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

/// What routes hold of names, so that whoever is in the way of another one is found by a look.
#[derive(Default)]
struct Names<'a> {
    /// By name.
    routes: HashMap<&'a str, &'a Route>,
    /// Names in the store.
    durables: HashSet<&'a str>,
    /// By filter and name.
    groups: HashSet<(&'a str, &'a str)>,
    /// At brokers: by transport, stream and name there.
    there: HashSet<(&'a str, &'a str, &'a str)>,
}

impl<'a> Names<'a> {
    fn of(routes: impl Iterator<Item = (&'a str, &'a Route)>) -> Self {
        let mut names = Self::default();
        for (name, route) in routes {
            names.routes.insert(name, route);
            names.durables.extend(route.durable.as_ref().map(|durable| durable.as_str()));
            names.groups.extend(route.group.as_ref().map(|group| (route.filter.as_str(), group.as_str())));
            names.there.extend(place_there((name, route)));
        }
        names
    }

    /// Whether a route is at a broker as a member of one that is there, or under a name in the store, which what is led there bears too.
    fn meets(&self, route: (&str, &Route)) -> bool {
        place_there(route).is_some_and(|at| self.there.contains(&at) || self.durables.contains(at.2))
    }
}

/// Whether one that is gone leaves before others begin: it loses nothing, as a durable one, or another one needs its name or its group.
fn makes_room((name, gone): (&str, &Route), to_be: &Names<'_>) -> bool {
    let group = gone.group.as_ref().map(|group| (gone.filter.as_str(), group.as_str()));
    gone.durable.is_some()
        || to_be.durables.contains(name)
        || group.is_some_and(|group| to_be.groups.contains(&group))
        || to_be.meets((name, gone))
}

/// Of a route at a broker: transport, stream, and its name there.
fn place_there<'a>((name, route): (&'a str, &'a Route)) -> Option<(&'a str, &'a str, &'a str)> {
    let at = route.at.as_ref()?;
    Some((at.transport.as_str(), at.stream.as_str(), at.name_there(name)))
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
    to_be: &Names<'_>,
    leaving: &Leaving,
) -> Renamed {
    let is_plain = |route: &Route| route.durable.is_none() && route.at.is_none() && route.group.is_none();
    let is_like = |one: &Route, other: &Route| course_of(one) == course_of(other);
    // By filter and handler, in the order of their names.
    let mut gone: HashMap<(&str, &str), VecDeque<(&String, &Route)>> = HashMap::new();
    for (name, route) in live.iter().map(|(name, live)| (name, live.route())) {
        let is_gone = to_be.routes.get(name.as_str()).is_none_or(|same| !is_like(route, same));
        if is_plain(route) && is_gone {
            gone.entry(course_of(route)).or_default().push_back((name, route));
        }
    }
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
            let alike = gone.get_mut(&course_of(&new.route));
            let before = alike.and_then(|alike| {
                let at = alike.iter().position(|(_, route)| !is_all || **route == *new.route)?;
                alike.remove(at)
            });
            let Some((before, _)) = before else { return true };
            pairs.insert(new.name.value().clone(), before.clone());
            false
        });
    }
    Renamed::of(pairs)
}

/// What goes to whom.
fn course_of(route: &Route) -> (&str, &str) {
    (route.filter.as_str(), route.handler.as_str())
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
    use crate::model::Config;
    use crate::parse::Format;

    fn routes(lines: &[&str]) -> Config {
        let lines = lines.iter().map(|line| ["  ", line, " }\n"].concat());
        let text = ["routes:\n".to_owned(), lines.collect()].concat();
        Config::parse("routes", &text, Format::Yaml).unwrap()
    }

    fn names(config: &Config) -> Names<'_> {
        Names::of(config.routes.iter().map(|(name, route)| (name.as_str(), route)))
    }

    #[test]
    fn one_that_is_gone_makes_room_for_whoever_needs_its_name_its_group_or_its_place() {
        let to_be = routes(&[
            "new: { filter: a.#, handler: h, durable: d",
            "member: { filter: b.#, handler: h, group: g",
            "there: { filter: c.#, handler: h, at: { transport: t, stream: s, subscription: x }",
        ]);
        let cases = [
            ("d: { filter: z.#, handler: h", true),
            ("dd: { filter: z.#, handler: h", false),
            ("old: { filter: z.#, handler: h, durable: other", true),
            ("old: { filter: b.#, handler: h, group: g", true),
            ("old: { filter: b.+, handler: h, group: g", false),
            ("old: { filter: b.#, handler: h, group: f", false),
            ("old: { filter: z.#, handler: h, at: { transport: t, stream: s, subscription: x }", true),
            ("x: { filter: z.#, handler: h, at: { transport: t, stream: s }", true),
            ("old: { filter: z.#, handler: h, at: { transport: t, stream: s, subscription: d }", true),
            ("old: { filter: z.#, handler: h, at: { transport: t, stream: r, subscription: x }", false),
            ("old: { filter: z.#, handler: h, at: { transport: u, stream: s, subscription: x }", false),
            ("old: { filter: a.#, handler: h", false),
        ];
        for (line, expected) in cases {
            let gone = routes(&[line]);
            let (name, route) = gone.routes.iter().next().unwrap();
            assert_eq!(makes_room((name.as_str(), route), &names(&to_be)), expected, "{line}");
        }
    }

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
