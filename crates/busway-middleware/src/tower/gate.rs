//! The hand-over between a layer's calls and the middleware that runs the rest of the chain for them.
//!
//! Calls may come from another task, several at once, and be dropped at any time; the middleware runs one after the other.
//! Each call has a number of its own, so the outcome of one that was dropped is never taken for that of a later one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::outcome::Outcome;

/// One delivery's calls.
#[derive(Default)]
pub(super) struct Gate {
    /// Held for moments only; nobody is woken under it.
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    /// In the order in which they were made.
    open: VecDeque<Call>,
    last: u64,
    runner: Option<Waker>,
    end: End,
}

struct Call {
    number: u64,
    outcome: Option<Outcome>,
    caller: Waker,
}

#[derive(Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Closed,
}

/// Whether a future has made its call.
#[derive(Debug)]
pub(super) enum Asked {
    NotYet,
    Call(u64),
}

/// The delivery ended while a layer still held a call of it.
#[derive(Debug, thiserror::Error)]
#[error("the delivery ended before the call to the rest of its chain")]
pub(super) struct DeliveryEnded;

impl Gate {
    /// Makes the call on the first poll, then waits for its outcome.
    pub(super) fn poll_call(
        &self,
        asked: &mut Asked,
        context: &mut Context<'_>,
    ) -> Poll<Result<Outcome, DeliveryEnded>> {
        let mut calls = self.calls.lock();
        let Asked::Call(number) = *asked else {
            if calls.end == End::Closed {
                return Poll::Ready(Err(DeliveryEnded));
            }
            calls.last += 1;
            let number = calls.last;
            calls.open.push_back(Call { number, outcome: None, caller: context.waker().clone() });
            *asked = Asked::Call(number);
            let runner = calls.runner.take();
            drop(calls);
            runner.into_iter().for_each(Waker::wake);
            return Poll::Pending;
        };
        let Some(index) = calls.index_of(number) else { return Poll::Ready(Err(DeliveryEnded)) };
        let Some(call) = calls.open.get_mut(index) else { return Poll::Pending };
        match call.outcome.take() {
            Some(outcome) => {
                calls.open.remove(index);
                Poll::Ready(Ok(outcome))
            }
            None => {
                call.caller.clone_from(context.waker());
                Poll::Pending
            }
        }
    }

    /// Nobody waits for the outcome any more.
    pub(super) fn drop_call(&self, asked: &Asked) {
        let Asked::Call(number) = *asked else { return };
        let mut calls = self.calls.lock();
        let Some(index) = calls.index_of(number) else { return };
        let dropped = calls.open.remove(index);
        let runner = calls.runner.take();
        drop(calls);
        // An outcome is user code too: it is dropped outside of the lock.
        drop(dropped);
        runner.into_iter().for_each(Waker::wake);
    }
}

impl Calls {
    fn index_of(&self, number: u64) -> Option<usize> {
        self.open.iter().position(|call| call.number == number)
    }
}

/// The middleware's end. Dropping it ends the calls that are still open.
#[derive(Default)]
pub(super) struct Open {
    gate: Arc<Gate>,
}

impl Open {
    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// The number of the first call without an outcome.
    pub(super) fn poll_asked(&self, context: &mut Context<'_>) -> Poll<u64> {
        let mut calls = self.gate.calls.lock();
        if let Some(call) = calls.open.iter().find(|call| call.outcome.is_none()) {
            return Poll::Ready(call.number);
        }
        calls.runner = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether the call was dropped; wakes when that happens.
    pub(super) fn is_dropped(&self, number: u64, context: &mut Context<'_>) -> bool {
        let mut calls = self.gate.calls.lock();
        calls.runner = Some(context.waker().clone());
        calls.index_of(number).is_none()
    }

    pub(super) fn answer(&self, number: u64, outcome: Outcome) {
        let mut calls = self.gate.calls.lock();
        let index = calls.index_of(number);
        let Some(call) = index.and_then(|index| calls.open.get_mut(index)) else { return };
        call.outcome = Some(outcome);
        let caller = call.caller.clone();
        drop(calls);
        caller.wake();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut calls = self.gate.calls.lock();
        calls.end = End::Closed;
        let open = std::mem::take(&mut calls.open);
        drop(calls);
        open.into_iter().for_each(|call| call.caller.wake());
    }
}
