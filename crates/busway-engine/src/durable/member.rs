//! A member of a durable subscription: one handler with its middleware, or somebody who takes events. Without a group there is just one.

use std::fmt;
use std::num::NonZeroU32;

use busway_middleware::{AnyHandler, Durable, Registry, Run};
use tokio::sync::Notify;

use super::taking::Taken;

/// See the module.
pub(crate) struct Member {
    /// Unique in its subscription. A key sticks to the member that it names.
    pub(crate) id: u64,
    pub(crate) handler: AnyHandler<Durable>,
    /// The member's own middleware, merged with the bus's.
    pub(crate) middleware: Registry,
    /// Its handler runs so many times at once.
    pub(crate) concurrency: NonZeroU32,
    /// Whether its handler takes a transaction.
    pub(super) is_transactional: bool,
    /// Wakes a worker of it that sleeps.
    pub(super) more: Notify,
    /// Rings for those who wait with an event in hand, when that may be wanted back. Not `more`: they would take its ring from who sleeps.
    pub(super) recalled: Notify,
    /// What was taken of it, if nobody is called and its events are taken.
    pub(super) taken: Option<Taken>,
}

impl Member {
    pub(super) fn new(
        id: u64,
        handler: AnyHandler<Durable>,
        middleware: Registry,
        concurrency: NonZeroU32,
    ) -> Self {
        let is_transactional = handler.info().requirements.needs_transaction();
        Self {
            id,
            handler,
            middleware,
            concurrency,
            is_transactional,
            more: Notify::new(),
            recalled: Notify::new(),
            taken: None,
        }
    }

    /// One whose events are taken.
    pub(super) fn taken(mut self) -> Self {
        self.taken = Some(Taken::default());
        self
    }

    /// Events that it may have with its handlers at once.
    pub(super) fn events_at_once(&self) -> usize {
        let a_call = match self.handler.run() {
            Run::Batch(max) => max.get(),
            _ => 1,
        };
        a_call.saturating_mul(usize::try_from(self.concurrency.get()).unwrap_or(usize::MAX))
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("id", &self.id).field("handler", &self.handler).finish_non_exhaustive()
    }
}
