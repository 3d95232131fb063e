//! Middleware that goes inwards more than once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use busway_middleware::{Delivery, Flow, Outcome, Step, inline};

use crate::world::{
    Journal, around, before, both, chain_of, delivery, ephemeral, pause, poll_once, run_once,
};

/// Goes inwards until it is done, at most `attempts` times.
fn retrying(attempts: u32) -> Step {
    around(move |delivery, mut next| {
        Box::pin(async move {
            let mut outcome = next.run(delivery).await;
            for _ in 1..attempts {
                if outcome.is_done() {
                    break;
                }
                pause().await;
                outcome = next.run(delivery).await;
            }
            outcome
        })
    })
}

#[tokio::test]
async fn each_time_inwards_runs_the_handler_and_the_steps_inside_again() {
    let journal = Journal::default();
    let (calls, lines) = (Arc::new(AtomicU32::new(0)), journal.clone());
    let counted = Arc::clone(&calls);
    let handler = ephemeral(move || {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        lines.note(format!("handler {call}"));
        async move {
            pause().await;
            if call < 2 { Err("not yet") } else { Ok(()) }
        }
    });
    let chain = chain_of([("a", journal.sync("a")), ("retry", retrying(5)), ("b", journal.sync("b"))]);
    let (outcome, _) = run_once(&chain, &handler, &mut delivery(1)).await;
    assert!(outcome.is_done());
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    let inside = |call, label| [">_b".replace('_', " "), format!("handler {call}"), format!("< b {label}")];
    let middle = [inside(0, "failed"), inside(1, "failed"), inside(2, "done")].concat();
    let expected = [vec!["> a".to_owned()], middle, vec!["< a done".to_owned()]].concat();
    assert_eq!(journal.take(), expected);
}

#[tokio::test]
async fn the_last_failure_is_the_handlers_own() {
    let (outcome, progress) = run_once(
        &chain_of([("retry", retrying(3))]),
        &ephemeral(async || Err::<(), _>("no")),
        &mut delivery(1),
    )
    .await;
    assert_eq!((outcome.to_string().as_str(), progress.cut_by()), ("failed: no", None));
}

#[tokio::test]
async fn a_panic_is_retried_like_any_failure() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let handler = ephemeral(inline(move || assert!(counted.fetch_add(1, Ordering::Relaxed) > 0, "a bug")));
    let (outcome, _) = run_once(&chain_of([("retry", retrying(2))]), &handler, &mut delivery(1)).await;
    assert!(outcome.is_done());
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn of_several_times_inwards_the_last_says_who_cut_it_short() {
    let once = before(|delivery: &mut Delivery| {
        if delivery.get::<u8>().is_some() {
            return Flow::Continue;
        }
        delivery.insert(1_u8);
        Flow::Stop(Outcome::failed("not ready"))
    });
    let chain = chain_of([("retry", retrying(2)), ("gate", once)]);
    let (outcome, progress) = run_once(&chain, &ephemeral(async || {}), &mut delivery(1)).await;
    assert_eq!((outcome.label(), progress.cut_by()), ("done", None));
}

#[tokio::test]
async fn an_attempt_that_was_given_up_has_stopped_before_the_next_one_starts() {
    struct Running(Journal);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.note("stopped");
        }
    }
    let journal = Journal::default();
    let lines = journal.clone();
    let handler = ephemeral(move |delivery: Delivery| {
        lines.note("started");
        let running = Running(lines.clone());
        async move {
            if delivery.get::<u8>().is_none() {
                std::future::pending::<()>().await;
            }
            drop(running);
        }
    });
    let impatient = around(|delivery, mut next| {
        Box::pin(async move {
            assert!(poll_once(next.run(delivery)).await.is_none());
            delivery.insert(2_u8);
            next.run(delivery).await
        })
    });
    let (outcome, _) = run_once(&chain_of([("impatient", impatient)]), &handler, &mut delivery(1)).await;
    assert!(outcome.is_done());
    assert_eq!(journal.take(), ["started", "stopped", "started", "stopped"]);
}

/// Counts who is inside: a sync step by hand, an async one with a guard.
struct Inside(Arc<AtomicU32>);

impl Inside {
    fn enter(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn after_an_attempt_that_was_dropped_only_what_a_guard_held_is_undone() {
    let (by_hand, guarded, left) = (Arc::<AtomicU32>::default(), Arc::default(), Arc::<AtomicU32>::default());
    let impatient = || {
        around(|delivery, mut next| {
            Box::pin(async move {
                assert!(poll_once(next.run(delivery)).await.is_none());
                Outcome::Skip
            })
        })
    };
    let sync = {
        let (enter, leave, left) = (Arc::clone(&by_hand), Arc::clone(&by_hand), Arc::clone(&left));
        both(
            move |_| {
                enter.fetch_add(1, Ordering::Relaxed);
                Flow::Continue
            },
            move |outcome| {
                leave.fetch_sub(1, Ordering::Relaxed);
                left.fetch_add(1, Ordering::Relaxed);
                outcome
            },
        )
    };
    let count = Arc::clone(&guarded);
    let held = around(move |delivery, mut next| {
        let inside = Inside::enter(&count);
        Box::pin(async move {
            let outcome = next.run(delivery).await;
            drop(inside);
            outcome
        })
    });
    let dropped = chain_of([("timeout", impatient()), ("by hand", sync.clone()), ("held", held.clone())]);
    let ended = chain_of([("by hand", sync), ("held", held)]);
    let counts = || [&by_hand, &guarded, &left].map(|count| count.load(Ordering::Relaxed));
    run_once(&dropped, &ephemeral(std::future::pending::<()>), &mut delivery(1)).await;
    assert_eq!(counts(), [1, 0, 0], "what only `after` would set right stays, and `after` was not called");

    run_once(&ended, &ephemeral(async || {}), &mut delivery(1)).await;
    assert_eq!(counts(), [1, 0, 1], "an attempt that ends leaves every step");
}
