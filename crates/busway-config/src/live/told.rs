//! What is said of a configuration that came.

use busway_engine::Bus;
use busway_engine::bus::Reloading;

use crate::diff::Diff;
use crate::problem::{ConfigError, Problem};

/// Says what became of it, to whoever watches the bus, to the auditor, and in the log.
pub(crate) fn tell(reloading: Reloading<'_>, outcome: &Result<Diff, ConfigError>) {
    match outcome {
        Ok(diff) => reloading.applied(diff.changes(), &in_a_line(diff)),
        Err(error) => {
            let first = error.problems().first().map(Problem::in_a_line).unwrap_or_default();
            reloading.refused(error.problems().len() + error.left_out(), &first);
        }
    }
}

/// Says in the log what keeps a configuration that was in force from being so again, now that another one was refused.
pub(crate) fn tell_lost(bus: &Bus, problem: &Problem) {
    let line = problem.in_a_line();
    let problem = &*bus.redacted(&line);
    tracing::error!(problem, "what was in force could not be restored as a whole");
}

fn in_a_line(diff: &Diff) -> String {
    diff.to_string().trim_end().replace('\n', "; ")
}
