//! `test`: everything that proves the project.
//!
//! Unit and integration tests (compile-fail tests and the examples among them) run under cargo-nextest when it is
//! installed and under `cargo test` when not; then come the doctests, which nextest cannot run, what needs a file or a
//! compiler that is not everywhere, and the loom models, which need the crate built another way.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::process::Call;
use crate::report::{Report, Verdict};
use crate::server::binary::{self, Program};
use crate::step::disk;
use crate::tally::{Ended, Runner, Summary};
use crate::workspace::Workspace;

/// Whether the loom models are run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loom {
    /// Run them, after everything else.
    Run,
    /// Leave them out: they take an optimized build of their own.
    LeaveOut,
}

/// Runs all of it, whatever fails on the way, and adds the runners' summaries to the report.
pub(crate) fn run(workspace: &Workspace, report: &mut Report, loom: Loom) {
    let has_nextest = Call::cargo(workspace).args(["nextest", "--version"]).succeeds();
    run_all(workspace, report, has_nextest, ["tests", "doctests", "tests and doctests"], &["--all-features"]);
    run_year(workspace, report, has_nextest);
    run_disk(workspace, report, has_nextest);
    for tests in &WITH_PROGRAMS {
        run_with(workspace, report, has_nextest, tests);
    }
    // On the mock cluster of librdkafka, which is built from its sources in C: only when asked for, and with the features that need nothing of the system.
    let names = ["topics in Kafka", "doctests of Kafka", "topics in Kafka and doctests"];
    run_all(workspace, report, has_nextest, names, &["-p", "busway-kafka"]);
    report.measure("compiler messages", || check_messages(workspace));
    match loom {
        Loom::Run => run_models(workspace, report),
        Loom::LeaveOut => report.measure("loom", || Ok(Verdict::LeftOut("--no-loom was given".to_owned()))),
    }
}

/// Tests and doctests of what the arguments say; steps are called after the tests, the doctests, and both where one runner has them.
fn run_all(
    workspace: &Workspace,
    report: &mut Report,
    has_nextest: bool,
    [tests, doctests, both]: [&str; 3],
    of: &[&str],
) {
    let cargo = |command: &[&str]| Call::cargo(workspace).args(command).args(of).arg("--no-fail-fast");
    if has_nextest {
        run_one(report, tests, Runner::Nextest, cargo(&["nextest", "run"]));
        run_one(report, doctests, Runner::BuiltIn, cargo(&["test", "--doc"]));
    } else {
        run_one(report, both, Runner::BuiltIn, cargo(&["test"]));
    }
}

fn run_one(report: &mut Report, name: &str, runner: Runner, call: Call) {
    let mut summary = Summary::default();
    report.measure(name, || {
        let echoed = call.echoed()?;
        let status = echoed.status();
        summary = Summary::of(name, runner, &echoed.lines, ended(&status));
        status?;
        Ok(Verdict::Passed)
    });
    report.add_summary(summary);
}

fn ended(status: &Result<()>) -> Ended {
    if status.is_ok() { Ended::Well } else { Ended::Badly }
}

/// The main job over a whole year, whose file is too large to ship. It is looked for where the variable says, then in a
/// folder for shared data beside the workspace.
fn run_year(workspace: &Workspace, report: &mut Report, has_nextest: bool) {
    let beside = workspace.root().join("../shared/data").join(YEAR.file);
    let file = env::var_os(YEAR.variable).map_or(beside, PathBuf::from);
    let Ok(file) = file.canonicalize() else {
        let missing = format!("{} is not here; name it in {}", YEAR.file, YEAR.variable);
        return report.measure(YEAR.step, || Ok(Verdict::LeftOut(missing)));
    };
    let cargo = Call::cargo(workspace).env(YEAR.variable, file);
    if has_nextest {
        let filter = format!("test({})", YEAR.test);
        let year = cargo.args(["nextest", "run", "--all-features", "--run-ignored", "only", "-E", &filter]);
        run_one(report, YEAR.step, Runner::Nextest, year);
    } else {
        let year = cargo.args(["test", "--all-features", "--test", "it", "--", "--ignored", YEAR.test]);
        run_one(report, YEAR.step, Runner::BuiltIn, year);
    }
}

