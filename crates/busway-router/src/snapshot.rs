//! One immutable state of the subscription table.
//!
//! Filters without wildcards are looked up by the hash of their whole text; only the others are walked for. Both tables
//! are persistent: an edited copy shares everything with its original but the path to one filter, so that 100,000
//! subscriptions make the next one hardly dearer than ten.

use std::sync::Arc;

use busway_event::{Filter, Topic};

use crate::found::Found;
use crate::hash_trie::HashTrie;
use crate::route::{Route, RouteId};
use crate::terminal::Terminal;
use crate::text_hash::TextHash;
use crate::wildcard_trie::{Node, Path, Step};

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

    /// The routes whose filters match `topic`, whose hash is `key`.
    #[inline]
    pub(crate) fn find<'a>(&'a self, topic: &Topic, key: u64, hash: &TextHash, found: &mut Found<'a, T>) {
        if let Some(terminal) = self.exact.get(key) {
            terminal.find_exact(topic, found);
        }
        if let Some(root) = &self.wildcards {
            root.find(topic, 0, &mut Path::new(topic, hash), found);
        }
        found.complete();
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
