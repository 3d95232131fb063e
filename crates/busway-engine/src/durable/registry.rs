//! The durable subscriptions of a bus.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use busway_event::Topic;
use busway_persistence::Stream;
use busway_router::{RouteId, Router};
use parking_lot::{Mutex, RwLock};

use super::DurableCore;
use crate::idle::IdleWatch;

/// How much of a stream durable subscriptions mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamShare {
    All,
    Nothing,
    /// Some of it, or all: their filters alone do not say.
    Some,
}

/// See [`Durables::turn`].
pub(crate) type Turn = Arc<tokio::sync::Mutex<()>>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Durables {
    subscriptions: RwLock<Vec<Listed>>,
    /// One route for each of them: publishers ask how many mean a topic, and must not have to ask all.
    filters: Router<()>,
    /// Names that are borne, or are about to be.
    names: Mutex<BTreeSet<String>>,
    /// See [`turn`](Self::turn).
    turns: Mutex<Turns>,
    /// How often one was removed from the store.
    removals: AtomicU64,
    /// Of a group one member after the other: the second finds what the first has begun.
    pub(super) joining: tokio::sync::Mutex<()>,
}

/// One that has not ended.
#[derive(Debug)]
struct Listed {
    core: Arc<DurableCore>,
    route: RouteId,
}

#[derive(Debug, Default)]
struct Turns {
    by_name: HashMap<String, Turn>,
    /// With so many those are looked for that are nobody's: each time twice as many as were left, so that it costs little for each.
    looked_through_at: usize,
}

impl Durables {
    /// One was removed from the store.
    pub(super) fn removed(&self) {
        self.removals.fetch_add(1, Ordering::Release);
    }

    /// How often that was.
    pub(crate) fn removals(&self) -> u64 {
        self.removals.load(Ordering::Acquire)
    }

    /// Those that have not ended, in the order in which they began.
    pub(crate) fn list(&self) -> Vec<Arc<DurableCore>> {
        self.subscriptions.read().iter().map(|listed| Arc::clone(&listed.core)).collect()
    }

    /// How many of them mean the topic.
    pub(crate) fn matching(&self, topic: &Topic) -> usize {
        self.filters.lookup_with(topic, |targets| targets.len())
    }

    /// How much of a stream they mean together, as far as their filters tell without looking at topics.
    pub(crate) fn share_of(&self, stream: &Stream) -> StreamShare {
        let subscriptions = self.subscriptions.read();
        let mut filters = subscriptions.iter().map(|listed| &listed.core.filter);
        if filters.clone().any(|filter| stream.is_within(filter)) {
            return StreamShare::All;
        }
        match filters.any(|filter| stream.overlaps(filter)) {
            true => StreamShare::Some,
            false => StreamShare::Nothing,
        }
    }

    /// Handlers that run.
    pub(crate) fn running(&self) -> u64 {
        self.subscriptions.read().iter().map(|listed| listed.core.running()).sum()
    }

    /// Whether all of them are at rest.
    pub(crate) fn are_at_rest(&self) -> bool {
        self.list().iter().all(|core| core.is_at_rest())
    }

    /// The one that bears the name, while it has not ended.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<DurableCore>> {
        let subscriptions = self.subscriptions.read();
        let found = subscriptions.iter().find(|listed| &*listed.core.name == name);
        found.map(|listed| Arc::clone(&listed.core))
    }

    /// Waits until nobody bears the name.
    pub(crate) async fn until_free(&self, name: &str, idle: &IdleWatch) {
        idle.until(|| (!self.has_name(name)).then_some(())).await;
    }

    /// The turn of a name. Who begins under it holds it from before the store is asked where it stands until it is in the list; who sends it
    /// elsewhere, until that is done; who gives it dead letters again, from before they are stored until it is told of them. So a letter is either
    /// among what the store says, or told of, and never neither or both.
    pub(crate) fn turn(&self, name: &str) -> Turn {
        let mut turns = self.turns.lock();
        if turns.by_name.len() >= turns.looked_through_at {
            // A turn that nobody holds or waits for is nobody's: only this table has it, and gives it away.
            turns.by_name.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.looked_through_at = (2 * turns.by_name.len()).max(TURNS_KEPT);
        }
        Arc::clone(turns.by_name.entry(name.to_owned()).or_default())
    }

    /// Takes a name; `false` when it is borne already.
    pub(super) fn take_name(&self, name: &str) -> bool {
        self.names.lock().insert(name.to_owned())
    }

    /// Whether a subscription bears the name, or is about to.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.names.lock().contains(name)
    }

    pub(super) fn free_name(&self, name: &str) {
        self.names.lock().remove(name);
    }

    pub(super) fn enter(&self, core: Arc<DurableCore>) {
        let mut subscriptions = self.subscriptions.write();
        let route = self.filters.insert(&core.filter, Arc::new(()));
        subscriptions.push(Listed { core, route });
    }

    /// Forgets one that has ended; whether it was there.
    pub(crate) fn leave(&self, core: &DurableCore) -> bool {
        let left = {
            let mut subscriptions = self.subscriptions.write();
            let at = subscriptions.iter().position(|listed| listed.core.id == core.id);
            let left = at.map(|at| subscriptions.remove(at));
            left.inspect(|listed| _ = self.filters.remove(listed.route))
        };
        self.free_name(&core.name);
        left.is_some()
    }
}

/// Turns of nobody that are kept rather than looked for.
const TURNS_KEPT: usize = 64;
