//! Settings of the environment, laid over those of a file.
//!
//! `BUSWAY__ROUTES__STOCK__LIMITS__CONCURRENCY=8` sets what `routes.stock.limits.concurrency` says in a file. Two underscores stand between
//! names, which are found whatever their case, and whether they have `-` or `_`; a list is gone into by number, from 0. A value that begins with
//! `[` or `{` is YAML, every other one a text, which stands for a number or a truth value where one is wanted.

use std::sync::Arc;

use crate::node::{Entry, Kind, Node};
use crate::parse::{Format, parse};
use crate::problem::{Problem, escaped};
use crate::source::{Place, Source};

/// Lays variables over a tree, in the order of their names. Those that do not begin with [`PREFIX`] are none of ours.
pub(crate) fn lay(
    root: &mut Node,
    variables: impl IntoIterator<Item = (String, String)>,
    problems: &mut Vec<Problem>,
) {
    let mut ours: Vec<_> =
        variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).take(VARIABLES_MAX).collect();
    ours.sort();
    for (name, value) in ours {
        let source = Source::of_variable(&name, value);
        let laid = given(&source).and_then(|node| {
            let path: Vec<&str> = name.get(PREFIX.len()..).unwrap_or_default().split("__").collect();
            set(root, &path, node).map_err(|problem| vec![problem])
        });
        problems.extend(laid.err().into_iter().flatten());
    }
}

fn given(source: &Arc<Source>) -> Result<Node, Vec<Problem>> {
    match source.text().trim_start().starts_with(['[', '{']) {
        true => parse(source, Format::Yaml),
        false => Ok(Node::new(Kind::Loose(source.text().to_owned()), whole(source))),
    }
}

fn whole(source: &Arc<Source>) -> Place {
    source.place(0..source.text().len())
}

fn set(node: &mut Node, path: &[&str], value: Node) -> Result<(), Problem> {
    let Some((name, rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    if name.is_empty() || path.len() > DEPTH_MAX {
        let message = "its name has to be names with two underscores between them";
        return Err(Problem::at(&value.place, message));
    }
    if matches!(node.kind, Kind::Null) {
        node.kind = Kind::Table(Vec::new());
    }
    let said = node.said();
    match &mut node.kind {
        Kind::Table(entries) => match place_of(entries, name, &value.place)? {
            Some(at) => match entries.get_mut(at) {
                Some(entry) => set(&mut entry.node, rest, value),
                None => Ok(()),
            },
            None => {
                let at = value.place.clone();
                let mut made = Node::new(Kind::Null, at.clone());
                set(&mut made, rest, value)?;
                entries.push(Entry { name: name.to_ascii_lowercase(), at, node: made });
                Ok(())
            }
        },
        Kind::List(items) => {
            let length = items.len();
            let index = name.parse::<usize>().ok().filter(|index| *index <= length);
            let Some(index) = index else {
                let message = format!("\"{}\" is no number from 0 to {length}, of a list", escaped(name));
                return Err(Problem::at(&value.place, message));
            };
            if index == length {
                items.push(Node::new(Kind::Null, value.place.clone()));
            }
            match items.get_mut(index) {
                Some(item) => set(item, rest, value),
                None => Ok(()),
            }
        }
        _ => {
            let message = format!("there is no \"{}\" in it: what is to be set is {said}", escaped(name));
            Err(Problem::at(&value.place, message))
        }
    }
}

/// The entry that is meant: of exactly that name, else the only one that is as good as it.
fn place_of(entries: &[Entry], name: &str, at: &Place) -> Result<Option<usize>, Problem> {
    if let Some(exact) = entries.iter().position(|entry| entry.name == name) {
        return Ok(Some(exact));
    }
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let wanted = plain(name);
    let mut alike = entries.iter().enumerate().filter(|(_, entry)| plain(&entry.name) == wanted);
    match (alike.next(), alike.next()) {
        (Some((_, one)), Some((_, two))) => {
            let message = format!("it could mean \"{}\" or \"{}\"", escaped(&one.name), escaped(&two.name));
            Err(Problem::at(at, message).hint("write the name as the file does"))
        }
        (found, _) => Ok(found.map(|(at, _)| at)),
    }
}

/// What names of variables begin with.
pub(crate) const PREFIX: &str = "BUSWAY__";
/// An environment is not larger in earnest.
const VARIABLES_MAX: usize = 4_096;
const DEPTH_MAX: usize = 24;
