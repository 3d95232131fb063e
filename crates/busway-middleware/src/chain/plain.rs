//! Handling without middleware: what [`run`](super::run()) and [`run_now`](super::run_now) come to when the chain is
//! empty and nobody asks for times. There is nothing to record then.

use std::any::Any;
use std::task::{Context, Poll};

use busway_event::{Event, EventType};
use tracing::Instrument as _;

use super::attempt;
use super::panicked::{Panicked, contain};
use super::run::{HANDLER, Slot};
use crate::delivery::Delivery;
use crate::extract::{Loan, loan};
use crate::handler::{AnyHandler, Called, Invocation};
use crate::mode::Mode;
use crate::outcome::{Outcome, Reply};

/// Hands `delivery` to a sync handler, at once. A reply that says more than `Done` is put into `reply`: a panic is a `Failed` outcome, and so
/// is that the handler is not sync; nothing was called then.
#[inline]
pub fn call_plain<M: Mode>(delivery: &Delivery, handler: &AnyHandler<M>, reply: &mut Option<Reply>) {
    match attempt::is_wanted() {
        false => call_here(delivery, handler, reply),
        true => call_in_span(delivery, handler, reply),
    }
}

/// Hands the caller's own event to a sync handler that [takes nothing else](AnyHandler::lends), otherwise as [`call_plain`]; there is no span around
/// it, so who calls has asked whether [one is wanted](attempt::is_wanted). The event is moved out of its place; its envelope is
/// where [`take_envelope`](super::take_envelope) finds it afterwards, unless somebody shares the event.
#[inline]
pub fn call_lent<M: Mode, T: EventType>(
    event: &mut Option<Event<T>>,
    handler: &AnyHandler<M>,
    reply: &mut Option<Reply>,
) -> Lending {
    if !handler.lends() {
        return Lending::NotCalled;
    }
    let (called, was_lending) =
        loan::during(|| match contain(|| handler.call_lent(Loan::of(event), reply)) {
            Ok(called) => called,
            Err(panic) => {
                *reply = Some(Panicked::in_node(HANDLER, &*panic).into());
                Called::Yes
            }
        });
    match (called, was_lending) {
        (Called::Yes, false) => Lending::Over,
        (Called::Yes, true) => Lending::Within,
        (Called::No, _) => Lending::NotCalled,
    }
}

/// How a handler was [called with an event on loan](call_lent).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lending {
    /// It was called.
    Over,
    /// It was called within another such call, whose envelope should find its place free.
    Within,
    /// It was not called: the event is another one than it takes. It lies in its place, unless an extractor has taken it and then not used it.
    NotCalled,
}

#[cold]
fn call_in_span<M: Mode>(delivery: &Delivery, handler: &AnyHandler<M>, reply: &mut Option<Reply>) {
    attempt::span(delivery).in_scope(|| call_here(delivery, handler, reply));
}

#[inline]
fn call_here<M: Mode>(delivery: &Delivery, handler: &AnyHandler<M>, reply: &mut Option<Reply>) {
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
    if attempt::is_wanted() {
        return begin_in_span(delivery, invocation, reply);
    }
    match contain(|| invocation.begin(delivery, context, reply)) {
        Ok(poll) => poll,
        Err(panic) => {
            *reply = Some(stopped_by(&*panic, invocation));
            Poll::Ready(())
        }
    }
}

/// Starts it only: it is driven in a span, which is that of [`go_on_plain`].
#[cold]
fn begin_in_span(
    delivery: &Delivery,
    invocation: &mut (dyn Invocation + 'static),
    reply: &mut Option<Reply>,
) -> Poll<()> {
    let started = attempt::span(delivery).in_scope(|| contain(|| invocation.start(delivery)));
    match started {
        Ok(()) => Poll::Pending,
        Err(panic) => {
            *reply = Some(stopped_by(&*panic, invocation));
            Poll::Ready(())
        }
    }
}

#[cold]
pub(super) fn stopped_by(panic: &(dyn Any + Send), invocation: &mut (dyn Invocation + 'static)) -> Reply {
    drop(Slot(invocation));
    Panicked::in_node(HANDLER, panic).into()
}

/// Drives a handler that [`begin_plain`] left waiting with this delivery, at once: it need not have been polled. A panic is a `Failed` outcome.
///
/// # Cancel safety
/// Dropping the future drops the handler's before the drop returns: the slot can be used again at once.
pub async fn go_on_plain(delivery: &Delivery, invocation: &mut (dyn Invocation + 'static)) -> Reply {
    match Slot(invocation).finish().instrument(attempt::span(delivery)).await {
        Ok(reply) => reply,
        Err(panic) => Panicked::in_node(HANDLER, &*panic).into(),
    }
}
