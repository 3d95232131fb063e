//! Examples, built.

use std::path::PathBuf;
use std::process::Command;

/// An example of a package, built now if it was not. In the folder and the profile of this test.
pub(crate) fn example(package: &str, name: &str) -> Command {
    let this = std::env::current_exe().unwrap();
    let folder = this.ancestors().nth(2).unwrap();
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", package, "--example", name, "--profile", profile]);
    build.arg("--target-dir").arg(folder.parent().unwrap());
    assert!(build.status().unwrap().success(), "{name} does not build");
    let binary: PathBuf = folder.join("examples").join(name);
    Command::new(binary.with_extension(std::env::consts::EXE_EXTENSION))
}
