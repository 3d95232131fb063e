//! Idempotency: what a duplicate costs that the local cache knows, and what new keys cost a durable subscription.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use busway::EventId;
use busway::prelude::*;
use tokio::runtime::Runtime;

use super::in_memory::{counting, in_chunks};
use crate::consume::backlog;
use crate::contest::{Contest, Lap, Question, Unit, above, interleave, interleave_alone};
use crate::inproc::on_bus::{TOPIC, start, version};
use crate::report::Suite;
use crate::sample::Sample;
use crate::terms::{CAPACITY, Terms, one_thread, two_workers};

/// Runs the suite of duplicates.
///
/// # Errors
/// A contender fails, or an event is no duplicate.
pub fn measure_local_hit(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "reliability/idempotency-local-hit",
        unit: Unit::Nanoseconds("ns/event"),
        note: "events of one id to a subscription in memory with an async handler that does nothing, 512 published and then handled, on one thread; \
               duplicates: with .idempotent(by_id), so that the local cache answers \"done\" and the handler is not called; handled: without; \
               busway: the difference of each round",
    };
    let contests = vec![
        Contest::new("duplicates", version(), |messages| same_id(messages, true)),
        Contest::new("handled", version(), |messages| same_id(messages, false)),
    ];
    let suite = interleave_alone(terms, question, contests)?;
    Ok(vec![above(suite, "handled", &[("busway", "duplicates")])])
}

/// Runs the suite of new keys.
///
/// # Errors
/// A contender fails, or handles something else than it was given.
pub fn measure_miss(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "reliability/idempotency-miss",
        unit: Unit::PerSecond("events/s"),
        note: "the terms of consume/settle, concurrency 1: busway and busway-8 (concurrency 8) with .idempotent(by_id), all ids new, each key stored \
               with its event's settlement; without and without-8: the same subscriptions without it",
    };
    let events = if terms.is_quick() { 100_000 } else { 300_000 };
    let runtime = two_workers()?;
    let folder = backlog::make(&runtime, events)?;
    let names = AtomicU64::new(0);
    let lap = |concurrency, is_idempotent| {
        let name = format!("lap-{}", names.fetch_add(1, Ordering::Relaxed));
        new_ids(&runtime, folder.path(), &name, (concurrency, is_idempotent), events)
    };
    let contests = vec![
        Contest::new("busway", version(), |_| lap(1, true)),
        Contest::new("without", version(), |_| lap(1, false)),
        Contest::new("busway-8", version(), |_| lap(8, true)),
        Contest::new("without-8", version(), |_| lap(8, false)),
    ];
    interleave(terms, question, contests)
}

/// For callgrind: so many duplicates, or as many events that are handled.
///
/// # Errors
/// An event is no duplicate.
pub fn same_id(messages: u64, is_idempotent: bool) -> Result<Lap> {
    let runtime = one_thread()?;
    let bus = start(&runtime)?;
    let (handled, counting) = counting();
    let mut subscription = bus.subscribe(TOPIC).capacity(CAPACITY).overflow(Overflow::Block(None));
    if is_idempotent {
        subscription = subscription.idempotent(Idempotency::by_id());
    }
    let subscription = runtime.block_on(subscription.to(counting))?;
    let (topic, id) = (Topic::new(TOPIC)?, EventId::foreign("bench", "one"));
    let publish = |number| Ok(bus.try_publish(Event::new(&topic, Sample::new(number)).id(id)).map(drop)?);
    let (all, elapsed) = in_chunks(&runtime, &bus, messages, publish)?;
    let handled = handled.load(Ordering::Relaxed);
    let hits = subscription.stats().idempotency.map(|stats| stats.local_hits);
    let expected = if is_idempotent { (1, Some(all - 1)) } else { (all, None) };
    ensure!((handled, hits) == expected, "{handled} of {all} events were handled, local hits: {hits:?}");
    Ok(Lap { handled: messages, lost: 0, elapsed })
}

fn new_ids(
    runtime: &Runtime,
    folder: &Path,
    name: &str,
    (concurrency, is_idempotent): (usize, bool),
    events: u64,
) -> Result<Lap> {
    runtime.block_on(async {
        let bus = backlog::open(folder, backlog::stream()).await?;
        let (handled, counting) = backlog::counting();
        let started = Instant::now();
        let subscription = bus.subscribe("orders.#").durable(name).start_at(StartAt::Earliest);
        let mut subscription = subscription.concurrency(concurrency);
        if is_idempotent {
            subscription = subscription.idempotent(Idempotency::by_id());
        }
        let subscription = subscription.to(counting).await?;
        bus.idle().await;
        let elapsed = started.elapsed();
        let (handled, lag) = (handled.load(Ordering::Relaxed), subscription.lag().events);
        ensure!(handled == events && lag == 0, "{handled} events were handled of {events}, {lag} are left");
        if is_idempotent {
            let stats = subscription.stats().idempotency.context("it counts its steps")?;
            ensure!(stats.leased == events, "not all keys were new: {stats}");
        }
        subscription.stop().await;
        // Its keys would be read and kept by all later laps.
        bus.cursor(name).remove().await?;
        backlog::finish(&bus).await?;
        Ok(Lap { handled, lost: 0, elapsed })
    })
}
