//! The chain: named nodes around a handler, ordered by stage.
//!
//! ```text
//! trace → decode → idempotency → breaker → retry → timeout → user → handler
//! ```
//!
//! The order is by [`Stage`], not by registration, so a retry can never end up outside of what it should repeat. A
//! chain is immutable: [`Registry`] makes a new one for each change and swaps it, and a delivery that has started
//! keeps the one it started with. Sync nodes run in a loop without an allocation; an async node allocates its future.
//!
//! A node that panics or fails is contained, the handlers of other events notice nothing: a panic is a `Failed`
//! outcome that names the node or the handler, a failure of a node's own bears its name too, also in the place of
//! another. The handler's own error passes as it is, so that a step may recognize it. A `Dead` outcome is its reason
//! as it is, and not a failure; who cut the chain short is in [`Progress::cut_by`].

pub mod attempt;
mod batch;
mod begin;
mod entered;
mod failure;
mod panicked;
mod plain;
mod progress;
mod registry;
mod run;
mod stage;
mod trace;

use std::fmt;
use std::sync::Arc;

pub use self::batch::{EndOfItem, run_batch, run_batch_with};
pub use self::begin::{Begun, Inside, begin, go_on};
pub(crate) use self::panicked::{Panicked, contain, message_of};
pub use self::panicked::{contained, drop_contained};
pub use crate::extract::loan::take as take_envelope;

pub use self::plain::{Lending, begin_plain, call_lent, call_plain, go_on_plain};
pub use self::progress::Progress;
pub use self::registry::{Registry, RegistryError};
pub(crate) use self::run::HANDLER;
pub use self::run::{Next, run, run_now};
pub use self::stage::Stage;
pub use self::trace::{ChainTrace, NodeTime};

use crate::middleware::Step;

/// A named middleware in its stage.
#[derive(Debug, Clone)]
pub struct Node {
    stage: Stage,
    name: Arc<str>,
    step: Step,
}

impl Node {
    /// A node; names are unique within a registry.
    #[must_use]
    pub fn new(stage: Stage, name: impl Into<Arc<str>>, step: Step) -> Self {
        Self { stage, name: name.into(), step }
    }

    /// The stage, which decides its place.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// The name, by which it is reported, replaced and removed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The nodes around a handler, outermost first. Immutable and cheap to clone.
#[derive(Clone)]
pub struct Chain {
    nodes: Arc<[Node]>,
    has_async: HasAsync,
}

impl Chain {
    /// The nodes of several registries in one chain: by stage, and within a stage in the order given.
    #[must_use]
    pub fn merge<'a>(registries: impl IntoIterator<Item = &'a Registry>) -> Self {
        let mut nodes: Vec<Node> = registries.into_iter().flat_map(Registry::nodes).collect();
        nodes.sort_by_key(Node::stage);
        Self::of(nodes)
    }

    fn of(nodes: Vec<Node>) -> Self {
        let has_async = match nodes.iter().any(|node| node.step.is_async()) {
            true => HasAsync::Yes,
            false => HasAsync::No,
        };
        Self { nodes: nodes.into(), has_async }
    }

    /// The nodes, outermost first.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Whether there is no node.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether any node is of the async form.
    #[must_use]
    #[inline]
    pub fn has_async(&self) -> bool {
        self.has_async == HasAsync::Yes
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.nodes.iter().map(|node| (node.stage, &node.name))).finish()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HasAsync {
    Yes,
    No,
}
