//! The filters with wildcards, as a trie with one level a segment.
//!
//! An edge is the 64-bit hash of its segment's text, not the text: a walk hashes each segment of the topic once and then
//! only compares numbers, no text is stored twice, and there is no table of interned segments to keep or to reclaim. The
//! filters that a walk arrives at are compared with the topic in the end (see `terminal.rs`). `+` and `#` are fields of
//! a node, beside its literal children.
//!
//! Nodes are immutable. An edit copies the nodes on the path of one filter, and in each the few arrays of its children
//! that lead there (see `hash_trie.rs`), so a segment with 100,000 children is as cheap to edit as one with ten.
//!
//! A walk visits at most two children a node. Its cost is bounded by the nodes whose path agrees with the topic's
//! beginning, at most 2^depth, and does not depend on how many filters there are.

use std::sync::Arc;

use busway_event::filter::FilterSegment;
use busway_event::{Filter, Topic};

use crate::hash_trie::HashTrie;
use crate::route::Route;
use crate::terminal::Terminal;
use crate::text_hash::TextHash;

/// The subtree of all filters that begin alike. Never empty: a node that loses its last filter is taken away.
pub(crate) struct Node<T> {
    literal: HashTrie<Arc<Node<T>>>,
    one: Option<Arc<Node<T>>>,
    /// The filters that end with `#` after this node.
    rest: Option<Arc<Terminal<T>>>,
    /// The filters that end at this node.
    here: Option<Arc<Terminal<T>>>,
}

impl<T> Node<T> {
    /// A copy of the subtree at `place` in which `change` was applied to what `steps` lead to; `None` if nothing is left.
    pub(crate) fn edited(
        place: Option<&Arc<Self>>,
        steps: &[Step],
        change: impl FnOnce(Option<&Arc<Terminal<T>>>) -> Option<Arc<Terminal<T>>>,
    ) -> Option<Arc<Self>> {
        let mut node = place.map(|node| Self::clone(node)).unwrap_or_default();
        match steps {
            [] => node.here = change(node.here.as_ref()),
            [Step::Rest, ..] => node.rest = change(node.rest.as_ref()),
            [Step::One, steps @ ..] => node.one = Self::edited(node.one.as_ref(), steps, change),
            [Step::Literal(hash), steps @ ..] => {
                node.literal = match Self::edited(node.literal.get(*hash), steps, change) {
                    Some(child) => node.literal.with(*hash, child),
                    None => node.literal.without(*hash),
                };
            }
        }
        (!node.is_empty()).then(|| Arc::new(node))
    }

    /// Adds the routes of all filters in this subtree that match. `hashes` are those of the segments still to come.
    pub(crate) fn collect_into<'a>(&'a self, topic: &Topic, hashes: &[u64], routes: &mut Vec<&'a Route<T>>) {
        if let Some(rest) = &self.rest {
            rest.collect_into(topic, routes);
        }
        let Some((hash, hashes)) = hashes.split_first() else {
            if let Some(here) = &self.here {
                here.collect_into(topic, routes);
            }
            return;
        };
        if let Some(child) = self.literal.get(*hash) {
            child.collect_into(topic, hashes, routes);
        }
        if let Some(child) = &self.one {
            child.collect_into(topic, hashes, routes);
        }
    }

    fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.one.is_none() && self.rest.is_none() && self.here.is_none()
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literal: HashTrie::default(), one: None, rest: None, here: None }
    }
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        Self {
            literal: self.literal.clone(),
            one: self.one.clone(),
            rest: self.rest.clone(),
            here: self.here.clone(),
        }
    }
}

/// One segment of a filter, as the trie sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Literal(u64),
    One,
    Rest,
}

impl Step {
    pub(crate) fn path(filter: &Filter, hash: &TextHash) -> Vec<Self> {
        let step = |segment| match segment {
            FilterSegment::Literal(text) => Self::Literal(hash.of(text)),
            FilterSegment::One => Self::One,
            FilterSegment::Rest => Self::Rest,
        };
        filter.segments().map(step).collect()
    }
}
