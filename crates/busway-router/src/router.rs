//! The router: who has subscribed, and who is meant by a topic.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use busway_event::{Filter, Topic};
use parking_lot::Mutex;
use thread_local::ThreadLocal;

use crate::found::Found;
use crate::generation::{Generation, GenerationClock};
use crate::lent::Lent;
use crate::match_cache::{MatchCache, Sight};
use crate::reached::Reached;
use crate::route::{Route, RouteId};
use crate::snapshot::Snapshot;
use crate::targets::Targets;
use crate::text_hash::TextHash;

/// A table from filters to targets, read by many threads while some change it.
///
/// **Matching.** A topic reaches every target whose filter matches it, in the order of insertion, once for each insertion.
/// A lookup sees one state of the table: all changes that had returned before it began, perhaps some that were under way,
/// never a half of one.
///
/// **Waiting.** Lookups take no lock; they wait neither for writers nor for each other. Writers wait for each other only.
///
/// **Cost.** A topic that this thread has looked up since the last change costs one atomic load, a few comparisons and at
/// most one hash, however many filters there are; so does a topic that nobody listens to. Any other costs a walk that does
/// not depend on the number of filters either, but on the depth of the topic and on how many filters match. To hand out a
/// list ([`Router::lookup`], [`Router::walk`]) counts references, which costs more than to find it; the forms with a closure
/// ([`Router::lookup_with`], [`Router::walk_with`]) count none. A change copies a few small arrays, also with a million
/// routes, and makes all threads forget what they remembered.
///
/// **Memory.** Each thread that looks up remembers at most 1,024 matches, in a table of 4 to 64 kilobytes beside the lists
/// themselves; they are freed with the router. A removed target
/// is released by a thread's memory in the next lookup of that thread, whatever its topic; one that looks up nothing more
/// keeps it until the router is dropped. Targets and the values they own must not rely on being dropped any sooner.
///
/// **Re-entrancy.** No lock and no borrow is held while a target is dropped or a result is in use, so that handlers and
/// destructors of targets may look up, insert and remove.
///
/// ```
/// # use std::sync::Arc;
/// # use busway_event::{Filter, Topic};
/// # use busway_router::Router;
/// let router = Router::new();
/// let all = router.insert(&Filter::new("orders.#")?, Arc::new("audit"));
/// router.insert(&Filter::new("orders.created")?, Arc::new("stock"));
///
/// let created = Topic::new("orders.created")?;
/// assert_eq!(router.lookup(&created).iter().map(|name| **name).collect::<Vec<_>>(), ["audit", "stock"]);
///
/// router.remove(all);
/// assert_eq!(router.lookup(&created).len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Router<T: Send + Sync + 'static> {
    generation: GenerationClock,
    snapshot: ArcSwap<Snapshot<T>>,
    /// Freed with the router. Borrowed only for a table access, never while foreign code runs.
    caches: ThreadLocal<RefCell<MatchCache<T>>>,
    hash: TextHash,
    /// What each route was inserted with. The lock is held for a whole change, so that changes happen one after another.
    inserted: Mutex<BTreeMap<RouteId, Inserted<T>>>,
}

struct Inserted<T> {
    filter: Filter,
    target: Arc<T>,
}

