//! From the intended send to the handler, at a load that every contender can carry.
//!
//! Open loop: a task sends message n at `start + n × period`, whatever became of those before it, and lets its worker run
//! others while nothing is due. A message that had to wait because the generator, the queue or the receiver was late counts from
//! the time at which it *should* have been sent (no coordinated omission). The load is the same for all: a share of what the
//! slowest contender of `inproc/1p1c-async` handled in the same run, with a publisher on the same two workers. (A generator on a
//! thread of its own was tried: with two cores it takes one of them away, and half of that rate already filled queues.)

mod contenders;
mod generator;
mod recorder;

use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use self::contenders::{CONTENDERS, Contender as Sender};
use self::generator::Load;
use crate::inproc::one_to_one_async;
use crate::progress::Progress;
use crate::report::{Contender, Curve, Suite};
use crate::terms::Terms;

/// Runs the suites at half of the slowest contender's rate.
///
/// # Errors
/// A message is lost.
pub fn measure_half(terms: &Terms) -> Result<Vec<Suite>> {
    measure(terms, "latency/half", 0.5)
}

/// Runs the suites at four fifths of the slowest contender's rate.
///
/// # Errors
/// A message is lost.
pub fn measure_eighty(terms: &Terms) -> Result<Vec<Suite>> {
    measure(terms, "latency/eighty", 0.8)
}

fn measure(terms: &Terms, name: &'static str, share: f64) -> Result<Vec<Suite>> {
    let (slowest, rate) = one_to_one_async::slowest(terms)?;
    let load = Load::new(rate * share, terms.block * BLOCKS);
    let progress = Progress::new(name, CONTENDERS.len() * (terms.rounds + 1));
    let mut runs: Vec<Vec<Histogram<u64>>> = CONTENDERS.iter().map(|_| Vec::new()).collect();
    for round in 0..=terms.rounds {
        for (contender, runs) in CONTENDERS.iter().zip(&mut runs) {
            progress.running(contender.name);
            let latencies =
                (contender.run)(&load).with_context(|| format!("{} of {name}", contender.name))?;
            progress.ran();
            if round > 0 {
                runs.push(latencies);
            }
        }
    }
    progress.done();
    let note = format!(
        "from intended send to async handler; a generator task on the same two workers offers {:.0} messages a second to each, {:.0} % of what {slowest} \
         handled in inproc/1p1c-async of this run; queues of 1,024 that block (ruststream-memory: no bound), nothing lost",
        load.per_second(),
        share * 100.0
    );
    let mut suites: Vec<_> = QUANTILES.iter().map(|quantile| suite(name, quantile, &note, &runs)).collect();
    if let Some(main) = suites.first_mut() {
        main.curves = CONTENDERS
            .iter()
            .zip(&runs)
            .map(|(contender, runs)| curve(contender, runs))
            .collect::<Result<_>>()?;
    }
    Ok(suites)
}

fn suite(name: &str, quantile: &Quantile, note: &str, runs: &[Vec<Histogram<u64>>]) -> Suite {
    let contenders = CONTENDERS.iter().zip(runs).map(|(contender, runs)| {
        let samples = runs.iter().map(|run| nanoseconds(run.value_at_quantile(quantile.at))).collect();
        Contender::new(contender.name, (contender.version)(), samples)
    });
    Suite {
        name: format!("{name}{}", quantile.suffix),
        unit: format!("ns {}", quantile.words),
        higher_is_better: false,
        note: note.to_owned(),
        contenders: contenders.collect(),
        curves: Vec::new(),
    }
}

fn curve(contender: &Sender, runs: &[Histogram<u64>]) -> Result<Curve> {
    let mut all = recorder::histogram()?;
    for run in runs {
        all.add(run).context("the histograms differ")?;
    }
    // Each nine in ten steps.
    let nines = (0..=50_u32).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 10.0));
    let points = nines.map(|quantile| (quantile * 100.0, nanoseconds(all.value_at_quantile(quantile))));
    Ok(Curve { name: contender.name.to_owned(), points: points.collect() })
}

#[expect(clippy::cast_precision_loss, reason = "three digits are kept anyway")]
fn nanoseconds(value: u64) -> f64 {
    value as f64
}

/// A point of the distribution and its suite.
struct Quantile {
    suffix: &'static str,
    words: &'static str,
    at: f64,
}

/// The first one bears the plain name, because it is the one that is promised.
const QUANTILES: [Quantile; 4] = [
    Quantile { suffix: "", words: "p99", at: 0.99 },
    Quantile { suffix: "-p50", words: "p50", at: 0.5 },
    Quantile { suffix: "-p99.9", words: "p99.9", at: 0.999 },
    Quantile { suffix: "-max", words: "max", at: 1.0 },
];

/// A run lasts so many blocks.
const BLOCKS: u32 = 3;

/// What a run must last at least, so that a thousandth of it is many messages.
const RUN_MIN: Duration = Duration::from_millis(300);
