//! What a subscription leaves to the next one of its kind: what lives in memory and was learnt.

use std::fmt;
use std::sync::Arc;

use busway_event::Filter;
use busway_reliability::{Idempotency, KeySource};

use super::builder::SubscribeBuilder;
use super::handle::Subscription;
use crate::breaker::{Breaker, FallbackKind, Guard};
use crate::idempotency::Keeper;

/// What a subscription has learnt: the circuits of its breaker, and the keys that it has in memory. It is inherited by a builder's `.inherit(…)` where what
/// it was learnt for is set as before; where it is not, it is left out, and nothing is said.
///
/// Circuits go with the same filter and breaker, whose fallback is to pause or to give up; from then on they are listed, told of and forced by the name of who
/// has inherited them. Keys in memory go with the same
/// [`Idempotency`], unless its key is a function. What is stored needs no heir.
#[derive(Clone)]
pub struct Heritage {
    filter: Filter,
    guard: Option<Arc<Guard>>,
    keeper: Option<Arc<Keeper>>,
}

impl Heritage {
    pub(crate) const fn new(filter: Filter, guard: Option<Arc<Guard>>, keeper: Option<Arc<Keeper>>) -> Self {
        Self { filter, guard, keeper }
    }

    /// The guard, for a subscription to `filter` with this breaker.
    pub(crate) fn guard(&self, filter: &Filter, breaker: &Breaker) -> Option<Arc<Guard>> {
        let guard = self.guard.as_ref()?;
        let old = guard.breaker();
        let is_plain = matches!(old.fallback.kind(), FallbackKind::Pause | FallbackKind::DeadLetter);
        let is_same = old.rules == breaker.rules && old.fallback.kind() == breaker.fallback.kind();
        (is_plain && is_same && self.filter == *filter).then(|| Arc::clone(guard))
    }

    /// The keys, for a subscription that is idempotent in this way.
    pub(crate) fn keeper(&self, idempotency: &Idempotency) -> Option<Arc<Keeper>> {
        let keeper = self.keeper.as_ref()?;
        let is_function = matches!(idempotency.source(), Some(KeySource::Function(_)) | None);
        let is_same = format!("{:?}", keeper.settings()) == format!("{idempotency:?}");
        (!is_function && is_same).then(|| Arc::clone(keeper))
    }
}

impl fmt::Debug for Heritage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heritage")
            .field("filter", &self.filter)
            .field("circuits", &self.guard.is_some())
            .field("keys", &self.keeper.is_some())
            .finish()
    }
}

impl Subscription {
    /// What it has learnt. A member of a group leaves no circuits.
    #[must_use]
    pub fn heritage(&self) -> Heritage {
        let is_member = self.entry.awake().is_some_and(|core| core.group.is_some());
        let guards = self.entry.bus().filter(|_| !is_member).map(|bus| bus.guards()).unwrap_or_default();
        let guard = guards.into_iter().find(|guard| *guard.subscription() == *self.name());
        Heritage::new(self.entry.filter.clone(), guard, self.member.keeper.clone())
    }
}

impl SubscribeBuilder {
    /// Takes over what another subscription has learnt.
    pub fn inherit(mut self, heritage: &Heritage) -> Self {
        self.heritage = Some(heritage.clone());
        self
    }
}
