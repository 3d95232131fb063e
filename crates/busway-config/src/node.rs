//! What every format is parsed into: values that know where they stand.

use std::fmt;

use crate::secret::{HIDDEN, is_secret};
use crate::source::Place;

/// A value and its place. Two are equal when their values are.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    /// Text of an environment variable: may stand for a number or a truth value too.
    Loose(String),
    List(Vec<Node>),
    /// In the order in which they are given; no two bear the same name.
    Table(Vec<Entry>),
}

/// A name with its value. Two are equal wherever they stand. `Debug` hides what is secret by its name.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) at: Place,
    pub(crate) node: Node,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.node == other.node
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, at, node } = self;
        let mut shown = f.debug_struct("Entry");
        shown.field("name", name).field("at", at);
        match is_secret(name) {
            true => shown.field("node", &HIDDEN),
            false => shown.field("node", node),
        };
        shown.finish()
    }
}

impl Node {
    pub(crate) const fn new(kind: Kind, place: Place) -> Self {
        Self { kind, place }
    }

    /// What it is, for people.
    pub(crate) fn said(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a truth value",
            Kind::Integer(_) | Kind::Float(_) => "a number",
            Kind::Text(_) | Kind::Loose(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
        }
    }

    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.kind {
            Kind::Table(entries) => Some(entries),
            _ => None,
        }
    }
}
