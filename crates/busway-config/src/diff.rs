//! What differs between two configurations.

use std::collections::HashSet;
use std::fmt;

use crate::model::{AccessRule, Action, Config, Effect, Route};
use crate::problem::escaped;
use crate::read::Named;
use crate::show::{Leaves, Show, differences, join};

/// What becomes of a bus when one configuration takes the place of another. `Display` is for people, a line a change:
///
/// ```text
/// + routes.invoices: orders.paid to write_invoice
/// ~ routes.stock.limits.concurrency: 2, now 8
/// ~ streams.orders.partitions: 1, now 4 (at the next start)
/// ```
///
/// Values of parameters that are called a password, secret, token or the like are `***` in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    added: Vec<(String, String)>,
    removed: Vec<(String, String)>,
    changed: Vec<(String, Vec<FieldChange>)>,
    fields: Vec<FieldChange>,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldChange {
    /// Where it is: `routes.stock.limits.concurrency`.
    pub path: String,
    /// What it was; `None` when it was not given.
    pub before: Option<String>,
    /// What it is; `None` when it is not given any more.
    pub after: Option<String>,
    /// When it takes effect.
    pub applies: Applies,
}

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applies {
    /// As soon as it is applied.
    AtOnce,
    /// As soon as it is applied, by another durable subscription, or none: what the one before has left stays with that.
    Anew,
    /// When the program starts anew: until then what was in force stays so.
    AtRestart,
    /// Never: the store holds it otherwise. A configuration with such a change is not applied at all.
    Refused,
}

impl Config {
    /// What differs from `old`, which is in force. Pure: nothing is changed, so this is a dry run.
    #[must_use]
    pub fn diff(&self, old: &Self) -> Diff {
        let mut diff = Diff::default();
        for (name, route) in self.routes.iter() {
            match old.routes.get(name.value()) {
                None => diff.added.push((escaped(name.value()), said(route))),
                Some(before) if before != route => {
                    let changes = route_changes(name.value(), before, route);
                    diff.changed.push((escaped(name.value()), changes));
                }
                Some(_) => {}
            }
        }
        let gone = old.routes.iter().filter(|(name, _)| self.routes.get(name.value()).is_none());
        diff.removed = gone.map(|(name, route)| (escaped(name.value()), said(route))).collect();
        diff.fields = self.field_changes(old);
        diff
    }

    /// What differs beside routes.
    fn field_changes(&self, old: &Self) -> Vec<FieldChange> {
        let leaves = |config: &Self| {
            Leaves::of("", |leaves| {
                leaves.within("bus", |leaves| config.bus.show(leaves));
                leaves.within("streams", |leaves| config.streams.show(leaves));
                leaves.within("limits", |leaves| config.limits.show(leaves));
                leaves.within("filters", |leaves| config.filters.show(leaves));
                leaves.within("middleware", |leaves| config.middleware.show(leaves));
                leaves.within("carriers", |leaves| config.carriers.show(leaves));
                leaves.within("observability", |leaves| config.observability.show(leaves));
            })
        };
        let change = |(path, before, after): (String, Option<String>, Option<String>)| {
            let is_live = path.starts_with("middleware")
                || path.starts_with("carriers")
                || path == "observability.log.filter";
            let applies = if is_live { Applies::AtOnce } else { Applies::AtRestart };
            FieldChange { path, before, after, applies }
        };
        let mut changes: Vec<_> = differences(&leaves(old), &leaves(self)).into_iter().map(change).collect();
        changes.extend(order_change(&old.filters, &self.filters));
        changes.extend(rule_changes(&old.access, &self.access));
        changes
    }
}

/// Of several filters the last one wins: those that both have in another order, from the first to the last that is elsewhere.
fn order_change<T>(before: &Named<T>, after: &Named<T>) -> Option<FieldChange> {
    let common = |one: &Named<T>, other: &Named<T>| {
        let names = one.iter().map(|(name, _)| name.value().clone());
        names.filter(|name| other.get(name).is_some()).collect::<Vec<_>>()
    };
    let (old, new) = (common(before, after), common(after, before));
    let moved = |(old, new): &(&String, &String)| old != new;
    let first = old.iter().zip(&new).position(|pair| moved(&pair))?;
    let last = old.iter().zip(&new).rposition(|pair| moved(&pair))?;
    let said = |names: &[String]| names.get(first..=last).map(|names| escaped(&names.join(", ")));
    let (before, after) = (said(&old), said(&new));
    Some(FieldChange { path: "filters".to_owned(), before, after, applies: Applies::AtRestart })
}

