//! A route in the place of another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use busway_event::{Filter, Topic};
use busway_router::Router;

#[test]
fn a_lookup_finds_one_of_the_two_and_never_both_or_neither() {
    let router = Arc::new(Router::new());
    let filters = ["a.b", "a.+", "#"].map(|filter| Filter::new(filter).unwrap());
    let mut id = router.insert(&filters[0], Arc::new(0_usize));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let topic = Topic::new("a.b").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(router.lookup(&topic).len(), 1);
                    assert_eq!(router.walk(&topic).len(), 1);
                }
            });
        }
        for (round, filter) in filters.iter().cycle().take(3_000).enumerate() {
            let (new, old) = router.replace(id, filter, Arc::new(round + 1)).unwrap();
            assert_eq!(*old, round);
            id = new;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(router.len(), 1);
}

#[test]
fn what_is_gone_is_not_replaced() {
    let router = Router::new();
    let filter = Filter::new("a").unwrap();
    let id = router.insert(&filter, Arc::new(1));
    router.remove(id);
    assert!(router.replace(id, &filter, Arc::new(2)).is_none());
    assert!(router.is_empty());
}
