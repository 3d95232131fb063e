//! Running an example as a process.

use std::path::PathBuf;
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

/// The built example, beside this test. A full test build makes all of them; when only this test was built, the missing one is
/// built here.
fn binary(example: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let binary = profile.join("examples").join(example).with_extension(std::env::consts::EXE_EXTENSION);
    if !binary.exists() {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut build = Command::new(cargo);
        build.args(["build", "--package", "busway", "--example", example]);
        build.arg("--target-dir").arg(profile.parent().unwrap());
        assert!(build.status().unwrap().success(), "{example} does not build");
    }
    binary
}
