//! From nodes to typed settings: a section reads all of its fields, also behind one that is wrong, so that everything wrong is found at once.
//!
//! Each section is declared once, by the macro `section!` (`declare.rs`): its fields, their types and their texts are what is read, what the JSON Schema says,
//! and what the reference shows.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub(crate) use crate::declare::{choice, section};
use crate::node::{Entry, Kind, Node};
use crate::problem::{PROBLEMS_MAX, Problem, did_you_mean, escaped};
use crate::source::Place;

/// A setting that was given, and where.
///
/// Two are equal when their values are: a setting that only moved within its file has not changed.
#[derive(Debug, Clone)]
pub struct Given<T> {
    value: T,
    place: Place,
}

impl<T> Given<T> {
    pub(crate) const fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }

    /// The value.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// Where it was given.
    pub const fn place(&self) -> &Place {
        &self.place
    }
}

impl<T> Deref for Given<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Display> fmt::Display for Given<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Given<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Given<T> {}

/// Settings by name, in the order in which they are given.
#[derive(Debug, Clone)]
pub struct Named<T> {
    /// Shared with what is in force, so that nothing large is copied when a configuration takes the place of another.
    entries: Vec<(Given<String>, Arc<T>)>,
    /// Where each is: files may have ten thousands of them.
    by_name: HashMap<String, usize>,
}

impl<T> Named<T> {
    pub(crate) fn of(entries: Vec<(Given<String>, Arc<T>)>) -> Self {
        let by_name = entries.iter().zip(0..).map(|((name, _), at)| (name.value().clone(), at)).collect();
        Self { entries, by_name }
    }

    /// The one of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.entries.get(*self.by_name.get(name)?).map(|(_, value)| &**value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Given<String>, &T)> {
        self.entries.iter().map(|(name, value)| (name, &**value))
    }

    /// The same, to be kept.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &(Given<String>, Arc<T>)> {
        self.entries.iter()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

/// The order does not matter.
impl<T: PartialEq> PartialEq for Named<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

/// What is read from a whole node.
pub(crate) trait Read: Sized {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self>;
}

/// A field of a section: what becomes of it when it is not given.
pub(crate) trait Field: Sized {
    fn field(given: Option<&Node>, missing: &Missing<'_>, reader: &mut Reader) -> Option<Self>;
}

/// Who misses a field.
pub(crate) struct Missing<'a> {
    pub(crate) field: &'static str,
    pub(crate) section: &'static str,
    pub(crate) place: &'a Place,
}

impl<T: Read> Field for Option<T> {
    fn field(given: Option<&Node>, _missing: &Missing<'_>, reader: &mut Reader) -> Option<Self> {
        match given {
            // A name without a value: as if it were not there.
            None | Some(Node { kind: Kind::Null, .. }) => Some(None),
            // What is wrong was said; what is beside it is looked at all the same.
            Some(node) => Some(T::read(node, reader)),
        }
    }
}

impl<T: Value> Field for Given<T> {
    fn field(given: Option<&Node>, missing: &Missing<'_>, reader: &mut Reader) -> Option<Self> {
        match given {
            Some(node) => Self::read(node, reader),
            None => {
                let message = format!("{} has no \"{}\"", missing.section, missing.field);
                reader.note(Problem::at(missing.place, message).hint("it is needed"));
                None
            }
        }
    }
}

impl<T: Read> Field for Vec<T> {
    fn field(given: Option<&Node>, _missing: &Missing<'_>, reader: &mut Reader) -> Option<Self> {
        match given {
            None | Some(Node { kind: Kind::Null, .. }) => Some(Self::new()),
            Some(node) => Some(Self::read(node, reader).unwrap_or_default()),
        }
    }
}

