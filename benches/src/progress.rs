//! What is being measured, on standard error: a bar on a terminal, a line a suite elsewhere.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The progress of one suite.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    name: String,
}

impl Progress {
    /// Announces a suite of so many runs.
    #[must_use]
    pub fn new(name: &str, runs: usize) -> Self {
        let bar = if io::stderr().is_terminal() {
            let bar = ProgressBar::new(runs as u64);
            if let Ok(style) =
                ProgressStyle::with_template("{prefix:<24} [{bar:30}] {pos}/{len} {msg} {elapsed}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        } else {
            eprintln!("measuring {name}: {runs} runs");
            ProgressBar::hidden()
        };
        Self { bar, name: name.to_owned() }
    }

    /// This contender runs now.
    pub fn running(&self, contender: &str) {
        self.bar.set_message(contender.to_owned());
    }

    /// A run is over.
    pub fn ran(&self) {
        self.bar.inc(1);
    }

    /// The suite is over.
    pub fn done(self) {
        if self.bar.is_hidden() {
            eprintln!("measured  {}", self.name);
        }
        self.bar.finish_and_clear();
    }
}