/// Rules have no order: what differs is which there are.
fn rule_changes(before: &[AccessRule], after: &[AccessRule]) -> Vec<FieldChange> {
    let change =
        |before, after| FieldChange { path: "access".to_owned(), before, after, applies: Applies::AtOnce };
    let had: HashSet<_> = before.iter().map(said_by).collect();
    let has: HashSet<_> = after.iter().map(said_by).collect();
    let gone = before.iter().filter(|rule| !has.contains(&said_by(rule)));
    let new = after.iter().filter(|rule| !had.contains(&said_by(rule)));
    gone.map(|rule| change(Some(rule.to_string()), None))
        .chain(new.map(|rule| change(None, Some(rule.to_string()))))
        .collect()
}

/// All that a rule says.
fn said_by(rule: &AccessRule) -> (Effect, &str, Action, &str) {
    let AccessRule { effect, identity, action, filter, place: _ } = rule;
    (*effect.value(), identity.value(), *action.value(), filter.as_str())
}

impl fmt::Display for AccessRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { effect, identity, action, filter, .. } = self;
        write!(f, "{effect} {} to {action} {filter}", escaped(identity))
    }
}

fn said(route: &Route) -> String {
    let filter = route.filter.value();
    let handler = escaped(route.handler.value());
    match &route.durable {
        Some(name) => format!("{filter} to {handler}, durable as {name}"),
        None => format!("{filter} to {handler}"),
    }
}

fn route_changes(name: &str, before: &Route, after: &Route) -> Vec<FieldChange> {
    let mut path = "routes".to_owned();
    join(&mut path, name);
    let leaves = |route: &Route| Leaves::of(&path, |leaves| route.show(leaves));
    let (old, new) = (leaves(before), leaves(after));
    let filter = escaped(&format!("{path}.filter"));
    let durable = escaped(&format!("{path}.durable"));
    let keeps_cursor = before.durable.is_some() && before.durable == after.durable;
    let change = |(field, before, after): (String, Option<String>, Option<String>)| {
        let applies = match &before {
            _ if keeps_cursor && field == filter => Applies::Refused,
            Some(_) if field == durable => Applies::Anew,
            _ => Applies::AtOnce,
        };
        FieldChange { path: field, before, after, applies }
    };
    differences(&old, &new).into_iter().map(change).collect()
}

impl Diff {
    /// Whether nothing differs.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && self.fields.is_empty()
    }

    /// How much differs: routes that are new or gone, and fields that differ.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.added.len() + self.removed.len() + self.all_fields().count()
    }

    /// Names of routes that are new.
    pub fn added_routes(&self) -> impl Iterator<Item = &str> {
        self.added.iter().map(|(name, _)| name.as_str())
    }

    /// Names of routes that are gone.
    pub fn removed_routes(&self) -> impl Iterator<Item = &str> {
        self.removed.iter().map(|(name, _)| name.as_str())
    }

    /// Names of routes that differ, with their fields that do.
    pub fn changed_routes(&self) -> impl Iterator<Item = (&str, &[FieldChange])> {
        self.changed.iter().map(|(name, fields)| (name.as_str(), fields.as_slice()))
    }

    /// Fields that differ, those of routes left out: middleware, limits, streams, the log, access rules.
    #[must_use]
    pub fn fields(&self) -> &[FieldChange] {
        &self.fields
    }

    /// Fields that differ and take effect when the program starts anew.
    pub fn at_restart(&self) -> impl Iterator<Item = &FieldChange> {
        self.all_fields().filter(|change| change.applies == Applies::AtRestart)
    }

    /// Fields that differ and may not: with them the configuration is not applied.
    pub fn refused(&self) -> impl Iterator<Item = &FieldChange> {
        self.all_fields().filter(|change| change.applies == Applies::Refused)
    }

    fn all_fields(&self) -> impl Iterator<Item = &FieldChange> {
        self.fields.iter().chain(self.changed.iter().flat_map(|(_, fields)| fields))
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing differs\n");
        }
        for (name, route) in &self.added {
            writeln!(f, "+ routes.{name}: {route}")?;
        }
        for (name, route) in &self.removed {
            writeln!(f, "- routes.{name}: {route}")?;
        }
        self.changed.iter().flat_map(|(_, fields)| fields).try_for_each(|change| writeln!(f, "{change}"))?;
        self.fields.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

/// `~ routes.stock.limits.concurrency: 2, now 8`.
impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "~ {path}: {before}, now {after}")?,
            (None, Some(after)) => write!(f, "+ {path}: {after}")?,
            (Some(before), None) => write!(f, "- {path}: {before}")?,
            (None, None) => write!(f, "  {path}")?,
        }
        match self.applies {
            Applies::AtOnce => Ok(()),
            Applies::Anew => {
                let before = self.before.as_deref().unwrap_or_default();
                let anew = if self.after.is_some() { "begins anew; " } else { "" };
                write!(f, " ({anew}what {before} has left stays with {before})")
            }
            Applies::AtRestart => f.write_str(" (at the next start)"),
            Applies::Refused => {
                f.write_str(" (refused: the store holds it otherwise; another durable name begins anew)")
            }
        }
    }
}
