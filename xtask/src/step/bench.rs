//! `bench`: hands over to the harness in `benches/`, which no other command builds.

use std::path::{Path, absolute};

use anyhow::{Context, Result};

use crate::process::Call;
use crate::server::running::Running;
use crate::server::{self, Spec, binary};
use crate::workspace::Workspace;

/// What the harness is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    /// Measure suites.
    Measure(Length),
    /// Compare instruction counts with the committed baseline.
    Check,
    /// Write that baseline.
    Bless,
    /// List the suites.
    List,
}

/// How long the harness measures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    /// Long enough for numbers that can be compared.
    Full,
    /// Long enough to see that it works.
    Quick,
}

/// Builds the harness and the programs that it starts, in release mode, and runs it in the root of the workspace.
pub(crate) fn run(workspace: &Workspace, task: Task, suites: &[String], json: Option<&Path>) -> Result<()> {
    Call::cargo(workspace).args(["build", "--release", "-p", PACKAGE, "--bins"]).run()?;
    let call = Call::cargo(workspace).args(["run", "--release", "--quiet", "-p", PACKAGE, "--"]).args(suites);
    let mut call = match task {
        Task::Measure(Length::Full) => call,
        Task::Measure(Length::Quick) => call.arg("--quick"),
        Task::Check => call.arg("--check"),
        Task::Bless => call.arg("--bless"),
        Task::List => call.arg("--list"),
    };
    if let Some(file) = json {
        // The harness runs in the root; the path was written where the user stands.
        let file = absolute(file).with_context(|| format!("not a path: {}", file.display()))?;
        call = call.arg("--json").arg(file);
    }
    let mut servers = Vec::new();
    if matches!(task, Task::Measure(_)) {
        for spec in SERVERS.into_iter().filter(|spec| asks_for(suites, spec)) {
            let Some(server) = start(workspace, &spec)? else { continue };
            call = call.env(&spec.handed_on_in(), server.handed_on());
            servers.push(server);
        }
    }
    // They go when the harness has ended, well or not.
    call.run()
}

/// `None`, and a line that says so, where the program is not on this machine.
fn start(workspace: &Workspace, spec: &Spec) -> Result<Option<Running>> {
    let Some(program) = binary::find(spec.kind.program())? else {
        println!("{}: left out: {}", spec.name, binary::missing(spec.kind.program()));
        return Ok(None);
    };
    // Where the harness keeps its files, so that all contenders write to one disk.
    let server = Running::start(spec, &program, &workspace.target("bench/tmp"))?;
    println!("{}: {} at {}", spec.name, program.display(), server.handed_on());
    Ok(Some(server))
}

/// Whether one of these words means a suite with this server: as the harness reads them, a name, or the start of names.
fn asks_for(suites: &[String], spec: &Spec) -> bool {
    let mut asked = [BROKERS].into_iter().chain((*spec == server::REDIS_EVERYSEC).then_some(KEYS));
    suites.is_empty()
        || asked
            .any(|name| suites.iter().any(|word| word.starts_with(name) || name.starts_with(word.as_str())))
}

/// The suites that talk to all servers.
const BROKERS: &str = "brokers/";
/// One that talks to one of them.
const KEYS: &str = "reliability/redis-idempotency";

/// The servers, by the names of the contenders.
const SERVERS: [Spec; 4] =
    [server::NATS_DEFAULT, server::NATS_ALWAYS, server::REDIS_ALWAYS, server::REDIS_EVERYSEC];

const PACKAGE: &str = "busway-benches";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_started_for_the_suites_that_talk_to_them() {
        let asked = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
            SERVERS
                .into_iter()
                .filter(|spec| asks_for(&words, spec))
                .map(|spec| spec.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(asked(&[]).len(), 4, "all suites");
        for word in ["brokers", "brokers/publish-1", "brokers/pub", "bro"] {
            assert_eq!(asked(&["inproc", word]).len(), 4, "{word}");
        }
        assert_eq!(asked(&["reliability"]), ["redis-everysec"]);
        assert!(asked(&["inproc", "durable/synced-1", "reliability/failing-keys"]).is_empty());
    }
}
