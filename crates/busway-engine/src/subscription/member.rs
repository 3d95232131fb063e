//! A member of a subscription: one handler with its middleware. Without a group there is just one.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use busway_middleware::{AnyHandler, Chain, Ephemeral, Identity, IntoStep as _, Registry, Run, Scope, Stage};
use thread_local::ThreadLocal;

use super::core::SubscriptionCore;
use crate::clock::Clock;
use crate::idempotency::{Keeper, Known, Once};
use crate::worker::{Again, Slot};

/// See the module.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) handler: AnyHandler<Ephemeral>,
    /// The subscription's own middleware, merged with the bus's.
    pub(crate) middleware: Registry,
    /// Whether events are attempted again.
    pub(crate) again: Option<Arc<Again>>,
    /// Who it is to rules of access.
    pub(super) identity: Identity,
    /// What its deliveries share, when that is not what those of its group share.
    scope: OnceLock<Arc<Scope>>,
    /// Which keys are done, when it is idempotent. Its middleware has it too.
    pub(crate) keeper: Option<Arc<Keeper>>,
    /// Workers that were started.
    pub(crate) workers: AtomicUsize,
    /// Set when this member leaves its group: its workers end after what they run.
    left: AtomicBool,
    /// Replaced by whoever finds it out of date; it may be older than what another one found, never taken for newer.
    merged: OnceLock<ArcSwap<Merged>>,
    /// Of an inline handler: what each publishing thread keeps for it.
    slots: OnceLock<Box<InlineSlots>>,
}

/// A slot a thread, taken out while the handler runs: one that publishes to itself finds it taken and gets another.
#[derive(Default)]
struct InlineSlots(ThreadLocal<Cell<Option<Box<Slot>>>>);

impl fmt::Debug for InlineSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InlineSlots")
    }
}

/// The names of the steps that make a subscription idempotent, in their order.
pub(super) const IDEMPOTENT: [&str; 2] = ["idempotent-known", "idempotent"];

/// The chain of a member, as it was at these generations of the bus's registry and its own.
#[derive(Debug)]
pub(crate) struct Merged {
    generations: (u64, u64),
    pub(crate) chain: Chain,
}

impl Merged {
    fn of(bus: &Registry, own: &Registry) -> Self {
        // The generations are read before the nodes: a chain is never taken for newer than it is.
        let generations = (bus.generation(), own.generation());
        Self { generations, chain: Chain::merge([bus, own]) }
    }
}

impl Member {
    pub(crate) fn new(
        id: u64,
        handler: AnyHandler<Ephemeral>,
        middleware: Registry,
        (again, identity): (Option<Arc<Again>>, Identity),
    ) -> Self {
        let (workers, left) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (merged, slots, scope) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let keeper = None;
        Self { id, handler, middleware, again, identity, scope, keeper, workers, left, merged, slots }
    }

    /// Before anything is handled: joins others, to whom rules may be different.
    pub(super) fn be_among_others(&self, scope: &Scope) {
        if self.identity != Identity::Name {
            _ = self.scope.set(Arc::new(scope.clone().with_identity(self.identity.clone())));
        }
    }

    /// What its deliveries share.
    #[inline]
    pub(crate) fn scope<'a>(&'a self, core: &'a SubscriptionCore) -> &'a Arc<Scope> {
        self.scope.get().unwrap_or(&core.scope)
    }

    /// Before anything is handled: what is asked for twice is handled once.
    pub(crate) fn be_idempotent(&mut self, keeper: Arc<Keeper>, clock: &Arc<dyn Clock>) {
        let is_inline = self.handler.run() == Run::Inline;
        let known = Known { keeper: Arc::clone(&keeper), clock: Arc::clone(clock), is_inline }.into_step();
        let once = Once(Arc::clone(&keeper), Arc::clone(clock)).into_step();
        for (name, step) in IDEMPOTENT.into_iter().zip([known, once]) {
            // Its builder has seen to it that no other step has the name.
            if let Err(error) = self.middleware.add(Stage::Idempotency, name, step) {
                tracing::error!(%error, "a subscription is not idempotent");
            }
        }
        self.keeper = Some(keeper);
    }

    /// Leaves the group. The workers have to be woken to notice it.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    #[inline]
    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Whether there never was a middleware around this handler: then there is no chain to look at.
    #[inline]
    pub(crate) fn is_plain(&self, bus: &Registry) -> bool {
        bus.generation() == 0 && self.middleware.generation() == 0
    }

    /// Where this thread keeps what its calls of the inline handler need. Empty while one runs.
    #[inline]
    pub(crate) fn inline_slot(&self) -> &Cell<Option<Box<Slot>>> {
        self.slots.get_or_init(Box::default).0.get_or_default()
    }

    /// The chain in force now. Takes no lock.
    pub(crate) fn merged(&self, bus: &Registry) -> Guard<Arc<Merged>> {
        let merged = self.merged.get_or_init(|| ArcSwap::from_pointee(Merged::of(bus, &self.middleware)));
        let kept = merged.load();
        if kept.generations == (bus.generation(), self.middleware.generation()) {
            return kept;
        }
        let fresh = Arc::new(Merged::of(bus, &self.middleware));
        merged.store(Arc::clone(&fresh));
        Guard::from_inner(fresh)
    }

    /// A copy of it, to be kept.
    pub(crate) fn chain(&self, bus: &Registry) -> Chain {
        self.merged(bus).chain.clone()
    }
}

/// A worker's copy of its member's chain, merged again when one of the registries has changed.
#[derive(Debug)]
pub(crate) struct ChainCache {
    of_bus: u64,
    of_member: u64,
    chain: Chain,
}

impl ChainCache {
    pub(crate) fn new(member: &Member, bus: &Registry) -> Self {
        let (of_bus, of_member) = (bus.generation(), member.middleware.generation());
        Self { of_bus, of_member, chain: member.chain(bus) }
    }

    #[inline]
    pub(crate) fn get(&mut self, member: &Member, bus: &Registry) -> &Chain {
        let (of_bus, of_member) = (bus.generation(), member.middleware.generation());
        if of_bus != self.of_bus || of_member != self.of_member {
            *self = Self { of_bus, of_member, chain: member.chain(bus) };
        }
        &self.chain
    }
}
