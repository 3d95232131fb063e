//! 1p1c on a bus that is watched: by its metrics, and by tracing that records nothing.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use busway::prelude::*;
use tokio::runtime::Runtime;

use super::on_bus;
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::operate::watch::{Traced, UNSAMPLED, measured};
use crate::report::Suite;
use crate::sample::Sample;
use crate::terms::Terms;

/// Runs the suite with metrics.
///
/// # Errors
/// A message is lost.
pub fn measure_metrics(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question { name: "inproc/1p1c-metrics", note: METRICS, unit: UNIT };
    let contests = vec![
        Contest::new("busway", on_bus::version(), |messages| run(messages, Watched::Metrics, on_bus::singly)),
        Contest::new("off", on_bus::version(), |messages| run(messages, Watched::No, on_bus::singly)),
    ];
    interleave(terms, question, contests)
}

/// Runs the suite with metrics, and tracing that nothing begins a trace with.
///
/// # Errors
/// A message is lost.
pub fn measure_traced(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question { name: "inproc/1p1c-traced", note: TRACED, unit: UNIT };
    let watched = |traced| move |messages| run(messages, Watched::MetricsAndTraced(traced), on_bus::singly);
    let contests = vec![
        Contest::new("busway", on_bus::version(), watched(Traced::Share0)),
        Contest::new("off", on_bus::version(), |messages| run(messages, Watched::No, on_bus::singly)),
        Contest::new("by-exporter", on_bus::version(), watched(Traced::Exporter0)),
    ];
    interleave(terms, question, contests)
}

/// Runs the suite with metrics and tracing, of events that bear a trace.
///
/// # Errors
/// A message is lost.
pub fn measure_unsampled(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question { name: "inproc/1p1c-unsampled", note: UNSAMPLED_NOTE, unit: UNIT };
    let contests = vec![
        Contest::new("busway", on_bus::version(), |messages| {
            run(messages, Watched::MetricsAndTraced(Traced::Share0), unsampled)
        }),
        Contest::new("off", on_bus::version(), |messages| run(messages, Watched::No, unsampled)),
    ];
    interleave(terms, question, contests)
}

#[derive(Debug, Clone, Copy)]
enum Watched {
    No,
    Metrics,
    MetricsAndTraced(Traced),
}

impl Watched {
    fn bus(self, runtime: &Runtime) -> Result<Bus> {
        let builder = match self {
            Self::No => Bus::memory(),
            Self::Metrics => measured(Bus::memory()),
            Self::MetricsAndTraced(traced) => traced.bus(measured(Bus::memory())),
        };
        Ok(runtime.block_on(builder.start())?)
    }

    const fn traced(self) -> Traced {
        match self {
            Self::No | Self::Metrics => Traced::No,
            Self::MetricsAndTraced(traced) => traced,
        }
    }
}

fn run(
    messages: u64,
    watched: Watched,
    publish: impl Fn(&Bus, &Arc<Publisher<Sample>>, Range<u64>) -> Result<()>,
) -> Result<Lap> {
    let _program = watched.traced().program()?;
    on_bus::one_to_one(messages, |runtime| watched.bus(runtime), publish)
}

/// Publishes events that bear a trace which is not recorded.
fn unsampled(_: &Bus, publisher: &Arc<Publisher<Sample>>, numbers: Range<u64>) -> Result<()> {
    pollster::block_on(async {
        for number in numbers {
            let draft = publisher.draft(Sample::new(number)).meta("traceparent", UNSAMPLED);
            publisher.publish_event(draft).await?;
        }
        Ok(())
    })
}

const UNIT: Unit = Unit::PerSecond("events/s");
const METRICS: &str =
    "the terms of inproc/1p1c; busway: with metrics, which nobody renders; off: without, in the same run";
const TRACED: &str = "the terms of inproc/1p1c; busway: with metrics and Tracing::otel().sample(0), outside of any trace; by-exporter: with metrics, Tracing::otel() and an \
                      Otlp::sample(0), which is asked for each publish; off: with neither";
const UNSAMPLED_NOTE: &str = "the terms of inproc/1p1c, of drafts whose metadata bear a traceparent with the flag 0; busway: with metrics and Tracing::otel(); off: with neither, \
                              the same drafts";
