//! One immutable state of the subscription table.
//!
//! Filters without wildcards are looked up by the hash of their whole text; only the others are walked for. Both tables
//! are persistent: an edited copy shares everything with its original but the path to one filter, so that 100,000
//! subscriptions make the next one hardly dearer than ten.

use std::sync::Arc;

use busway_event::topic::SEGMENTS_MAX;
use busway_event::{Filter, Topic};

use crate::hash_trie::HashTrie;
use crate::route::{Route, RouteId};
use crate::terminal::Terminal;
use crate::text_hash::TextHash;
use crate::wildcard_trie::{Node, Step};

pub(crate) struct Snapshot<T> {
    exact: HashTrie<Arc<Terminal<T>>>,
    wildcards: Option<Arc<Node<T>>>,
    /// How many routes there are.
    pub(crate) len: usize,
}

impl<T> Snapshot<T> {
    /// A copy with one route more. The id of the route is the highest so far.
    pub(crate) fn with(&self, filter: &Filter, route: Route<T>, hash: &TextHash) -> Self {
        let edited = self.edited(filter, hash, |place| Some(Terminal::with(place, filter, route)));
        Self { len: self.len + 1, ..edited }
    }

    /// A copy without the route `id` of `filter`, which is here.
    pub(crate) fn without(&self, filter: &Filter, id: RouteId, hash: &TextHash) -> Self {
        let edited = self.edited(filter, hash, |place| Terminal::without(place, filter, id));
        Self { len: self.len - 1, ..edited }
    }

    /// All routes whose filter matches, in the order of their ids.
    pub(crate) fn routes(&self, topic: &Topic, hash: &TextHash) -> Vec<&Route<T>> {
        let mut routes = Vec::new();
        if let Some(terminal) = self.exact.get(hash.of(topic.as_str())) {
            terminal.collect_into(topic, &mut routes);
        }
        if let Some(root) = &self.wildcards {
            let mut hashes = [0; SEGMENTS_MAX];
            let mut depth = 0;
            for (slot, segment) in hashes.iter_mut().zip(topic.segments()) {
                *slot = hash.of(segment);
                depth += 1;
            }
            root.collect_into(topic, hashes.get(..depth).unwrap_or_default(), &mut routes);
        }
        // Each filter's routes are sorted already, and the sort finds such runs.
        routes.sort_by_key(|route| route.id);
        routes
    }

    fn edited(
        &self,
        filter: &Filter,
        hash: &TextHash,
        change: impl FnOnce(Option<&Arc<Terminal<T>>>) -> Option<Arc<Terminal<T>>>,
    ) -> Self {
        let (mut exact, mut wildcards) = (self.exact.clone(), self.wildcards.clone());
        if filter.is_exact() {
            let key = hash.of(filter.as_str());
            exact = match change(exact.get(key)) {
                Some(terminal) => exact.with(key, terminal),
                None => exact.without(key),
            };
        } else {
            wildcards = Node::edited(wildcards.as_ref(), &Step::path(filter, hash), change);
        }
        Self { exact, wildcards, len: self.len }
    }
}

impl<T> Default for Snapshot<T> {
    fn default() -> Self {
        Self { exact: HashTrie::default(), wildcards: None, len: 0 }
    }
}

#[cfg(test)]
impl<T> Snapshot<T> {
    /// Whether nothing at all is stored.
    pub(crate) fn is_bare(&self) -> bool {
        self.len == 0 && self.exact.is_empty() && self.wildcards.is_none()
    }
}
