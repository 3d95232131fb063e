//! Instructions a message, counted by callgrind: the one number that a busy machine does not move.
//!
//! `busway-workload` does a fixed amount of work on one thread inside [`workload::counted_region`]; callgrind counts
//! nothing outside of it, so that start-up, tables and warm-up cost nothing. The counts of busway are held to a committed baseline.

pub mod baseline;
pub mod callgrind;
pub mod workload;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use self::baseline::{Baseline, Change};
use self::callgrind::{Callgrind, Missing};
use self::workload::WORKLOADS;
use crate::inproc::on_bus::version;
use crate::lockfile::version_of;
use crate::progress::Progress;
use crate::report::{Contender, Suite, number};
use crate::statistics::median;
use crate::terms::Terms;

/// Counts all workloads. Without valgrind there is nothing to report, and a line says so.
///
/// # Errors
/// A workload fails.
pub fn measure(_terms: &Terms) -> Result<Vec<Suite>> {
    match Callgrind::find() {
        Ok(callgrind) => count(&callgrind),
        Err(Missing(what)) => {
            eprintln!("instructions: left out: {what}");
            Ok(Vec::new())
        }
    }
}

/// Counts, and compares with the committed baseline.
///
/// # Errors
/// Valgrind is missing, a workload fails, or there is no baseline.
pub fn check() -> Result<ExitCode> {
    let baseline = Baseline::read(Path::new(BASELINE))?;
    let callgrind = Callgrind::find().map_err(|Missing(what)| anyhow::anyhow!("left out: {what}"))?;
    let counts = ours(&count(&callgrind)?);
    let changes = baseline.changes(&counts);
    println!("{:<28} {:>10} {:>10} {:>8}", "instructions a message", "baseline", "now", "change");
    for change in &changes {
        println!("{change}");
    }
    if changes.iter().any(Change::is_failure) {
        println!(
            "grown by more than {:.0} %: make it cheaper, or say why not and run `cargo xtask bench --bless`",
            baseline::GROWTH_MAX * 100.0
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts, and makes the counts the baseline.
///
/// # Errors
/// Valgrind is missing, a workload fails, or the file cannot be written.
pub fn bless() -> Result<ExitCode> {
    let callgrind = Callgrind::find().map_err(|Missing(what)| anyhow::anyhow!("left out: {what}"))?;
    let counts = ours(&count(&callgrind)?);
    for (name, count) in &counts {
        println!("{name:<28} {:>10}", number(*count));
    }
    Baseline::of(counts).write(Path::new(BASELINE))?;
    println!("written: {BASELINE}");
    Ok(ExitCode::SUCCESS)
}

/// What of the suites is ours, by workload.
fn ours(suites: &[Suite]) -> BTreeMap<String, f64> {
    let counts = suites.iter().filter_map(|suite| {
        let name = suite.name.trim_start_matches("instructions/").to_owned();
        Some((name, suite.contender("busway")?.median()))
    });
    counts.collect()
}

fn count(callgrind: &Callgrind) -> Result<Vec<Suite>> {
    let mut suites: Vec<Suite> = Vec::new();
    let progress = Progress::new("instructions", WORKLOADS.len() * RUNS);
    for workload in WORKLOADS {
        let mut samples = Vec::new();
        for _ in 0..RUNS {
            progress.running(workload.suite);
            samples.push(callgrind.count(workload)?);
            progress.ran();
        }
        if median(&samples) < 1.0 {
            bail!(
                "callgrind saw nothing of {} by {}: is its region still a function?",
                workload.suite,
                workload.contender
            );
        }
        let version = match workload.contender {
            "busway" => version(),
            "tokio-mpsc" => version_of("tokio"),
            "hashmap" => "std".to_owned(),
            other => version_of(other),
        };
        let contender = Contender::new(workload.contender, version, samples);
        let name = format!("instructions/{}", workload.suite);
        match suites.last_mut().filter(|suite| suite.name == name) {
            Some(suite) => suite.contenders.push(contender),
            None => suites.push(Suite {
                name,
                unit: format!("instructions/{}", workload.per),
                higher_is_better: false,
                note: workload.note.to_owned(),
                contenders: vec![contender],
                curves: Vec::new(),
            }),
        }
    }
    progress.done();
    suites.first().context("there are no workloads")?;
    Ok(suites)
}

/// Only the hash seeds differ from run to run, and that by less than two percent.
const RUNS: usize = 1;

/// Committed, so that a change is seen where it is made; read from the root of the workspace.
const BASELINE: &str = "benches/instructions.json";
