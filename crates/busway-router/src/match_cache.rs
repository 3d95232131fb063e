//! One thread's memory of its latest matches.
//!
//! All entries are of one generation. A thread that comes by after a change drops them all, in its next lookup, whatever
//! the topic: so a removed target is held by a cache no longer than until its thread looks up anything, and not until it
//! asks for that very topic again. A thread that never looks up again, or has ended, holds up to [`TOPICS_MAX`] matches
//! until the router is dropped (or until a new thread takes over the place of an ended one).
//!
//! What is dropped is handed to the caller, to be dropped when the cache is no longer borrowed: the last owner of a target
//! runs its destructor, and that may well publish.

use std::collections::HashMap;

use busway_event::Topic;

use crate::generation::Generation;
use crate::targets::Targets;
use crate::text_hash::TextHash;

/// Matches by topic, all computed at `generation`; matches of nothing too.
pub(crate) struct MatchCache<T> {
    generation: Generation,
    matches: Matches<T>,
}

type Matches<T> = HashMap<Topic, Targets<T>, TextHash>;

impl<T> MatchCache<T> {
    pub(crate) fn new(hash: TextHash) -> Self {
        Self { generation: Generation::default(), matches: HashMap::with_hasher(hash) }
    }

    /// What `topic` matched, if that was computed at `generation`.
    pub(crate) fn get(&self, generation: Generation, topic: &Topic) -> Option<Targets<T>> {
        if self.generation == generation { self.matches.get(topic.as_str()).cloned() } else { None }
    }

    /// Remembers a match computed at `generation`, and gives back what had to go for it.
    #[must_use = "to be dropped after the cache is released"]
    pub(crate) fn put(
        &mut self,
        generation: Generation,
        topic: &Topic,
        targets: &Targets<T>,
    ) -> Option<Matches<T>> {
        if generation < self.generation {
            // A destructor further down this very stack has looked up something since: the later state stays.
            return None;
        }
        let full = self.matches.len() >= TOPICS_MAX;
        let evicted = (full || self.generation < generation).then(|| {
            let hash = *self.matches.hasher();
            let mut evicted = std::mem::replace(&mut self.matches, HashMap::with_hasher(hash));
            if self.generation == generation {
                let mut kept = 0..TOPICS_KEPT;
                self.matches.extend(evicted.extract_if(|_, _| kept.next().is_some()));
            }
            evicted
        });
        self.generation = generation;
        self.matches.entry(topic.clone()).or_insert_with(|| targets.clone());
        evicted
    }
}

/// As many topics as the shared cache of NATS holds. More would be per-device names, which are seldom asked twice.
const TOPICS_MAX: usize = 1_024;

/// What is left of a full cache. Which ones stay is left to chance (the order of the hashes), so that no order of topics
/// defeats the cache and no bookkeeping is paid on a hit.
const TOPICS_KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::generation::GenerationClock;

    fn topic(n: usize) -> Topic {
        Topic::new(format!("t.{n}")).unwrap()
    }

    fn targets(n: usize) -> Targets<usize> {
        std::iter::once(Arc::new(n)).collect()
    }

    #[test]
    fn a_full_cache_is_swept_and_stays_right() {
        let mut cache = MatchCache::new(TextHash::random());
        let now = Generation::default();
        for n in 0..10 * TOPICS_MAX {
            drop(cache.put(now, &topic(n), &targets(n)));
            assert!(cache.matches.len() <= TOPICS_MAX);
            assert_eq!(**cache.get(now, &topic(n)).unwrap().first().unwrap(), n);
        }
        let left = (0..10 * TOPICS_MAX).filter_map(|n| cache.get(now, &topic(n)).map(|found| (n, *found[0])));
        let left: Vec<_> = left.collect();
        assert!(left.len() > TOPICS_KEPT);
        assert!(left.iter().all(|(n, found)| n == found));
    }

    #[test]
    fn a_new_generation_empties_the_cache_and_an_old_one_changes_nothing() {
        let clock = GenerationClock::default();
        let old = clock.read();
        clock.advance();
        let new = clock.read();
        let mut cache = MatchCache::new(TextHash::random());
        assert!(cache.put(old, &topic(1), &targets(1)).is_none());
        assert!(cache.get(new, &topic(1)).is_none());
        assert_eq!(cache.put(new, &topic(2), &Targets::none()).unwrap().len(), 1);
        assert!(cache.get(new, &topic(2)).unwrap().is_empty(), "matching nothing is remembered");
        assert!(cache.put(old, &topic(3), &targets(3)).is_none());
        assert_eq!(cache.matches.len(), 1);
    }
}
