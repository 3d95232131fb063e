//! The workspace as cargo sees it: where it lies, its crates, and which of them are published.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// What `cargo metadata` says about the workspace, without its third-party dependencies.
#[derive(Debug)]
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Asks cargo about the workspace that this program was built from.
    pub(crate) fn load() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let mut command = MetadataCommand::new();
        command.no_deps();
        // A binary that outlives a move of the checkout still works from inside the new one.
        if manifest.is_file() {
            command.manifest_path(manifest);
        }
        Ok(Self { metadata: command.exec().context("cannot read the workspace")? })
    }

    /// The folder of the root manifest.
    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// A folder or file in cargo's target folder, which need not lie inside the workspace.
    pub(crate) fn target(&self, name: &str) -> PathBuf {
        self.metadata.target_directory.as_std_path().join(name)
    }

    /// Every member, those that only developers use included.
    pub(crate) fn members(&self) -> Vec<&Package> {
        self.metadata.workspace_packages()
    }

    /// The crates that go to the registry.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.members().into_iter().filter(|package| is_published(package))
    }

    /// `-p NAME` for each published crate.
    pub(crate) fn published_arguments(&self) -> Vec<String> {
        arguments(self.published())
    }

    /// The same for those that a plain cargo command builds.
    pub(crate) fn published_default_arguments(&self) -> Vec<String> {
        arguments(self.published().filter(|package| self.is_default(package)))
    }

    /// The same for the others, which are built when they are asked for.
    pub(crate) fn published_beside_arguments(&self) -> Vec<String> {
        arguments(self.published().filter(|package| !self.is_default(package)))
    }

    /// Whether a plain cargo command builds it.
    pub(crate) fn is_default(&self, package: &Package) -> bool {
        self.metadata.workspace_default_members.contains(&package.id)
    }
}

fn arguments<'a>(packages: impl Iterator<Item = &'a Package>) -> Vec<String> {
    packages.flat_map(|package| ["-p".to_owned(), package.name.to_string()]).collect()
}

/// Whether a crate goes to the registry: `publish = false` reads as a list of no registries.
pub(crate) fn is_published(package: &Package) -> bool {
    package.publish.as_ref().is_none_or(|registries| !registries.is_empty())
}
