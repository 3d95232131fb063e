//! Names in the store that a configuration has brought, until it is known whether it stays.

use std::collections::{BTreeMap, BTreeSet};

use busway_engine::{Bus, CursorError};

use super::routes::{Live, Way};
use crate::value::Name;

/// Names of durable routes that the store did not know before them. Should their configuration be taken back, they go with it: nobody would remove them,
/// and they would hold the log for ever.
#[derive(Debug, Default)]
pub(super) struct Fresh(BTreeSet<String>);

impl Fresh {
    /// Of the names of durable routes that are to be in force, those that none in force has.
    pub(super) fn candidates(wanted: &BTreeSet<String>, live: &BTreeMap<String, Live>) -> BTreeSet<String> {
        let known: BTreeSet<&str> = live.values().filter_map(Live::durable_name).map(Name::as_str).collect();
        wanted.iter().filter(|name| !known.contains(name.as_str())).cloned().collect()
    }

    /// Notes those that the store does not know. When it does not answer, none: what is there may be somebody's.
    ///
    /// # Cancel safety
    /// Safe: nothing is noted.
    pub(super) async fn note(&mut self, names: BTreeSet<String>, bus: &Bus) {
        if names.is_empty() {
            return;
        }
        if let Ok(there) = bus.cursors().await {
            self.0.extend(names);
            there.iter().for_each(|standing| _ = self.0.remove(&standing.name));
        }
    }

    /// On the way back, takes those out of the store that are not to stay. None of them runs any more.
    pub(super) async fn end(&mut self, way: Way, staying: &BTreeSet<String>, bus: &Bus) {
        if !way.is_back {
            return;
        }
        for name in std::mem::take(&mut self.0).difference(staying) {
            let cursor = bus.cursor(name);
            // It never began.
            if let Err(CursorError::Unknown { .. }) = cursor.standing().await {
                continue;
            }
            if let Err(error) = cursor.remove().await {
                let name = &*bus.redacted(name);
                tracing::warn!(name, %error, "a durable subscription that was taken back is left in the store");
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
