//! Panics: each is an outcome that names its node, and touches nothing else.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use busway_middleware::chain::run;
use busway_middleware::middleware::IntoStep;
use busway_middleware::{
    Delivery, Flow, IntoReply, Middleware, Next, Outcome, Progress, Step, SyncMiddleware, blocking, inline,
};

use crate::world::{
    Journal, after, around, before, chain_of, delivery, ephemeral, pause, poll_once, run_once,
};

fn is_second(delivery: &Delivery) -> bool {
    delivery.attempt() == 2
}

/// Panics at the first attempt.
fn bug(delivery: &Delivery) {
    assert!(is_second(delivery), "a bug");
}

/// A sync step that panics on the way out.
struct Leaving;

impl SyncMiddleware for Leaving {
    fn after(&self, delivery: &Delivery, outcome: Outcome) -> Outcome {
        bug(delivery);
        outcome
    }
}

/// An async step that panics before there is a future.
struct AtOnce;

impl Middleware for AtOnce {
    fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> impl Future<Output = Outcome> + Send {
        bug(delivery);
        async move { next.run(delivery).await }
    }
}

/// Steps that panic at the first attempt, wherever a step can.
fn panicking_steps() -> Vec<(&'static str, Step)> {
    let going_in = before(|delivery| {
        bug(delivery);
        Flow::Continue
    });
    let before_an_await = around(|delivery, mut next| {
        Box::pin(async move {
            bug(delivery);
            next.run(delivery).await
        })
    });
    let after_an_await = around(|delivery, mut next| {
        Box::pin(async move {
            pause().await;
            bug(delivery);
            next.run(delivery).await
        })
    });
    let on_the_way_out = around(|delivery, mut next| {
        Box::pin(async move {
            let outcome = next.run(delivery).await;
            pause().await;
            bug(delivery);
            outcome
        })
    });
    vec![
        ("before", going_in),
        ("after", Leaving.into_step()),
        ("at once", AtOnce.into_step()),
        ("before an await", before_an_await),
        ("after an await", after_an_await),
        ("on the way out", on_the_way_out),
    ]
}

#[tokio::test]
async fn a_panic_in_a_step_names_it_and_the_slot_works_afterwards() {
    let journal = Journal::default();
    for (name, step) in panicking_steps() {
        let chain =
            chain_of([("outer", journal.sync("outer")), ("x", step), ("inner", journal.sync("inner"))]);
        let handler = ephemeral(async || pause().await);
        let (mut slot, mut progress) = (handler.invocation(), Progress::new());

        let outcome = run(&chain, &mut delivery(1), &mut *slot, &mut progress).await;
        assert!(matches!(outcome, Outcome::Failed(_)), "{name}");
        assert_eq!(outcome.to_string(), "failed: x panicked: a bug", "{name}");
        let lines = journal.take();
        assert_eq!(
            (lines.first().unwrap().as_str(), lines.last().unwrap().as_str()),
            ("> outer", "< outer failed")
        );

        let mut again = delivery(1).with_attempt(2.try_into().unwrap());
        let outcome = run(&chain, &mut again, &mut *slot, &mut progress).await;
        assert!(outcome.is_done(), "{name}: {outcome}");
        assert_eq!(journal.take(), ["> outer", "> inner", "< inner done", "< outer done"], "{name}");
    }
}

