//! What routes that have left leave to those that come in their place.

use std::collections::BTreeMap;

use busway_engine::{Heritage, LogEnds};

use super::routes::{Live, Wanted};
use super::steps::Stack;

/// What one had learnt, how far the log went when it was told to end, and its middleware, of which a rate limit knows what it has earned.
#[derive(Debug, Clone)]
pub(super) struct Legacy {
    pub(super) heritage: Heritage,
    pub(super) ends: LogEnds,
    pub(super) stack: Stack,
}

/// Of routes that have left or have become others since what is in force was last whole, by name: for those that come back, and for what they were.
#[derive(Debug, Default)]
pub(super) struct Legacies {
    left: BTreeMap<String, Legacy>,
    /// What middleware those had that are there.
    stacks: BTreeMap<String, Stack>,
}

impl Legacies {
    /// What a route leaves; of one that has come and gone since, what the first one left stays.
    pub(super) fn keep(&mut self, name: String, legacy: Legacy) {
        self.left.entry(name).or_insert(legacy);
    }

    /// The middleware of a route that becomes another one; of one that has been several since, that of the first.
    pub(super) fn keep_stack(&mut self, name: &str, stack: &Stack) {
        if !self.stacks.contains_key(name) {
            self.stacks.insert(name.to_owned(), stack.clone());
        }
    }

    /// Those that are there know more than they did.
    pub(super) fn retain_gone(&mut self, live: &BTreeMap<String, Live>) {
        self.left.retain(|name, _| !live.contains_key(name));
        self.stacks.retain(|name, _| !live.contains_key(name));
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The middleware that one of this name had.
    pub(super) fn stack(&self, name: &str) -> Option<&Stack> {
        self.stacks.get(name).or_else(|| self.left.get(name).map(|legacy| &legacy.stack))
    }

    /// A route that is not in force, with what one of its name has left.
    pub(super) fn with(&self, wanted: Wanted) -> (Wanted, Option<Legacy>) {
        let legacy = self.left.get(wanted.name.value()).cloned();
        (wanted, legacy)
    }
}
