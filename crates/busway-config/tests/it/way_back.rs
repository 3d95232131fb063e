//! What a configuration that is taken back leaves behind: nothing.

use std::collections::BTreeSet;

use busway_engine::Bus;

use crate::failing::{AT, World, started, taken_back, until};
use crate::world::{config, publish};

/// A route at a broker that begins anew beside all others that differ: there it fails.
fn there(is_tried: bool) -> String {
    let limits = if is_tried { ", limits: { concurrency: 2 }" } else { "" };
    format!("there: {{ filter: orders.#, handler: two, {AT}{limits} }}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_that_a_file_takes_out_or_alters_goes_on_as_it_was_when_that_is_taken_back() {
    let limit = |burst: u32| {
        let step = format!("{{ kind: rate_limit, with: {{ events: 1, per: 1h, burst: {burst} }} }}");
        format!("middleware: {{ user: [{step}] }}")
    };
    let file = |of_all: &str, of_route: &str, is_tried| {
        let there = there(is_tried);
        format!("{of_all}\nroutes: {{ a: {{ filter: a, handler: one, {of_route} }}, {there} }}\n")
    };
    let of_route = |steps: &str, is_tried| file("", steps, is_tried);
    let of_all = |steps: &str| file(steps, "", true);
    let retried = format!("{}, retry: {{}}", limit(3));
    let cases = [
        (of_route(&limit(2), false), of_route(&limit(3), true)),
        (of_route(&limit(2), false), of_route("", true)),
        (of_route(&limit(2), false), of_route(&retried, true)),
        (file(&limit(2), "", false), of_all(&limit(3))),
        (file(&limit(2), "", false), of_all("")),
    ];
    for (before, tried) in cases {
        let World { way, bus, seen, .. } = &started(&before).await;
        publish(bus, "a", 1).await;
        until(|| seen.len() == 1).await;
        taken_back(way, bus, &tried).await;
        publish(bus, "a", 2).await;
        publish(bus, "a", 3).await;
        until(|| seen.len() >= 2).await;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(seen.take(), [("one", 1), ("one", 2)], "{tried}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_durable_route_that_a_file_brought_goes_with_it_when_that_is_taken_back() {
    let file = |durable: &str, more: &str, is_tried| {
        let (there, route) = (there(is_tried), "filter: made, handler: one, durable");
        let streams = "streams: { orders: { capture: [made] } }";
        format!("{streams}\nroutes: {{ a: {{ {route}: {durable} }}, {there}{more} }}\n")
    };
    let names = async |bus: &Bus| -> BTreeSet<String> {
        let standing = bus.cursors().await.unwrap();
        standing.into_iter().map(|one| one.name).collect()
    };
    let both: BTreeSet<String> = ["old", "left"].map(str::to_owned).into();
    let World { way, bus, seen, .. } = &started(&file("old", "", false)).await;
    // One that was there before: what it has left is its own.
    let left = ", b: { filter: made, handler: two, durable: left }";
    config(&file("old", left, false)).apply(bus).await.unwrap();
    config(&file("old", "", false)).apply(bus).await.unwrap();
    assert_eq!(names(bus).await, both);
    let new = format!("{left}, c: {{ filter: made, handler: two, durable: new }}");
    taken_back(way, bus, &file("old", &new, true)).await;
    assert_eq!(names(bus).await, both);
    publish(bus, "made", 1).await;
    until(|| seen.len() == 1).await;
    assert_eq!(seen.take(), [("one", 1)]);
}
