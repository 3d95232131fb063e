//! The chain: its order, who cuts it short, whose failure it was, and running it at once.

use std::sync::{Arc, Mutex};

use busway_middleware::chain::{run, run_now};
use busway_middleware::middleware::IntoStep;
use busway_middleware::{
    Chain, Delivery, Flow, Outcome, Progress, Registry, Stage, SyncMiddleware, blocking, inline,
};

use crate::world::{
    Journal, after, around, before, chain_of, delivery, draft, ephemeral, pause, poll_once, run_once,
};

#[tokio::test]
async fn the_order_is_by_stage_and_not_by_registration() {
    let journal = Journal::default();
    let registry = Registry::new();
    let names = ["user", "timeout", "retry", "breaker", "idempotency", "decode", "trace"];
    for (name, stage) in names.into_iter().zip(Stage::ALL.into_iter().rev()) {
        let step = if name.len() % 2 == 0 { journal.sync(name) } else { journal.waiting(name) };
        registry.add(stage, name, step).unwrap();
    }
    registry.add(Stage::Decode, "decode, later", journal.sync("decode, later")).unwrap();
    let chain = Chain::merge([&registry]);
    let (outcome, _) = run_once(&chain, &journal.handler(), &mut delivery(1)).await;
    assert!(outcome.is_done());
    let order = ["trace", "decode", "decode, later", "idempotency", "breaker", "retry", "timeout", "user"];
    let inwards = order.iter().map(|name| format!("> {name}"));
    let outwards = order.iter().rev().map(|name| format!("< {name} done"));
    let expected: Vec<_> = inwards.chain(["handler".to_owned()]).chain(outwards).collect();
    assert_eq!(journal.take(), expected);
    assert_eq!(chain.nodes().iter().map(busway_middleware::Node::name).collect::<Vec<_>>(), order);
}

#[tokio::test]
async fn sync_steps_leave_in_the_reverse_of_the_order_in_which_they_entered() {
    let journal = Journal::default();
    let chain = chain_of([("a", journal.sync("a")), ("b", journal.sync("b")), ("c", journal.sync("c"))]);
    run_once(&chain, &journal.handler(), &mut delivery(1)).await;
    assert_eq!(journal.take(), ["> a", "> b", "> c", "handler", "< c done", "< b done", "< a done"]);
}

#[tokio::test]
async fn a_step_that_stops_is_named_and_only_those_outside_of_it_are_left() {
    let journal = Journal::default();
    let stop = || before(|_| Flow::Stop(Outcome::Skip));
    for waits in [false, true] {
        let outer = if waits { journal.waiting("a") } else { journal.sync("a") };
        let chain = chain_of([("a", outer), ("stop", stop()), ("c", journal.sync("c"))]);
        let (outcome, progress) = run_once(&chain, &journal.handler(), &mut delivery(1)).await;
        assert_eq!((outcome.label(), progress.cut_by()), ("skipped", Some("stop")));
        assert_eq!(journal.take(), ["> a", "< a skipped"]);
    }
}

#[tokio::test]
async fn an_async_step_that_does_not_go_on_cuts_the_chain_short() {
    let journal = Journal::default();
    let cut = || around(|_, _| Box::pin(async { Outcome::dead("not here") }));
    let chain = chain_of([("a", journal.waiting("a")), ("cut", cut()), ("c", journal.sync("c"))]);
    let (outcome, progress) = run_once(&chain, &journal.handler(), &mut delivery(1)).await;
    assert_eq!((outcome.to_string().as_str(), progress.cut_by()), ("dead: not here", Some("cut")));
    assert_eq!(journal.take(), ["> a", "< a dead"]);

    let chain = chain_of([("a", journal.sync("a"))]);
    let (_, progress) = run_once(&chain, &journal.handler(), &mut delivery(1)).await;
    assert_eq!(progress.cut_by(), None);
}

#[tokio::test]
async fn a_step_that_gave_up_on_what_is_inside_did_not_cut_the_chain_short() {
    let impatient = || {
        around(|delivery, mut next| {
            Box::pin(async move {
                assert!(poll_once(next.run(delivery)).await.is_none());
                Outcome::failed("too slow")
            })
        })
    };
    let handler = ephemeral(std::future::pending::<()>);
    // The second chain has another async step inside, which was dropped before it went on itself.
    let journal = Journal::default();
    let chains = [
        chain_of([("deadline", impatient())]),
        chain_of([("deadline", impatient()), ("in", journal.waiting("in"))]),
    ];
    for chain in chains {
        let (outcome, progress) = run_once(&chain, &handler, &mut delivery(1)).await;
        assert_eq!(outcome.to_string(), "failed: middleware deadline failed: too slow");
        assert_eq!(progress.cut_by(), None);
    }
}

#[tokio::test]
async fn a_failure_bears_the_name_of_the_middleware_whose_own_it_is() {
    let fail = || Outcome::failed("down");
    let named = "failed: middleware x failed: down";
    let handler = ephemeral(async || {});
    let through = || around(|delivery, mut next| Box::pin(async move { next.run(delivery).await }));
    let failing_after = around(move |delivery, mut next| {
        Box::pin(async move {
            next.run(delivery).await;
            fail()
        })
    });
    let steps = [
        before(move |_| Flow::Stop(fail())),
        after(move |_| fail()),
        around(move |_, _| Box::pin(async move { fail() })),
        failing_after,
    ];
    for (at, step) in steps.into_iter().enumerate() {
        let chain = chain_of([
            ("outer", through()),
            ("look", after(|outcome| outcome)),
            ("x", step),
            ("in", through()),
        ]);
        let (outcome, _) = run_once(&chain, &handler, &mut delivery(1)).await;
        assert_eq!(outcome.to_string(), named, "{at}");
    }
    // The handler's own failure passes unchanged, whatever is around it.
    let handler = ephemeral(async || Err::<(), _>("out of stock"));
    let chain = chain_of([("a", through()), ("b", after(|outcome| outcome)), ("c", through())]);
    let (outcome, _) = run_once(&chain, &handler, &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "failed: out of stock");
}

