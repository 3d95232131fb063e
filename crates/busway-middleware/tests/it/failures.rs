//! Whose failure an outcome is: a step's own bears its name, also in the place of another; the handler's stays as it is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use busway_middleware::chain::{run_batch, run_now};
use busway_middleware::{
    AnyHandler, Batch, Ephemeral, Flow, Outcome, Permanent, Progress, Step, batch, blocking, inline,
};

use crate::world::{Order, after, around, before, chain_of, delivery, ephemeral, run_once};

/// What the handlers fail with, and a failure that needs the same room: it may come to lie in the same place.
const OUT_OF_STOCK: &str = "out of stock until the end of the week";
const OUT_OF_ORDER: &str = "out of order until the end of the week";

/// A handler that fails in each of the forms that a failure may have.
fn failing() -> [AnyHandler<Ephemeral>; 4] {
    [
        ephemeral(async || Err::<(), _>(OUT_OF_STOCK)),
        ephemeral(blocking(|| Err::<(), _>(io::Error::other(OUT_OF_STOCK)))),
        ephemeral(inline(|| Outcome::failed(OUT_OF_STOCK))),
        ephemeral(inline(|| -> () { panic!("out of stock") })),
    ]
}

/// Steps that put a failure of their own in the place of what comes from the inside.
fn replacing(own: &'static str) -> [Step; 4] {
    [
        // What is dropped first leaves its place in memory to what is made next.
        after(move |outcome| {
            drop(outcome);
            Outcome::failed(own)
        }),
        after(move |_kept| Outcome::failed(own)),
        around(move |delivery, mut next| {
            Box::pin(async move {
                drop(next.run(delivery).await);
                Outcome::failed(own)
            })
        }),
        around(move |delivery, mut next| {
            Box::pin(async move {
                let _kept = next.run(delivery).await;
                Outcome::failed(own)
            })
        }),
    ]
}

fn through() -> Step {
    around(|delivery, mut next| Box::pin(async move { next.run(delivery).await }))
}

#[tokio::test]
async fn a_failure_in_the_place_of_the_handlers_bears_the_name_of_its_step() {
    for (form, handler) in failing().iter().enumerate() {
        for own in ["audit store down", OUT_OF_ORDER] {
            for (at, step) in replacing(own).into_iter().enumerate() {
                let chain = chain_of([("outer", through()), ("audit", step), ("in", after(|out| out))]);
                let (outcome, progress) = run_once(&chain, handler, &mut delivery(1)).await;
                let expected = format!("failed: middleware audit failed: {own}");
                assert_eq!(outcome.to_string(), expected, "handler {form}, step {at}");
                assert_eq!(progress.cut_by(), None);
            }
        }
    }
}

#[tokio::test]
async fn a_failure_in_the_place_of_another_steps_bears_its_own_name() {
    let handler = ephemeral(async || {});
    for (at, step) in replacing("audit store down").into_iter().enumerate() {
        let chain = chain_of([("audit", step), ("in", before(|_| Flow::Stop(Outcome::failed("no"))))]);
        let (outcome, _) = run_once(&chain, &handler, &mut delivery(1)).await;
        assert_eq!(outcome.to_string(), "failed: middleware audit failed: audit store down", "step {at}");
    }
}

#[tokio::test]
async fn the_failure_of_an_inner_step_keeps_the_name_it_bears() {
    let handler = ephemeral(async || {});
    let chain = chain_of([
        ("outer", through()),
        ("look", after(|outcome| outcome)),
        ("in", after(|_| Outcome::failed("audit store down"))),
    ]);
    let (outcome, _) = run_once(&chain, &handler, &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "failed: middleware in failed: audit store down");
}

#[tokio::test]
async fn the_handlers_failure_passes_as_it_is_through_whatever_hands_it_on() {
    let look = || after(|outcome| outcome);
    let handler = ephemeral(async || Err::<(), _>(io::Error::other(OUT_OF_STOCK)));
    let chain = chain_of([("a", through()), ("b", look()), ("c", look()), ("d", through())]);
    let (outcome, _) = run_once(&chain, &handler, &mut delivery(1)).await;
    assert!(outcome.error().unwrap().is::<io::Error>());
    assert_eq!(outcome.to_string(), "failed: out of stock until the end of the week");
}

/// Goes inwards `attempts` times and hands on what the first of them said.
fn first_of(attempts: u32) -> Step {
    around(move |delivery, mut next| {
        Box::pin(async move {
            let first = next.run(delivery).await;
            for _ in 1..attempts {
                _ = next.run(delivery).await;
            }
            first
        })
    })
}

