//! JSON. The crate `serde_json` says whether a text is JSON and decodes its strings and numbers; where things stand it does not say, so its text is
//! gone through once more, by then without anything that could be wrong.

use std::sync::Arc;

use serde::de::IgnoredAny;

use super::{DEPTH_MAX, NODES_MAX, too_deep, too_many};
use crate::node::{Entry, Kind, Node};
use crate::problem::{Problem, escaped};
use crate::source::Source;

pub(super) fn parse(source: &Arc<Source>) -> Result<Node, Vec<Problem>> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(source.text()) {
        let as_u32 = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let place = source.place_at(as_u32(error.line()), as_u32(error.column()), 1);
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or("it is not JSON");
        return Err(vec![Problem::at(&place, escaped(message))]);
    }
    let mut walk = Walk { source, at: 0, depth: 0, nodes: 0, problems: Vec::new() };
    let node = walk.value();
    match walk.problems.is_empty() {
        true => Ok(node),
        false => Err(walk.problems),
    }
}

struct Walk<'a> {
    source: &'a Arc<Source>,
    at: usize,
    depth: usize,
    nodes: usize,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn rest(&self) -> &str {
        self.source.text().get(self.at..).unwrap_or_default()
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
        self.rest().chars().next()
    }

    fn value(&mut self) -> Node {
        let first = self.peek();
        let begin = self.at;
        self.nodes += 1;
        let kind = match first {
            _ if self.nodes > NODES_MAX => self.stop(too_many()),
            Some('{' | '[') if self.depth == DEPTH_MAX => self.stop(too_deep()),
            Some('{') => self.table(),
            Some('[') => self.list(),
            Some('"') => Kind::Text(self.text()),
            _ => self.word(),
        };
        Node::new(kind, self.source.place(begin..self.at))
    }

    /// Nothing behind this is looked at.
    fn stop(&mut self, message: String) -> Kind {
        let place = self.source.place(self.at..self.at + 1);
        self.problems.push(Problem::at(&place, message));
        self.at = self.source.text().len();
        Kind::Null
    }

    fn list(&mut self) -> Kind {
        let mut items = Vec::new();
        self.within(']', |walk| items.push(walk.value()));
        Kind::List(items)
    }

    fn table(&mut self) -> Kind {
        let mut entries: Vec<Entry> = Vec::new();
        let mut names = std::collections::HashSet::new();
        self.within('}', |walk| {
            let begin = walk.at;
            let name = walk.text();
            let at = walk.source.place(begin..walk.at);
            // Past the colon.
            walk.peek();
            walk.at += 1;
            let node = walk.value();
            match names.insert(name.clone()) {
                true => entries.push(Entry { name, at, node }),
                false => {
                    let message = format!("\"{}\" is given twice", escaped(&name));
                    walk.problems.push(Problem::at(&at, message));
                }
            }
        });
        Kind::Table(entries)
    }

    /// What stands between brackets, up to the closing one.
    fn within(&mut self, end: char, mut each: impl FnMut(&mut Self)) {
        self.at += 1;
        self.depth += 1;
        while let Some(next) = self.peek() {
            match next {
                next if next == end => {
                    self.at += 1;
                    break;
                }
                ',' => self.at += 1,
                _ => each(self),
            }
        }
        self.depth -= 1;
    }

    fn text(&mut self) -> String {
        let bytes = self.rest().as_bytes();
        let mut length = 1;
        while let Some(byte) = bytes.get(length) {
            match byte {
                b'"' => break,
                b'\\' => length += 2,
                _ => length += 1,
            }
        }
        let end = self.at + length + 1;
        let text = self.source.text().get(self.at..end).and_then(|text| serde_json::from_str(text).ok());
        self.at = end;
        text.unwrap_or_default()
    }

    /// A number, `true`, `false`, `null`.
    fn word(&mut self) -> Kind {
        let rest = self.rest();
        let length = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len()).max(1);
        let word = rest.get(..length).unwrap_or_default();
        let kind = match word {
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "null" => Kind::Null,
            number => match number.parse() {
                Ok(integer) => Kind::Integer(integer),
                Err(_) => Kind::Float(number.parse().unwrap_or(f64::NAN)),
            },
        };
        self.at += length;
        kind
    }
}
