//! Readers and writers at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use busway_event::{Filter, Topic};
use busway_router::Router;

const CHANGES: usize = 20_000;

fn filter(text: &str) -> Filter {
    Filter::new(text).unwrap()
}

#[test]
fn a_stable_subscription_is_always_found_while_others_come_and_go() {
    let router = Router::new();
    let stable =
        ["a.b.c", "a.+.c", "a.#", "#"].map(|text| (router.insert(&filter(text), Arc::new(text)), text).1);
    let topic = Topic::new("a.b.c").unwrap();
    let writing = AtomicUsize::new(2);
    thread::scope(|scope| {
        for writer in 0..2 {
            let (router, writing) = (&router, &writing);
            scope.spawn(move || {
                let filters = ["a.b.c", "a.+.+", "+.b.#", "a.x.y", "#"].map(filter);
                let mut own = Vec::new();
                for change in 0..CHANGES {
                    own.push(router.insert(&filters[(change + writer) % filters.len()], Arc::new("passing")));
                    if change % 7 >= 3 {
                        let id = own.swap_remove(change * 31 % own.len());
                        assert!(router.remove(id).is_some());
                    }
                }
                for id in own {
                    assert!(router.remove(id).is_some());
                }
                writing.fetch_sub(1, Ordering::Release);
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut rounds = 0;
                while writing.load(Ordering::Acquire) > 0 || rounds == 0 {
                    let looked_up = router.lookup(&topic);
                    let walked = router.walk(&topic);
                    for targets in [&*looked_up, &*walked] {
                        let found = targets.iter().filter(|target| ***target != "passing");
                        assert_eq!(found.map(|target| **target).collect::<Vec<_>>(), stable);
                    }
                    rounds += 1;
                }
            });
        }
    });
    assert_eq!(router.len(), stable.len());
    assert_eq!(router.lookup(&topic).len(), stable.len());
}

/// A cache that once remembers an old match under a new generation stays wrong until the next change. So the table stays
/// small, which makes both sides fast: the reader asks many times between two changes.
#[test]
fn a_change_that_has_returned_is_seen_by_every_later_lookup_of_a_busy_thread() {
    let router = Router::new();
    let topic = Topic::new("a.b").unwrap();
    let filters = [filter("a.b"), filter("a.+"), filter("#")];
    // The latest number whose insertion has returned. Numbers grow, and the one before goes after the next has come.
    let returned = AtomicUsize::new(0);
    let mut last = router.insert(&filters[0], Arc::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let expected = returned.load(Ordering::Acquire);
                let newest = router.lookup(&topic).last().map(|number| **number);
                assert!(newest >= Some(expected), "{expected} had returned, {newest:?} was found");
                if expected == CHANGES {
                    break;
                }
            }
        });
        for number in 1..=CHANGES {
            let id = router.insert(&filters[number % filters.len()], Arc::new(number));
            returned.store(number, Ordering::Release);
            assert!(router.remove(last).is_some());
            last = id;
        }
    });
    assert_eq!(router.len(), 1);
}

#[test]
fn removed_routes_are_never_found_again() {
    let router = Router::new();
    let topic = Topic::new("a.b").unwrap();
    let filters = [filter("a.b"), filter("a.#")];
    let ids: Vec<_> = (0..CHANGES).map(|n| router.insert(&filters[n % 2], Arc::new(n))).collect();
    let gone = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let gone = gone.load(Ordering::Acquire);
                let found = router.lookup(&topic);
                assert!(found.iter().all(|number| **number >= gone), "up to {gone} were removed");
                if gone == CHANGES {
                    break;
                }
            }
        });
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(router.remove(*id).as_deref(), Some(&number));
            gone.store(number + 1, Ordering::Release);
        }
    });
    assert!(router.is_empty());
}
