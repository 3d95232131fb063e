//! A place for one event that was answered already and comes again, see `breaker/aside.rs`.
//!
//! It stands beside the queues, so that it needs no room in them and no policy of theirs meets it: a queue that is never empty does not hold it up, one that runs
//! over does not drop it, and no later event of its key takes its place. It takes nothing of the budget of bytes. Workers look here first: there is one at most, and it
//! came before what is queued. Where priorities have limits, one that has no room but for others leaves it.

use busway_event::AnyEvent;
use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use super::{Arrival, Mailbox, Offer, Waiting};

#[derive(Debug)]
pub(super) struct Returned {
    place: ArrayQueue<Waiting>,
    taken: Notify,
}

impl Default for Returned {
    fn default() -> Self {
        Self { place: ArrayQueue::new(1), taken: Notify::new() }
    }
}

impl Returned {
    pub(super) fn len(&self) -> usize {
        self.place.len()
    }

    pub(super) fn take(&self) -> Option<Waiting> {
        let waiting = self.place.pop()?;
        self.taken.notify_waiters();
        Some(waiting)
    }

    /// Waits until the place is free. Another one may be quicker to take it.
    async fn free(&self) {
        loop {
            let taken = self.taken.notified();
            tokio::pin!(taken);
            taken.as_mut().enable();
            if self.place.is_empty() {
                return;
            }
            taken.await;
        }
    }
}

impl Mailbox {
    /// Waits until there may be a place for an event that comes again. Cancel-safe.
    pub(crate) async fn may_return(&self) {
        self.queues.returned().free().await;
    }

    /// Offers an event that comes again; [`Offer::Blocked`] never, and `Err` when the place is taken.
    pub(crate) fn offer_returned(&self, event: AnyEvent) -> Result<Offer, AnyEvent> {
        let (priority, expires) = (event.priority(), self.expiry(&Arrival::of(&event, 0)));
        if !self.enters() {
            return Ok(Offer::Closed(event));
        }
        let waiting = Waiting { event, expires, weight: 0, priority };
        match self.queues.returned().place.push(waiting) {
            Ok(()) => Ok(self.announce()),
            Err(waiting) => {
                self.account.retract();
                Err(waiting.event)
            }
        }
    }
}
