//! A member of a subscription: one handler with its middleware. Without a group there is just one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use busway_middleware::{AnyHandler, Chain, Ephemeral, Registry};
use parking_lot::Mutex;

/// See the module.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) handler: AnyHandler<Ephemeral>,
    /// The subscription's own middleware, merged with the bus's.
    pub(crate) middleware: Arc<Registry>,
    /// Workers that were started.
    pub(crate) workers: AtomicUsize,
    /// Set when this member leaves its group: its workers end after what they run.
    left: AtomicBool,
    chain: Mutex<(u64, u64, Chain)>,
}

impl Member {
    pub(crate) fn new(
        id: u64,
        handler: AnyHandler<Ephemeral>,
        middleware: Arc<Registry>,
        bus: &Registry,
    ) -> Self {
        let generations = (bus.generation(), middleware.generation());
        let chain = Chain::merge([bus, &middleware]);
        Self {
            id,
            handler,
            workers: AtomicUsize::new(0),
            left: AtomicBool::new(false),
            chain: Mutex::new((generations.0, generations.1, chain)),
            middleware,
        }
    }

    /// Leaves the group. The workers have to be woken to notice it.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Whether there never was a middleware around this handler: then there is no chain to look at.
    pub(crate) fn is_plain(&self, bus: &Registry) -> bool {
        bus.generation() == 0 && self.middleware.generation() == 0
    }

    /// The chain in force now.
    pub(crate) fn chain(&self, bus: &Registry) -> Chain {
        // The generations are read before the nodes: a chain is never taken for newer than it is.
        let generations = (bus.generation(), self.middleware.generation());
        let mut kept = self.chain.lock();
        if (kept.0, kept.1) == generations {
            return kept.2.clone();
        }
        let chain = Chain::merge([bus, &self.middleware]);
        let before = std::mem::replace(&mut *kept, (generations.0, generations.1, chain.clone()));
        drop(kept);
        // A middleware that goes is user code once more.
        drop(before);
        chain
    }
}

/// A worker's copy of its member's chain, merged again when one of the registries has changed.
#[derive(Debug, Default)]
pub(crate) struct ChainCache {
    generations: Option<(u64, u64)>,
    chain: Chain,
}

impl ChainCache {
    pub(crate) fn get(&mut self, member: &Member, bus: &Registry) -> &Chain {
        let generations = (bus.generation(), member.middleware.generation());
        if self.generations != Some(generations) {
            self.chain = member.chain(bus);
            self.generations = Some(generations);
        }
        &self.chain
    }
}
