//! The command line of the harness.

use std::path::PathBuf;

use clap::Parser;

use crate::terms::Terms;

/// Measures busway beside what people use instead.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(name = "cargo xtask bench", max_term_width = 100)]
pub struct Arguments {
    /// Suites to run: a name (`inproc/1p1c`) or the start of names (`inproc`, `inproc/middleware`); all when none is given.
    #[arg(value_name = "SUITE")]
    pub suites: Vec<String>,
    /// Fewer and shorter runs: a minute at most for a group of suites.
    #[arg(long)]
    pub quick: bool,
    /// Also writes the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Only counts instructions, and fails if a message costs more than the committed baseline allows.
    #[arg(long, conflicts_with_all = ["suites", "bless", "quick"])]
    pub check: bool,
    /// Only counts instructions, and makes them the baseline.
    #[arg(long, conflicts_with_all = ["suites", "quick"])]
    pub bless: bool,
    /// Lists the suites and measures nothing.
    #[arg(long)]
    pub list: bool,
}

impl Arguments {
    /// How much is measured.
    #[must_use]
    pub const fn terms(&self) -> Terms {
        if self.quick { Terms::QUICK } else { Terms::FULL }
    }

    /// Which of the suites are asked for.
    ///
    /// # Errors
    /// The first word that no suite answers to.
    pub fn selected<'a>(&self, names: &[&'a str]) -> Result<Vec<&'a str>, String> {
        if self.suites.is_empty() {
            return Ok(names.to_vec());
        }
        let unknown = self.suites.iter().find(|word| !names.iter().any(|name| answers(name, word, names)));
        if let Some(unknown) = unknown {
            return Err(unknown.clone());
        }
        let wanted = |name: &&&str| self.suites.iter().any(|word| answers(name, word, names));
        Ok(names.iter().filter(wanted).copied().collect())
    }
}

/// A word that is the whole name of a suite means that one; any other means all whose names start with it.
fn answers(name: &str, word: &str, names: &[&str]) -> bool {
    if names.contains(&word) { name == word } else { name.starts_with(word) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const NAMES: [&str; 4] = ["inproc/1p1c", "inproc/1p1c-async", "inproc/2p1c", "route/four-warm"];

    fn selected(words: &[&str]) -> Result<Vec<&'static str>, String> {
        Arguments::parse_from(["bench"].iter().chain(words)).selected(&NAMES)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn suites_are_named_whole_or_by_their_start() {
        assert_eq!(selected(&[]).unwrap(), NAMES);
        assert_eq!(selected(&["inproc"]).unwrap(), NAMES[..3]);
        assert_eq!(selected(&["inproc/1p1c"]).unwrap(), NAMES[..1], "not its longer neighbour");
        assert_eq!(selected(&["inproc/1p"]).unwrap(), NAMES[..2]);
        assert_eq!(selected(&["route", "inproc/2p1c"]).unwrap(), NAMES[2..], "in the order of the list");
    }

    #[test]
    fn a_word_that_means_no_suite_is_an_error() {
        assert_eq!(selected(&["inproc", "brokrs"]).unwrap_err(), "brokrs");
    }
}
