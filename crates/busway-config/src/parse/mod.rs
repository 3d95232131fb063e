//! From text to nodes, by format.
//!
//! All three formats become the same tree ([`Node`]), in which each value knows its place: what comes after does not know which format a
//! file had. Depth, size and the copies that aliases make are bounded here.

mod json;
mod toml;
mod yaml;

use std::path::Path;
use std::sync::Arc;

use crate::node::Node;
use crate::problem::Problem;
use crate::source::Source;

/// How a configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// YAML 1.2, one document: `.yaml`, `.yml`.
    Yaml,
    /// TOML 1.1: `.toml`.
    Toml,
    /// JSON: `.json`.
    Json,
}

impl Format {
    /// The format of a file, by its extension.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// The tree, or what is wrong with the text.
pub(crate) fn parse(source: &Arc<Source>, format: Format) -> Result<Node, Vec<Problem>> {
    match format {
        Format::Yaml => yaml::parse(source),
        Format::Toml => toml::parse(source),
        Format::Json => json::parse(source),
    }
}

fn too_deep() -> String {
    format!("lists and tables within each other, more than {DEPTH_MAX} deep")
}

fn too_many() -> String {
    format!("there are more than {NODES_MAX} values")
}

/// Levels of lists and tables within each other: three times as many as any setting needs.
const DEPTH_MAX: usize = 24;
/// Values of a file: some thousand routes with all that can be said of them.
const NODES_MAX: usize = 200_000;
/// Values that aliases repeat.
const ALIASED_MAX: usize = 20_000;