struct Year {
    step: &'static str,
    test: &'static str,
    file: &'static str,
    variable: &'static str,
}

const YEAR: Year = Year {
    step: "flights of a year",
    test: "the_full_year",
    file: "flights-2013.csv.xz",
    variable: "BUSWAY_FLIGHTS_YEAR",
};

/// Power cuts on a file system of the kernel, which take root and loop devices.
fn run_disk(workspace: &Workspace, report: &mut Report, has_nextest: bool) {
    const STEP: &str = "power cuts on ext4";
    match disk::obstacle(workspace) {
        Ok(None) => {}
        Ok(Some(obstacle)) => return report.measure(STEP, || Ok(Verdict::LeftOut(obstacle))),
        Err(error) => return report.measure(STEP, || Err(error)),
    }
    let cargo = Call::cargo(workspace);
    if has_nextest {
        let filter = format!("test({})", disk::TESTS);
        let cuts = cargo.args(["nextest", "run", "--all-features", "--run-ignored", "only", "-E", &filter]);
        run_one(report, STEP, Runner::Nextest, cuts);
    } else {
        let cuts = cargo.args(["test", "--all-features", "--test", "power", "--", "--ignored", disk::TESTS]);
        run_one(report, STEP, Runner::BuiltIn, cuts);
    }
}

/// Tests with programs of other projects: they start servers of their own, and are told where the programs are.
fn run_with(workspace: &Workspace, report: &mut Report, has_nextest: bool, tests: &WithPrograms) {
    let WithPrograms { step, package, prefix, programs, needed, place } = *tests;
    let mut cargo = Call::cargo(workspace);
    for (program, variable) in programs {
        let file = match binary::find(*program) {
            Ok(Some(file)) => file,
            Ok(None) => return report.measure(step, || without(*program, needed)),
            Err(error) => return report.measure(step, || Err(error)),
        };
        cargo = cargo.env(variable, file);
    }
    if has_nextest {
        let filter = format!("test({prefix})");
        let cargo = cargo.args(["nextest", "run", "--all-features", "--run-ignored", "only", "-E", &filter]);
        let tests = match place {
            // With the features of the whole: nothing is built twice.
            Place::Default => cargo,
            Place::Beside => cargo.args(["-p", package]),
        };
        run_one(report, step, Runner::Nextest, tests);
    } else {
        // With the features of the whole: nothing is built twice.
        let tests =
            cargo.args(["test", "--all-features", "-p", package, "--test", "it", "--", "--ignored", prefix]);
        run_one(report, step, Runner::BuiltIn, tests);
    }
}

/// A program is not here.
fn without(program: Program, needed: Needed) -> Result<Verdict> {
    let missing = binary::missing(program);
    match needed {
        Needed::InCi if env::var_os("CI").is_some() => bail!("{missing}"),
        Needed::InCi | Needed::Nowhere => Ok(Verdict::LeftOut(missing)),
    }
}

/// Whether tests are left out where a program is missing.
#[derive(Debug, Clone, Copy)]
enum Needed {
    /// Not where the project is judged: there it is a failure.
    InCi,
    /// Everywhere.
    Nowhere,
}

/// Whether a package is built without being asked for.
#[derive(Debug, Clone, Copy)]
enum Place {
    Default,
    Beside,
}

#[derive(Debug, Clone, Copy)]
struct WithPrograms {
    step: &'static str,
    package: &'static str,
    /// How their names begin; each is ignored unless asked for.
    prefix: &'static str,
    /// All of these have to be there; each with the variable by which the tests are told of it.
    programs: &'static [(Program, &'static str)],
    needed: Needed,
    place: Place,
}

