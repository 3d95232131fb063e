//! What a publish pays for tracing that records nothing: nanoseconds above a bus that is not traced.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use busway::prelude::*;

use super::watch::{Traced, UNSAMPLED, within_unsampled};
use crate::contest::{Contest, Lap, Question, Unit, above, interleave_alone};
use crate::inproc::on_bus::{TOPIC, version};
use crate::instructions::workload::counted_region;
use crate::reliability::in_memory::counting;
use crate::report::Suite;
use crate::sample::Sample;
use crate::terms::{CAPACITY, Terms, one_thread};

/// Runs the suite.
///
/// # Errors
/// An event is not handled once.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let question =
        Question { name: "operate/traced-publish", unit: Unit::Nanoseconds("ns/event"), note: NOTE };
    let contest = |name, traced, trace| {
        Contest::new(name, version(), move |messages| publishes(messages, traced, trace))
    };
    let contests = vec![
        contest("share-0", Traced::Share0, Trace::None),
        contest("bears-traced", Traced::Share0, Trace::Borne),
        contest("within-traced", Traced::Share0, Trace::Around),
        contest("exporter-0", Traced::Exporter0, Trace::None),
        contest("none", Traced::No, Trace::None),
        contest("bears", Traced::No, Trace::Borne),
    ];
    let suite = interleave_alone(terms, question, contests)?;
    let suite = above(
        suite,
        "none",
        &[("unsampled-within", "within-traced"), ("unsampled-by-exporter", "exporter-0")],
    );
    let suite = above(suite, "bears", &[("unsampled", "bears-traced")]);
    Ok(vec![above(suite, "none", &[("busway", "share-0")])])
}

/// The trace that an event is published in, which is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// None.
    None,
    /// The publisher has put it into the event's metadata.
    Borne,
    /// The publisher is in it.
    Around,
}

/// So many events, published and then handled. The lap is as long as the calls of publish take, and those are what is counted.
///
/// # Errors
/// One is not handled once.
pub fn publishes(messages: u64, traced: Traced, trace: Trace) -> Result<Lap> {
    let (runtime, _program) = (one_thread()?, traced.program()?);
    let bus = runtime.block_on(traced.bus(Bus::memory()).start())?;
    let (handled, counting) = counting();
    let subscription = bus.subscribe(TOPIC).capacity(CAPACITY).overflow(Overflow::Block(None));
    runtime.block_on(subscription.to(counting))?;
    let publisher = bus.publisher::<Sample>(TOPIC)?;
    let publish = |number| -> Result<()> {
        let sample = Sample::new(number);
        match trace {
            Trace::Borne => {
                let draft = publisher.draft(sample).meta("traceparent", UNSAMPLED);
                pollster::block_on(publisher.publish_event(draft))?;
            }
            Trace::None | Trace::Around => _ = pollster::block_on(publisher.publish(sample))?,
        }
        Ok(())
    };
    let mut elapsed = Duration::ZERO;
    let chunks = messages.div_ceil(CHUNK);
    for chunk in 0..=chunks {
        let around = (trace == Trace::Around).then(within_unsampled);
        match chunk {
            // It warms up.
            0 => (0..CHUNK).try_for_each(publish)?,
            _ => {
                let started = Instant::now();
                counted_region(|| (0..CHUNK).try_for_each(publish))?;
                elapsed += started.elapsed();
            }
        }
        drop(around);
        runtime.block_on(bus.idle());
    }
    let (handled, all) = (handled.load(Ordering::Relaxed), (chunks + 1) * CHUNK);
    ensure!(handled == all, "{handled} of {all} events were handled");
    Ok(Lap { handled: chunks * CHUNK, lost: 0, elapsed })
}

/// Half of what the queue holds.
const CHUNK: u64 = 512;
const NOTE: &str = "the calls of publish alone, 512 into the queue of a subscription in memory whose handler runs behind the clock, on one thread; nothing is recorded \
                    anywhere; busway: Tracing::otel().sample(0), outside of any trace, above none: no tracing; unsampled: events whose metadata bear a traceparent with the \
                    flag 0, above bears: the same without tracing; unsampled-within: published inside of a trace that is not recorded, above none; \
                    unsampled-by-exporter: Tracing::otel() and an Otlp::sample(0), which is asked for each publish, above none";
