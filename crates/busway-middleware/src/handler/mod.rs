//! Handlers: user code for one event, and its erased form.
//!
//! | write | runs | for |
//! |---|---|---|
//! | `async fn` or closure | in the subscription's tasks | I/O; the default |
//! | [`blocking`]`(f)` | on the subscription's own threads | sync code that may take long |
//! | [`inline`]`(f)` | inside `publish`, on the publisher's thread | a few nanoseconds of work |
//! | [`batch`]`(f)` | in the subscription's tasks, many events a call | bulk writes |
//!
//! All of them take extractors ([`crate::extract`]) and return what [`IntoReply`](crate::IntoReply) lists. A handler is erased once, when
//! it is subscribed; from then on a delivery costs no allocation for it: the future of an async handler is put into the
//! same pinned slot again and again.

mod batch;
mod call;
mod function;
mod shape;

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll};

pub use self::batch::{Batch, BatchHandler, IntoBatchReply, batch};
pub use self::function::{Blocking, Inline, blocking, inline};

pub(crate) use self::batch::BatchCall;
use self::shape::{Arguments, requirements_of};
use crate::delivery::Delivery;
use crate::extract::{Loan, Requirements};
use crate::mode::{Durable, Ephemeral, Mode};
use crate::outcome::{Outcome, Reply};

/// What can handle events on a subscription of mode `M`. `Args` only tells the implementations apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler for this subscription ({M})",
    label = "not a handler",
    note = "a handler is an `async fn` or closure with up to 8 arguments, each an extractor (`Payload<T>`, `Event<T>`, `Meta`, `Topic`, `Delivery`, `State<S>`, `Publisher`, `Stopping`), whose future is `Send`",
    note = "it returns `()`, `Result<_, E>` with `E: Into<Box<dyn Error + Send + Sync>>`, an `Outcome`, or drafts of events",
    note = "wrap a function that is not async: `blocking(f)` or `inline(f)`",
    note = "wrap an `async fn` of many events: `batch(f)`; its first argument is a `Batch<T>`, and up to 4 extractors may follow"
)]
pub trait IntoHandler<M: Mode, Args>: Sized {
    /// Erases the handler.
    fn into_handler(self) -> AnyHandler<M>;
}

/// An erased handler: shareable, and says what it needs.
pub struct AnyHandler<M> {
    call: Arc<dyn Call>,
    run: Run,
    /// Its name and what it needs: made when somebody asks, so that a handler that waits for its first event takes little room.
    name: fn() -> &'static str,
    needs: fn() -> Requirements,
    lends: bool,
    may_emit: bool,
    mode: PhantomData<fn(M)>,
}

impl<M: Mode> AnyHandler<M> {
    fn new<H, Args: Arguments<M>>(run: Run, call: impl Call + 'static) -> Self {
        let (name, needs) = (type_name::<H>, requirements_of::<M, Args>);
        Self { call: Arc::new(call), run, name, needs, lends: false, may_emit: true, mode: PhantomData }
    }

    fn lending(mut self, lends: bool) -> Self {
        self.lends = lends;
        self
    }

    fn emitting(mut self, may_emit: bool) -> Self {
        self.may_emit = may_emit;
        self
    }

    /// The same handler under the name of `F`: for who wraps a function of others into one of their own.
    pub fn named_after<F>(mut self) -> Self {
        self.name = type_name::<F>;
        self
    }

    /// What the handler is and needs.
    #[must_use]
    pub fn info(&self) -> HandlerInfo {
        let (name, requirements) = ((self.name)(), (self.needs)());
        HandlerInfo { name, run: self.run, requirements, may_emit: self.may_emit }
    }

    /// Where it runs.
    #[must_use]
    #[inline]
    pub const fn run(&self) -> Run {
        self.run
    }

    /// A slot in which one delivery at a time can be handled. Each worker makes one and keeps it.
    #[must_use]
    pub fn invocation(&self) -> Box<dyn Invocation> {
        Arc::clone(&self.call).invocation()
    }

    /// Handles a delivery at once, when the handler is sync; `None` for an async one.
    #[must_use]
    pub fn call_now(&self, delivery: &Delivery) -> Option<Reply> {
        let mut reply = None;
        match self.call_into(delivery, &mut reply) {
            Called::Yes => Some(reply.unwrap_or_else(|| Outcome::Done.into())),
            Called::No => None,
        }
    }

    /// The same; a reply that says more than `Done` is put into `reply`.
    #[inline]
    pub(crate) fn call_into(&self, delivery: &Delivery, reply: &mut Option<Reply>) -> Called {
        self.call.call_into(delivery, reply)
    }

    /// Whether it is sync, takes the payload and nothing else, and has nothing to say but an outcome: such a handler may be
    /// [called with the event alone](crate::chain::call_lent).
    #[must_use]
    #[inline]
    pub const fn lends(&self) -> bool {
        self.lends
    }

