//! An inline handler that is under way, and what it leaves.

use std::sync::Arc;

use busway_event::{AnyDraft, AnyEvent};
use busway_middleware::{BoxError, Outcome};

use super::Source;
use crate::subscription::SubscriptionCore;
use crate::worker::let_go;

/// An inline handler under way, begun by [`SubscriptionCore::begin_inline`]. Counted as cut short when its publisher gives
/// up before it is settled.
#[derive(Debug)]
pub(crate) struct InlineRun {
    pub(super) core: Arc<SubscriptionCore>,
    ended: Settled,
}

#[derive(Debug, PartialEq, Eq)]
enum Settled {
    Yes,
    No,
}

impl InlineRun {
    pub(super) fn new(core: &Arc<SubscriptionCore>) -> Self {
        Self { core: Arc::clone(core), ended: Settled::No }
    }

    pub(super) fn settle(mut self, event: &AnyEvent, outcome: Outcome, cut_by: Option<&str>) {
        self.core.settle(event, &outcome, cut_by);
        self.ended = Settled::Yes;
        let_go(outcome);
    }
}

impl Drop for InlineRun {
    fn drop(&mut self) {
        if self.ended == Settled::No {
            self.core.mailbox.account.cut_short();
        }
        self.core.inline_ended();
    }
}

/// An inline handler that is done, with the events that it wants published.
#[derive(Debug)]
pub(crate) struct Emitting {
    pub(super) run: InlineRun,
    pub(super) event: AnyEvent,
    pub(crate) emits: Vec<AnyDraft>,
}

impl Emitting {
    pub(crate) fn source(&self) -> Source {
        Source::Handler(self.run.core.id)
    }

    /// Settles the handler: done, unless one of its events was refused.
    pub(crate) fn settle(self, refused: Option<impl Into<BoxError>>) {
        let outcome = refused.map_or(Outcome::Done, Outcome::failed);
        self.run.settle(&self.event, outcome, None);
    }
}
