//! Batch handlers: many events a call, one outcome each.

use std::fmt;
use std::future::ready;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use busway_event::{Event, EventType};

use super::shape::{Arguments, BatchForm, BesideBatch, ReplyOf, Shape};
use super::{AnyHandler, Call, Invocation, Run};
use crate::chain::{HANDLER, Panicked, contain};
use crate::delivery::Delivery;
use crate::extract::ExtractError;
use crate::mode::Mode;
use crate::outcome::{BoxError, IntoReply, Outcome, Reply};

/// A handler of many events at once: an async function that takes a [`Batch<T>`] and returns one outcome for all, or one
/// an event. Whatever is there is handed over, at most [`max`](BatchHandler::max) events: a batch never waits to fill up.
///
/// Middleware runs for each event of the batch, as if it were alone. An event that does not decode gets its own outcome and
/// is left out. At most one event of each lane is in a batch, so a failing one holds back its successors as always.
///
/// *On an ephemeral subscription* with concurrency 1 there are no lanes: a batch holds whatever comes next, in order.
///
/// *On a durable subscription* the concurrency counts calls, and a call counts as one event of the priority of its first. Its events are settled
/// together, each as its own outcome says: one that fails is parked and attempted again alone, in a batch of one, so that an event that
/// makes every batch fail does not take the others with it to the dead letters. A handler that takes a transaction (`Tx`) beside the batch has it
/// for the call as a whole: what it writes, what it emits and the settlements are one commit, if each event is done or skipped. Otherwise
/// nothing is stored; those that failed are parked, and the others are handled again at once without them, which counts as no attempt.
pub fn batch<F>(f: F) -> BatchHandler<F> {
    BatchHandler { f, max: BATCH_MAX_DEFAULT }
}

/// See [`batch`].
#[derive(Clone, Copy)]
pub struct BatchHandler<F> {
    f: F,
    max: NonZeroUsize,
}

impl<F> BatchHandler<F> {
    /// The most events of a call. Default 128, at least 1.
    pub fn max(mut self, max: usize) -> Self {
        self.max = NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN);
        self
    }
}

impl<F> fmt::Debug for BatchHandler<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch({}, max {})", std::any::type_name::<F>(), self.max)
    }
}

/// The events of one call, in the order in which they reached the subscription. Dereferences to a slice; never empty.
#[derive(Debug)]
pub struct Batch<T> {
    events: Vec<Event<T>>,
}

impl<T> Deref for Batch<T> {
    type Target = [Event<T>];

    fn deref(&self) -> &[Event<T>] {
        &self.events
    }
}

impl<T> IntoIterator for Batch<T> {
    type Item = Event<T>;
    type IntoIter = vec::IntoIter<Event<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.into_iter()
    }
}

/// What a batch handler may return: one outcome for all events, or a `Vec` with one for each, in their order.
///
/// Either may be inside of a `Result`, whose `Err` is the outcome of all events: [`Outcome::Failed`] unless it was marked
/// [`Permanent`](crate::Permanent). A `Vec` of another length is [`Outcome::Dead`] for all of them: busway cannot tell which outcome
/// belongs to which, and the next attempt would not either.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a batch handler may return",
    label = "not an outcome for a batch",
    note = "return `()` or `Result<(), E>` for the batch as a whole, or a `Vec` with one entry an event, in order: `()`, `Result<_, E>`, `Outcome` or drafts of events, with `E: Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait IntoBatchReply {
    /// One reply for each of `len` events.
    fn into_replies(self, len: usize) -> Vec<Reply>;
}

impl IntoBatchReply for () {
    fn into_replies(self, len: usize) -> Vec<Reply> {
        (0..len).map(|_| Outcome::Done.into()).collect()
    }
}

impl<R: IntoBatchReply, E: Into<BoxError>> IntoBatchReply for Result<R, E> {
    fn into_replies(self, len: usize) -> Vec<Reply> {
        match self {
            Ok(replies) => replies.into_replies(len),
            Err(error) => all_with(Outcome::failed(error), len),
        }
    }
}

impl<R: IntoBatchReply> ReplyOf<BatchForm> for R {
    fn into_replies_to(self, events: usize) -> Vec<Reply> {
        self.into_replies(events)
    }
}

/// One failure as the outcome of `len` events: the first gets the error itself, the others its text.
fn all_with(outcome: Outcome, len: usize) -> Vec<Reply> {
    let error = BatchFailed(outcome.error_text().unwrap_or_default().into());
    let another = match outcome {
        Outcome::Dead(_) => Outcome::dead,
        _ => Outcome::failed,
    };
    let others = (1..len).map(|_| another(error.clone()));
    let others: Vec<Reply> = others.map(Reply::from).collect();
    let mut replies = vec![Reply::from(outcome)];
    replies.extend(others);
    replies.truncate(len);
    replies
}

impl<R: IntoReply> IntoBatchReply for Vec<R> {
    fn into_replies(self, len: usize) -> Vec<Reply> {
        if self.len() == len {
            return self.into_iter().map(IntoReply::into_reply).collect();
        }
        let error = WrongLength { events: len, outcomes: self.len() };
        (0..len).map(|_| Outcome::dead(error).into()).collect()
    }
}

/// The whole batch failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the batch was refused as a whole: {0}")]
struct BatchFailed(Arc<str>);

/// The batch handler answered for another number of events than it was given.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the batch handler returned {outcomes} outcomes for {events} events: return one an event, in order")]
struct WrongLength {
    events: usize,
    outcomes: usize,
}

