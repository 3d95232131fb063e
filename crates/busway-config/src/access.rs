//! Rules of who may publish and subscribe what, enforced.
//!
//! Publishing is judged in the last publish stage, by the producer that the event names, else by the bus's own. Handling is judged for each delivery, in
//! [`Stage::Decode`], by the name of the subscription, or of the route that it is a part of: both halves of a route whose stream is carried are the route, and of a group in memory
//! each member is its own. What carries a stream is the bus itself, and is not judged: whoever is given the events then is. A route that may not subscribe to all of its filter is refused before that, when its
//! configuration is applied. Both stand on [`Authorize`].
//!
//! These are **guard rails within a process**: code in it can name itself as it likes, or reach around the bus. They keep mistakes small; they stop nobody who
//! means harm.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use busway_event::{Filter, Topic};
use busway_middleware::builtin::{Authorize, Refusal};
use busway_middleware::{Delivery, Flow, Outcome, PublishMiddleware, SyncMiddleware};
use busway_observability::audit::{self, Ending};

use crate::model::{AccessRule, Action, Effect};
use crate::problem::escaped;

/// Rules in force; what is judged goes by the newest ones.
#[derive(Debug, Default)]
pub(crate) struct Access {
    rules: Arc<ArcSwap<Standing>>,
}

/// The rules that stand.
#[derive(Debug, Default)]
struct Standing {
    rules: Arc<Rules>,
    /// Of configurations that are being put in force, also those that were cut short: routes of all are there meanwhile, so what either allows may be.
    coming: Vec<Arc<Rules>>,
}

impl Standing {
    fn may(&self, identity: &str, action: Action, topic: &Topic) -> bool {
        let mut all = std::iter::once(&self.rules).chain(&self.coming);
        all.any(|rules| rules.may(identity, action, topic))
    }
}

/// Rules, by whom they are about.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    by_identity: HashMap<String, Vec<Rule>>,
    is_there_any: bool,
}

#[derive(Debug)]
struct Rule {
    effect: Effect,
    action: Action,
    filter: Filter,
}

impl Rules {
    pub(crate) fn of(rules: &[AccessRule]) -> Self {
        let mut by_identity: HashMap<String, Vec<Rule>> = HashMap::new();
        for rule in rules {
            let own = Rule {
                effect: *rule.effect.value(),
                action: *rule.action.value(),
                filter: rule.filter.value().clone(),
            };
            by_identity.entry(rule.identity.value().clone()).or_default().push(own);
        }
        Self { by_identity, is_there_any: !rules.is_empty() }
    }

    fn about(&self, identity: &str, action: Action) -> impl Iterator<Item = &Rule> {
        let own = self.by_identity.get(identity).filter(|_| identity != EVERYBODY);
        let all = self.by_identity.get(EVERYBODY);
        own.into_iter().chain(all).flatten().filter(move |rule| rule.action == action)
    }

    /// Whether it may, by these rules: nothing denies it and something allows it, or there are no rules.
    pub(crate) fn may(&self, identity: &str, action: Action, topic: &Topic) -> bool {
        if !self.is_there_any {
            return true;
        }
        let matching = |effect| {
            self.about(identity, action).any(|rule| rule.effect == effect && rule.filter.matches(topic))
        };
        !matching(Effect::Deny) && matching(Effect::Allow)
    }

    /// Why a subscription may not have all topics of a filter; `None` when it may.
    pub(crate) fn refuses(&self, identity: &str, filter: &Filter) -> Option<String> {
        if !self.is_there_any {
            return None;
        }
        let mut rules = self.about(identity, Action::Subscribe);
        if let Some(rule) = rules.find(|rule| rule.effect == Effect::Deny && rule.filter.overlaps(filter)) {
            return Some(format!("an access rule denies {} to it", rule.filter));
        }
        let mut rules = self.about(identity, Action::Subscribe);
        let is_allowed = rules.any(|rule| rule.effect == Effect::Allow && rule.filter.covers(filter));
        (!is_allowed).then(|| format!("no access rule allows all of {filter} to it"))
    }
}

impl Access {
    /// From now on what these rules allow may be too.
    pub(crate) fn widen(&self, rules: Arc<Rules>) {
        let standing = self.rules.load();
        let coming = standing.coming.iter().cloned().chain([rules]).collect();
        self.rules.store(Arc::new(Standing { rules: Arc::clone(&standing.rules), coming }));
    }

