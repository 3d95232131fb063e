//! Automation of the workspace: `cargo xtask <command>`.
//!
//! Every check of the project is one command here; `.ci/run` and the workflows under `.github/` only call them,
//! so that what fails there fails in the same words on a desk. Reading order: [`cli`] lists the commands, each
//! has one file in [`step`], [`report`] prints what came of them, [`server`] starts what
//! some of them talk to, [`tidy`] holds the rules of the house.
#![expect(
    clippy::disallowed_methods,
    reason = "a tool for developers: it measures its own steps, and no part of it runs inside an event bus"
)]

mod cli;
mod process;
mod report;
mod server;
mod step;
mod tally;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let command = cli::Cli::parse().command;
    match command.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
