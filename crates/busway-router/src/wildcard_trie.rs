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
use busway_event::topic::SEGMENTS_MAX;
use busway_event::{Filter, Topic};

use crate::found::Found;
use crate::hash_trie::HashTrie;
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

    /// Adds the routes of all filters in this subtree that match. `depth` segments lie behind.
    pub(crate) fn find<'a>(
        &'a self,
        topic: &Topic,
        depth: usize,
        path: &mut Path<'_>,
        found: &mut Found<'a, T>,
    ) {
        if let Some(rest) = &self.rest {
            rest.find(topic, found);
        }
        let Some(hash) = path.hash_at(depth) else {
            if let Some(here) = &self.here {
                here.find(topic, found);
            }
            return;
        };
        if let Some(child) = self.literal.get(hash) {
            child.find(topic, depth + 1, path, found);
        }
        if let Some(child) = &self.one {
            child.find(topic, depth + 1, path, found);
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

/// The segments of a topic, as the trie sees them: each is hashed when a walk first comes to it.
pub(crate) struct Path<'a> {
    hash: &'a TextHash,
    hashes: [u64; SEGMENTS_MAX],
    hashed: usize,
    left: Option<&'a str>,
}

impl<'a> Path<'a> {
    pub(crate) fn new(topic: &'a Topic, hash: &'a TextHash) -> Self {
        Self { hash, hashes: [0; SEGMENTS_MAX], hashed: 0, left: Some(topic.as_str()) }
    }

    /// The hash of the segment after `depth` others; `None` behind the last. A walk comes to them one after the other.
    fn hash_at(&mut self, depth: usize) -> Option<u64> {
        if depth < self.hashed {
            return self.hashes.get(depth).copied();
        }
        let left = self.left?;
        let end = left.bytes().position(|byte| byte == b'.');
        let segment = match end.and_then(|end| left.split_at_checked(end)) {
            Some((segment, after)) => {
                self.left = after.get(1..);
                segment
            }
            None => {
                self.left = None;
                left
            }
        };
        let hash = self.hash.of(segment);
        *self.hashes.get_mut(depth)? = hash;
        self.hashed = depth + 1;
        Some(hash)
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
