//! A fixed amount of work on one thread, for callgrind: `busway-workload SUITE CONTENDER`.

use std::env;

use anyhow::{Context, Result};
use busway_benches::instructions::workload::Workload;

fn main() -> Result<()> {
    let mut words = env::args().skip(1);
    let mut word = || words.next().context("two words are needed: a workload's suite and its contender");
    Workload::find(&word()?, &word()?)?.run()
}
