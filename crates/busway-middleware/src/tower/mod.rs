//! A [`tower::Layer`](tower_layer::Layer) as a middleware: timeouts, limits, load shedding, retries and buffers that exist
//! already.

mod gate;

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use self::gate::{Asked, Gate, Open};
use crate::chain::Next;
use crate::delivery::Delivery;
use crate::middleware::Middleware;
use crate::outcome::{BoxError, Outcome};

/// Runs deliveries through the service that a `tower` layer makes.
///
/// The layer is applied once, so what its service shares between clones (a semaphore, say) is shared between deliveries.
/// Each delivery calls a clone of it. The innermost service is the rest of busway's chain, and a failed handler is an
/// `Outcome` there, not an error: a retry policy looks at the `Ok` side. An error of the layer itself (elapsed, overloaded)
/// is a `Failed` outcome, or what it was [marked](crate::Permanent) as.
///
/// The rest of the chain runs in the task of the delivery, also when the layer calls its inner service in another one
/// (`Buffer`). A layer that drops its inner call (a timeout) drops the rest of the chain with it. One that makes several
/// calls gets them one after the other, also when it makes them at once.
///
/// A service that is not `Clone` (a rate limit) goes behind a `Buffer`.
///
/// ```
/// use busway_middleware::middleware::IntoStep;
/// use busway_middleware::tower::TowerMiddleware;
/// use busway_middleware::{Registry, Stage};
/// use tower::limit::ConcurrencyLimitLayer;
///
/// let registry = Registry::new();
/// let layer = ConcurrencyLimitLayer::new(8);
/// registry.add(Stage::User, "at most eight", TowerMiddleware::new(&layer).into_step())?;
/// # Ok::<(), busway_middleware::RegistryError>(())
/// ```
///
/// # Cancel safety
/// Dropping the future ends the layer's call and the rest of the chain. A call that another task still holds ends with an
/// error.
pub struct TowerMiddleware<S> {
    service: S,
}

impl<S> TowerMiddleware<S> {
    /// Applies `layer`.
    pub fn new<L: Layer<Inner, Service = S>>(layer: &L) -> Self {
        Self { service: layer.layer(Inner) }
    }
}

impl<S> fmt::Debug for TowerMiddleware<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TowerMiddleware")
    }
}

impl<S> Middleware for TowerMiddleware<S>
where
    S: Service<Request, Response = Outcome> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        let open = Open::default();
        let request = Request { delivery: delivery.clone(), gate: open.gate() };
        let mut service = self.service.clone();
        let outer = async move {
            poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
            service.call(request).await.map_err(Into::into)
        };
        let mut outer = pin!(outer);
        loop {
            // Until the layer either answers by itself or calls inwards.
            let turn = poll_fn(|context| match outer.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Turn::Answered(answer)),
                Poll::Pending => open.poll_asked(context).map(Turn::Called),
            });
            let call = match turn.await {
                Turn::Answered(answer) => return answer.unwrap_or_else(Outcome::failed),
                Turn::Called(call) => call,
            };
            // The layer keeps being polled while the rest of the chain runs: it may give up on it.
            let mut inner = pin!(next.run(delivery));
            let turn = poll_fn(|context| {
                if let Poll::Ready(answer) = outer.as_mut().poll(context) {
                    return Poll::Ready(Some(answer));
                }
                if open.is_dropped(call, context) {
                    return Poll::Ready(None);
                }
                inner.as_mut().poll(context).map(|outcome| {
                    open.answer(call, outcome);
                    None
                })
            });
            if let Some(answer) = turn.await {
                return answer.unwrap_or_else(Outcome::failed);
            }
        }
    }
}

enum Turn {
    Answered(Result<Outcome, BoxError>),
    Called(u64),
}

/// A delivery on its way through `tower` services. A clone (made by a retry) calls the same rest of the chain again.
#[derive(Clone)]
pub struct Request {
    delivery: Delivery,
    gate: Arc<Gate>,
}

impl Request {
    /// The delivery, as it reached the layer.
    #[must_use]
    pub const fn delivery(&self) -> &Delivery {
        &self.delivery
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Request").field(&self.delivery).finish()
    }
}

/// The innermost service: asks the middleware that made the request to run the rest of the chain.
#[derive(Debug, Clone, Copy)]
pub struct Inner;

impl Service<Request> for Inner {
    type Response = Outcome;
    type Error = BoxError;
    type Future = InnerFuture;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> InnerFuture {
        InnerFuture { gate: request.gate, asked: Asked::NotYet }
    }
}

/// The future of [`Inner`]: the outcome of the rest of the chain. An error only when the delivery ended before.
pub struct InnerFuture {
    gate: Arc<Gate>,
    asked: Asked,
}

impl fmt::Debug for InnerFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InnerFuture")
    }
}

impl Future for InnerFuture {
    type Output = Result<Outcome, BoxError>;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { gate, asked } = &mut *self;
        gate.poll_call(asked, context).map_err(BoxError::from)
    }
}

impl Drop for InnerFuture {
    fn drop(&mut self) {
        self.gate.drop_call(&self.asked);
    }
}
