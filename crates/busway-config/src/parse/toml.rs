//! TOML: all syntax errors of a file at once.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{DEPTH_MAX, NODES_MAX, too_deep, too_many};
use crate::node::{Entry, Kind, Node};
use crate::problem::{Problem, escaped};
use crate::source::Source;

pub(super) fn parse(source: &Arc<Source>) -> Result<Node, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(source.text());
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| {
            let place = source.place(error.span().unwrap_or(0..1));
            Problem::at(&place, escaped(error.message()))
        };
        return Err(errors.iter().map(problem).collect());
    }
    let mut walk = Walk { source, depth: 0, nodes: 0 };
    let span = table.span();
    match walk.within(&span, |walk| walk.entries(table.get_ref())) {
        Ok(kind) => Ok(Node::new(kind, source.place(span))),
        Err(problem) => Err(vec![*problem]),
    }
}

/// From what the parser has made to nodes, within the bounds that all formats have.
struct Walk<'a> {
    source: &'a Arc<Source>,
    depth: usize,
    nodes: usize,
}

/// What a value is, or which bound it is beyond.
type Walked<T> = Result<T, Box<Problem>>;

impl Walk<'_> {
    fn entries(&mut self, table: &DeTable<'_>) -> Walked<Kind> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let entry = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let (node, at) = (self.node(value)?, self.source.place(name.span()));
            Ok(Entry { name: String::from(AsRef::<str>::as_ref(name.get_ref())), at, node })
        };
        entries.into_iter().map(entry).collect::<Walked<_>>().map(Kind::Table)
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>) -> Walked<Node> {
        let span = value.span();
        self.count(&span)?;
        let kind = match value.get_ref() {
            DeValue::Table(table) => self.within(&span, |walk| walk.entries(table))?,
            DeValue::String(text) => Kind::Text(text.clone().into_owned()),
            DeValue::Integer(integer) => match i128::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => Kind::Integer(integer),
                Err(_) => Kind::Float(f64::INFINITY),
            },
            DeValue::Float(float) => Kind::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Kind::Bool(*value),
            DeValue::Datetime(time) => Kind::Text(time.to_string()),
            DeValue::Array(items) => self.within(&span, |walk| {
                items.iter().map(|item| walk.node(item)).collect::<Walked<_>>().map(Kind::List)
            })?,
        };
        Ok(Node::new(kind, self.source.place(span)))
    }

    fn count(&mut self, span: &Range<usize>) -> Walked<()> {
        self.nodes += 1;
        match self.nodes > NODES_MAX {
            true => Err(self.beyond(span, too_many()).into()),
            false => Ok(()),
        }
    }

    /// What is one level deeper.
    fn within(&mut self, span: &Range<usize>, inner: impl FnOnce(&mut Self) -> Walked<Kind>) -> Walked<Kind> {
        if self.depth == DEPTH_MAX {
            return Err(self.beyond(span, too_deep()).into());
        }
        self.depth += 1;
        let kind = inner(self);
        self.depth -= 1;
        kind
    }

    fn beyond(&self, span: &Range<usize>, message: String) -> Problem {
        Problem::at(&self.source.place(span.start..span.start + 1), message)
    }
}
