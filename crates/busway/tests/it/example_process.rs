//! Running an example as a process.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs an example of this crate with `arguments` and gives what it printed.
pub(crate) fn run(example: &str, arguments: &[&str]) -> Output {
    command(example, arguments).output().unwrap()
}

/// An example of this crate, ready to run with `arguments`.
pub(crate) fn command(example: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary(example));
    command.args(arguments);
    command
}

/// Runs an example that must succeed and gives its standard output.
pub(crate) fn stdout(example: &str, arguments: &[&str]) -> String {
    let output = run(example, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example} ended with {}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The built example, beside this test. A full test build has made all of them; when only this test was built, one that is
/// missing or older than its sources is built here, in the profile and with the features of this test.
fn binary(example: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let folder = this.ancestors().nth(2).unwrap();
    let binary = folder.join("examples").join(example).with_extension(std::env::consts::EXE_EXTENSION);
    if is_stale(&binary) {
        build(example, folder);
    }
    binary
}

fn build(example: &str, folder: &Path) {
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        // The one profile whose folder bears another name.
        "debug" => "dev",
        other => other,
    };
    let features: Vec<&str> = FEATURES.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--package", "busway", "--example", example, "--profile", profile]);
    build.args(["--no-default-features", "--features", &features.join(",")]);
    build.arg("--target-dir").arg(folder.parent().unwrap());
    assert!(build.status().unwrap().success(), "{example} does not build");
}

/// Whether one of the files that the example was made of is newer. Cargo lists them beside it.
fn is_stale(binary: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    let Some(built) = modified(binary) else { return true };
    let Ok(list) = std::fs::read_to_string(binary.with_extension("d")) else { return true };
    sources(&list).any(|source| modified(Path::new(&source)).is_none_or(|changed| changed > built))
}

/// The files behind the colon of a rule for `make`; a space in a name is written with a backslash before it.
fn sources(rule: &str) -> impl Iterator<Item = String> {
    let files = rule.split_once(": ").map(|(_, files)| files).unwrap_or_default();
    let files = files.trim_end().replace("\\ ", "\0");
    let names: Vec<String> = files.split_whitespace().map(|name| name.replace('\0', " ")).collect();
    names.into_iter()
}

/// Those of this crate, and whether this test was built with them.
const FEATURES: &[(&str, bool)] = &[
    ("config", cfg!(feature = "config")),
    ("derive", cfg!(feature = "derive")),
    ("http", cfg!(feature = "http")),
    ("logs", cfg!(feature = "logs")),
    ("otel", cfg!(feature = "otel")),
    ("prost", cfg!(feature = "prost")),
    ("redis", cfg!(feature = "redis")),
    ("schemars", cfg!(feature = "schemars")),
    ("tower", cfg!(feature = "tower")),
];

#[expect(clippy::disallowed_methods, reason = "the test turns back the times of its own files")]
#[test]
fn an_example_is_stale_when_it_is_missing_or_one_of_its_sources_is_newer() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stale {}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, binary) = (folder.join("a.rs"), folder.join("a"));
    assert!(is_stale(&binary), "missing");
    for file in [&source, &binary] {
        std::fs::write(file, "").unwrap();
    }
    assert!(is_stale(&binary), "nobody knows what it was made of");
    let escaped = |path: &Path| path.to_str().unwrap().replace(' ', "\\ ");
    std::fs::write(binary.with_extension("d"), format!("{}: {}\n", escaped(&binary), escaped(&source)))
        .unwrap();
    let built = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
    let set = |path: &Path, time| {
        std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    };
    set(&binary, built);
    set(&source, built);
    assert!(!is_stale(&binary), "made after its sources");
    set(&source, built + std::time::Duration::from_secs(1));
    assert!(is_stale(&binary), "a source is newer");
    std::fs::remove_dir_all(folder).unwrap();
}
