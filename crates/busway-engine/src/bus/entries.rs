//! Ephemeral subscriptions that have not ended, by their numbers and by their names.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::BusCore;
use crate::stats::State;
use crate::subscription::Entry;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Entries {
    tables: RwLock<Tables>,
    /// So that nobody has to look for those that end among all.
    ending: Mutex<Ending>,
}

/// Those that end, by their numbers: each once, however often it is said, and perhaps one that was removed since.
#[derive(Debug, Default)]
struct Ending {
    in_turn: VecDeque<u64>,
    noted: HashSet<u64>,
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

    /// Notes that it ends. One that is entered afterwards has to be noted then.
    pub(super) fn ends(&self, id: u64) {
        let mut ending = self.ending.lock();
        if ending.noted.insert(id) {
            ending.in_turn.push_back(id);
        }
    }

    /// How many are noted.
    pub(super) fn ending(&self) -> usize {
        self.ending.lock().in_turn.len()
    }

    /// The one that was noted first, which is noted no longer; `None` also when it was removed.
    pub(super) fn take_ending(&self) -> Option<Arc<Entry>> {
        let id = {
            let mut ending = self.ending.lock();
            let id = ending.in_turn.pop_front()?;
            ending.noted.remove(&id);
            id
        };
        self.tables.read().by_id.get(&id).cloned()
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

impl BusCore {
    /// It is over, or will be: who counts looks whether it is, or who subscribes.
    pub(crate) fn has_to_be_forgotten(&self, id: u64) {
        self.entries.ends(id);
    }

    /// Forgets subscriptions that have ended meanwhile.
    pub(crate) fn sweep(&self) {
        self.sweep_some(usize::MAX);
    }

    /// The same, of a few that were to end: for whoever subscribes. Handlers are dropped by it, which is code of the user's: no lock is held.
    pub(crate) fn sweep_few(&self) {
        self.sweep_some(SWEPT_BY_EACH);
    }

    fn sweep_some(&self, most: usize) {
        // One after the other: should a handler's drop panic, the others are still noted.
        for _ in 0..most.min(self.entries.ending()) {
            let Some(entry) = self.entries.take_ending() else { continue };
            match entry.awake() {
                // Its handlers still run.
                _ if !entry.has_ended() => self.entries.ends(entry.id),
                Some(core) => self.forget(core),
                None => _ = self.forget_entry(entry.id),
            }
        }
    }
}

/// As many that are to be forgotten are looked at by each that subscribes: more than end meanwhile, and no more the more there are.
const SWEPT_BY_EACH: usize = 2;
