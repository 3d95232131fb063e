//! YAML, by way of serde-saphyr: it refuses duplicate keys, and counts what it makes.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, Options, Spanned};

use super::{ALIASED_MAX, DEPTH_MAX, NODES_MAX};
use crate::node::{Entry, Kind, Node};
use crate::problem::{Problem, escaped};
use crate::source::{Place, Source};

pub(super) fn parse(source: &Arc<Source>) -> Result<Node, Vec<Problem>> {
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(source.text(), options()) {
        Ok(root) => Ok(node(root, source)),
        Err(error) => {
            let error = error.without_snippet();
            let place = match error.location() {
                Some(location) if location != Location::UNKNOWN => place_of(&location, source),
                _ => source.place(0..1),
            };
            let message = error.to_string();
            // Its first line says it all; a place is given beside it.
            let message = message.lines().next().unwrap_or("it is not YAML");
            Err(vec![Problem::at(&place, escaped(message))])
        }
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: 2 * NODES_MAX,
            max_documents: 1,
            max_aliases: 10_000,
            max_anchors: 1_000,
            max_merge_keys: 10_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIASED_MAX,
            max_replay_stack_depth: 16,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    }
}

fn node(raw: Spanned<Raw>, source: &Arc<Source>) -> Node {
    let place = place_of(&raw.referenced, source);
    let kind = match raw.value {
        Raw::Null => Kind::Null,
        Raw::Bool(value) => Kind::Bool(value),
        Raw::Integer(value) => Kind::Integer(value),
        Raw::Float(value) => Kind::Float(value),
        Raw::Text(text) => Kind::Text(text),
        Raw::List(items) => Kind::List(items.into_iter().map(|item| node(item, source)).collect()),
        Raw::Table(entries) => {
            let entry = |(name, value): (Spanned<String>, Spanned<Raw>)| Entry {
                at: place_of(&name.referenced, source),
                name: name.value,
                node: node(value, source),
            };
            Kind::Table(entries.into_iter().map(entry).collect())
        }
    };
    Node::new(kind, place)
}

fn place_of(location: &Location, source: &Arc<Source>) -> Place {
    let (line, column) = (location.line(), location.column());
    let (line, column) = (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX));
    let width = u32::try_from(location.span().len()).unwrap_or(u32::MAX);
    // Of what goes over several lines, as much as is in the first.
    let rest = source.width_of(line).map_or(1, |characters| {
        let begin = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
        characters.saturating_sub(begin)
    });
    source.place_at(line, column, width.min(u32::try_from(rest).unwrap_or(u32::MAX)))
}

enum Raw {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Table(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting")
    }

    fn visit_unit<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Integer(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            table.push(entry);
        }
        Ok(Raw::Table(table))
    }
}
