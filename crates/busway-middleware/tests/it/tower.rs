//! `tower` layers as middleware.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use busway_middleware::middleware::IntoStep;
use busway_middleware::tower::{Inner, Request, TowerMiddleware};
use busway_middleware::{AnyHandler, Chain, Delivery, Ephemeral, Outcome};
use tower::buffer::BufferLayer;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::retry::{Policy, RetryLayer};
use tower::timeout::TimeoutLayer;
use tower::{BoxError, Service, ServiceBuilder};

use crate::world::{Journal, chain_of, delivery, draft, ephemeral, pause, poll_once, run_once};

/// A chain of one layer between two steps that note what happens.
macro_rules! chain_with {
    ($layer:expr, $journal:expr) => {
        chain_of([
            ("outer", $journal.sync("outer")),
            ("layer", TowerMiddleware::new(&$layer).into_step()),
            ("inner", $journal.sync("inner")),
        ])
    };
}

/// A handler that counts how many run at once, and the most so far.
fn counting(most: &Arc<AtomicUsize>) -> AnyHandler<Ephemeral> {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::clone(most));
    ephemeral(move || {
        let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
        async move {
            most.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            pause().await;
            pause().await;
            inside.fetch_sub(1, Ordering::Relaxed);
        }
    })
}

async fn run_many(chain: &Chain, handler: &AnyHandler<Ephemeral>, count: usize) -> Vec<Outcome> {
    let runs = (0..count).map(|_| async { run_once(chain, handler, &mut delivery(1)).await.0 });
    futures_util::future::join_all(runs).await
}

