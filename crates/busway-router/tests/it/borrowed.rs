//! Targets that are only borrowed: what a closure sees, and what it may do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use busway_event::{Filter, Topic};
use busway_router::{Reached, RouteId, Router};
use proptest::prelude::*;

fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

fn filter(text: &str) -> Filter {
    Filter::new(text).unwrap()
}

fn numbers(reached: Reached<'_, usize>) -> Vec<usize> {
    let numbers: Vec<_> = reached.into_iter().map(|target| **target).collect();
    assert_eq!((reached.len(), reached.is_empty()), (numbers.len(), numbers.is_empty()));
    assert_eq!(reached.to_targets().iter().map(|target| **target).collect::<Vec<_>>(), numbers);
    numbers
}

/// Walked, looked up for the first time, the second time, when a list is made, and from that list.
fn all_ways(router: &Router<usize>, topic: &Topic) -> [Vec<usize>; 5] {
    let lookup = || router.lookup_with(topic, numbers);
    [router.walk_with(topic, numbers), lookup(), lookup(), lookup(), lookup()]
}

proptest! {
    #[test]
    fn every_way_finds_what_a_list_of_filters_gives_in_the_order_of_insertion(
        filters in prop::collection::vec("[ab+](\\.[ab+]){0,4}(\\.#)?|#", 1..80),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        topics in prop::collection::vec("[ab](\\.[ab]){0,4}", 1..12),
    ) {
        let router = Router::new();
        let mut model: Vec<(RouteId, Filter, usize)> = filters
            .iter()
            .enumerate()
            .map(|(number, text)| (router.insert(&filter(text), Arc::new(number)), filter(text), number))
            .collect();
        for index in removed.iter().take(model.len() - 1) {
            let (id, ..) = model.remove(index.index(model.len()));
            router.remove(id);
        }
        for name in topics.iter().map(|text| topic(text)) {
            let expected: Vec<_> = model.iter().filter(|(_, filter, _)| filter.matches(&name)).map(|(.., number)| *number).collect();
            for found in all_ways(&router, &name) {
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}

#[test]
fn long_lists_of_few_and_of_many_filters_are_merged_in_the_order_of_insertion() {
    for kinds in [1, 2, 3, 9] {
        let filters = ["#", "a.#", "a.b.c", "a.+.c", "a.b.+", "+.b.c", "+.+.c", "a.+.+", "+.+.+"];
        let router = Router::new();
        // Runs of one filter and quick changes between them; chunks are full after 256.
        for number in 0..3_000_usize {
            let kind = if number / 100 % 2 == 0 { number } else { number / 40 } % kinds;
            router.insert(&filter(filters[kind]), Arc::new(number));
        }
        for found in all_ways(&router, &topic("a.b.c")) {
            assert!(found.iter().copied().eq(0..3_000), "{kinds} filters");
        }
    }
}

#[test]
fn a_warm_topic_counts_no_reference() {
    let router = Router::new();
    let target = Arc::new(());
    router.insert(&filter("a"), Arc::clone(&target));
    let name = topic("a");
    let counted = || router.lookup_with(&name, |reached| (reached.len(), Arc::strong_count(&target)));
    let first = counted();
    let (second, warm) = (counted(), counted());
    assert_eq!((first, warm.0), ((1, 3), 1), "ours, the table's and the route's");
    assert_eq!(second, warm, "one more for the list");
    assert_eq!(warm.1, 4);
}

#[test]
fn a_closure_may_look_up_insert_and_remove_and_sees_what_was() {
    let router = Router::new();
    let id = router.insert(&filter("a"), Arc::new(0));
    let (name, other) = (topic("a"), topic("b"));
    for round in 0..6_usize {
        let seen = router.lookup_with(&name, |reached| {
            for _ in 0..3 {
                assert_eq!(
                    router.lookup_with(&name, |inner| inner.len()),
                    reached.len(),
                    "the same topic within"
                );
            }
            let late = router.insert(&filter("+"), Arc::new(round));
            for _ in 0..3 {
                assert_eq!(router.lookup_with(&name, |inner| inner.len()), reached.len() + 1);
                assert_eq!(router.lookup_with(&other, |inner| inner.len()), 1);
                assert_eq!(router.lookup(&name).len(), reached.len() + 1);
            }
            router.remove(late);
            reached.len()
        });
        assert_eq!(seen, 1);
        assert_eq!(router.lookup_with(&name, |reached| reached.len()), 1, "the later state stays");
    }
    router.lookup_with(&name, |reached| {
        router.remove(id);
        assert_eq!(**reached.iter().next().unwrap(), 0, "removed meanwhile, but still here");
        assert!(router.lookup_with(&name, |inner| inner.is_empty()));
    });
    assert!(router.lookup_with(&name, |reached| reached.is_empty()));
}

#[test]
fn what_a_closure_returns_with_is_released_by_the_next_lookup_of_any_topic() {
    let router = Router::new();
    let target = Arc::new(());
    let name = topic("a");
    let id = router.insert(&filter("a"), Arc::clone(&target));
    for _ in 0..3 {
        assert_eq!(router.lookup_with(&name, |reached| reached.len()), 1);
    }
    router.lookup_with(&name, |_| {
        drop(router.remove(id));
        router.lookup_with(&topic("another.topic"), |_| {});
    });
    assert_eq!(Arc::strong_count(&target), 1, "the closure that held it has returned");

    let id = router.insert(&filter("a"), Arc::clone(&target));
    (0..3).for_each(|_| router.lookup_with(&name, |_| {}));
    drop(router.remove(id));
    router.lookup_with(&topic("another.topic"), |_| {});
    assert_eq!(Arc::strong_count(&target), 1);
}

#[test]
fn a_closure_that_panics_costs_nothing_but_its_own_memory() {
    let router = Router::new();
    let target = Arc::new(());
    let id = router.insert(&filter("a"), Arc::clone(&target));
    let name = topic("a");
    for _ in 0..6 {
        let panics = catch_unwind(AssertUnwindSafe(|| {
            router.lookup_with(&name, |_| std::panic::resume_unwind(Box::new("on purpose")))
        }));
        assert!(panics.is_err());
        assert_eq!(router.lookup_with(&name, |reached| reached.len()), 1);
    }
    assert_eq!(router.lookup(&name).len(), 1);
    drop(router.remove(id));
    assert!(router.lookup(&name).is_empty());
    assert_eq!(Arc::strong_count(&target), 1);
}

#[test]
fn nobody_is_an_empty_reach() {
    let router = Router::<usize>::new();
    for found in all_ways(&router, &topic("a")) {
        assert!(found.is_empty());
    }
    assert!(Reached::<usize>::default().is_empty());
    router.insert(&filter("a"), Arc::new(7));
    assert_eq!(
        router.walk_with(&topic("a"), |reached| format!("{reached:?} {:?}", reached.iter())),
        "[7] ReachedIter { .. }"
    );
}
