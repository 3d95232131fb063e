//! Rule: arrows between crates point down only, and siblings do not know each other.
//!
//! The table is that of `ARCHITECTURE.md`: change both, with a decision record, or neither. Dev-dependencies are
//! free, except that they are the only way to use the test kit. Build-dependencies count as normal ones.

use cargo_metadata::{DependencyKind, Package};

use super::problem::Problem;
use super::tree::Tree;

/// One dependency as a manifest states it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    from: String,
    to: String,
    kind: Kind,
    /// The manifest that states it, from the root.
    manifest: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Dev,
}

/// Every dependency of every member, third-party ones too.
pub(crate) fn edges(members: &[&Package]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for package in members {
        for dependency in &package.dependencies {
            edges.push(Edge {
                from: package.name.to_string(),
                to: dependency.name.clone(),
                kind: if dependency.kind == DependencyKind::Development { Kind::Dev } else { Kind::Normal },
                manifest: manifest_path(package),
            });
        }
    }
    edges
}

/// Where the manifest of a member lies; members lie in `crates/` or directly below the root.
pub(crate) fn manifest_path(package: &Package) -> String {
    let folder = package.manifest_path.parent();
    let parts: Vec<_> =
        folder.into_iter().flat_map(|path| path.components()).map(|part| part.as_str()).collect();
    match parts.as_slice() {
        [.., "crates", name] => format!("crates/{name}/Cargo.toml"),
        [.., name] => format!("{name}/Cargo.toml"),
        [] => "Cargo.toml".to_owned(),
    }
}

/// Every edge that the table does not allow, and every crate that it does not know.
pub(crate) fn check(edges: &[Edge], tree: &Tree) -> Vec<Problem> {
    let mut problems: Vec<_> = edges
        .iter()
        .filter_map(|edge| Some(Problem::at(&edge.manifest, line_of(tree, edge), complaint(edge)?)))
        .collect();
    for name in tree.folders("crates/") {
        if layer(name).is_none() && !NEVER_USED.contains(&name) {
            let manifest = format!("crates/{name}/Cargo.toml");
            problems.push(Problem::of(
                &manifest,
                format!("{name} is in no layer; add it to the table of layers"),
            ));
        }
    }
    problems
}

fn complaint(edge: &Edge) -> Option<String> {
    let Edge { from, to, kind, .. } = edge;
    if NEVER_USED.contains(&to.as_str()) {
        return Some(format!("{from} depends on {to}, which nothing may depend on"));
    }
    if *kind == Kind::Dev || NEVER_USED.contains(&from.as_str()) {
        return None;
    }
    if to == TEST_KIT {
        return Some(format!("{from} depends on {to}, which is for dev-dependencies only"));
    }
    let Layer { may_use, must_not_use, .. } = layer(from)?;
    if layer(to).is_some() && !may_use.contains(&to.as_str()) {
        let allowed = if may_use.is_empty() { "none".to_owned() } else { may_use.join(", ") };
        return Some(format!("{from} depends on {to}; of the workspace it may use: {allowed}"));
    }
    let (_, reason) = must_not_use.iter().find(|(name, _)| name == to)?;
    Some(format!("{from} depends on {to}: {reason}"))
}

fn line_of(tree: &Tree, edge: &Edge) -> usize {
    let file = tree.file(&edge.manifest);
    let line = file.and_then(|file| {
        file.lines().find(|(_, line)| {
            let rest = line.trim_start().strip_prefix(edge.to.as_str());
            rest.is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
        })
    });
    line.map_or(1, |(number, _)| number)
}

fn layer(name: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.name == name)
}

struct Layer {
    name: &'static str,
    /// Crates of the workspace.
    may_use: &'static [&'static str],
    /// Crates of others that would bring in what this layer is defined by not containing, with the reason.
    must_not_use: &'static [(&'static str, &'static str)],
}

/// What the engine may use, and the engine: for configuration, transports and shared stores, which do not know each other.
const UP_TO_ENGINE: &[&str] = &[
    "busway-event",
    "busway-router",
    "busway-persistence",
    "busway-middleware",
    "busway-reliability",
    "busway-observability",
    "busway-engine",
];