    /// As [`call_into`](Self::call_into), with an event on loan. One that does not fit is there afterwards: nothing was called.
    #[inline]
    pub(crate) fn call_lent(&self, loan: Loan<'_>, reply: &mut Option<Reply>) -> Called {
        self.call.call_lent(loan, reply)
    }

    /// The batch form, when the handler is one.
    pub(crate) fn batch(&self) -> Option<&dyn BatchCall> {
        self.call.batch()
    }
}

impl AnyHandler<Durable> {
    /// The same handler for ephemeral subscriptions; `None` when it [needs](Requirements::needs_durable) a durable one.
    ///
    /// An extractor of somebody's own that is one for [`Durable`] alone and does not say so in its requirements fails then, with each delivery.
    #[must_use]
    pub fn for_ephemeral(&self) -> Option<AnyHandler<Ephemeral>> {
        let fits = !(self.needs)().needs_durable();
        fits.then(|| AnyHandler {
            call: Arc::clone(&self.call),
            run: self.run,
            name: self.name,
            needs: self.needs,
            lends: self.lends,
            may_emit: self.may_emit,
            mode: PhantomData,
        })
    }
}

impl<M> Clone for AnyHandler<M> {
    fn clone(&self) -> Self {
        Self {
            call: Arc::clone(&self.call),
            run: self.run,
            name: self.name,
            needs: self.needs,
            lends: self.lends,
            may_emit: self.may_emit,
            mode: PhantomData,
        }
    }
}

impl<M: Mode> fmt::Debug for AnyHandler<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyHandler").field(&self.info()).finish()
    }
}

/// An erased handler is a handler again.
impl<M: Mode> IntoHandler<M, Self> for AnyHandler<M> {
    fn into_handler(self) -> Self {
        self
    }
}

/// What a handler is and needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerInfo {
    /// Its Rust path, for people to read.
    pub name: &'static str,
    /// Where it runs.
    pub run: Run,
    /// What its arguments need.
    pub requirements: Requirements,
    /// Whether it may return events to publish, as far as its type says. Always so for one that is neither blocking nor inline.
    pub may_emit: bool,
}

/// Where a handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Run {
    /// In the subscription's tasks.
    Async,
    /// On the subscription's own threads.
    Blocking,
    /// On the publisher's thread, inside `publish`.
    Inline,
    /// In the subscription's tasks, at most this many events a call.
    Batch(NonZeroUsize),
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Async => f.write_str("async"),
            Self::Blocking => f.write_str("blocking"),
            Self::Inline => f.write_str("inline"),
            Self::Batch(max) => write!(f, "batch of {max}"),
        }
    }
}

/// A place where one delivery at a time is handled.
///
/// [`start`](Invocation::start), then [`poll`](Invocation::poll) until ready; [`stop`](Invocation::stop) at any time drops
/// what is running. Each of them may panic when user code does; `stop` makes the slot usable again.
pub trait Invocation: Send {
    /// Takes the arguments and makes the handler's future. A sync handler runs here.
    fn start(&mut self, delivery: &Delivery);

    /// Drives the handler. Pending for ever when nothing was started.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Reply>;

    /// Drops a running handler.
    fn stop(&mut self);

    /// [`start`](Invocation::start) and the first [`poll`](Invocation::poll) in one: most handlers are done then. A reply that says more
    /// than `Done` is put into `reply`; most say no more, and nothing is copied for them.
    fn begin(
        &mut self,
        delivery: &Delivery,
        context: &mut Context<'_>,
        reply: &mut Option<Reply>,
    ) -> Poll<()> {
        self.start(delivery);
        self.poll(context).map(|said| tell(said, reply))
    }
}

/// Puts a reply where it is asked for, if it says more than `Done`.
#[inline]
fn tell(said: Reply, reply: &mut Option<Reply>) {
    if !said.is_plain() {
        *reply = Some(said);
    }
}

/// Whether a handler was called at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Called {
    Yes,
    /// It is not sync, or the event that is lent does not fit.
    No,
}

/// The erased form behind [`AnyHandler`].
trait Call: Send + Sync {
    fn invocation(self: Arc<Self>) -> Box<dyn Invocation>;

    /// Calls a sync handler; a reply that says more than `Done` is put into `reply`.
    fn call_into(&self, _delivery: &Delivery, _reply: &mut Option<Reply>) -> Called {
        Called::No
    }

    /// Calls a sync handler with an event on loan, if it fits.
    fn call_lent(&self, _loan: Loan<'_>, _reply: &mut Option<Reply>) -> Called {
        Called::No
    }

    fn batch(&self) -> Option<&dyn BatchCall> {
        None
    }
}
