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

/// Of routes that have left since what is in force was last whole, by name: for those that come back.
#[derive(Debug, Default)]
pub(super) struct Legacies(BTreeMap<String, Legacy>);

impl Legacies {
    /// What a route leaves; of one that has come and gone since, what the first one left stays.
    pub(super) fn keep(&mut self, name: String, legacy: Legacy) {
        self.0.entry(name).or_insert(legacy);
    }

    /// Those that are there know more than they did.
    pub(super) fn retain_gone(&mut self, live: &BTreeMap<String, Live>) {
        self.0.retain(|name, _| !live.contains_key(name));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn stack(&self, name: &str) -> Option<&Stack> {
        self.0.get(name).map(|legacy| &legacy.stack)
    }

    /// A route that is not in force, with what one of its name has left.
    pub(super) fn with(&self, wanted: Wanted) -> (Wanted, Option<Legacy>) {
        let legacy = self.0.get(wanted.name.value()).cloned();
        (wanted, legacy)
    }
}
