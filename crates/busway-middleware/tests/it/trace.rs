//! Chain traces: who was entered, in which order, for how long.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use busway_middleware::chain::{run, run_now};
use busway_middleware::{Chain, ChainTrace, Delivery, Ephemeral, Flow, Outcome, Progress, Step, inline};

use crate::world::{around, before, chain_of, delivery, ephemeral, poll_once};

/// A clock that stands still unless it is moved.
#[derive(Clone)]
struct Clock {
    start: Instant,
    passed: Arc<Mutex<Duration>>,
}

impl Clock {
    fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "an instant can be made in no other way; it is read once and then moved by hand"
        )]
        Self { start: Instant::now(), passed: Arc::default() }
    }

    fn advance(&self, ms: u64) {
        *self.passed.lock().unwrap() += Duration::from_millis(ms);
    }

    fn reading(&self) -> Arc<dyn Fn() -> Instant + Send + Sync> {
        let clock = self.clone();
        Arc::new(move || clock.start + *clock.passed.lock().unwrap())
    }

    /// A sync step that takes this long on its way in.
    fn step(&self, ms: u64) -> Step {
        let clock = self.clone();
        before(move |_| {
            clock.advance(ms);
            Flow::Continue
        })
    }

    /// An async step that takes this long on its way out.
    fn waiting(&self, ms: u64) -> Step {
        let clock = self.clone();
        around(move |delivery, mut next| {
            let clock = clock.clone();
            Box::pin(async move {
                let outcome = next.run(delivery).await;
                clock.advance(ms);
                outcome
            })
        })
    }
}

async fn traced(
    clock: &Clock,
    chain: &Chain,
    handler: &busway_middleware::AnyHandler<Ephemeral>,
) -> ChainTrace {
    let (mut slot, mut progress) = (handler.invocation(), Progress::new());
    progress.time_with(Some(clock.reading()));
    run(chain, &mut delivery(1), &mut *slot, &mut progress).await;
    let trace = progress.take_trace().unwrap();
    assert_eq!(progress.take_trace(), None);
    trace
}

fn times(trace: &ChainTrace) -> Vec<(&str, u128)> {
    trace.nodes.iter().map(|time| (&*time.node, time.elapsed.as_millis())).collect()
}

#[tokio::test]
async fn each_node_has_its_time_and_the_outermost_comes_first() {
    let clock = Clock::new();
    let working = clock.clone();
    let handler = ephemeral(inline(move || working.advance(100)));
    let chain = chain_of([
        ("a", clock.step(1)),
        ("b", clock.waiting(10)),
        ("c", clock.step(2)),
        ("d", clock.step(3)),
    ]);
    let trace = traced(&clock, &chain, &handler).await;
    assert_eq!(times(&trace), [("a", 116), ("b", 115), ("c", 105), ("d", 103), ("handler", 100)]);
    assert_eq!(
        (trace.outcome, trace.cut_by.as_deref(), trace.event),
        ("done", None, delivery(1).event().id())
    );
    assert!(trace.to_string().ends_with(": done > a 116ms > b 115ms > c 105ms > d 103ms > handler 100ms"));
}

#[tokio::test]
async fn a_chain_that_was_cut_short_says_by_whom() {
    let clock = Clock::new();
    let slow = clock.clone();
    let stop = before(move |_| {
        slow.advance(5);
        Flow::Stop(Outcome::Skip)
    });
    let chain = chain_of([("a", clock.step(1)), ("stop", stop), ("c", clock.step(2))]);
    let trace = traced(&clock, &chain, &ephemeral(async || {})).await;
    assert_eq!(times(&trace), [("a", 6), ("stop", 5)]);
    assert_eq!((trace.outcome, trace.cut_by.as_deref()), ("skipped", Some("stop")));
    assert!(trace.to_string().contains(": skipped, cut short by stop > a"), "{trace}");
}

#[tokio::test]
async fn what_a_retry_runs_again_is_there_again() {
    let clock = Clock::new();
    let working = clock.clone();
    let handler = ephemeral(inline(move |delivery: Delivery| {
        working.advance(if delivery.get::<u8>().is_some() { 7 } else { 100 });
    }));
    let twice = around(|delivery, mut next| {
        Box::pin(async move {
            next.run(delivery).await;
            delivery.insert(2_u8);
            next.run(delivery).await
        })
    });
    let trace = traced(&clock, &chain_of([("twice", twice), ("a", clock.step(1))]), &handler).await;
    assert_eq!(times(&trace), [("twice", 109), ("a", 101), ("handler", 100), ("a", 8), ("handler", 7)]);
}

#[tokio::test]
async fn a_node_that_was_dropped_is_left_with_the_one_that_dropped_it() {
    let clock = Clock::new();
    let passing = clock.clone();
    let impatient = around(move |delivery, mut next| {
        let clock = passing.clone();
        Box::pin(async move {
            assert!(poll_once(next.run(delivery)).await.is_none());
            clock.advance(50);
            Outcome::failed("too slow")
        })
    });
    let chain = chain_of([("outer", clock.waiting(3)), ("deadline", impatient), ("a", clock.step(2))]);
    let trace = traced(&clock, &chain, &ephemeral(std::future::pending::<()>)).await;
    assert_eq!(times(&trace), [("outer", 55), ("deadline", 52), ("a", 52), ("handler", 50)]);
    assert_eq!((trace.outcome, trace.cut_by), ("failed", None));
}

#[tokio::test]
async fn times_are_taken_only_when_they_are_asked_for() {
    let clock = Clock::new();
    let (handler, chain) = (ephemeral(inline(|| {})), chain_of([("a", clock.step(1))]));
    let mut progress = Progress::new();
    assert!(run_now(&chain, &mut delivery(1), &handler, &mut progress).unwrap().is_done());
    assert_eq!(progress.take_trace(), None);
    progress.time_with(Some(clock.reading()));
    run_now(&chain, &mut delivery(1), &handler, &mut progress).unwrap();
    assert_eq!(times(&progress.take_trace().unwrap()), [("a", 1), ("handler", 0)]);
    progress.time_with(None);
    run_now(&chain, &mut delivery(1), &handler, &mut progress).unwrap();
    assert_eq!(progress.take_trace(), None);
}
