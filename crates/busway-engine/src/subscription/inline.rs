//! Inline handlers: a publisher is the worker for the length of one call.

use super::core::SubscriptionCore;
use crate::stats::State;

impl SubscriptionCore {
    /// Whether its inline handler may run now, for a publisher that has counted itself in.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state(), State::Running | State::Draining) && !self.mailbox.hand.is_closed()
    }

    /// Counts a publisher in that is about to run the handler.
    ///
    /// The offer is what counts it in: an event that was offered and has not ended is with a handler, because none waits.
    #[inline]
    pub(crate) fn begin_inline(&self) -> Begun {
        let account = &self.mailbox.account;
        // Sequentially consistent, as is the state: whoever closes or pauses sees this run, or it does not begin.
        account.offered();
        match self.state() {
            State::Running | State::Draining if !self.mailbox.hand.is_closed() => Begun::Runs,
            state => self.not_begun(state),
        }
    }

    #[cold]
    fn not_begun(&self, state: State) -> Begun {
        let begun = match state {
            State::Paused => {
                self.mailbox.dropped(1);
                Begun::Dropped
            }
            State::Running | State::Draining | State::Stopped => {
                self.mailbox.account.retract();
                Begun::Closed
            }
        };
        self.inline_ended();
        begun
    }

    /// To be called when it is counted as settled.
    #[inline]
    pub(crate) fn inline_ended(&self) {
        self.services.idle.touch_after_rest();
    }
}

/// Whether the handler is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    Runs,
    /// The subscription is paused: the event has no queue to wait in, and is counted as dropped.
    Dropped,
    /// It is over: nothing is counted.
    Closed,
}

impl Begun {
    /// How many subscriptions were offered the event.
    #[inline]
    pub(crate) const fn offered(self) -> usize {
        match self {
            Self::Runs | Self::Dropped => 1,
            Self::Closed => 0,
        }
    }
}
