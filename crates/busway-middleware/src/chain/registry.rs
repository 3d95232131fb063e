//! The registry: named nodes that may change while events are handled.
//!
//! Readers load a snapshot; writers make a new one under a lock and swap it. The generation tells a reader that
//! keeps a merged chain when to merge again: it is raised after the swap, so a reader that sees the new generation sees
//! the new nodes too. What a change removes is dropped when the change is complete and the lock released.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::{Node, Stage};
use crate::middleware::Step;

/// Named nodes, in the order in which they were added.
pub struct Registry {
    /// `None` until the first change: most handlers have no middleware of their own.
    nodes: ArcSwapOption<Vec<Node>>,
    generation: AtomicU64,
    /// Held while a new snapshot is made, by writers only. No step is dropped under it.
    writing: Mutex<()>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub const fn new() -> Self {
        Self { nodes: ArcSwapOption::const_empty(), generation: AtomicU64::new(0), writing: Mutex::new(()) }
    }

    /// Adds a node behind those of its stage. Deliveries that start from now on pass it.
    ///
    /// # Errors
    /// [`RegistryError::NameTaken`].
    pub fn add(&self, stage: Stage, name: &str, step: Step) -> Result<(), RegistryError> {
        // It lives until the lock is released, also when it is refused.
        let added = Node::new(stage, name, step);
        self.change(|nodes| match nodes.iter().any(|node| node.name() == name) {
            true => Err(RegistryError::NameTaken { name: name.to_owned() }),
            false => {
                nodes.push(added.clone());
                Ok(())
            }
        })
    }

    /// Puts another middleware in the place of the one that bears `name`; it keeps its stage and place.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub fn replace(&self, name: &str, step: Step) -> Result<(), RegistryError> {
        let changed = self.change(|nodes| match nodes.iter_mut().find(|node| node.name() == name) {
            Some(node) => {
                node.step = step.clone();
                Ok(())
            }
            None => Err(RegistryError::NotFound { name: name.to_owned() }),
        });
        // A refused one goes here, where the lock is released.
        drop(step);
        changed
    }

    /// Removes the node that bears `name`. Deliveries that have started still pass it.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub fn remove(&self, name: &str) -> Result<(), RegistryError> {
        self.change(|nodes| {
            let before = nodes.len();
            nodes.retain(|node| node.name() != name);
            match nodes.len() < before {
                true => Ok(()),
                false => Err(RegistryError::NotFound { name: name.to_owned() }),
            }
        })
    }

    /// Removes nodes of a stage and adds others to it, behind those that stay, in one change. Names in `gone` that nobody bears there are left out.
    ///
    /// # Errors
    /// [`RegistryError::NameTaken`] when a node that stays bears the name of one that is added.
    pub fn exchange(
        &self,
        stage: Stage,
        gone: &[&str],
        new: Vec<(String, Step)>,
    ) -> Result<(), RegistryError> {
        // They live until the lock is released, also when they are refused.
        let new: Vec<Node> =
            new.into_iter().map(|(name, step)| Node::new(stage, name.as_str(), step)).collect();
        self.change(|nodes| {
            nodes.retain(|node| node.stage != stage || !gone.contains(&node.name()));
            for added in &new {
                if nodes.iter().any(|node| node.name() == added.name()) {
                    return Err(RegistryError::NameTaken { name: added.name().to_owned() });
                }
                nodes.push(added.clone());
            }
            Ok(())
        })
    }

    /// The nodes now, in the order in which they were added.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.nodes.load().as_ref().map_or_else(Vec::new, |nodes| nodes.to_vec())
    }

    /// Changes whenever the nodes do.
    #[must_use]
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn change(
        &self,
        edit: impl FnOnce(&mut Vec<Node>) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        let writing = self.writing.lock();
        let mut nodes = self.nodes();
        edit(&mut nodes)?;
        let before = self.nodes.swap(Some(Arc::new(nodes)));
        self.generation.fetch_add(1, Ordering::Release);
        drop(writing);
        // A step that goes is user code once more, and may change this registry itself.
        drop(before);
        Ok(())
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.nodes().iter().map(|node| (node.stage, node.name.clone()))).finish()
    }
}

/// Why a registry could not be changed. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Another middleware bears the name.
    #[error("there is a middleware named \"{name}\" already: choose another name, or replace it")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// No middleware bears the name.
    #[error("there is no middleware named \"{name}\"")]
    NotFound {
        /// The name.
        name: String,
    },
}
