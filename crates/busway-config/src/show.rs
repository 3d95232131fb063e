//! Settings as single values with their paths, for people and for finding what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use crate::node::{Kind, Node};
use crate::problem::escaped;
use crate::read::{Given, Named};
use crate::secret::{HIDDEN, is_secret};
use crate::value::Parameters;

/// Paths, escaped, and values.
pub(crate) type Leaves = Vec<(String, Leaf)>;

/// A single value. Two are equal when what is given is, shown or not.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Escaped.
    text: String,
    is_secret: bool,
}

impl Leaf {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_secret: false }
    }

    /// For people.
    fn shown(&self) -> String {
        match self.is_secret {
            true => HIDDEN.to_owned(),
            false => self.text.clone(),
        }
    }
}

pub(crate) trait Show {
    fn show(&self, path: &str, leaves: &mut Leaves);
}

/// `routes.stock`.
pub(crate) fn joined(path: &str, name: &str) -> String {
    match path {
        "" => escaped(name),
        path => format!("{path}.{}", escaped(name)),
    }
}

impl<T: Display> Show for Given<T> {
    fn show(&self, path: &str, leaves: &mut Leaves) {
        leaves.push((path.to_owned(), Leaf::plain(escaped(&self.to_string()))));
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self, path: &str, leaves: &mut Leaves) {
        self.iter().for_each(|value| value.show(path, leaves));
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self, path: &str, leaves: &mut Leaves) {
        self.iter().enumerate().for_each(|(at, value)| value.show(&format!("{path}[{at}]"), leaves));
    }
}

impl<T: Show> Show for Named<T> {
    fn show(&self, path: &str, leaves: &mut Leaves) {
        self.iter().for_each(|(name, value)| value.show(&joined(path, name.value()), leaves));
    }
}

impl Show for Parameters {
    fn show(&self, path: &str, leaves: &mut Leaves) {
        show_node(&self.node, path, leaves);
    }
}

/// What is in a table or list of a secret is one too.
fn show_secret(node: &Node, path: &str, leaves: &mut Leaves) {
    let before = leaves.len();
    show_node(node, path, leaves);
    leaves.iter_mut().skip(before).for_each(|(_, leaf)| leaf.is_secret = true);
}

fn show_node(node: &Node, path: &str, leaves: &mut Leaves) {
    let text = match &node.kind {
        Kind::Table(entries) if !entries.is_empty() => {
            for entry in entries {
                let path = joined(path, &entry.name);
                match is_secret(&entry.name) {
                    true => show_secret(&entry.node, &path, leaves),
                    false => show_node(&entry.node, &path, leaves),
                }
            }
            return;
        }
        Kind::List(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                show_node(item, &format!("{path}[{at}]"), leaves);
            }
            return;
        }
        Kind::Table(_) => "{}".to_owned(),
        Kind::List(_) => "[]".to_owned(),
        Kind::Null => "null".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Integer(number) => number.to_string(),
        Kind::Float(number) => number.to_string(),
        Kind::Text(text) | Kind::Loose(text) => escaped(text),
    };
    leaves.push((path.to_owned(), Leaf::plain(text)));
}

/// Where two differ, in the order of the paths: path, before, after.
pub(crate) fn differences(before: &Leaves, after: &Leaves) -> Vec<(String, Option<String>, Option<String>)> {
    let find = |leaves: &'_ Leaves| -> BTreeMap<String, Leaf> { leaves.iter().cloned().collect() };
    let (old, new) = (find(before), find(after));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differing = paths.into_iter().filter(|path| old.get(*path) != new.get(*path));
    let shown = |leaves: &BTreeMap<String, Leaf>, path: &String| leaves.get(path).map(Leaf::shown);
    differing.map(|path| (path.clone(), shown(&old, path), shown(&new, path))).collect()
}