impl<T: Send + Sync + 'static> Router<T> {
    /// An empty router. Memory grows with what is inserted, and with the threads that look up.
    pub fn new() -> Self {
        Self::with_hash(TextHash::random())
    }

    fn with_hash(hash: TextHash) -> Self {
        Self {
            generation: GenerationClock::default(),
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            caches: ThreadLocal::new(),
            hash,
            inserted: Mutex::default(),
        }
    }

    /// Adds a route: from now on, topics that `filter` matches reach `target`.
    ///
    /// When this returns, every lookup that begins afterwards, on any thread, finds the target. Inserting the same filter
    /// and target again makes another route.
    pub fn insert(&self, filter: &Filter, target: Arc<T>) -> RouteId {
        let mut inserted = self.inserted.lock();
        let id = RouteId::next();
        let route = Route { id, target: Arc::clone(&target) };
        let snapshot = self.snapshot.load().with(filter, route, &self.hash);
        inserted.insert(id, Inserted { filter: filter.clone(), target });
        let old = self.publish(snapshot);
        drop(inserted);
        drop(old);
        id
    }

    /// Takes a route away and gives its target back; `None` if it is gone already, or another router's.
    ///
    /// When this returns, no lookup that begins afterwards finds the route. Results that are held still do.
    pub fn remove(&self, id: RouteId) -> Option<Arc<T>> {
        let mut inserted = self.inserted.lock();
        let Inserted { filter, target } = inserted.remove(&id)?;
        let snapshot = self.snapshot.load().without(&filter, id, &self.hash);
        let old = self.publish(snapshot);
        drop(inserted);
        drop(old);
        Some(target)
    }

    /// The current state's number, for callers that keep a result of their own.
    ///
    /// Read it *before* the lookup whose result you keep; as long as it then has the same value, the result is current.
    /// Read afterwards, it may belong to a change that the result does not show.
    #[inline]
    pub fn generation(&self) -> Generation {
        self.generation.read()
    }

    /// The targets that `topic` reaches, from this thread's memory if it was asked since the last change.
    ///
    /// The list may be kept. Counting its references is dearer than finding it: who only goes through the targets once is
    /// better served by [`Router::lookup_with`].
    pub fn lookup(&self, topic: &Topic) -> Targets<T> {
        // Before the snapshot: see `generation.rs` for why this order is the whole proof.
        let generation = self.generation();
        let (cache, key) = (self.cache(), self.hash.of(topic.as_str()));
        if let Some(targets) = cache.borrow().get(generation, key, topic) {
            return targets;
        }
        let targets = self.walk_for(topic, key, |reached| reached.to_targets());
        let garbage = cache.borrow_mut().keep(generation, key, topic, &targets);
        // Outside the borrow: this may run destructors of targets, which may look up.
        drop(garbage);
        targets
    }

    /// Runs `f` on the targets that `topic` reaches, from this thread's memory if it was asked since the last change.
    ///
    /// The fastest way to go through them: a warm topic counts no reference, and one that is not remembered makes no list
    /// before it is asked for the second time.
    ///
    /// `f` may look up, insert and remove; it still sees the targets of the moment when it was called. While it runs on a
    /// topic that was not remembered, it keeps alive the whole state of the table that it sees, also what is removed
    /// meanwhile.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use busway_event::{Filter, Topic};
    /// # use busway_router::Router;
    /// let router = Router::new();
    /// router.insert(&Filter::new("orders.#")?, Arc::new("audit"));
    /// let names = router.lookup_with(&Topic::new("orders.created")?, |targets| {
    ///     targets.iter().map(|name| **name).collect::<Vec<_>>()
    /// });
    /// assert_eq!(names, ["audit"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn lookup_with<R>(&self, topic: &Topic, f: impl FnOnce(Reached<'_, T>) -> R) -> R {
        // Before the snapshot: see `generation.rs`.
        let generation = self.generation();
        let cache = self.cache();
        let place = cache.borrow_mut().find_same(generation, topic);
        match place {
            Some(place) => f(Reached::from(&Lent::of(cache, place).targets)),
            None => self.lookup_elsewhere(generation, topic, f),
        }
    }

    /// The targets that `topic` reaches, if this thread remembers them by the very text of this topic: what a publisher that
    /// keeps its topic finds, and the quickest of all. `None` says nothing about the topic: look it up then.
    #[inline]
    pub fn lent(&self, topic: &Topic) -> Option<Lent<'_, T>> {
        // Before the match: see `generation.rs`.
        let generation = self.generation();
        Lent::of_same(self.cache(), generation, topic)
    }

    /// For a topic that was not found by the address of its text.
    #[cold]
    fn lookup_elsewhere<R>(
        &self,
        generation: Generation,
        topic: &Topic,
        f: impl FnOnce(Reached<'_, T>) -> R,
    ) -> R {
        let (cache, key) = (self.cache(), self.hash.of(topic.as_str()));
        let place = cache.borrow_mut().find(generation, key, topic);
        match place {
            Some(place) => f(Reached::from(&Lent::of(cache, place).targets)),
            None => self.lookup_missed(generation, key, topic, f),
        }
    }

    /// The targets that `topic` reaches, without asking or filling a memory: for topics that are not expected again.
    pub fn walk(&self, topic: &Topic) -> Vec<Arc<T>> {
        self.walk_with(topic, |reached| reached.iter().cloned().collect())
    }

    /// Runs `f` on the targets that `topic` reaches, without asking or filling a memory. Allocates nothing, unless more than
    /// eight filters match.
    ///
    /// What [`Router::lookup_with`] says of `f` holds here too.
    pub fn walk_with<R>(&self, topic: &Topic, f: impl FnOnce(Reached<'_, T>) -> R) -> R {
        self.walk_for(topic, self.hash.of(topic.as_str()), f)
    }

    /// How many routes there are. Takes no lock.
    pub fn len(&self) -> usize {
        self.snapshot.load().len
    }

    /// Whether there is no route. Takes no lock.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[cold]
    fn lookup_missed<R>(
        &self,
        generation: Generation,
        key: u64,
        topic: &Topic,
        f: impl FnOnce(Reached<'_, T>) -> R,
    ) -> R {
        let cache = self.cache();
        let (sight, garbage) = cache.borrow_mut().miss(generation, key);
        // Outside the borrow: this may run destructors of targets, which may look up.
        drop(garbage);
        match sight {
            Sight::First => self.walk_for(topic, key, f),
            Sight::Again => {
                let targets = self.walk_for(topic, key, |reached| reached.to_targets());
                let garbage = cache.borrow_mut().keep(generation, key, topic, &targets);
                drop(garbage);
                f(Reached::from(&targets))
            }
        }
    }

    fn walk_for<R>(&self, topic: &Topic, key: u64, f: impl FnOnce(Reached<'_, T>) -> R) -> R {
        let snapshot = self.snapshot.load();
        let mut found = Found::nothing();
        snapshot.find(topic, key, &self.hash, &mut found);
        f(Reached::found(&found))
    }

    #[inline]
    fn cache(&self) -> &RefCell<MatchCache<T>> {
        self.caches.get_or(|| RefCell::new(MatchCache::new()))
    }

    /// Makes a new state visible and gives the old one back, so that the next writer does not wait for it to be freed. To
    /// be called under the writers' lock.
    ///
    /// No target's destructor can run under that lock: `insert` drops none, and `remove` hands the last one to its caller.
    fn publish(&self, snapshot: Snapshot<T>) -> Arc<Snapshot<T>> {
        let old = self.snapshot.swap(Arc::new(snapshot));
        // After the snapshot: see `generation.rs`.
        self.generation.advance();
        old
    }
}

impl<T: Send + Sync + 'static> Default for Router<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for Router<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("routes", &self.snapshot.load().len)
            .field("generation", &self.generation.read())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Edit {
        Insert(String),
        Remove(prop::sample::Index),
    }

    fn any_edit() -> impl Strategy<Value = Edit> {
        let filter = "[abc+](\\.[abc+]){0,3}(\\.#)?|#";
        prop_oneof![3 => filter.prop_map(Edit::Insert), 1 => any::<prop::sample::Index>().prop_map(Edit::Remove)]
    }

    proptest! {
        #[test]
        fn texts_that_hash_alike_are_told_apart(
            edits in prop::collection::vec(any_edit(), 1..60), topics in prop::collection::vec("[abcd](\\.[abcd]){0,4}", 1..20)
        ) {
            let router = Router::with_hash(TextHash::colliding());
            let mut model: Vec<(RouteId, Filter)> = Vec::new();
            for edit in edits {
                match edit {
                    Edit::Insert(filter) => {
                        let filter = Filter::new(filter).unwrap();
                        model.push((router.insert(&filter, Arc::new(filter.to_string())), filter));
                    }
                    Edit::Remove(index) if !model.is_empty() => {
                        let (id, filter) = model.remove(index.index(model.len()));
                        prop_assert_eq!(&*router.remove(id).unwrap(), filter.as_str());
                    }
                    Edit::Remove(_) => {}
                }
            }
            for topic in topics {
                let topic = Topic::new(topic).unwrap();
                let expected: Vec<_> = model.iter().filter(|(_, filter)| filter.matches(&topic)).map(|(_, filter)| filter.to_string()).collect();
                let found: Vec<_> = router.walk(&topic).iter().map(|target| String::clone(target)).collect();
                prop_assert_eq!(found, expected);
            }
            for (id, _) in model {
                prop_assert!(router.remove(id).is_some());
            }
            let end = router.snapshot.load();
            prop_assert!(end.is_bare(), "an emptied table keeps nothing");
        }
    }
}