/// The erased batch call, used by the chain.
pub(crate) trait BatchCall: Send + Sync {
    /// Handles `deliveries`, which is not empty; one reply each, in their order.
    fn call(&self, deliveries: &[Delivery]) -> BatchFuture;
}

pub(crate) type BatchFuture = Pin<Box<dyn Future<Output = Vec<Reply>> + Send>>;

struct Erased<C> {
    call: C,
}

impl<C: Fn(&[Delivery]) -> BatchFuture + Send + Sync + 'static> Call for Erased<C> {
    /// A single event through a batch handler is a batch of one: see `chain::run_batch`, which never asks for this.
    fn invocation(self: Arc<Self>) -> Box<dyn Invocation> {
        Box::new(Alone { call: self, running: None })
    }

    fn batch(&self) -> Option<&dyn BatchCall> {
        Some(self)
    }
}

impl<C: Fn(&[Delivery]) -> BatchFuture + Send + Sync> BatchCall for Erased<C> {
    fn call(&self, deliveries: &[Delivery]) -> BatchFuture {
        (self.call)(deliveries)
    }
}

/// A batch handler where a handler of single events is wanted.
struct Alone<C> {
    call: Arc<Erased<C>>,
    running: Option<BatchFuture>,
}

impl<C: Fn(&[Delivery]) -> BatchFuture + Send + Sync> Invocation for Alone<C> {
    fn start(&mut self, delivery: &Delivery) {
        self.running = Some((self.call.call)(std::slice::from_ref(delivery)));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Reply> {
        let Some(running) = &mut self.running else { return Poll::Pending };
        running.as_mut().poll(context).map(|mut replies| {
            self.running = None;
            let missing = WrongLength { events: 1, outcomes: 0 };
            replies.pop().unwrap_or_else(|| Outcome::dead(missing).into())
        })
    }

    fn stop(&mut self) {
        self.running = None;
    }
}

/// Decodes a batch: an event that fails (or whose type panics at it) keeps its outcome, the others go to the handler.
fn decode<T: EventType>(deliveries: &[Delivery]) -> (Vec<Event<T>>, Vec<Option<Reply>>) {
    let mut events = Vec::with_capacity(deliveries.len());
    let decode_one = |delivery: &Delivery| match contain(|| delivery.event().typed::<T>()) {
        Ok(Ok(event)) => {
            events.push(event);
            None
        }
        Ok(Err(error)) => Some(Outcome::dead(error).into()),
        Err(panic) => Some(Panicked::in_node(HANDLER, &*panic).into()),
    };
    let replies = deliveries.iter().map(decode_one).collect();
    (events, replies)
}

/// Puts the handler's replies into the places of the events that were decoded.
fn merge(decoded: Vec<Option<Reply>>, handled: Vec<Reply>) -> Vec<Reply> {
    let missing = WrongLength { events: decoded.len(), outcomes: handled.len() };
    let mut handled = handled.into_iter();
    let fill = |reply: Option<Reply>| {
        reply.or_else(|| handled.next()).unwrap_or_else(|| Outcome::dead(missing).into())
    };
    decoded.into_iter().map(fill).collect()
}

/// A call under way, or the reason why the handler could not be called.
async fn replies_of<R: ReplyOf<BatchForm>>(
    decoded: Vec<Option<Reply>>,
    events: usize,
    started: Result<impl Future<Output = R>, ExtractError>,
) -> Vec<Reply> {
    let handled = match started {
        Ok(future) => future.await.into_replies_to(events),
        Err(error) => all_with(error.into(), events),
    };
    merge(decoded, handled)
}

macro_rules! shape_of_batch_function {
    ($($value:ident: $arg:ident),*) => {
        #[diagnostic::do_not_recommend]
        impl<F, Fut, T, $($arg),*> Shape<BatchForm, BesideBatch<T, ($($arg,)*)>> for BatchHandler<F>
        where
            F: Fn(Batch<T>, $($arg),*) -> Fut,
            Fut: Future,
            T: EventType,
        {
            type Function = F;
            type Reply = Fut::Output;
            type Future = Fut;

            fn erase<M>(self) -> AnyHandler<M>
            where
                M: Mode,
                F: Send + Sync + 'static,
                Fut: Send + 'static,
                Fut::Output: ReplyOf<BatchForm>,
                BesideBatch<T, ($($arg,)*)>: Arguments<M>,
            {
                let BatchHandler { f, max } = self;
                let call = move |deliveries: &[Delivery]| -> BatchFuture {
                    let (events, decoded) = decode::<T>(deliveries);
                    if events.is_empty() {
                        return Box::pin(ready(merge(decoded, Vec::new())));
                    }
                    let len = events.len();
                    let in_batch = deliveries.iter().zip(&decoded).filter(|(_, reply)| reply.is_none());
                    let in_batch: Vec<&Delivery> = in_batch.map(|(delivery, _)| delivery).collect();
                    let started = BesideBatch::<T, ($($arg,)*)>::take_for_all(&in_batch).map(|beside| {
                        let ($($value,)*) = beside.0;
                        f(Batch { events }, $($value),*)
                    });
                    Box::pin(replies_of(decoded, len, started))
                };
                AnyHandler::new::<F, BesideBatch<T, ($($arg,)*)>>(Run::Batch(max), Erased { call })
            }
        }
    };
}

shape_of_batch_function!();
shape_of_batch_function!(a1: A1);
shape_of_batch_function!(a1: A1, a2: A2);
shape_of_batch_function!(a1: A1, a2: A2, a3: A3);
shape_of_batch_function!(a1: A1, a2: A2, a3: A3, a4: A4);

const BATCH_MAX_DEFAULT: NonZeroUsize = NonZeroUsize::new(128).expect("128 is not zero");
