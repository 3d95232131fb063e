//! Ephemeral subscriptions that have not ended, by their numbers and by their names.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::stats::State;
use crate::subscription::Entry;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Entries {
    tables: RwLock<Tables>,
    /// Those that end, by their numbers, some perhaps twice: so that nobody has to look for them among all.
    ending: Mutex<VecDeque<u64>>,
}

#[derive(Debug, Default)]
struct Tables {
    by_id: BTreeMap<u64, Arc<Entry>>,
    /// But for those without a name that had no event yet. Several bear the same one while one takes the place of another.
    by_name: HashMap<Arc<str>, Vec<u64>>,
}

impl Entries {
    pub(super) fn insert(&self, entry: &Arc<Entry>) {
        let mut tables = self.tables.write();
        tables.by_id.insert(entry.id, Arc::clone(entry));
        if let Some(name) = entry.fixed_name() {
            tables.by_name.entry(Arc::clone(name)).or_default().push(entry.id);
        }
    }

    /// Gives it back, so that it is dropped by a caller who holds no lock.
    pub(super) fn remove(&self, id: u64) -> Option<Arc<Entry>> {
        let mut tables = self.tables.write();
        let entry = tables.by_id.remove(&id)?;
        if let Some(name) = entry.fixed_name()
            && let Some(ids) = tables.by_name.get_mut(name)
        {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                tables.by_name.remove(name);
            }
        }
        Some(entry)
    }

    /// Notes that it ends.
    pub(super) fn ends(&self, id: u64) {
        self.ending.lock().push_back(id);
    }

    /// As many of those that end and were not removed, the oldest first. They are noted no longer.
    pub(super) fn take_ending(&self, most: usize) -> Vec<Arc<Entry>> {
        let mut ending = self.ending.lock();
        let most = most.min(ending.len());
        if most == 0 {
            return Vec::new();
        }
        let taken: Vec<u64> = ending.drain(..most).collect();
        drop(ending);
        let tables = self.tables.read();
        taken.iter().filter_map(|id| tables.by_id.get(id).cloned()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.read().by_id.is_empty()
    }

    /// In the order in which they subscribed.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.tables.read().by_id.values().cloned().collect()
    }

    /// What is found in those for which something is, in the order in which they subscribed.
    pub(super) fn find_all<T>(&self, find: impl Fn(&Arc<Entry>) -> Option<T>) -> Vec<T> {
        self.tables.read().by_id.values().filter_map(find).collect()
    }

    /// The same of the first one.
    pub(super) fn find<T>(&self, find: impl Fn(&Arc<Entry>) -> Option<T>) -> Option<T> {
        self.tables.read().by_id.values().find_map(find)
    }

    /// Whether one of this name is not over.
    pub(super) fn has_name(&self, name: &str) -> bool {
        let tables = self.tables.read();
        // One without a name is called by its filter and number until it is made.
        let numbered = name.rsplit_once(" #").and_then(|(_, number)| number.parse().ok());
        let named = tables.by_name.get(name).into_iter().flatten().copied();
        let mut found = named.chain(numbered).filter_map(|id| tables.by_id.get(&id));
        found.any(|entry| entry.bears(name) && entry.state() != State::Stopped)
    }
}
