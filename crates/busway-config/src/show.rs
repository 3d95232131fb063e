//! Settings as single values with their paths, for people and for finding what differs.

use std::fmt::Display;

use crate::node::{Kind, Node};
use crate::problem::escaped;
use crate::read::{Given, Named};
use crate::value::Parameters;

/// Paths and values, escaped.
pub(crate) type Leaves = Vec<(String, String)>;

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
        leaves.push((path.to_owned(), escaped(&self.to_string())));
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

fn show_node(node: &Node, path: &str, leaves: &mut Leaves) {
    let text = match &node.kind {
        Kind::Table(entries) if !entries.is_empty() => {
            for entry in entries {
                let path = joined(path, &entry.name);
                match is_secret(&entry.name) {
                    true => leaves.push((path, "***".to_owned())),
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
    leaves.push((path.to_owned(), text));
}

/// What is called so does not belong into a log.
fn is_secret(name: &str) -> bool {
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    let name: String = letters.flat_map(char::to_lowercase).collect();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Of names without what joins their words.
const SECRET_WORDS: [&str; 10] = [
    "accesskey",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "passphrase",
    "passw",
    "privatekey",
    "secret",
    "token",
];

/// Where two differ: path, before, after.
pub(crate) fn differences(before: &Leaves, after: &Leaves) -> Vec<(String, Option<String>, Option<String>)> {
    let find = |leaves: &'_ Leaves| -> std::collections::BTreeMap<String, String> {
        leaves.iter().cloned().collect()
    };
    let (old, new) = (find(before), find(after));
    let changed = new.iter().filter(|(path, value)| old.get(*path) != Some(value));
    let mut found: Vec<_> = changed
        .map(|(path, value)| (path.clone(), old.get(path).cloned(), Some(value.clone())))
        .chain(
            old.iter()
                .filter(|(path, _)| !new.contains_key(*path))
                .map(|(path, value)| (path.clone(), Some(value.clone()), None)),
        )
        .collect();
    found.sort();
    found
}