#[tokio::test]
async fn a_step_may_hand_on_the_handlers_failure_of_an_earlier_attempt() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let handler = ephemeral(inline(move || {
        Err::<(), _>(format!("attempt {}", counted.fetch_add(1, Ordering::Relaxed)))
    }));
    let chain = chain_of([("retry", first_of(3)), ("in", after(|outcome| outcome))]);
    let (outcome, _) = run_once(&chain, &handler, &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "failed: attempt 0");
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_a_run_remembers_of_failures_is_bounded_and_gone_with_it() {
    let handler = ephemeral(inline(|| Err::<(), _>(OUT_OF_STOCK)));
    let (mut progress, mut slot) = (Progress::new(), handler.invocation());
    let chain = chain_of([("retry", first_of(10_000))]);
    let outcome = busway_middleware::chain::run(&chain, &mut delivery(1), &mut *slot, &mut progress).await;
    // So long after, it is taken for the step's own; the error is there nonetheless.
    assert_eq!(
        outcome.to_string(),
        "failed: middleware retry failed: out of stock until the end of the week"
    );

    // A step that keeps an outcome for the next delivery fails by itself there.
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keep = Arc::clone(&kept);
    let late = after(move |outcome| keep.lock().unwrap().replace(outcome).unwrap_or(Outcome::Done));
    let chain = chain_of([("late", late)]);
    run_now(&chain, &mut delivery(1), &handler, &mut progress).unwrap();
    let outcome = run_now(&chain, &mut delivery(2), &ephemeral(inline(|| ())), &mut progress).unwrap();
    assert_eq!(outcome.to_string(), "failed: middleware late failed: out of stock until the end of the week");
}

#[test]
fn a_run_at_once_names_failures_in_the_same_way() {
    let handler = ephemeral(inline(|| Err::<(), _>(OUT_OF_STOCK)));
    let [replaced, ..] = replacing("audit store down");
    let mut progress = Progress::new();
    for (step, expected) in [
        (replaced, "failed: middleware audit failed: audit store down"),
        (after(|outcome| outcome), "failed: out of stock until the end of the week"),
    ] {
        let chain = chain_of([("outer", after(|outcome| outcome)), ("audit", step)]);
        let outcome = run_now(&chain, &mut delivery(1), &handler, &mut progress).unwrap();
        assert_eq!(outcome.to_string(), expected);
    }
}

#[tokio::test]
async fn the_events_of_a_batch_are_named_each_by_itself() {
    let handler: AnyHandler<Ephemeral> = ephemeral(batch(async |orders: Batch<Order>| {
        orders.iter().map(|_| Outcome::failed(OUT_OF_STOCK)).collect::<Vec<_>>()
    }));
    let odd = AtomicU32::new(0);
    let audit = after(move |outcome| match odd.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => outcome,
        _ => Outcome::failed(OUT_OF_ORDER),
    });
    let chain = chain_of([("audit", audit)]);
    let mut deliveries = [delivery(0), delivery(1), delivery(2)];
    let mut progress = [Progress::new(), Progress::new(), Progress::new()];
    let outcomes = run_batch(&chain, &mut deliveries, &handler, &mut progress).await.unwrap();
    let told: Vec<_> = outcomes.iter().map(ToString::to_string).collect();
    let own = "failed: middleware audit failed: out of order until the end of the week";
    assert_eq!(
        told,
        [
            "failed: out of stock until the end of the week",
            own,
            "failed: out of stock until the end of the week"
        ]
    );
}

#[tokio::test]
async fn an_error_whose_text_panics_is_the_handlers_all_the_same() {
    #[derive(Debug)]
    struct Mute;
    impl std::fmt::Display for Mute {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("a bug in a text")
        }
    }
    impl std::error::Error for Mute {}
    let chain = chain_of([("outer", through()), ("look", after(|outcome| outcome))]);
    let (outcome, _) = run_once(&chain, &ephemeral(async || Err::<(), _>(Mute)), &mut delivery(1)).await;
    assert!(outcome.error().unwrap().is::<Mute>());
}

#[tokio::test]
async fn a_dead_outcome_is_the_reason_as_it_is_and_who_cut_the_chain_short_is_told_beside_it() {
    let handler = ephemeral(async || {});
    for outcome in [|| Outcome::dead("too old"), || Outcome::failed(Permanent("too old"))] {
        let chain = chain_of([("outer", through()), ("age", before(move |_| Flow::Stop(outcome())))]);
        let (said, progress) = run_once(&chain, &handler, &mut delivery(1)).await;
        assert_eq!((said.to_string().as_str(), progress.cut_by()), ("dead: too old", Some("age")));
    }
}
