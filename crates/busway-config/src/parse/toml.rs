//! TOML: all syntax errors of a file at once.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
    Ok(table_node(table.get_ref(), table.span(), source))
}

fn table_node(table: &DeTable<'_>, span: Range<usize>, source: &Arc<Source>) -> Node {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let entry = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| Entry {
        name: String::from(AsRef::<str>::as_ref(name.get_ref())),
        at: source.place(name.span()),
        node: node(value, source),
    };
    Node::new(Kind::Table(entries.into_iter().map(entry).collect()), source.place(span))
}

fn node(value: &Spanned<DeValue<'_>>, source: &Arc<Source>) -> Node {
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.clone().into_owned()),
        DeValue::Integer(integer) => match i128::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(integer) => Kind::Integer(integer),
            Err(_) => Kind::Float(f64::INFINITY),
        },
        DeValue::Float(float) => Kind::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Kind::Bool(*value),
        DeValue::Datetime(time) => Kind::Text(time.to_string()),
        DeValue::Array(items) => Kind::List(items.iter().map(|item| node(item, source)).collect()),
        DeValue::Table(table) => return table_node(table, value.span(), source),
    };
    Node::new(kind, source.place(value.span()))
}
