//! The benchmark: busway beside what people use instead, in the same run, interleaved.
//!
//! `cargo xtask bench` builds and runs it. On a shared machine only ratios between contenders of one run mean anything.
#![expect(clippy::disallowed_methods, reason = "a benchmark owns its clock and its threads")]

mod inproc;
mod report;

use std::fs;
use std::path::PathBuf;

use clap::Parser;

use crate::report::{Report, Suite};

/// Measures busway beside what people use instead.
#[derive(Debug, Parser)]
struct Arguments {
    /// Suites to run, by the start of their names; all when none is given.
    suites: Vec<String>,
    /// Fewer events and runs: a minute at most.
    #[arg(long)]
    quick: bool,
    /// Also writes the report as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let wanted = |name: &str| {
        arguments.suites.is_empty() || arguments.suites.iter().any(|suite| name.starts_with(&**suite))
    };
    let effort = if arguments.quick { inproc::QUICK } else { inproc::FULL };
    let mut suites: Vec<Suite> = Vec::new();
    for (name, measure) in inproc::SUITES {
        if wanted(name) {
            eprintln!("measuring {name} …");
            suites.push(measure(effort)?);
        }
    }
    if suites.is_empty() {
        return Err(format!("no suite is named {:?}", arguments.suites).into());
    }
    let report = Report::new(suites);
    println!("{report}");
    if let Some(file) = arguments.json {
        fs::write(file, report.to_json())?;
    }
    Ok(())
}
