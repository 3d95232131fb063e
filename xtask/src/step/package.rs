//! `package`: what would be uploaded builds, from nothing but what would be uploaded.
//!
//! `cargo package` can verify that itself, but not twice: it unpacks our crates below cargo's home under a name that
//! is made of the target folder and the version, finds them there the next time, and then builds against last time's
//! code. So it only packs here. The packages are unpacked into a workspace of their own in the target folder, where
//! each finds the others by `[patch]`, as it would find them on the registry. Its tests stay at home where they need the
//! test kit; its examples are in the package, and build there.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use crate::process::Call;
use crate::report::Verdict;
use crate::workspace::{Workspace, is_published};

/// Which files may be in a package.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Files {
    /// Only committed ones, as for a release.
    Committed,
    /// The working tree as it is.
    AsTheyAre,
}

/// Fails when a published crate cannot be packaged, or when library and examples do not build from its package with its
/// default features.
pub(crate) fn run(workspace: &Workspace, files: Files) -> Result<Verdict> {
    let mut call =
        Call::cargo(workspace).args(["package", "--workspace", "--no-verify"]).args(unpublished(workspace));
    if let Files::AsTheyAre = files {
        call = call.arg("--allow-dirty");
    }
    call.run()?;

    let folder = workspace.target("packaged");
    unpack(workspace, &folder)?;
    Call::cargo(workspace)
        .args(["check", "--workspace", "--lib", "--examples", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        // Found from the root otherwise, and from there only when the target folder lies below it.
        .env("CARGO_TARGET_DIR", workspace.target(""))
        .run()?;
    Ok(Verdict::Passed)
}

/// `--exclude NAME` for each member that is not published.
fn unpublished(workspace: &Workspace) -> Vec<String> {
    let members = workspace.members().into_iter().filter(|package| !is_published(package));
    members.flat_map(|package| ["--exclude".to_owned(), package.name.to_string()]).collect()
}

/// Unpacks every package into the folder, which is emptied first, and makes a workspace of them.
fn unpack(workspace: &Workspace, folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).context("cannot remove old packages");
        }
        _ => fs::create_dir_all(folder).context("cannot make the folder for the packages")?,
    }
    let packages: Vec<_> =
        workspace.published().map(|package| (package.name.as_str(), package.version.to_string())).collect();
    for (name, version) in &packages {
        let file = workspace.target("package").join(format!("{name}-{version}.crate"));
        // As of now, and not of 2006, which all packaged files say they are of: cargo goes by that, and would take what it built of an earlier
        // package for this one's.
        Call::program(workspace, "tar").arg("-xzmf").arg(file).arg("-C").arg(folder).run()?;
    }
    let packages: Vec<_> = packages.iter().map(|(name, version)| (*name, version.as_str())).collect();
    fs::write(folder.join("Cargo.toml"), manifest(&packages)).context("cannot write the manifest")?;
    // The versions that everything else is tested with.
    fs::copy(workspace.root().join("Cargo.lock"), folder.join("Cargo.lock")).context("no lock file")?;
    Ok(())
}

/// A workspace in which each package stands for the crate of its name on the registry.
fn manifest(packages: &[(&str, &str)]) -> String {
    let mut text = "[workspace]\nresolver = \"3\"\nmembers = [\"*-*\"]\n\n[patch.crates-io]\n".to_owned();
    for (name, version) in packages {
        let _ = writeln!(text, "{name} = {{ path = \"{name}-{version}\" }}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_stands_in_for_the_crate_on_the_registry() {
        let text = manifest(&[("busway", "0.1.0"), ("busway-event", "0.1.0")]);
        assert!(text.starts_with("[workspace]\n"));
        assert!(text.ends_with(
            "busway = { path = \"busway-0.1.0\" }\nbusway-event = { path = \"busway-event-0.1.0\" }\n"
        ));
    }
}
