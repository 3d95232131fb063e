//! What the cache keeps, forgets, lends and takes back.

use std::sync::Arc;

use super::*;
use crate::generation::GenerationClock;

fn topic(n: u64) -> Topic {
    Topic::new(format!("t.{n}")).unwrap()
}

fn targets(n: u64) -> Targets<u64> {
    std::iter::once(Arc::new(n)).collect()
}

/// A hash that spreads well enough.
fn key(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20)
}

fn keep(cache: &mut MatchCache<u64>, generation: Generation, n: u64) {
    drop(cache.keep(generation, key(n), &topic(n), &targets(n)));
}

fn kept(cache: &MatchCache<u64>, generation: Generation, n: u64) -> Option<u64> {
    Some(**cache.get(generation, key(n), &topic(n))?.first().unwrap())
}

#[test]
fn a_full_cache_stays_right_and_within_its_bound() {
    let mut cache = MatchCache::new();
    let now = Generation::default();
    let many = 10 * TOPICS_MAX as u64;
    for n in 0..many {
        keep(&mut cache, now, n);
        assert_eq!(kept(&cache, now, n), Some(n));
    }
    assert_eq!(cache.slots.len(), TOPICS_MAX);
    let left: Vec<_> = (0..many).filter_map(|n| kept(&cache, now, n).map(|found| (n, found))).collect();
    assert_eq!(left.len(), cache.kept);
    assert!(left.len() > TOPICS_MAX / 2, "{} are left", left.len());
    assert!(left.iter().all(|(n, found)| n == found));
}

#[test]
fn a_table_that_grows_keeps_what_it_holds_and_finds_it_by_place_too() {
    let mut cache = MatchCache::new();
    let now = Generation::default();
    let topics: Vec<_> = (0..200).map(topic).collect();
    for (n, topic) in (0..).zip(&topics) {
        drop(cache.keep(now, key(n), topic, &targets(n)));
    }
    assert!((200..TOPICS_MAX).contains(&cache.slots.len()), "{} slots", cache.slots.len());
    for (n, topic) in (0..).zip(&topics) {
        let place = cache.find(now, key(n), topic).unwrap();
        assert_eq!(cache.find_same(now, topic).unwrap().0, place.0);
        let (lent, serial) = cache.lend(place);
        assert_eq!(**lent.first().unwrap(), n);
        assert!(
            cache.find_same(now, topic).is_none() && cache.find(now, key(n), topic).is_none(),
            "it is lent"
        );
        assert!(cache.give_back(place, serial, lent).is_empty());
    }
    assert!(topics.iter().zip(0..).all(|(_, n)| kept(&cache, now, n) == Some(n)));
}

#[test]
fn topics_that_are_seen_once_take_no_room_from_others() {
    let mut cache = MatchCache::<u64>::new();
    let now = Generation::default();
    (0..40).for_each(|n| keep(&mut cache, now, n));
    let slots = cache.slots.len();
    for n in 1_000..9_000 {
        assert_eq!(cache.miss(now, key(n)).0, Sight::First);
    }
    let left = (0..40).filter(|n| kept(&cache, now, *n).is_some()).count();
    assert!(left >= 30 && cache.slots.len() <= slots * GROWTH, "{left} of 40 in {} slots", cache.slots.len());
    assert_eq!(cache.miss(now, key(8_999)).0, Sight::Again);
}

#[test]
fn a_new_generation_empties_the_cache_and_an_old_one_changes_nothing() {
    let clock = GenerationClock::default();
    let old = clock.read();
    clock.advance();
    let new = clock.read();
    let mut cache = MatchCache::new();
    keep(&mut cache, old, 1);
    let place = cache.find(old, key(1), &topic(1)).unwrap();
    let (lent, serial) = cache.lend(place);
    let (sight, _) = cache.miss(new, key(2));
    assert_eq!((sight, kept(&cache, old, 1), kept(&cache, new, 1)), (Sight::First, None, None));
    drop(cache.keep(new, key(1), &topic(1), &Targets::none()));
    assert_eq!(cache.give_back(place, serial, lent).len(), 1, "outdated");
    assert!(cache.get(new, key(1), &topic(1)).unwrap().is_empty(), "matching nothing is remembered");
    keep(&mut cache, old, 3);
    assert_eq!((cache.kept, kept(&cache, new, 3)), (1, None));
}

#[test]
fn what_was_lent_and_never_comes_back_is_walked_for_until_the_next_change() {
    let mut cache = MatchCache::new();
    let clock = GenerationClock::default();
    let now = clock.read();
    keep(&mut cache, now, 1);
    let place = cache.find(now, key(1), &topic(1)).unwrap();
    drop(cache.lend(place));
    for _ in 0..2 {
        assert_eq!(cache.miss(now, key(1)).0, Sight::First, "somebody uses it");
        assert!(cache.find(now, key(1), &topic(1)).is_none());
    }
    clock.advance();
    keep(&mut cache, clock.read(), 1);
    assert_eq!((cache.kept, kept(&cache, clock.read(), 1)), (1, Some(1)));
}
