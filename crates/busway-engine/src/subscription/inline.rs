//! Inline handlers: a publisher is the worker for the length of one call.

use super::core::SubscriptionCore;
use crate::bus::Dispatched;
use crate::stats::State;

impl SubscriptionCore {
    /// Counts a publisher in that is about to run the handler. `false` when it must not: paused (the event has no queue to
    /// wait in, and is counted as dropped) or closed (nothing is counted).
    ///
    /// The offer is what counts it in: an event that was offered and has not ended is with a handler, because none waits.
    #[inline]
    pub(crate) fn begin_inline(&self, dispatched: &mut Dispatched) -> InlineStart {
        let account = &self.mailbox.account;
        // Sequentially consistent, as is the state: whoever closes or pauses sees this run, or it does not begin.
        account.offered();
        match self.state() {
            State::Running | State::Draining if !self.mailbox.hand.is_closed() => {
                dispatched.offered += 1;
                InlineStart::Begun
            }
            State::Paused => {
                dispatched.offered += 1;
                self.mailbox.dropped(1);
                self.inline_ended();
                InlineStart::Dropped
            }
            State::Running | State::Draining | State::Stopped => {
                account.retract();
                self.inline_ended();
                InlineStart::Over
            }
        }
    }

    /// To be called when it is counted as settled.
    #[inline]
    pub(crate) fn inline_ended(&self) {
        self.services.idle.touch_after_rest();
    }
}

/// Whether an inline handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InlineStart {
    /// It does.
    Begun,
    /// It does not: the event is dropped, and counted.
    Dropped,
    /// The subscription is over: the event is not offered, and not counted.
    Over,
}
