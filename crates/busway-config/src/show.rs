//! Settings as single values with their paths, for people and for finding what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};

use crate::node::{Kind, Node};
use crate::problem::escaped;
use crate::read::{Given, Named};
use crate::secret::{HIDDEN, is_secret};
use crate::value::Parameters;

/// Single values with their paths.
#[derive(Default)]
pub(crate) struct Leaves {
    found: Vec<(String, Leaf)>,
    /// Of what is shown now. Kept as one text: most of what is shown only to be compared.
    path: String,
}

impl Leaves {
    /// Everything under a path that `show` shows.
    pub(crate) fn of(path: &str, show: impl FnOnce(&mut Self)) -> Vec<(String, Leaf)> {
        let mut leaves = Self { found: Vec::new(), path: path.to_owned() };
        show(&mut leaves);
        leaves.found
    }

    /// What `show` shows is a field of this name.
    pub(crate) fn within(&mut self, name: &str, show: impl FnOnce(&mut Self)) {
        let before = self.path.len();
        join(&mut self.path, name);
        show(self);
        self.path.truncate(before);
    }

    /// What `show` shows is an item of a list.
    fn within_item(&mut self, at: usize, show: impl FnOnce(&mut Self)) {
        let before = self.path.len();
        _ = write!(self.path, "[{at}]");
        show(self);
        self.path.truncate(before);
    }

    /// This is the value here.
    fn push(&mut self, is: Is, text: impl Into<String>) {
        self.found.push((self.path.clone(), Leaf { is, text: text.into(), is_secret: false }));
    }

    /// What `show` shows, and if that is nothing, that there is something.
    pub(crate) fn or_empty(&mut self, show: impl FnOnce(&mut Self)) {
        let before = self.found.len();
        show(self);
        if self.found.len() == before && !self.path.is_empty() {
            self.push(Is::Empty, "{}");
        }
    }

    /// What `show` shows is secret, all of it.
    fn secretly(&mut self, show: impl FnOnce(&mut Self)) {
        let before = self.found.len();
        show(self);
        self.found.iter_mut().skip(before).for_each(|(_, leaf)| leaf.is_secret = true);
    }
}

/// Adds a name to a path. One that looks like a path itself is quoted: two values never have the same path.
pub(crate) fn join(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    match name.contains(['.', '[', '"']) {
        true => _ = write!(path, "{name:?}"),
        false => path.push_str(name),
    }
}

/// A single value, as it was given. Two are equal when they are, shown or not.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    is: Is,
    text: String,
    is_secret: bool,
}

/// What a value is: `8` is not `"8"`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    Null,
    Bool,
    Number,
    Text,
    /// A text of an environment variable.
    Loose,
    Empty,
    /// What the field is is known.
    Field,
}

impl Leaf {
    /// For people.
    fn shown(&self) -> String {
        match self.is_secret {
            true => HIDDEN.to_owned(),
            false => escaped(&self.text),
        }
    }
}

pub(crate) trait Show {
    fn show(&self, leaves: &mut Leaves);
}

impl<T: Display> Show for Given<T> {
    fn show(&self, leaves: &mut Leaves) {
        leaves.push(Is::Field, self.to_string());
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self, leaves: &mut Leaves) {
        self.iter().for_each(|value| value.show(leaves));
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self, leaves: &mut Leaves) {
        for (at, value) in self.iter().enumerate() {
            leaves.within_item(at, |leaves| value.show(leaves));
        }
    }
}

impl<T: Show> Show for Named<T> {
    fn show(&self, leaves: &mut Leaves) {
        self.iter().for_each(|(name, value)| leaves.within(name.value(), |leaves| value.show(leaves)));
    }
}

impl Show for Parameters {
    fn show(&self, leaves: &mut Leaves) {
        self.node.show(leaves);
    }
}

impl Show for Node {
    fn show(&self, leaves: &mut Leaves) {
        match &self.kind {
            Kind::Table(entries) if !entries.is_empty() => {
                for entry in entries {
                    leaves.within(&entry.name, |leaves| match is_secret(&entry.name) {
                        true => leaves.secretly(|leaves| entry.node.show(leaves)),
                        false => entry.node.show(leaves),
                    });
                }
            }
            Kind::List(items) if !items.is_empty() => items.show(leaves),
            Kind::Table(_) => leaves.push(Is::Empty, "{}"),
            Kind::List(_) => leaves.push(Is::Empty, "[]"),
            Kind::Null => leaves.push(Is::Null, "null"),
            Kind::Bool(value) => leaves.push(Is::Bool, value.to_string()),
            Kind::Integer(number) => leaves.push(Is::Number, number.to_string()),
            Kind::Float(number) => leaves.push(Is::Number, number.to_string()),
            Kind::Text(text) => leaves.push(Is::Text, text.clone()),
            Kind::Loose(text) => leaves.push(Is::Loose, text.clone()),
        }
    }
}

fn by_path(leaves: &[(String, Leaf)]) -> BTreeMap<&str, &Leaf> {
    leaves.iter().map(|(path, leaf)| (path.as_str(), leaf)).collect()
}

/// Where two differ, in the order of the paths: path, before, after.
pub(crate) fn differences(
    before: &[(String, Leaf)],
    after: &[(String, Leaf)],
) -> Vec<(String, Option<String>, Option<String>)> {
    let (old, new) = (by_path(before), by_path(after));
    let paths: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let differing = paths.into_iter().filter(|path| old.get(path) != new.get(path));
    let shown = |leaf: Option<&&Leaf>| leaf.map(|leaf| leaf.shown());
    differing.map(|path| (escaped(path), shown(old.get(path)), shown(new.get(path)))).collect()
}
