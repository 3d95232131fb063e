//! Handling without middleware: what [`run`](super::run()) and [`run_now`](super::run_now) come to when the chain is
//! empty and nobody asks for times. There is nothing to record then.

use std::any::Any;
use std::task::{Context, Poll};

use super::panicked::{Panicked, contain};
use super::run::{HANDLER, Slot};
use crate::delivery::Delivery;
use crate::handler::{AnyHandler, Called, Invocation};
use crate::mode::Mode;
use crate::outcome::{Outcome, Reply};

/// Hands `delivery` to a sync handler, at once. A reply that says more than `Done` is put into `reply`: a panic is a `Failed` outcome, and so
/// is that the handler is not sync; nothing was called then.
#[inline]
pub fn call_plain<M: Mode>(delivery: &Delivery, handler: &AnyHandler<M>, reply: &mut Option<Reply>) {
    match contain(|| handler.call_into(delivery, reply)) {
        Ok(Called::Yes) => {}
        Ok(Called::No) => {
            *reply = Some(Outcome::failed("a handler of this kind is not called at once").into());
        }
        Err(panic) => *reply = Some(Panicked::in_node(HANDLER, &*panic).into()),
    }
}

/// Hands `delivery` to the handler in `invocation` and lets it run up to its first wait. A reply that says more than `Done` is put into
/// `reply`; a panic is a `Failed` outcome. When it waits, [`go_on_plain`] does the rest; nothing runs in the slot otherwise.
#[inline]
pub fn begin_plain(
    delivery: &Delivery,
    invocation: &mut (dyn Invocation + 'static),
    context: &mut Context<'_>,
    reply: &mut Option<Reply>,
) -> Poll<()> {
    match contain(|| invocation.begin(delivery, context, reply)) {
        Ok(poll) => poll,
        Err(panic) => {
            *reply = Some(stopped_by(&*panic, invocation));
            Poll::Ready(())
        }
    }
}

#[cold]
fn stopped_by(panic: &(dyn Any + Send), invocation: &mut (dyn Invocation + 'static)) -> Reply {
    drop(Slot(invocation));
    Panicked::in_node(HANDLER, panic).into()
}

/// Drives a handler that [`begin_plain`] left waiting. A panic is a `Failed` outcome.
///
/// # Cancel safety
/// Dropping the future drops the handler's before the drop returns: the slot can be used again at once.
pub async fn go_on_plain(invocation: &mut (dyn Invocation + 'static)) -> Reply {
    match Slot(invocation).finish().await {
        Ok(reply) => reply,
        Err(panic) => Panicked::in_node(HANDLER, &*panic).into(),
    }
}
