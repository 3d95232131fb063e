//! Batches in the chain: middleware runs for each event, and they meet at the handler.

use std::sync::{Arc, Mutex};

use busway_middleware::builtin::ConcurrencyLimit;
use busway_middleware::chain::run_batch;
use busway_middleware::middleware::IntoStep;
use busway_middleware::{
    AnyHandler, Batch, Chain, Delivery, Ephemeral, Flow, Outcome, Progress, Step, batch,
};
use tokio::sync::oneshot;

use crate::world::{Journal, Order, around, before, chain_of, delivery, draft, ephemeral, pause, poll_once};

/// Deliveries of events 1, 2, 3 …; the number is the attempt as well, so that middleware can tell them apart.
fn deliveries(count: u32) -> Vec<Delivery> {
    (1..=count).map(|id| delivery(id).with_attempt(id.try_into().unwrap())).collect()
}

fn progress(count: usize) -> Vec<Progress> {
    (0..count).map(|_| Progress::new()).collect()
}

async fn run_all(chain: &Chain, handler: &AnyHandler<Ephemeral>, count: u32) -> Vec<String> {
    let (mut deliveries, mut progress) = (deliveries(count), progress(count as usize));
    let outcomes = run_batch(chain, &mut deliveries, handler, &mut progress).await.unwrap();
    outcomes.iter().map(ToString::to_string).collect()
}

/// Which events each call was given.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Vec<u32>>>>);

impl Calls {
    /// Notes a call and returns its number, from 1.
    fn note(&self, orders: &Batch<Order>) -> usize {
        let mut calls = self.0.lock().unwrap();
        calls.push(orders.iter().map(|order| order.payload().id).collect());
        calls.len()
    }

    fn seen(&self) -> Vec<Vec<u32>> {
        self.0.lock().unwrap().clone()
    }

    /// A handler that fails with the number of its call. The first call waits for the gate, if there is one.
    fn handler(&self, gate: Option<oneshot::Receiver<()>>) -> AnyHandler<Ephemeral> {
        let (calls, gate) = (self.clone(), Mutex::new(gate));
        ephemeral(batch(move |orders: Batch<Order>| {
            let call = calls.note(&orders);
            let gate = gate.lock().unwrap().take();
            async move {
                if let Some(gate) = gate {
                    gate.await.unwrap();
                }
                orders.iter().map(|_| Outcome::failed(format!("call {call}"))).collect::<Vec<_>>()
            }
        }))
    }
}

#[tokio::test]
async fn each_event_passes_the_chain_alone_and_the_handler_gets_all() {
    let (journal, calls) = (Journal::default(), Calls::default());
    let chain = chain_of([("a", journal.sync("a")), ("b", journal.waiting("b"))]);
    assert_eq!(run_all(&chain, &calls.handler(None), 3).await, ["failed: call 1"; 3]);
    assert_eq!(calls.seen(), [[1, 2, 3]], "one call, in order, though an async step was in between");
    let lines = journal.take();
    for line in ["> a", "> b", "< b failed", "< a failed"] {
        assert_eq!(lines.iter().filter(|other| *other == line).count(), 3, "{line}");
    }
}

#[tokio::test]
async fn a_step_that_stops_one_event_leaves_the_others_in_the_batch() {
    let skip_second = before(|delivery| match delivery.attempt() {
        2 => Flow::Stop(Outcome::Skip),
        _ => Flow::Continue,
    });
    let panic_at_third = around(|delivery, mut next| {
        Box::pin(async move {
            assert!(delivery.attempt() != 3, "a bug");
            next.run(delivery).await
        })
    });
    let calls = Calls::default();
    let chain = chain_of([("skip", skip_second), ("odd", panic_at_third)]);
    let (mut deliveries, mut progress) = (deliveries(4), progress(4));
    let outcomes = run_batch(&chain, &mut deliveries, &calls.handler(None), &mut progress).await.unwrap();
    let outcomes: Vec<_> = outcomes.iter().map(ToString::to_string).collect();
    assert_eq!(outcomes, ["failed: call 1", "skipped", "failed: odd panicked: a bug", "failed: call 1"]);
    assert_eq!(calls.seen(), [[1, 4]]);
    let cut: Vec<_> = progress.iter().map(Progress::cut_by).collect();
    assert_eq!(cut, [None, Some("skip"), Some("odd"), None]);
}

