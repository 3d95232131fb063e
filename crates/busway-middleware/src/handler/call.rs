//! The two erased calls: async in a reused slot, sync at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Call, Called, Invocation, tell};
use crate::delivery::Delivery;
use crate::extract::{ExtractError, Loan};
use crate::outcome::{Outcome, Reply};

/// An async handler: makes a future from a delivery.
pub(super) struct AsyncCall<C> {
    pub(super) make: C,
}

impl<C, F> Call for AsyncCall<C>
where
    C: Fn(&Delivery) -> Result<F, ExtractError> + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    fn invocation(self: Arc<Self>) -> Box<dyn Invocation> {
        Box::new(AsyncInvocation { call: self, running: Box::pin(None), refused: None })
    }
}

/// The reused slot: `running` is allocated once and holds one future after the other.
struct AsyncInvocation<C, F> {
    call: Arc<AsyncCall<C>>,
    running: Pin<Box<Option<F>>>,
    refused: Option<Outcome>,
}

impl<C, F> Invocation for AsyncInvocation<C, F>
where
    C: Fn(&Delivery) -> Result<F, ExtractError> + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    fn start(&mut self, delivery: &Delivery) {
        match (self.call.make)(delivery) {
            Ok(future) => self.running.set(Some(future)),
            Err(error) => self.refused = Some(error.into()),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Reply> {
        if let Some(outcome) = self.refused.take() {
            return Poll::Ready(outcome.into());
        }
        let Some(future) = self.running.as_mut().as_pin_mut() else { return Poll::Pending };
        let Poll::Ready(reply) = future.poll(context) else { return Poll::Pending };
        self.running.set(None);
        Poll::Ready(reply)
    }

    fn stop(&mut self) {
        self.refused = None;
        self.running.set(None);
    }

    fn begin(
        &mut self,
        delivery: &Delivery,
        context: &mut Context<'_>,
        reply: &mut Option<Reply>,
    ) -> Poll<()> {
        match (self.call.make)(delivery) {
            Ok(future) => self.running.set(Some(future)),
            Err(error) => {
                *reply = Some(Outcome::from(error).into());
                return Poll::Ready(());
            }
        }
        let Some(future) = self.running.as_mut().as_pin_mut() else { return Poll::Pending };
        let Poll::Ready(said) = future.poll(context) else { return Poll::Pending };
        tell(said, reply);
        self.running.set(None);
        Poll::Ready(())
    }
}

/// What a sync handler is called with.
pub(super) enum Given<'a> {
    Delivery(&'a Delivery),
    /// The event alone.
    Loan(Loan<'a>),
}

/// A sync handler: makes a reply from what it is given, and puts it down if it says more than `Done`; or was not called, with an event on loan that
/// it cannot do with.
pub(super) struct SyncCall<C> {
    pub(super) call: C,
}

impl<C> Call for SyncCall<C>
where
    C: Fn(Given<'_>, &mut Option<Reply>) -> Called + Send + Sync + 'static,
{
    fn invocation(self: Arc<Self>) -> Box<dyn Invocation> {
        Box::new(SyncInvocation { call: self, reply: None })
    }

    fn call_into(&self, delivery: &Delivery, reply: &mut Option<Reply>) -> Called {
        (self.call)(Given::Delivery(delivery), reply)
    }

    #[inline]
    fn call_lent(&self, loan: Loan<'_>, reply: &mut Option<Reply>) -> Called {
        (self.call)(Given::Loan(loan), reply)
    }
}

struct SyncInvocation<C> {
    call: Arc<SyncCall<C>>,
    reply: Option<Reply>,
}

impl<C> Invocation for SyncInvocation<C>
where
    C: Fn(Given<'_>, &mut Option<Reply>) -> Called + Send + Sync + 'static,
{
    fn start(&mut self, delivery: &Delivery) {
        // By the one way in, so that the handler's code is there once.
        let mut reply = None;
        self.call.call_into(delivery, &mut reply);
        self.reply = Some(reply.unwrap_or_else(|| Outcome::Done.into()));
    }

    fn poll(&mut self, _context: &mut Context<'_>) -> Poll<Reply> {
        self.reply.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn stop(&mut self) {
        self.reply = None;
    }
}
