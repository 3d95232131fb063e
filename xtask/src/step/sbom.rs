//! `sbom`: a bill of materials of each published crate, for those who must know what they ship.

use std::fs;

use anyhow::{Context, Result};

use crate::process::Call;
use crate::report::Verdict;
use crate::workspace::Workspace;

/// Writes `sbom/CRATE.cdx.json` (CycloneDX) into the target folder; left out without cargo-cyclonedx.
pub(crate) fn run(workspace: &Workspace) -> Result<Verdict> {
    if !Call::cargo(workspace).args(["cyclonedx", "--version"]).succeeds() {
        return Ok(Verdict::LeftOut("cargo-cyclonedx is not installed".to_owned()));
    }
    let folder = workspace.target("sbom");
    fs::create_dir_all(&folder).context("cannot make the folder for the bills")?;
    // The tool writes one file beside each manifest, of the members that are not published too.
    Call::cargo(workspace)
        .args(["cyclonedx", "--format", "json", "--all-features", "--quiet"])
        .args(["--override-filename", FILE])
        .run()?;
    for package in workspace.members() {
        let written = package.manifest_path.with_file_name(format!("{FILE}.json"));
        if crate::workspace::is_published(package) {
            let kept = folder.join(format!("{}.cdx.json", package.name));
            fs::copy(&written, &kept).with_context(|| format!("no bill of materials at {written}"))?;
            println!("{}", kept.display());
        }
        let _ = fs::remove_file(&written);
    }
    Ok(Verdict::Passed)
}

/// A name that no file of the project has: these files are moved away at once.
const FILE: &str = "busway-sbom";
