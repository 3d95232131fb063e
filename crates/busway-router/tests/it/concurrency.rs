//! Readers and writers at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use busway_event::{Filter, Topic};
use busway_router::Router;

const CHANGES: usize = 3_000;

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

/// A cache that once remembered an old match under a new generation would be wrong until the next change. Here there is
/// a next question right after each change, from a thread that is looking up all the time.
#[test]
fn a_change_that_has_returned_is_seen_by_every_later_lookup_of_a_busy_thread() {
    let router = Router::new();
    let topic = Topic::new("a.b").unwrap();
    let filters = [filter("a.b"), filter("a.+"), filter("#")];
    // The number of routes that the writer has made visible, counted after each change has returned.
    let visible = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let at_least = visible.load(Ordering::Acquire);
                    let found = router.lookup(&topic).len();
                    assert!(found >= at_least, "{at_least} subscriptions had returned, {found} were found");
                }
            });
        }
        for change in 0..CHANGES {
            router.insert(&filters[change % filters.len()], Arc::new(()));
            visible.store(change + 1, Ordering::Release);
            if change % 64 == 0 {
                thread::yield_now();
            }
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(router.lookup(&topic).len(), CHANGES);
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