    /// From now on only what these rules allow may be.
    pub(crate) fn set(&self, rules: Arc<Rules>) {
        self.rules.store(Arc::new(Standing { rules, coming: Vec::new() }));
    }

    /// The step around publishing. `own` is the producer of events that name none.
    pub(crate) fn publishing(&self, own: String) -> impl PublishMiddleware {
        let rules = Arc::clone(&self.rules);
        Authorize::new(move |topic, pairs| {
            let producer = pairs.producer().unwrap_or(&own);
            judge(&rules.load(), producer, Action::Publish, topic)
        })
    }

    /// The step around handling.
    pub(crate) fn handling(&self) -> impl SyncMiddleware {
        Handling(Arc::clone(&self.rules))
    }
}

struct Handling(Arc<ArcSwap<Standing>>);

impl SyncMiddleware for Handling {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        // What the bus carries for others is judged where they handle it.
        let Some(identity) = delivery.scope().identity() else { return Flow::Continue };
        match judge(&self.0.load(), identity, Action::Subscribe, delivery.event().topic()) {
            Ok(()) => Flow::Continue,
            Err(refusal) => Flow::Stop(Outcome::dead(refusal)),
        }
    }
}

fn judge(rules: &Standing, identity: &str, action: Action, topic: &Topic) -> Result<(), Refusal> {
    if rules.may(identity, action, topic) {
        return Ok(());
    }
    let shown = escaped(identity);
    let reason = format!("{shown} may not {action} {topic}");
    let subject = format!("{action} {topic}");
    audit::record(audit::Action::Access, &subject, &shown, &Ending::Refused { reason: reason.clone() });
    Err(Refusal::new(reason))
}

/// The identity that is everybody's.
const EVERYBODY: &str = "*";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;
    use crate::parse::Format;

    fn rules(lines: &[&str]) -> Rules {
        let rule = |line: &&str| {
            let words: Vec<&str> = line.split(' ').collect();
            format!(
                "- {{ effect: {}, identity: \"{}\", action: {}, filter: \"{}\" }}\n",
                words[0], words[1], words[2], words[3]
            )
        };
        let text = format!("access:\n{}", lines.iter().map(rule).collect::<String>());
        Rules::of(&Config::parse("rules", &text, Format::Yaml).unwrap().access)
    }

    #[test]
    fn what_is_denied_is_denied_and_what_nobody_allows_too() {
        let rules = rules(&[
            "allow shop publish orders.#",
            "deny shop publish orders.internal.#",
            "allow * publish public.+",
            "deny * publish public.secret",
            "allow board subscribe orders.#",
        ]);
        let cases = [
            ("shop", Action::Publish, "orders.created", true),
            ("shop", Action::Publish, "orders.internal.audit", false),
            ("shop", Action::Publish, "public.news", true),
            ("shop", Action::Publish, "public.secret", false),
            ("shop", Action::Publish, "payments.made", false),
            ("other", Action::Publish, "orders.created", false),
            ("other", Action::Publish, "public.news", true),
            ("*", Action::Publish, "public.news", true),
            ("board", Action::Subscribe, "orders.created", true),
            ("board", Action::Publish, "orders.created", false),
            ("shop", Action::Subscribe, "orders.created", false),
        ];
        for (identity, action, topic, expected) in cases {
            let topic = Topic::new(topic).unwrap();
            assert_eq!(rules.may(identity, action, &topic), expected, "{identity} {action} {topic}");
        }
        let nothing = Rules::of(&[]);
        assert!(nothing.may("anybody", Action::Publish, &Topic::new("a").unwrap()));
    }

    #[test]
    fn a_subscription_needs_all_of_its_filter() {
        let rules = rules(&[
            "allow board subscribe orders.#",
            "allow board subscribe +.news",
            "deny board subscribe orders.internal.#",
            "allow all subscribe #",
        ]);
        let refuses = |identity, filter: &str| rules.refuses(identity, &Filter::new(filter).unwrap());
        assert_eq!(refuses("board", "orders.created"), None);
        assert_eq!(refuses("board", "sports.news"), None);
        assert_eq!(refuses("all", "#"), None);
        assert!(refuses("board", "orders.#").unwrap().contains("denies orders.internal.#"));
        assert!(refuses("board", "#").unwrap().contains("denies"));
        assert!(refuses("board", "sports.#").unwrap().contains("no access rule allows"));
        assert!(refuses("nobody", "orders.created").is_some());
    }
}
