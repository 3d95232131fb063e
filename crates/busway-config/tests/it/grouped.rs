//! Members of groups in memory, and what becomes of them when some or all differ.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use busway_config::Config;
use busway_engine::Bus;
use busway_event::Event;
use busway_testkit::TestBus;

use crate::world::{Number, Seen, config, publish};

/// Two members of a group, with these filters and concurrencies.
fn members(one: (&str, u64), two: (&str, u64)) -> Config {
    let member = |handler: &str, (filter, concurrency): (&str, u64)| {
        format!(
            "  {handler}: {{ filter: {filter}, handler: {handler}, group: g, limits: {{ concurrency: {concurrency}, overflow: block }} }}\n"
        )
    };
    config(&format!("routes:\n{}{}", member("one", one), member("two", two)))
}

async fn started(first: Config) -> (TestBus, Seen) {
    let seen = Seen::default();
    let bus = TestBus::build(|builder| {
        let builder = ["one", "two"].into_iter().fold(builder, |builder, name| seen.register(builder, name));
        first.configure(builder)
    })
    .await;
    (bus, seen)
}

async fn publish_ten(bus: &Bus, topic: &str, from: u64) {
    for number in from..from + 10 {
        publish(bus, topic, number).await;
    }
}

/// Who has handled something, and what.
fn taken(seen: &Seen) -> (BTreeSet<&'static str>, Vec<u64>) {
    let seen = seen.take();
    let mut numbers: Vec<u64> = seen.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    (seen.into_iter().map(|(name, _)| name).collect(), numbers)
}

#[tokio::test]
async fn one_that_goes_its_own_way_leaves_the_others_their_events() {
    let (bus, seen) = started(members(("a", 1), ("a", 1))).await;
    publish_ten(&bus, "a", 0).await;
    bus.settle().await;
    assert_eq!(taken(&seen), (BTreeSet::from(["one", "two"]), (0..10).collect()));
    members(("b", 1), ("a", 1)).apply(&bus).await.unwrap();
    publish_ten(&bus, "a", 10).await;
    publish_ten(&bus, "b", 20).await;
    bus.settle().await;
    let mut seen = seen.take();
    seen.sort_unstable();
    let expected: Vec<_> = (20..30).map(|number| ("one", number)).collect();
    assert_eq!(seen[..10], expected[..], "events of the new filter");
    assert!(seen[10..].iter().all(|(name, number)| *name == "two" && (10..20).contains(number)), "{seen:?}");
    assert_eq!(seen.len(), 20);
    bus.assert_balanced();
}

#[tokio::test]
async fn each_member_is_judged_by_its_own_rule_also_when_who_founded_the_group_has_gone() {
    let rules = |routes: &[&str]| {
        let rule = |route: &&str| {
            format!("- {{ effect: allow, identity: {route}, action: subscribe, filter: a }}\n")
        };
        let route = |route: &&str| format!("  {route}: {{ filter: a, handler: {route}, group: g }}\n");
        config(&format!(
            "access:\n- {{ effect: allow, identity: test, action: publish, filter: a }}\n{}routes:\n{}",
            routes.iter().map(rule).collect::<String>(),
            routes.iter().map(route).collect::<String>(),
        ))
    };
    let (bus, seen) = started(rules(&["one", "two"])).await;
    publish_ten(&bus, "a", 0).await;
    bus.settle().await;
    assert_eq!(taken(&seen), (BTreeSet::from(["one", "two"]), (0..10).collect()));
    rules(&["two"]).apply(&bus).await.unwrap();
    publish_ten(&bus, "a", 10).await;
    bus.settle().await;
    assert_eq!(taken(&seen), (BTreeSet::from(["two"]), (10..20).collect()));
    bus.assert_balanced();
}

#[tokio::test]
async fn members_that_go_the_same_way_take_the_place_of_their_group() {
    let (bus, seen) = started(members(("a", 1), ("a", 1))).await;
    publish_ten(&bus, "a", 0).await;
    bus.settle().await;
    _ = seen.take();
    for next in [members(("a", 4), ("a", 4)), members(("a.#", 4), ("a.#", 4))] {
        next.apply(&bus).await.unwrap();
        publish_ten(&bus, "a", 10).await;
        bus.settle().await;
        assert_eq!(taken(&seen), (BTreeSet::from(["one", "two"]), (10..20).collect()));
    }
    // The groups before are gone.
    while bus.stats().subscriptions.len() > 1 {
        tokio::task::yield_now().await;
    }
    bus.assert_balanced();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reloads_of_a_whole_group_lose_and_double_nothing() {
    let text = |round: u64| {
        let way = (["load.+", "load.#"][usize::from(round.is_multiple_of(3))], 1 + round % 3);
        members(way, way)
    };
    let seen = Seen::default();
    let builder =
        ["one", "two"].into_iter().fold(Bus::memory(), |builder, name| seen.register(builder, name));
    let bus = text(0).configure(builder).start().await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|first| {
            let (bus, stop) = (bus.clone(), Arc::clone(&stop));
            #[expect(clippy::disallowed_methods, reason = "publishers of a test are nobody's to supervise")]
            tokio::spawn(async move {
                let mut published = 0;
                for number in (first..).step_by(4).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    let event = Event::new("load.x", Number(number)).key((number % 7).to_string());
                    bus.publish(event).await.unwrap();
                    published += 1;
                    tokio::task::yield_now().await;
                }
                published
            })
        })
        .collect();
    for round in 0..100 {
        text(round).apply(&bus).await.unwrap_or_else(|error| panic!("{error}"));
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut expected = Vec::new();
    for (first, publisher) in (0..PUBLISHERS).zip(publishers) {
        let published: u64 = publisher.await.unwrap();
        expected.extend((0..published).map(|at| first + 4 * at));
    }
    bus.idle().await;
    expected.sort_unstable();
    assert!(expected.len() > 100);
    assert_eq!(taken(&seen).1, expected);
}

/// A step apart each.
const PUBLISHERS: u64 = 4;
