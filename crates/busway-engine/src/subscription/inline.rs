//! Inline handlers: a publisher is the worker for the length of one call.

use super::core::SubscriptionCore;
use crate::stats::State;

impl SubscriptionCore {
    /// Counts a publisher in that is about to run the handler. `false` when it must not: paused (the event has no queue to
    /// wait in, and is counted as dropped) or closed (nothing is counted).
    pub(crate) fn begin_inline(&self) -> bool {
        let account = &self.mailbox.account;
        account.activate();
        match self.state() {
            // As in `Mailbox::offer`: whoever closes sees this run, or it does not begin.
            State::Running | State::Draining if !self.mailbox.hand.is_closed() => {
                account.offered();
                return true;
            }
            State::Paused => {
                account.offered();
                self.mailbox.dropped(1);
            }
            State::Running | State::Draining | State::Stopped => {}
        }
        self.end_inline();
        false
    }

    /// Counts it out again, when its event is settled.
    pub(crate) fn end_inline(&self) {
        self.mailbox.account.rest();
        self.services.idle.touch_after_rest();
    }
}