#[tokio::test]
async fn a_limit_smaller_than_the_batch_does_not_lock_up() {
    for (limit, count) in [(1, 8), (3, 8)] {
        let calls = Calls::default();
        let chain = chain_of([("limit", ConcurrencyLimit::new(limit).into_step())]);
        let outcomes = run_all(&chain, &calls.handler(None), count).await;
        assert_eq!(outcomes.len(), 8);
        let calls = calls.seen();
        assert!(calls.iter().all(|call| call.len() <= limit), "{calls:?}");
        assert_eq!(calls.concat(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}

/// Gives up on event 2 when told so, and then does what `then` says; other events pass.
fn giving_up(told: oneshot::Receiver<()>, then: Then) -> Step {
    let told = Mutex::new(Some(told));
    around(move |delivery, mut next| {
        let told = if delivery.attempt() == 2 { told.lock().unwrap().take() } else { None };
        Box::pin(async move {
            let Some(told) = told else { return next.run(delivery).await };
            tokio::select! {
                biased;
                _ = told => {}
                outcome = next.run(delivery) => return outcome,
            }
            match then {
                Then::Retry => next.run(delivery).await,
                Then::Fail => Outcome::failed("gave up"),
            }
        })
    })
}

#[derive(Clone, Copy)]
enum Then {
    Retry,
    Fail,
}

#[tokio::test]
async fn an_event_that_is_retried_while_the_batch_runs_gets_its_own_second_reply() {
    let calls = Calls::default();
    let ((tell, told), (open, gate)) = (oneshot::channel(), oneshot::channel());
    let (chain, handler) =
        (chain_of([("deadline", giving_up(told, Then::Retry))]), calls.handler(Some(gate)));
    let script = async {
        pause().await;
        tell.send(()).unwrap();
        pause().await;
        assert_eq!(calls.seen(), [[1, 2, 3]], "no second call of the event while the first runs");
        open.send(()).unwrap();
    };
    let (outcomes, ()) = tokio::join!(run_all(&chain, &handler, 3), script);
    assert_eq!(calls.seen(), [vec![1, 2, 3], vec![2]]);
    assert_eq!(outcomes, ["failed: call 1", "failed: call 2", "failed: call 1"]);
}

#[tokio::test]
async fn an_event_that_was_given_up_on_before_its_call_is_not_handed_over() {
    let calls = Calls::default();
    let ((tell, told), (open, gate), (enter, entered)) =
        (oneshot::channel(), oneshot::channel(), oneshot::channel::<()>());
    let entered = Mutex::new(Some(entered));
    let late = around(move |delivery, mut next| {
        let entered = if delivery.attempt() == 2 { entered.lock().unwrap().take() } else { None };
        Box::pin(async move {
            if let Some(entered) = entered {
                entered.await.unwrap();
            }
            next.run(delivery).await
        })
    });
    let chain = chain_of([("deadline", giving_up(told, Then::Fail)), ("late", late)]);
    let handler = calls.handler(Some(gate));
    let script = async {
        pause().await;
        enter.send(()).unwrap();
        pause().await;
        // Now event 2 waits for the next call.
        tell.send(()).unwrap();
        pause().await;
        open.send(()).unwrap();
    };
    let (outcomes, ()) = tokio::join!(run_all(&chain, &handler, 3), script);
    assert_eq!(calls.seen(), [[1, 3]]);
    assert_eq!(outcomes, ["failed: call 1", "failed: middleware deadline failed: gave up", "failed: call 1"]);
}

#[tokio::test]
async fn an_event_that_is_late_joins_a_later_call_and_holds_up_nobody() {
    let calls = Calls::default();
    let (enter, entered) = oneshot::channel::<()>();
    let entered = Mutex::new(Some(entered));
    let late = around(move |delivery, mut next| {
        let entered = if delivery.attempt() == 1 { entered.lock().unwrap().take() } else { None };
        Box::pin(async move {
            if let Some(entered) = entered {
                entered.await.unwrap();
            }
            next.run(delivery).await
        })
    });
    let (chain, handler) = (chain_of([("late", late)]), calls.handler(None));
    let script = async {
        pause().await;
        assert_eq!(calls.seen(), [[2, 3]]);
        enter.send(()).unwrap();
    };
    let (outcomes, ()) = tokio::join!(run_all(&chain, &handler, 3), script);
    assert_eq!(outcomes, ["failed: call 2", "failed: call 1", "failed: call 1"]);
}

#[tokio::test]
async fn when_all_events_are_given_up_the_running_call_is_dropped() {
    struct Running(Journal);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.note("stopped");
        }
    }
    let journal = Journal::default();
    let lines = journal.clone();
    let handler = ephemeral(batch(move |_: Batch<Order>| {
        let running = Running(lines.clone());
        async move {
            std::future::pending::<()>().await;
            drop(running);
        }
    }));
    let impatient = around(|delivery, mut next| {
        Box::pin(async move {
            for _ in 0..2 {
                poll_once(next.run(delivery)).await;
                pause().await;
            }
            Outcome::failed("gave up")
        })
    });
    let patient = chain_of([("look", journal.sync("look"))]);
    // The attempts are given up before any call is made: none is.
    assert_eq!(run_all(&chain_of([("impatient", impatient)]), &handler, 2).await.len(), 2);
    assert_eq!(journal.take(), [""; 0]);

    // Dropping the whole batch drops the call.
    let (mut deliveries, mut progress) = (deliveries(2), progress(2));
    let running = run_batch(&patient, &mut deliveries, &handler, &mut progress);
    assert!(poll_once(running).await.is_none());
    assert_eq!(journal.take(), ["> look", "> look", "stopped"]);

    // Each attempt times out while the call runs: the outcome does not wait for the call.
    let told: Vec<_> = (0..2).map(|_| oneshot::channel::<()>()).collect();
    let (tell, told): (Vec<_>, Vec<_>) = told.into_iter().unzip();
    let told = Mutex::new(told);
    let deadline = around(move |delivery, mut next| {
        let told = told.lock().unwrap().pop().unwrap();
        Box::pin(async move {
            tokio::select! {
                _ = told => Outcome::failed("too late"),
                outcome = next.run(delivery) => outcome,
            }
        })
    });
    let chain = chain_of([("deadline", deadline)]);
    let script = async {
        pause().await;
        tell.into_iter().for_each(|tell| tell.send(()).unwrap());
    };
    let (outcomes, ()) = tokio::join!(run_all(&chain, &handler, 2), script);
    assert_eq!(outcomes, ["failed: middleware deadline failed: too late"; 2]);
    assert_eq!(journal.take(), ["stopped"]);
}

#[tokio::test]
async fn a_panic_of_the_handler_is_the_outcome_of_each_event_in_the_call() {
    let at_start = ephemeral(batch(|orders: Batch<Order>| {
        assert!(orders.is_empty(), "a bug");
        async {}
    }));
    let later = ephemeral(batch(async |orders: Batch<Order>| {
        pause().await;
        assert!(orders.is_empty(), "a bug");
    }));
    for handler in [at_start, later] {
        let journal = Journal::default();
        let outcomes = run_all(&chain_of([("look", journal.sync("look"))]), &handler, 2).await;
        assert_eq!(outcomes, ["failed: handler panicked: a bug"; 2]);
        assert_eq!(journal.take()[2..], ["< look failed", "< look failed"]);
    }
}

#[tokio::test]
async fn events_to_publish_belong_to_the_event_whose_outcome_they_came_with() {
    let handler = ephemeral(batch(async |orders: Batch<Order>| {
        orders.into_iter().map(|order| draft(order.payload().id).key("k")).collect::<Vec<_>>()
    }));
    let (mut deliveries, mut progress) = (deliveries(3), progress(3));
    deliveries[0].insert(1_u8);
    let refuse = around(|delivery, mut next| {
        Box::pin(async move {
            let outcome = next.run(delivery).await;
            if delivery.get::<u8>().is_some() { Outcome::Skip } else { outcome }
        })
    });
    let chain = chain_of([("refuse", refuse)]);
    run_batch(&chain, &mut deliveries, &handler, &mut progress).await.unwrap();
    let emits: Vec<_> = progress.iter_mut().map(|progress| progress.take_emits().len()).collect();
    assert_eq!(emits, [0, 1, 1]);
}

#[tokio::test]
async fn what_is_no_batch_is_not_begun() {
    let (journal, calls) = (Journal::default(), Calls::default());
    let chain = chain_of([("look", journal.sync("look"))]);
    let handler = calls.handler(None);
    let single = ephemeral(async || {});
    assert!(run_batch(&chain, &mut deliveries(1), &single, &mut progress(1)).await.is_none());
    assert!(run_batch(&chain, &mut [], &handler, &mut progress(1)).await.is_none());
    assert!(run_batch(&chain, &mut deliveries(2), &handler, &mut progress(1)).await.is_none());
    assert_eq!((journal.take().len(), calls.seen().len()), (0, 0));
}
