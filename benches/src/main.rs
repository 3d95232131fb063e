//! The harness: runs the suites that were asked for, prints and writes the report.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use busway_benches::arguments::Arguments;
use busway_benches::instructions;
use busway_benches::report::{Machine, Report};
use busway_benches::suites::SUITES;
use clap::Parser;

fn main() -> ExitCode {
    run(&Arguments::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.check || arguments.bless {
        return if arguments.bless { instructions::bless() } else { instructions::check() };
    }
    let names: Vec<_> = SUITES.iter().map(|(name, _)| *name).collect();
    if arguments.list {
        println!("{}", names.join("\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let selected = arguments
        .selected(&names)
        .map_err(|word| anyhow!("no suite is named {word:?}; there are: {}", names.join(", ")))?;
    let machine = Machine::here();
    let mut suites = Vec::new();
    for (name, measure) in SUITES.iter().filter(|(name, _)| selected.contains(name)) {
        suites.extend(measure(&arguments.terms()).with_context(|| format!("{name} was not measured"))?);
    }
    let report = Report::new(machine, suites);
    println!("{}", report.to_table());
    report.write(Path::new(FOLDER))?;
    if let Some(file) = &arguments.json {
        let json = report.to_json()? + "\n";
        std::fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    eprintln!("report and plots: {FOLDER}");
    Ok(ExitCode::SUCCESS)
}

/// Where the report goes; the harness runs in the root of the workspace.
const FOLDER: &str = "target/bench";
