//! Middleware: a step around handling, in an async and in a sync form.

use std::pin::Pin;
use std::sync::Arc;

use crate::chain::{Next, drop_contained};
use crate::delivery::Delivery;
use crate::outcome::Outcome;
use crate::passing::ErasedPass;

/// A step around handling that may wait.
///
/// It is called for each attempt. Calling [`Next::run`] goes on inwards; not calling it cuts the chain short, and what
/// it returns is the outcome. A panic in it is contained: the outcome is `Failed` and names this node. A `Failed`
/// outcome that it returns bears this node's name too, also when it stands in the place of another; only what came
/// from the inside and is handed on (of several attempts, any of the last 16) stays as it is. A `Dead` outcome is its
/// reason as it is; [`Progress::cut_by`](crate::Progress::cut_by) names the node that cut the chain short.
///
/// ```
/// use busway_middleware::{Delivery, Middleware, Next, Outcome};
///
/// struct Audit;
///
/// impl Middleware for Audit {
///     async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
///         let outcome = next.run(delivery).await;
///         println!("{} of {}: {outcome}", delivery.attempt(), delivery.event().topic());
///         outcome
///     }
/// }
/// ```
///
/// # Cancel safety
/// The future is dropped when a deadline or a shutdown cancels the attempt: hold nothing across an await that must not be
/// dropped there. What has to be undone in any case belongs into a guard whose `Drop` undoes it:
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use busway_middleware::{Delivery, Middleware, Next, Outcome};
///
/// struct InFlight(Arc<AtomicUsize>);
///
/// impl Middleware for InFlight {
///     async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
///         struct Entered<'a>(&'a AtomicUsize);
///         impl Drop for Entered<'_> {
///             fn drop(&mut self) {
///                 self.0.fetch_sub(1, Ordering::Relaxed);
///             }
///         }
///         self.0.fetch_add(1, Ordering::Relaxed);
///         let _entered = Entered(&self.0);
///         next.run(delivery).await
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a middleware",
    label = "not a middleware",
    note = "implement `Middleware` (async, with `next`) or `SyncMiddleware` (before/after, no allocation) for it"
)]
pub trait Middleware: Send + Sync + 'static {
    /// Handles one delivery.
    fn handle(&self, delivery: &mut Delivery, next: Next<'_>) -> impl Future<Output = Outcome> + Send;
}

/// A step around handling that never waits and allocates nothing.
///
/// `before` runs on the way in, `after` on the way out for each step whose `before` went on, unless the attempt is
/// dropped in between. A panic or failure of either is contained and named as that of [`Middleware`].
///
/// # Cancel safety
/// An attempt that is dropped inside of this step (by a timeout outside of it, or a shutdown whose grace is over) has
/// no outcome to look at: `after` is not called. Let `before` change nothing that only `after` sets right; what
/// counts, locks or lends is for the async form, which can hold a guard.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a middleware",
    label = "not a middleware",
    note = "implement `Middleware` (async, with `next`) or `SyncMiddleware` (before/after, no allocation) for it"
)]
pub trait SyncMiddleware: Send + Sync + 'static {
    /// Looks at a delivery before the handler does.
    fn before(&self, delivery: &mut Delivery) -> Flow {
        let _ = delivery;
        Flow::Continue
    }

    /// Looks at the outcome, and may change it.
    fn after(&self, delivery: &Delivery, outcome: Outcome) -> Outcome {
        let _ = delivery;
        outcome
    }
}

/// Whether a delivery goes on inwards.
#[derive(Debug)]
#[must_use]
pub enum Flow {
    /// On to the next step.
    Continue,
    /// No further: this is the outcome. The handler is not called.
    Stop(Outcome),
}

/// Either form of middleware, as a node of a chain. `Form` only tells the two apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a middleware",
    label = "not a middleware",
    note = "implement `Middleware` (async, with `next`) or `SyncMiddleware` (before/after, no allocation) for it"
)]
pub trait IntoStep<Form> {
    /// Erases the middleware.
    fn into_step(self) -> Step;
}

/// An erased middleware.
#[derive(Clone)]
pub struct Step(pub(crate) StepForm);

impl Step {
    /// Whether it is of the async form, or may take that: then it needs an async context, which an inline handler under `try_publish`
    /// has not.
    #[must_use]
    pub const fn is_async(&self) -> bool {
        matches!(self.0, StepForm::Async(_) | StepForm::Pass(_))
    }
}

/// Whoever drops it last (the registry, or a worker with its chain), a panic in that ends here.
impl Drop for Step {
    fn drop(&mut self) {
        drop_contained(std::mem::replace(&mut self.0, StepForm::Gone));
    }
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_async() { "Step(async)" } else { "Step(sync)" })
    }
}

/// Marks implementations for [`Middleware`].
#[derive(Debug)]
pub enum AsyncStep {}
/// Marks implementations for [`SyncMiddleware`].
#[derive(Debug)]
pub enum SyncStep {}

impl<W: Middleware> IntoStep<AsyncStep> for W {
    fn into_step(self) -> Step {
        Step(StepForm::Async(Arc::new(self)))
    }
}

impl<W: SyncMiddleware> IntoStep<SyncStep> for W {
    fn into_step(self) -> Step {
        Step(StepForm::Sync(Arc::new(self)))
    }
}

/// An erased middleware is a middleware again.
impl IntoStep<Self> for Step {
    fn into_step(self) -> Step {
        self
    }
}

#[derive(Clone)]
pub(crate) enum StepForm {
    Async(Arc<dyn ErasedMiddleware>),
    Sync(Arc<dyn SyncMiddleware>),
    /// Mostly sync.
    Pass(Arc<dyn ErasedPass>),
    /// Only while it is dropped.
    Gone,
}

/// [`Middleware`] with a boxed future: one allocation a delivery and async node.
pub(crate) trait ErasedMiddleware: Send + Sync {
    fn handle<'a>(
        &'a self,
        delivery: &'a mut Delivery,
        next: Next<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
}

impl<W: Middleware> ErasedMiddleware for W {
    fn handle<'a>(
        &'a self,
        delivery: &'a mut Delivery,
        next: Next<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(Middleware::handle(self, delivery, next))
    }
}
