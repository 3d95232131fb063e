//! Who keeps a target alive, until when, and what its destructor may do.

use std::sync::{Arc, OnceLock, Weak};

use busway_event::{Filter, Topic};
use busway_router::{RouteId, Router, Targets};

fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

fn filter(text: &str) -> Filter {
    Filter::new(text).unwrap()
}

#[test]
fn a_removed_target_stays_in_results_that_are_held_and_nowhere_else() {
    let router = Router::new();
    let target = Arc::new(());
    let id = router.insert(&filter("a.#"), Arc::clone(&target));
    let held = router.lookup(&topic("a.b"));
    drop(router.remove(id));
    assert_eq!(held.len(), 1);
    assert!(router.lookup(&topic("another.topic")).is_empty(), "any lookup makes the thread forget");
    assert_eq!(Arc::strong_count(&target), 2, "ours and the held result's");
    drop(held);
    assert_eq!(Arc::strong_count(&target), 1);
}

#[test]
fn a_dropped_router_frees_what_every_thread_remembered() {
    let router = Router::new();
    let target = Arc::new(());
    router.insert(&filter("a"), Arc::clone(&target));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(router.lookup(&topic("a")).len(), 1));
        }
    });
    drop(router);
    assert_eq!(Arc::strong_count(&target), 1);
}

#[test]
fn an_id_of_another_router_or_a_removed_route_removes_nothing() {
    let (one, two) = (Router::new(), Router::new());
    let id = one.insert(&filter("a"), Arc::new(1));
    two.insert(&filter("a"), Arc::new(2));
    let generation = two.generation();
    assert_eq!(two.remove(id), None);
    assert_eq!((two.generation(), two.len()), (generation, 1));
    assert_eq!(one.remove(id), Some(Arc::new(1)));
    assert_eq!(one.remove(id), None);
}

#[test]
fn an_empty_result_is_none_and_a_full_one_is_a_slice() {
    let router = Router::new();
    assert!(router.lookup(&topic("a")).is_empty());
    router.insert(&filter("+"), Arc::new('x'));
    router.insert(&filter("a"), Arc::new('y'));
    router.insert(&filter("+"), Arc::new('x'));
    let targets = router.lookup(&topic("a"));
    assert_eq!(format!("{targets:?} {:?}", Targets::<char>::none()), "['x', 'y', 'x'] []");
    assert_eq!(targets.into_iter().count(), 3);
    assert_eq!(router.lookup(&topic("a")).as_ptr(), targets.as_ptr(), "a warm lookup shares the list");
    assert!(format!("{router:?}").starts_with("Router { routes: 3, generation: "));
}

/// A target whose destructor does to its router all that a handler might.
struct Nosy {
    router: Weak<Router<Nosy>>,
    partner: OnceLock<RouteId>,
}

impl Drop for Nosy {
    fn drop(&mut self) {
        let Some(router) = self.router.upgrade() else { return };
        for text in ["a", "b", "nobody.listens"] {
            router.lookup(&topic(text));
        }
        if let Some(partner) = self.partner.get() {
            router.remove(*partner);
            let late = Arc::new(Nosy { router: Weak::new(), partner: OnceLock::new() });
            router.insert(&filter("b"), late);
        }
    }
}

#[test]
fn the_destructor_of_a_target_may_look_up_insert_and_remove() {
    let router = Arc::new(Router::new());
    let nosy = || Nosy { router: Arc::downgrade(&router), partner: OnceLock::new() };
    let (first, second) = (nosy(), nosy());
    let second = router.insert(&filter("b"), Arc::new(second));
    first.partner.set(second).unwrap();
    let first = router.insert(&filter("a"), Arc::new(first));
    assert_eq!(router.lookup(&topic("a")).len(), 1);

    // This thread's cache still holds the target: the next lookup drops it, in the middle of its work.
    drop(router.remove(first));
    assert_eq!(router.len(), 1);
    let seen = router.lookup(&topic("b"));
    assert_eq!(seen.len(), 1, "found before the destructor ran");
    assert_eq!((router.len(), router.lookup(&topic("b")).len()), (1, 1), "the partner went, a new one came");
    assert!(router.remove(second).is_none());
}

#[test]
fn a_result_may_be_held_while_the_same_thread_looks_up_more_than_it_can_remember() {
    let router = Router::new();
    router.insert(&filter("t.+"), Arc::new(0));
    let held: Vec<Targets<i32>> = (0..5_000).map(|n| router.lookup(&topic(&format!("t.{n}")))).collect();
    assert!(held.iter().all(|targets| targets.len() == 1));
}