/// The layers, bottom up.
const LAYERS: &[Layer] = &[
    Layer { name: "busway-macros", may_use: &[], must_not_use: &[] },
    Layer {
        name: "busway-event",
        may_use: &["busway-macros"],
        must_not_use: &[
            ("tokio", "what is said needs no runtime"),
            ("futures-util", "what is said is not async"),
            ("async-lock", "what is said is not async"),
            ("crossbeam-channel", "what is said does no I/O"),
        ],
    },
    Layer {
        name: "busway-router",
        may_use: &["busway-event"],
        must_not_use: &[
            ("tokio", "routing is not async"),
            ("futures-util", "routing is not async"),
            ("async-lock", "routing is not async"),
        ],
    },
    Layer {
        name: "busway-persistence",
        may_use: &["busway-event"],
        must_not_use: &[
            ("tokio", "the store answers by callbacks and owns one thread"),
            ("futures-util", "the store is not async"),
            ("async-lock", "the store is not async"),
        ],
    },
    Layer {
        name: "busway-middleware",
        may_use: &["busway-event"],
        must_not_use: &[
            ("tokio", "the chain neither spawns nor keeps time"),
            ("crossbeam-channel", "queues belong to the engine"),
        ],
    },
    Layer {
        name: "busway-reliability",
        may_use: &["busway-event", "busway-middleware"],
        must_not_use: &[
            ("tokio", "decisions are pure; time comes in as an argument"),
            ("tokio-util", "decisions are pure; time comes in as an argument"),
            ("crossbeam-channel", "decisions are pure; queues belong to the engine"),
        ],
    },
    Layer {
        name: "busway-observability",
        may_use: &["busway-event", "busway-middleware"],
        must_not_use: &[("crossbeam-channel", "what is seen waits for nothing")],
    },
    Layer {
        name: "busway-engine",
        may_use: &[
            "busway-event",
            "busway-router",
            "busway-persistence",
            "busway-middleware",
            "busway-reliability",
            "busway-observability",
        ],
        must_not_use: &[],
    },
    Layer { name: "busway-redis", may_use: UP_TO_ENGINE, must_not_use: &[] },
    Layer { name: "busway-nats", may_use: UP_TO_ENGINE, must_not_use: &[] },
    Layer { name: "busway-kafka", may_use: UP_TO_ENGINE, must_not_use: &[] },
    Layer { name: "busway-config", may_use: UP_TO_ENGINE, must_not_use: &[] },
    Layer {
        name: "busway",
        may_use: &[
            "busway-event",
            "busway-router",
            "busway-persistence",
            "busway-middleware",
            "busway-reliability",
            "busway-observability",
            "busway-engine",
            "busway-redis",
            "busway-config",
        ],
        must_not_use: &[],
    },
    Layer {
        name: TEST_KIT,
        may_use: &[
            "busway-event",
            "busway-router",
            "busway-persistence",
            "busway-middleware",
            "busway-reliability",
            "busway-observability",
            "busway-engine",
        ],
        must_not_use: &[],
    },
];

/// A product for tests, our users' too: it must never reach a program that runs.
const TEST_KIT: &str = "busway-testkit";

/// Tools of the developers, and what only shows. They may use everything, and nothing may use them.
const NEVER_USED: &[&str] = &["busway-benches", "busway-examples", "xtask"];

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, kind: Kind) -> Edge {
        let manifest = format!("crates/{from}/Cargo.toml");
        Edge { from: from.to_owned(), to: to.to_owned(), kind, manifest }
    }

    fn normal(from: &str, to: &str) -> Option<String> {
        complaint(&edge(from, to, Kind::Normal))
    }

    #[test]
    fn arrows_down_are_allowed() {
        assert_eq!(normal("busway-engine", "busway-router"), None);
        assert_eq!(normal("busway-event", "busway-macros"), None);
        assert_eq!(normal("busway-event", "serde"), None);
        assert_eq!(normal("busway-benches", "busway"), None);
    }

    #[test]
    fn arrows_up_and_sideways_are_problems() {
        assert!(normal("busway-event", "busway-engine").is_some());
        assert!(normal("busway-router", "busway-middleware").is_some());
        assert!(normal("busway-macros", "busway-event").is_some());
    }

    #[test]
    fn the_facade_knows_no_side_crate() {
        assert!(normal("busway", "busway-testkit").is_some());
        assert!(normal("busway", "busway-macros").is_some());
    }

    #[test]
    fn the_test_kit_is_used_from_tests_only() {
        assert_eq!(complaint(&edge("busway-engine", "busway-testkit", Kind::Dev)), None);
        assert!(normal("busway-engine", "busway-testkit").is_some());
    }

    #[test]
    fn nobody_uses_the_developers_tools() {
        assert!(complaint(&edge("busway", "busway-benches", Kind::Dev)).is_some());
        assert!(normal("busway-testkit", "xtask").is_some());
    }

    #[test]
    fn what_defines_a_layer_by_its_absence_is_kept_out() {
        assert!(normal("busway-reliability", "tokio").is_some());
        assert_eq!(complaint(&edge("busway-reliability", "tokio", Kind::Dev)), None);
        assert_eq!(normal("busway-engine", "tokio"), None);
    }

    #[test]
    fn a_problem_points_at_the_line_and_a_new_crate_needs_a_layer() {
        let tree = Tree::of(&[
            ("crates/busway-event/Cargo.toml", "[dependencies]\nbusway-engine.workspace = true\n"),
            ("crates/busway-store/Cargo.toml", ""),
        ]);
        let problems = check(&[edge("busway-event", "busway-engine", Kind::Normal)], &tree);
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(|line| line.starts_with("crates/busway-event/Cargo.toml:2: ")), "{shown:?}");
        assert!(shown.iter().any(|line| line.contains("busway-store is in no layer")), "{shown:?}");
        assert_eq!(shown.len(), 2);
    }
}
