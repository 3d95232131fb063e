//! Waiting for room.

use std::sync::Arc;

use crate::mailbox::{Blocked, Offer};
use crate::subscription::SubscriptionCore;

/// A publish that waits for room in one subscription. Counts the event as dropped when it is given up.
#[derive(Debug)]
pub(crate) struct Waiter {
    core: Arc<SubscriptionCore>,
    blocked: Option<Blocked>,
}

impl Waiter {
    pub(super) fn new(core: &Arc<SubscriptionCore>, blocked: Blocked) -> Self {
        Self { core: Arc::clone(core), blocked: Some(blocked) }
    }

    /// Waits until there is room, see [`Mailbox::wait_for_space`](crate::mailbox::Mailbox::wait_for_space).
    pub(crate) async fn wait(mut self) -> (Arc<SubscriptionCore>, Offer) {
        let offer = match self.blocked.take() {
            Some(blocked) => self.core.mailbox.wait_for_space(blocked).await,
            None => Offer::Dropped,
        };
        (Arc::clone(&self.core), offer)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.blocked.take().is_some() {
            self.core.mailbox.dropped(1);
            self.core.touch();
        }
    }
}