#[tokio::test]
async fn what_outer_middleware_leaves_is_there_for_inner_middleware() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (inner, outer) = (
        Arc::clone(&seen),
        around(|delivery, mut next| {
            Box::pin(async move {
                delivery.insert("tenant a");
                next.run(delivery).await
            })
        }),
    );
    let look = before(move |delivery| {
        inner.lock().unwrap().extend(delivery.get::<&str>().copied());
        Flow::Continue
    });
    run_once(&chain_of([("outer", outer), ("look", look)]), &ephemeral(async || {}), &mut delivery(1)).await;
    assert_eq!(*seen.lock().unwrap(), ["tenant a"]);
}

#[tokio::test]
async fn a_sync_chain_run_at_once_does_what_it_does_in_a_task() {
    let journal = Journal::default();
    let stopping = |delivery: &mut Delivery| match delivery.attempt() {
        1 => Flow::Continue,
        2 => Flow::Stop(Outcome::failed("no")),
        _ => panic!("a bug in before"),
    };
    let lines = journal.clone();
    let handlers = [
        ephemeral(inline(move || {
            lines.note("handler");
            (draft(1), draft(2))
        })),
        ephemeral(blocking(|| Err::<(), _>("out of stock"))),
        ephemeral(inline(|| -> () { panic!("a bug") })),
    ];
    let chain = chain_of([("a", journal.sync("a")), ("stop", before(stopping)), ("b", journal.sync("b"))]);
    for handler in &handlers {
        for attempt in 1..=3_u32 {
            let mut first = delivery(1).with_attempt(attempt.try_into().unwrap());
            let mut second = first.clone();
            let (in_task, mut progress) = run_once(&chain, handler, &mut first).await;
            let lines = journal.take();
            let mut at_once = Progress::new();
            let outcome = run_now(&chain, &mut second, handler, &mut at_once).unwrap();
            assert_eq!(outcome.to_string(), in_task.to_string());
            assert_eq!(journal.take(), lines);
            assert_eq!(at_once.cut_by(), progress.cut_by());
            assert_eq!(at_once.take_emits().len(), progress.take_emits().len());
        }
    }
}

#[tokio::test]
async fn what_cannot_run_at_once_is_not_begun() {
    let journal = Journal::default();
    let mut progress = Progress::new();
    let sync = chain_of([("a", journal.sync("a"))]);
    assert!(run_now(&sync, &mut delivery(1), &journal.handler(), &mut progress).is_none());
    let waiting = chain_of([("a", journal.sync("a")), ("b", journal.waiting("b"))]);
    assert!(waiting.has_async() && !sync.has_async());
    assert!(run_now(&waiting, &mut delivery(1), &ephemeral(inline(|| {})), &mut progress).is_none());
    assert_eq!(journal.take(), [""; 0]);
}

#[tokio::test]
async fn dropping_a_run_drops_the_handler_and_leaves_the_slot_usable() {
    struct Held(Journal);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    let journal = Journal::default();
    let held = journal.clone();
    let handler = ephemeral(move |delivery: Delivery| {
        let held = Held(held.clone());
        async move {
            if delivery.attempt() == 1 {
                std::future::pending::<()>().await;
            }
            drop(held);
        }
    });
    let (chain, mut progress, mut slot) =
        (chain_of([("a", journal.waiting("a"))]), Progress::new(), handler.invocation());
    let mut first = delivery(1);
    let mut running = Box::pin(run(&chain, &mut first, &mut *slot, &mut progress));
    for _ in 0..3 {
        assert!(poll_once(&mut running).await.is_none());
    }
    assert_eq!(journal.take(), ["> a"]);
    drop(running);
    assert_eq!(journal.take(), ["dropped"], "while the future is dropped, not when the slot is used again");

    let mut second = delivery(1).with_attempt(2.try_into().unwrap());
    let outcome = run(&chain, &mut second, &mut *slot, &mut progress).await;
    assert!(outcome.is_done());
    assert_eq!(journal.take(), ["> a", "dropped", "< a done"]);
}

#[tokio::test]
async fn erased_steps_and_handlers_can_be_shared() {
    struct Nothing;
    impl SyncMiddleware for Nothing {}
    let (step, handler) = (Nothing.into_step(), ephemeral(async || pause().await));
    let (one, two) = (chain_of([("a", step.clone())]), chain_of([("b", step.clone().into_step())]));
    assert_eq!((format!("{step:?}"), step.is_async()), ("Step(sync)".to_owned(), false));
    let (mut first, mut second) = (delivery(1), delivery(2));
    let both = (run_once(&one, &handler, &mut first), run_once(&two, &handler, &mut second));
    let ((first, _), (second, _)) = tokio::join!(both.0, both.1);
    assert!(first.is_done() && second.is_done());
    assert_eq!(format!("{one:?}"), "[(User, \"a\")]");
    let waiting = around(|_, _| Box::pin(async { Outcome::Skip }));
    assert_eq!((format!("{waiting:?}"), waiting.is_async()), ("Step(async)".to_owned(), true));
}