impl<T: Read> Field for Named<T> {
    fn field(given: Option<&Node>, _missing: &Missing<'_>, reader: &mut Reader) -> Option<Self> {
        let entries = match given {
            None | Some(Node { kind: Kind::Null, .. }) => return Some(Self::default()),
            Some(node) => reader.entries(node, "a table of names").unwrap_or_default(),
        };
        let read = |entry: &Entry| {
            let value = reader.whole(|reader| T::read(&entry.node, reader))?;
            Some((Given::new(entry.name.clone(), entry.at.clone()), Arc::new(value)))
        };
        Some(Self::of(entries.iter().filter_map(read).collect()))
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            reader.note(expected("a list", node));
            return None;
        };
        Some(items.iter().filter_map(|item| reader.whole(|reader| T::read(item, reader))).collect())
    }
}

/// A single value: a word, a number, a time.
pub(crate) trait Value: Sized {
    /// What it has to be, for people: `a time, as "200ms"`.
    fn expecting() -> String;

    /// The value, or what is wrong with it; `None` when it is something else altogether.
    fn value(kind: &Kind) -> Option<Result<Self, String>>;

    /// Its JSON Schema.
    fn schema() -> schemars::Schema;
}

impl<T: Value> Read for Given<T> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match T::value(&node.kind) {
            Some(Ok(value)) => Some(Self::new(value, node.place.clone())),
            Some(Err(problem)) => {
                reader.note(Problem::at(&node.place, problem));
                None
            }
            None => {
                reader.note(expected(&T::expecting(), node));
                None
            }
        }
    }
}

impl<T: Value> schemars::JsonSchema for Given<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::expecting().into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::schema()
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("names of {}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}

fn expected(what: &str, node: &Node) -> Problem {
    Problem::at(&node.place, format!("this is {}; it has to be {what}", node.said()))
}

/// Gathers what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    problems: Vec<Problem>,
    noted: usize,
}

impl Reader {
    pub(crate) fn note(&mut self, problem: Problem) {
        self.noted += 1;
        if !self.is_full() {
            self.problems.push(problem);
        }
    }

    /// Whether there are more than are shown, so that it is seen that there are more.
    const fn is_full(&self) -> bool {
        self.problems.len() > 2 * PROBLEMS_MAX
    }

    /// What is read when nothing was wrong in it. Items that are wrong are left out, so that all others can be looked at together, and nothing is said of an
    /// item twice.
    fn whole<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.noted;
        read(self).filter(|_| self.noted == before)
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// The entries of a table.
    pub(crate) fn entries<'a>(&mut self, node: &'a Node, what: &str) -> Option<&'a [Entry]> {
        let entries = node.entries();
        if entries.is_none() {
            self.note(expected(what, node));
        }
        entries
    }

    /// The entries of a section, of which no other names may be given.
    pub(crate) fn section<'a>(
        &mut self,
        node: &'a Node,
        section: &str,
        fields: &[&'static str],
    ) -> Option<&'a [Entry]> {
        let entries = self.entries(node, section)?;
        for entry in entries.iter().filter(|entry| !fields.contains(&entry.name.as_str())) {
            if self.is_full() {
                self.noted += 1;
                continue;
            }
            let message = format!("unknown field \"{}\" of {section}", escaped(&entry.name));
            let hint = did_you_mean(&entry.name, fields.iter().copied()).unwrap_or_else(|| match fields {
                [] => "it takes none".to_owned(),
                fields => format!("known are {}", fields.join(", ")),
            });
            self.note(Problem::at(&entry.at, message).hint(hint));
        }
        Some(entries)
    }
}

/// The field of this name.
pub(crate) fn field<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Node> {
    entries.iter().find(|entry| entry.name == name).map(|entry| &entry.node)
}

pub(crate) fn no_such_word(given: &str, words: &[&str]) -> String {
    let hint = did_you_mean(given, words.iter().copied());
    let hint = hint.unwrap_or_else(|| format!("it is one of {}", words.join(", ")));
    format!("\"{}\" is not known here; {hint}", escaped(given))
}

/// Where a section begins. All are equal: where it stands is not what it says.
#[derive(Debug, Clone)]
pub(crate) struct Begin(pub(crate) Place);

impl PartialEq for Begin {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}