#[tokio::test]
async fn a_panic_in_a_handler_names_it_and_the_slot_works_afterwards() {
    /// A future that panics when it is polled.
    struct Polled(Delivery);
    impl Future for Polled {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            bug(&self.0);
            Poll::Ready(())
        }
    }
    let at_start = ephemeral(|delivery: Delivery| {
        bug(&delivery);
        async {}
    });
    let after_an_await = ephemeral(async |delivery: Delivery| {
        pause().await;
        bug(&delivery);
    });
    let handlers = [
        ("start", at_start),
        ("poll", ephemeral(Polled)),
        ("after an await", after_an_await),
        ("inline", ephemeral(inline(|delivery: Delivery| bug(&delivery)))),
        ("blocking", ephemeral(blocking(|delivery: Delivery| bug(&delivery)))),
    ];
    let journal = Journal::default();
    for (name, handler) in handlers {
        let chain = chain_of([("a", journal.sync("a")), ("b", journal.waiting("b"))]);
        let (mut slot, mut progress) = (handler.invocation(), Progress::new());
        let outcome = run(&chain, &mut delivery(1), &mut *slot, &mut progress).await;
        assert_eq!(outcome.to_string(), "failed: handler panicked: a bug", "{name}");
        assert_eq!(journal.take(), ["> a", "> b", "< b failed", "< a failed"], "{name}");

        let mut again = delivery(1).with_attempt(2.try_into().unwrap());
        let outcome = run(&chain, &mut again, &mut *slot, &mut progress).await;
        assert!(outcome.is_done(), "{name}: {outcome}");
        journal.take();
    }
}

#[tokio::test]
async fn a_panic_while_a_reply_is_made_is_the_handlers() {
    struct Odd;
    impl IntoReply for Odd {
        fn into_reply(self) -> busway_middleware::Reply {
            panic!("{} reply", "odd")
        }
    }
    for handler in [ephemeral(async || Odd), ephemeral(inline(|| Odd))] {
        let (outcome, _) = run_once(&chain_of([]), &handler, &mut delivery(1)).await;
        assert_eq!(outcome.to_string(), "failed: handler panicked: odd reply");
    }
}

#[tokio::test]
async fn a_panic_without_a_text_is_told_as_such() {
    let handler = ephemeral(async || -> () { std::panic::panic_any(7_u8) });
    let (outcome, _) = run_once(&chain_of([]), &handler, &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "failed: handler panicked: no message");
}

/// Panics when it is dropped.
struct Trap;

impl Drop for Trap {
    fn drop(&mut self) {
        panic!("a bug in drop");
    }
}

/// Ready at once or never, and a trap at the first attempt.
struct Trapped {
    ready: Poll<()>,
    _trap: Option<Trap>,
}

impl Future for Trapped {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.ready
    }
}

#[tokio::test]
async fn a_panic_in_dropping_the_handler_is_contained_and_the_slot_works_afterwards() {
    let ready = ephemeral(|delivery: Delivery| Trapped {
        ready: Poll::Ready(()),
        _trap: (!is_second(&delivery)).then(|| Trap),
    });
    let stuck = ephemeral(|delivery: Delivery| match is_second(&delivery) {
        true => Trapped { ready: Poll::Ready(()), _trap: None },
        false => Trapped { ready: Poll::Pending, _trap: Some(Trap) },
    });
    let chain = chain_of([]);
    for (handler, first) in [(ready, Some("failed: handler panicked: a bug in drop")), (stuck, None)] {
        let (mut slot, mut progress) = (handler.invocation(), Progress::new());
        let mut trapped = delivery(1);
        let outcome = poll_once(run(&chain, &mut trapped, &mut *slot, &mut progress)).await;
        assert_eq!(outcome.map(|outcome| outcome.to_string()).as_deref(), first);
        let mut again = delivery(1).with_attempt(2.try_into().unwrap());
        let outcome = run(&chain, &mut again, &mut *slot, &mut progress).await;
        assert!(outcome.is_done(), "{outcome}");
    }
}

#[tokio::test]
async fn a_panic_in_dropping_a_middlewares_future_names_it() {
    struct Done;
    impl Middleware for Done {
        fn handle(&self, _: &mut Delivery, _: Next<'_>) -> impl Future<Output = Outcome> + Send {
            let trap = Trap;
            poll_fn(move |_| {
                let _held = &trap;
                Poll::Ready(Outcome::Done)
            })
        }
    }
    let chain = chain_of([("a", after(|outcome| outcome)), ("done", Done.into_step())]);
    let (outcome, _) = run_once(&chain, &ephemeral(async || {}), &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "failed: done panicked: a bug in drop");
}