const WITH_PROGRAMS: [WithPrograms; 6] = [
    WithPrograms {
        step: "streams in NATS",
        package: "busway-nats",
        prefix: "on_nats",
        programs: &[(binary::NATS, binary::NATS.variable)],
        needed: Needed::InCi,
        place: Place::Default,
    },
    WithPrograms {
        step: "streams in Debian's NATS",
        package: "busway-nats",
        prefix: "on_nats",
        // The same tests, and an older server.
        programs: &[(binary::OLD_NATS, binary::NATS.variable)],
        needed: Needed::InCi,
        place: Place::Default,
    },
    WithPrograms {
        step: "processes at NATS",
        package: "busway-examples",
        prefix: "on_nats",
        programs: &[(binary::NATS, binary::NATS.variable)],
        needed: Needed::InCi,
        place: Place::Beside,
    },
    WithPrograms {
        step: "processes at Kafka",
        package: "busway-examples",
        prefix: "on_kafka",
        // Its cluster is in the test's own process.
        programs: &[],
        needed: Needed::Nowhere,
        place: Place::Beside,
    },
    WithPrograms {
        step: "keys and streams in Redis",
        package: "busway-redis",
        prefix: "on_redis",
        programs: &[(binary::REDIS, binary::REDIS.variable)],
        needed: Needed::InCi,
        place: Place::Default,
    },
    WithPrograms {
        step: "metrics in Prometheus",
        package: "busway",
        prefix: "on_prometheus",
        programs: &[
            (binary::PROMETHEUS, binary::PROMETHEUS.variable),
            (binary::PROMTOOL, binary::PROMTOOL.variable),
        ],
        needed: Needed::InCi,
        place: Place::Default,
    },
];

/// The compile-fail tests compare the compiler's words, which change from release to release: under another one than the
/// expected texts are of, they pass without a look.
fn check_messages(workspace: &Workspace) -> Result<Verdict> {
    let version = Call::program(workspace, env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("--version")
        .output()?;
    if version.starts_with(MESSAGES_OF) {
        return Ok(Verdict::Passed);
    }
    let version = version.trim();
    Ok(Verdict::LeftOut(format!("the expected texts are those of {MESSAGES_OF}x, this is {version}")))
}

/// As in each `tests/it/ui.rs`.
const MESSAGES_OF: &str = "rustc 1.95.";

/// Loom tries every order in which threads can meet, up to a number of forced switches. It needs its own types in place of those of the standard
/// library, hence the `cfg` and a target folder of its own: sharing one would build everything twice each time.
fn run_models(workspace: &Workspace, report: &mut Report) {
    let Models { package, filter } = LOOM;
    let depth = env::var("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|_| PREEMPTIONS_MAX.to_owned());
    let mut summary = None;
    report.measure("loom", || {
        if !has_models(&workspace.root().join("crates").join(package).join("src"))? {
            return Ok(Verdict::LeftOut(format!("{package} has no loom models")));
        }
        let echoed = Call::cargo(workspace)
            .args(["test", "-p", package, "--release", "--lib", filter])
            .env("RUSTFLAGS", "--cfg busway_loom")
            .env("LOOM_MAX_PREEMPTIONS", &depth)
            .env("CARGO_TARGET_DIR", workspace.target("loom"))
            .echoed()?;
        let status = echoed.status();
        let found = summary.insert(Summary::of("loom", Runner::BuiltIn, &echoed.lines, ended(&status)));
        status?;
        if found.tally.is_none_or(|tally| tally.passed == 0) {
            bail!("{package} has loom models, and the filter `{filter}` ran none of them");
        }
        Ok(Verdict::Passed)
    });
    if let Some(summary) = summary {
        report.add_summary(summary);
    }
}

/// Whether any source file below the folder calls `loom::model`.
fn has_models(folder: &Path) -> Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            has_models(&path)?
        } else {
            path.extension().is_some_and(|end| end == "rs")
                && fs::read_to_string(&path)?.contains("loom::model")
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

struct Models {
    package: &'static str,
    filter: &'static str,
}

/// Where the loom models live: unit tests of this crate whose path contains this word.
const LOOM: Models = Models { package: "busway-engine", filter: "loom" };

/// How often a model may take the processor from a thread that could go on. Orders grow exponentially with it: loom's
/// manual advises 2 or 3, which find nearly all faults. At 4 the models of the engine take seconds; without a bound
/// they do not end in ten minutes. The environment variable of the same meaning overrides it.
const PREEMPTIONS_MAX: &str = "4";
