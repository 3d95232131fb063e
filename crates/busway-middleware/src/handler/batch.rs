//! Batch handlers: many events a call, one outcome each.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use busway_event::{Event, EventType};

use super::{AnyHandler, Call, IntoHandler, Invocation, Run};
use crate::chain::{HANDLER, Panicked, contain};
use crate::delivery::Delivery;
use crate::extract::{ExtractError, FromScope, Requirements};
use crate::mode::Mode;
use crate::outcome::{BoxError, IntoReply, Outcome, Reply};
use crate::scope::Scope;

/// A handler of many events at once: an async function that takes a [`Batch<T>`] and returns one outcome for all, or one
/// an event. Whatever is there is handed over, at most [`max`](BatchHandler::max) events: a batch never waits to fill up.
///
/// Middleware runs for each event of the batch, as if it were alone. An event that does not decode gets its own outcome and
/// is left out. At most one event of each lane is in a batch, so a failing one holds back its successors as always;
/// with concurrency 1 a batch holds whatever comes next, in order.
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

macro_rules! handler_of_batch_function {
    ($($arg:ident),*) => {
        impl<M, F, Fut, R, T, $($arg),*> IntoHandler<M, (T, $($arg,)*)> for BatchHandler<F>
        where
            M: Mode,
            F: Fn(Batch<T>, $($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: IntoBatchReply + 'static,
            T: EventType,
            $($arg: FromScope<M>,)*
        {
            fn into_handler(self) -> AnyHandler<M> {
                let BatchHandler { f, max } = self;
                let mut requirements = Requirements::default();
                requirements.payload(T::NAME);
                $($arg::require(&mut requirements);)*
                let call = move |deliveries: &[Delivery]| -> BatchFuture {
                    let (events, decoded) = decode::<T>(deliveries);
                    let Some(_scope) = deliveries.first().map(Delivery::scope).filter(|_| !events.is_empty())
                    else {
                        return Box::pin(async move { merge(decoded, Vec::new()) });
                    };
                    let len = events.len();
                    let start = |_scope: &Scope| Ok(f(Batch { events }, $($arg::from_scope(_scope)?),*));
                    let started: Result<Fut, ExtractError> = start(_scope);
                    match started {
                        Ok(future) => {
                            Box::pin(async move { merge(decoded, future.await.into_replies(len)) })
                        }
                        Err(error) => {
                            let replies = all_with(error.into(), len);
                            Box::pin(async move { merge(decoded, replies) })
                        }
                    }
                };
                AnyHandler::new::<F>(Run::Batch(max), requirements, Erased { call })
            }
        }
    };
}

handler_of_batch_function!();
handler_of_batch_function!(A1);
handler_of_batch_function!(A1, A2);
handler_of_batch_function!(A1, A2, A3);
handler_of_batch_function!(A1, A2, A3, A4);

const BATCH_MAX_DEFAULT: NonZeroUsize = NonZeroUsize::new(128).expect("128 is not zero");
