//! Reloads while events are published: none is lost, none doubled, and the order of a key holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use busway_config::Config;
use busway_engine::{Bus, BusBuilder};
use busway_event::Event;
use busway_middleware::Payload;
use parking_lot::Mutex;

use crate::world::{Number, config};

type ByKey = Arc<Mutex<BTreeMap<u64, Vec<u64>>>>;

/// Handlers `one` and `two` note what they are given, by key.
fn noting(builder: BusBuilder, seen: &ByKey) -> BusBuilder {
    ["one", "two"].into_iter().fold(builder, |builder, name| {
        let seen = Arc::clone(seen);
        builder.handler(name, move |number: Payload<Number>| {
            let seen = Arc::clone(&seen);
            async move {
                tokio::task::yield_now().await;
                seen.lock().entry(number.0 % KEYS).or_default().push(number.0);
            }
        })
    })
}

/// Publishes until told to stop; says how many there were.
async fn publishes(bus: Bus, topic: &'static str, stop: Arc<AtomicBool>, from: u64) -> u64 {
    let mut number = from;
    while !stop.load(Ordering::Relaxed) {
        let event = Event::new(topic, Number(number)).key((number % KEYS).to_string());
        bus.publish(event).await.unwrap();
        number += KEYS;
        tokio::task::yield_now().await;
    }
    number / KEYS
}

async fn reloads(bus: &Bus, text: impl Fn(u64) -> Config, topic: &'static str, rounds: u64) -> Vec<u64> {
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..KEYS)
        .map(|key| {
            #[expect(clippy::disallowed_methods, reason = "publishers of a test are nobody's to supervise")]
            tokio::spawn(publishes(bus.clone(), topic, Arc::clone(&stop), key))
        })
        .collect();
    for round in 0..rounds {
        text(round).apply(bus).await.unwrap_or_else(|error| panic!("{error}"));
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut published = Vec::new();
    for task in tasks {
        published.push(task.await.unwrap());
    }
    bus.idle().await;
    published
}

fn each_was_handled_once_and_in_order(seen: &ByKey, published: &[u64]) {
    let seen = seen.lock();
    for (key, published) in (0..KEYS).zip(published) {
        let seen = seen.get(&key).cloned().unwrap_or_default();
        let wrong = seen.iter().zip(0..).position(|(number, place)| *number != place * KEYS + key);
        let around = wrong.map(|at| seen[at.saturating_sub(3)..(at + 3).min(seen.len())].to_vec());
        assert_eq!(around, None, "of key {key}");
        assert_eq!(u64::try_from(seen.len()).unwrap(), *published, "of key {key}");
    }
}

/// An ephemeral route with a different handler, concurrency, capacity and filter each time, and perhaps with a rule for that filter alone.
fn ephemeral(round: u64, has_rules: bool) -> Config {
    let (handler, filter) =
        [("one", "load.+"), ("two", "load.#"), ("one", "load.x")][usize::try_from(round % 3).unwrap()];
    let rule = |action: &str, filter: &str| {
        format!("{{ effect: allow, identity: '*', action: {action}, filter: '{filter}' }}")
    };
    let rules =
        if has_rules { [rule("subscribe", filter), rule("publish", "#")].join(", ") } else { String::new() };
    config(&format!(
        "access: [{rules}]\nroutes: {{ a: {{ filter: {filter}, handler: {handler}, limits: {{ concurrency: {}, capacity: {}, overflow: block }} }} }}",
        1 + round % 4,
        1 + round % 7,
    ))
}

async fn loses_and_doubles_nothing(text: impl Fn(u64) -> Config) {
    let seen = ByKey::default();
    let bus = text(0).configure(noting(Bus::memory(), &seen)).start().await.unwrap();
    let published = reloads(&bus, text, "load.x", 200).await;
    let tally = bus.stats().tally;
    assert_eq!((tally.dropped, tally.abandoned, tally.waiting()), (0, 0, 0));
    each_was_handled_once_and_in_order(&seen, &published);
    assert!(published.iter().sum::<u64>() > 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reloads_of_an_ephemeral_route_lose_and_double_nothing() {
    loses_and_doubles_nothing(|round| ephemeral(round, false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reloads_of_an_ephemeral_route_and_its_rules_lose_and_double_nothing() {
    loses_and_doubles_nothing(|round| ephemeral(round, true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn routes_in_memory_that_are_renamed_lose_and_double_nothing() {
    // With another capacity every other time, and with rules or without; beside another one that is renamed too.
    loses_and_doubles_nothing(|round| {
        let name = ["a", "b", "c"][usize::try_from(round % 3).unwrap()];
        let capacity = 1 + round / 2 % 2;
        let rules = match round % 5 {
            0 => "",
            _ => "{ effect: allow, identity: '*', action: subscribe, filter: '#' }, { effect: allow, identity: '*', action: publish, filter: '#' }",
        };
        config(&format!(
            "access: [{rules}]\nroutes: {{ {name}: {{ filter: load.x, handler: one, limits: {{ capacity: {capacity}, overflow: block }} }}, {name}2: {{ filter: y, handler: one }} }}",
        ))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn routes_in_memory_whose_names_move_on_lose_and_double_nothing() {
    loses_and_doubles_nothing(|round| {
        let limits = "limits: { overflow: block }";
        config(&format!(
            "routes: {{ r{round}: {{ filter: load.x, handler: one, {limits} }}, r{}: {{ filter: y, handler: one, {limits} }} }}",
            round + 1,
        ))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reloads_of_a_durable_route_lose_and_double_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let text = |round: u64| {
        let handler = ["one", "two"][usize::try_from(round % 2).unwrap()];
        config(&format!(
            "streams: {{ load: {{ capture: [load.#], durability: memory }} }}\nroutes: {{ a: {{ filter: load.#, handler: {handler}, durable: a, limits: {{ concurrency: {} }} }} }}",
            1 + round % 4,
        ))
    };
    let seen = ByKey::default();
    let bus = text(0).configure(noting(Bus::open(directory.path()), &seen)).start().await.unwrap();
    let published = reloads(&bus, text, "load.x", 20).await;
    each_was_handled_once_and_in_order(&seen, &published);
}

const KEYS: u64 = 4;