#[tokio::test]
async fn what_a_layer_shares_is_shared_between_deliveries() {
    let (journal, most) = (Journal::default(), Arc::default());
    let chain = chain_with!(ConcurrencyLimitLayer::new(2), journal);
    let outcomes = run_many(&chain, &counting(&most), 9).await;
    assert!(outcomes.iter().all(Outcome::is_done));
    assert_eq!(most.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn one_layer_may_bound_two_chains_together() {
    let (journal, most) = (Journal::default(), Arc::default());
    let layer = GlobalConcurrencyLimitLayer::new(1);
    let (one, two) = (chain_with!(layer, journal), chain_with!(layer, journal));
    let handler = counting(&most);
    let (first, second) = tokio::join!(run_many(&one, &handler, 3), run_many(&two, &handler, 3));
    assert!(first.iter().chain(&second).all(Outcome::is_done));
    assert_eq!(most.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_outcome_and_events_of_the_handler_pass_through() {
    let journal = Journal::default();
    let chain = chain_with!(TimeoutLayer::new(Duration::from_secs(1)), journal);
    let (outcome, mut progress) = run_once(&chain, &ephemeral(async || draft(2)), &mut delivery(1)).await;
    assert_eq!((outcome.label(), progress.take_emits().len(), progress.cut_by()), ("done", 1, None));
    assert_eq!(journal.take(), ["> outer", "> inner", "< inner done", "< outer done"]);
    let (outcome, _) = run_once(&chain, &ephemeral(async || Err::<(), _>("no")), &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "failed: no", "the handler's failure bears no layer's name");
}

/// Notes when a handler that never ends is dropped.
fn never_ending(journal: &Journal) -> AnyHandler<Ephemeral> {
    struct Running(Journal);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.note("stopped");
        }
    }
    let journal = journal.clone();
    ephemeral(move || {
        let running = Running(journal.clone());
        async move {
            std::future::pending::<()>().await;
            drop(running);
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_timeout_stops_the_handler_and_is_a_failure_that_names_the_layer() {
    let journal = Journal::default();
    let chain = chain_with!(TimeoutLayer::new(Duration::from_secs(30)), journal);
    let (outcome, progress) = run_once(&chain, &never_ending(&journal), &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "failed: middleware layer failed: request timed out");
    assert_eq!(progress.cut_by(), None);
    assert_eq!(journal.take(), ["> outer", "> inner", "stopped", "< outer failed"]);
}

#[tokio::test]
async fn a_delivery_that_is_shed_never_reaches_the_handler() {
    let journal = Journal::default();
    let layer =
        ServiceBuilder::new().layer(LoadShedLayer::new()).layer(ConcurrencyLimitLayer::new(1)).into_inner();
    let chain = chain_with!(layer, journal);
    let (handler, mut first) = (ephemeral(std::future::pending::<()>), delivery(1));
    let mut held = Box::pin(run_once(&chain, &handler, &mut first));
    assert!(poll_once(&mut held).await.is_none());
    journal.take();
    let (outcome, progress) = run_once(&chain, &journal.handler(), &mut delivery(2)).await;
    assert_eq!((outcome.label(), progress.cut_by()), ("failed", Some("layer")));
    assert!(outcome.to_string().starts_with("failed: middleware layer failed: "), "{outcome}");
    assert_eq!(journal.take(), ["> outer", "< outer failed"]);
    drop(held);
    let (outcome, _) = run_once(&chain, &journal.handler(), &mut delivery(2)).await;
    assert!(outcome.is_done(), "the place is free again: {outcome}");
}

#[tokio::test]
async fn a_buffer_calls_the_inner_service_in_another_task() {
    let (journal, most) = (Journal::default(), Arc::default());
    let layer =
        ServiceBuilder::new().layer(BufferLayer::<Request>::new(4)).layer(ConcurrencyLimitLayer::new(2));
    let chain = chain_with!(layer.into_inner(), journal);
    let outcomes = run_many(&chain, &counting(&most), 9).await;
    assert!(outcomes.iter().all(Outcome::is_done), "{outcomes:?}");
    assert_eq!(most.load(Ordering::Relaxed), 2);
}

/// A service from a function of the request and the service inside of it.
#[derive(Clone)]
struct Custom<F>(F);

impl<F, Fut> Service<Request> for Custom<F>
where
    F: Fn(Request, Inner) -> Fut,
    Fut: Future<Output = Result<Outcome, BoxError>>,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Fut {
        (self.0)(request, Inner)
    }
}

#[tokio::test]
async fn a_layer_that_answers_by_itself_cuts_the_chain_short() {
    let journal = Journal::default();
    let layer = tower::layer::layer_fn(|_: Inner| {
        Custom(|request: Request, _: Inner| {
            assert_eq!(request.delivery().attempt(), 1);
            ready(Ok(Outcome::Skip))
        })
    });
    let chain = chain_with!(layer, journal);
    let (outcome, progress) = run_once(&chain, &journal.handler(), &mut delivery(1)).await;
    assert_eq!((outcome.label(), progress.cut_by()), ("skipped", Some("layer")));
    assert_eq!(journal.take(), ["> outer", "< outer skipped"]);
}

/// Tries again until it is done.
#[derive(Clone)]
struct UntilDone(u32);

impl<E> Policy<Request, Outcome, E> for UntilDone {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request, result: &mut Result<Outcome, E>) -> Option<Ready<()>> {
        let again = self.0 > 0 && !matches!(result, Ok(Outcome::Done));
        self.0 = self.0.saturating_sub(1);
        again.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn a_retry_policy_runs_the_rest_of_the_chain_again() {
    let (journal, calls) = (Journal::default(), Arc::new(AtomicU32::new(0)));
    let chain = chain_with!(RetryLayer::new(UntilDone(3)), journal);
    let counted = Arc::clone(&calls);
    let handler = ephemeral(move || {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        async move { if call == 0 { Err("not yet") } else { Ok(draft(2)) } }
    });
    let (outcome, mut progress) = run_once(&chain, &handler, &mut delivery(1)).await;
    assert_eq!((outcome.label(), progress.take_emits().len()), ("done", 1));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    let expected = ["> outer", "> inner", "< inner failed", "> inner", "< inner done", "< outer done"];
    assert_eq!(journal.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_timed_out_gives_its_outcome_to_nobody() {
    // The first attempt outlives its timeout, and would be done later; the second fails at once.
    let (journal, calls) = (Journal::default(), Arc::new(AtomicU32::new(0)));
    let layer = ServiceBuilder::new()
        .layer(RetryLayer::new(UntilDone(1)))
        .layer(TimeoutLayer::new(Duration::from_secs(1)));
    let chain = chain_with!(layer.into_inner(), journal);
    let counted = Arc::clone(&calls);
    let handler = ephemeral(move || {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            if call > 0 {
                return Err("second");
            }
            _ = tokio::time::timeout(Duration::from_secs(60), std::future::pending::<()>()).await;
            Ok(())
        }
    });
    let (outcome, _) = run_once(&chain, &handler, &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "failed: second");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(journal.take(), ["> outer", "> inner", "> inner", "< inner failed", "< outer failed"]);
}

#[tokio::test]
async fn calls_that_are_made_at_once_are_served_one_after_the_other() {
    let (journal, calls, most) = (Journal::default(), Arc::new(AtomicU32::new(0)), Arc::default());
    let layer = tower::layer::layer_fn(|_: Inner| {
        Custom(|request: Request, mut inner: Inner| {
            let (one, two) = (inner.call(request.clone()), inner.call(request));
            async move {
                let (one, two) = tokio::join!(one, two);
                Ok(Outcome::failed(format!("{} and {}", one?, two?)))
            }
        })
    });
    let chain = chain_with!(layer, journal);
    let counted = Arc::clone(&calls);
    let counting = counting(&most);
    let handler = ephemeral(move |delivery: Delivery| {
        let (call, counting) = (counted.fetch_add(1, Ordering::Relaxed), counting.clone());
        async move {
            run_once(&Chain::default(), &counting, &mut delivery.clone()).await;
            Outcome::dead(format!("call {call}"))
        }
    });
    let (outcome, _) = run_once(&chain, &handler, &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "failed: middleware layer failed: dead: call 0 and dead: call 1");
    assert_eq!(most.load(Ordering::Relaxed), 1);
}

/// A waker that says whether it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_call_that_outlives_its_delivery_is_woken_and_ends_with_an_error() {
    // As another task would: one call waits, with a waker of its own, and one is not even polled yet.
    let woken = Arc::new(Woken::default());
    let held = Arc::new(Mutex::new(Vec::new()));
    let (keep, waker) = (Arc::clone(&held), Waker::from(Arc::clone(&woken)));
    let layer = tower::layer::layer_fn(move |_: Inner| {
        let (keep, waker) = (Arc::clone(&keep), waker.clone());
        Custom(move |request: Request, mut inner: Inner| {
            let (mut waiting, unpolled) = (inner.call(request.clone()), inner.call(request));
            assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)).is_pending());
            keep.lock().unwrap().extend([waiting, unpolled]);
            ready(Ok(Outcome::Skip))
        })
    });
    let journal = Journal::default();
    let (outcome, _) = run_once(&chain_with!(layer, journal), &journal.handler(), &mut delivery(1)).await;
    assert_eq!(outcome.label(), "skipped");
    assert!(woken.0.load(Ordering::Relaxed));
    let calls = std::mem::take(&mut *held.lock().unwrap());
    assert_eq!(calls.len(), 2);
    for call in calls {
        let error = poll_once(call).await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the delivery ended before the call to the rest of its chain");
    }
}

#[tokio::test]
async fn dropping_the_delivery_drops_the_layers_call_and_the_handler() {
    let journal = Journal::default();
    let chain = chain_with!(ConcurrencyLimitLayer::new(1), journal);
    let (handler, mut first) = (never_ending(&journal), delivery(1));
    assert!(poll_once(run_once(&chain, &handler, &mut first)).await.is_none());
    assert_eq!(journal.take(), ["> outer", "> inner", "stopped"]);
    let (outcome, _) = run_once(&chain, &journal.handler(), &mut delivery(2)).await;
    assert!(outcome.is_done());
}

#[tokio::test]
async fn a_panic_in_a_layer_is_contained() {
    let journal = Journal::default();
    let layer = tower::layer::layer_fn(|_: Inner| {
        Custom(|_: Request, _: Inner| -> Ready<Result<Outcome, BoxError>> { panic!("a bug") })
    });
    let (outcome, _) = run_once(&chain_with!(layer, journal), &journal.handler(), &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "failed: layer panicked: a bug");
}
