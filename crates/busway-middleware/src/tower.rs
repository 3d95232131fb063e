//! A [`tower::Layer`](tower_layer::Layer) as a middleware: timeouts, limits, load shedding and buffers that exist already.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tower_layer::Layer;
use tower_service::Service;

use crate::chain::Next;
use crate::delivery::Delivery;
use crate::middleware::Middleware;
use crate::outcome::{BoxError, Outcome};

/// Runs deliveries through the service that a `tower` layer makes.
///
/// The layer is applied once, so what its service shares between clones (a semaphore, say) is shared between deliveries.
/// Each delivery calls a clone of it. The innermost service is the rest of busway's chain; its error never occurs:
/// a failed handler is an `Outcome`, not an error. An error of the layer itself (elapsed, overloaded) is a `Failed` outcome.
///
/// The rest of the chain runs in the same task as the layer, so cancelling one cancels the other. A service that calls
/// its inner service in another task (`Buffer`) works as well.
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
        let gate = Arc::new(Mutex::new(Gate::default()));
        let request = Request { delivery: delivery.clone(), gate: Arc::clone(&gate) };
        let mut service = self.service.clone();
        let outer = async move {
            poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
            service.call(request).await.map_err(Into::into)
        };
        let mut outer = pin!(outer);
        loop {
            // Until the layer either answers by itself or calls inwards.
            let step = poll_fn(|context| match outer.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Step::Answered(answer)),
                Poll::Pending => gate.lock().poll_called(context).map(|()| Step::Called),
            });
            match step.await {
                Step::Answered(answer) => return answer.unwrap_or_else(Outcome::failed),
                Step::Called => {}
            }
            // The layer keeps being polled while the rest of the chain runs: it may give up on it.
            let mut inner = pin!(next.run(delivery));
            let step = poll_fn(|context| {
                if let Poll::Ready(answer) = outer.as_mut().poll(context) {
                    return Poll::Ready(Some(answer));
                }
                inner.as_mut().poll(context).map(|outcome| {
                    gate.lock().answer(outcome);
                    None
                })
            });
            if let Some(answer) = step.await {
                return answer.unwrap_or_else(Outcome::failed);
            }
        }
    }
}

enum Step {
    Answered(Result<Outcome, BoxError>),
    Called,
}

/// A delivery on its way through `tower` services.
pub struct Request {
    delivery: Delivery,
    gate: Arc<Mutex<Gate>>,
}

impl Request {
    /// The delivery.
    #[must_use]
    pub const fn delivery(&self) -> &Delivery {
        &self.delivery
    }
}

/// A request that is cloned (by a retry) calls the same rest of the chain again.
impl Clone for Request {
    fn clone(&self) -> Self {
        Self { delivery: self.delivery.clone(), gate: Arc::clone(&self.gate) }
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

/// The future of [`Inner`].
pub struct InnerFuture {
    gate: Arc<Mutex<Gate>>,
    asked: Asked,
}

#[derive(PartialEq, Eq)]
enum Asked {
    NotYet,
    Yes,
}

impl fmt::Debug for InnerFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InnerFuture")
    }
}

impl Future for InnerFuture {
    type Output = Result<Outcome, BoxError>;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let gate = Arc::clone(&self.gate);
        let mut gate = gate.lock();
        if self.asked == Asked::NotYet {
            self.asked = Asked::Yes;
            gate.call();
        }
        gate.poll_answer(context).map(Ok)
    }
}

/// The hand-over between the services and the middleware: one call at a time, its answer, and who waits for which.
#[derive(Default)]
struct Gate {
    called: u32,
    outcome: Option<Outcome>,
    caller: Option<Waker>,
    runner: Option<Waker>,
}

impl Gate {
    fn call(&mut self) {
        self.called += 1;
        if let Some(waker) = self.runner.take() {
            waker.wake();
        }
    }

    fn poll_called(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.called > 0 {
            self.called -= 1;
            return Poll::Ready(());
        }
        self.runner = Some(context.waker().clone());
        Poll::Pending
    }

    fn answer(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        if let Some(waker) = self.caller.take() {
            waker.wake();
        }
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        match self.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                self.caller = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
