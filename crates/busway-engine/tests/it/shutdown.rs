//! Shutdown: handlers finish, then are told, then are cut short; the report says what was left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use busway_engine::{AnyPublisher, Publisher, Refused, ShutdownEnd, Stopping};
use busway_middleware::{Outcome, Payload, blocking};
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};

use crate::world::{Number, account, number};

const MINUTE: Duration = Duration::from_secs(60);

/// Waits until as many timers wait as expected.
async fn timers(bus: &TestBus, count: usize) {
    while bus.clock().sleepers() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_waits_is_handled_and_publishes_of_running_handlers_pass() {
    let bus = TestBus::start().await;
    let (confirmed, gate) = (Recorder::<Number>::new(), Gate::closed());
    let wait = gate.clone();
    let work = move |job: Payload<Number>, publisher: Publisher| {
        let gate = wait.clone();
        async move {
            gate.pass().await;
            publisher.publish(number("confirmed", job.n)).await.map(drop).map_err(|error| error.to_string())
        }
    };
    bus.subscribe("jobs").to(work).await.unwrap();
    bus.subscribe("confirmed").to(confirmed.handler()).await.unwrap();
    for n in 0..3 {
        bus.publish(number("jobs", n)).await.unwrap();
    }
    gate.reached(1).await;
    let inner = busway_engine::Bus::clone(&bus);
    let shutdown = tokio::spawn(async move { inner.shutdown(MINUTE).await });
    timers(&bus, 1).await;
    let refused = bus.publish(number("jobs", 9)).await.unwrap_err();
    assert_eq!((refused.reason().unwrap(), refused.is_transient()), (&Refused::Closed, false));
    assert_eq!(refused.into_event().unwrap().payload(), &Number { n: 9 });
    let late = bus.subscribe("jobs").to(confirmed.handler()).await.unwrap_err();
    assert!(late.to_string().contains("shutting down"), "{late}");
    gate.open();
    let report = shutdown.await.unwrap();
    assert!(report.is_drained(), "{report}");
    assert_eq!(account(&report.tally), [6, 6, 0, 0, 0]);
    confirmed.assert_payloads(&[0, 1, 2].map(|n| Number { n }));
    assert_eq!(bus.clock().sleepers(), 0);
}

#[tokio::test]
async fn the_token_is_live_through_the_grace_and_fires_after_it() {
    let bus = TestBus::start().await;
    let fired = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&fired);
    let handler = move |_: Payload<Number>, stopping: Stopping| {
        let fired = Arc::clone(&flag);
        async move {
            stopping.stopped().await;
            fired.store(true, Ordering::SeqCst);
            Outcome::Skip
        }
    };
    let subscription = bus.subscribe("a").to(handler).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    bus.publish(number("a", 2)).await.unwrap();
    while subscription.stats().running == 0 {
        tokio::task::yield_now().await;
    }
    let inner = busway_engine::Bus::clone(&bus);
    let shutdown = tokio::spawn(async move { inner.shutdown(MINUTE).await });
    timers(&bus, 1).await;
    bus.clock().advance(MINUTE.saturating_sub(Duration::from_nanos(1)));
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!fired.load(Ordering::SeqCst), "the token fired within the grace");
    bus.clock().advance(Duration::from_nanos(1));
    let report = shutdown.await.unwrap();
    assert!(fired.load(Ordering::SeqCst));
    // The first one ended by itself; the second one never started.
    assert_eq!(account(&report.tally), [2, 1, 0, 0, 1]);
    assert_eq!((report.end, report.left[0].events), (ShutdownEnd::Abandoned, 1));
    assert!(report.to_string().contains("abandoned 1"), "{report}");
}

#[tokio::test]
async fn a_handler_that_ignores_the_token_is_cut_short_after_its_second() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a").to(recorder.scripted(&Script::new([Step::Hang]))).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    recorder.wait_for(1).await;
    let inner = busway_engine::Bus::clone(&bus);
    let shutdown = tokio::spawn(async move { inner.shutdown(MINUTE).await });
    timers(&bus, 1).await;
    bus.clock().advance(MINUTE);
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!shutdown.is_finished(), "it has a second to stop by itself");
    timers(&bus, 1).await;
    bus.clock().advance(Duration::from_secs(1));
    let report = shutdown.await.unwrap();
    assert_eq!(account(&report.tally), [1, 0, 0, 0, 1]);
    assert!(report.stuck.is_empty());
}

#[tokio::test]
async fn a_second_call_shortens_the_grace_and_all_callers_get_the_same_report() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let gate = Gate::closed();
    bus.subscribe("a").to(recorder.scripted(&Script::new([Step::Wait(gate.clone())]))).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    gate.reached(1).await;
    let inner = busway_engine::Bus::clone(&bus);
    let first = tokio::spawn(async move { inner.shutdown(MINUTE).await });
    timers(&bus, 1).await;
    let inner = busway_engine::Bus::clone(&bus);
    let second = tokio::spawn(async move { inner.shutdown(Duration::ZERO).await });
    // At once: only the second for stopping is left of a minute.
    while bus.clock().next_due().is_none_or(|due| due > Duration::from_secs(1)) {
        tokio::task::yield_now().await;
    }
    bus.clock().advance(Duration::from_secs(1));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first, second);
    assert_eq!(first, bus.shutdown(MINUTE).await);
    assert_eq!(account(&first.tally), [1, 0, 0, 0, 1]);
}

#[tokio::test]
async fn a_shutdown_goes_on_when_its_caller_gives_up() {
    let bus = TestBus::start().await;
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let subscription =
        bus.subscribe("a").to(recorder.scripted(&Script::new([Step::Wait(gate.clone())]))).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    gate.reached(1).await;
    tokio::select! {
        biased;
        _ = bus.shutdown(MINUTE) => panic!("the handler still runs"),
        () = tokio::task::yield_now() => {}
    }
    gate.open();
    subscription.ended().await;
    assert!(bus.shutdown(MINUTE).await.is_drained());
}

#[tokio::test]
async fn paused_subscriptions_start_nothing_and_are_reported() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let subscription = bus.subscribe("a").name("paused").to(recorder.handler()).await.unwrap();
    subscription.pause();
    bus.publish(number("a", 1)).await.unwrap();
    let report = bus.shutdown(MINUTE).await;
    assert_eq!((recorder.count(), report.end), (0, ShutdownEnd::Abandoned));
    assert_eq!(&*report.left[0].subscription, "paused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_handler_that_does_not_return_is_reported_as_stuck() {
    let bus = busway_engine::Bus::memory().producer("test").start().await.unwrap();
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let (entered, is_in) = tokio::sync::oneshot::channel();
    let held = parking_lot::Mutex::new((held, Some(entered)));
    let handler = blocking(move |_: Payload<Number>| {
        let mut held = held.lock();
        if let Some(entered) = held.1.take() {
            entered.send(()).unwrap();
        }
        held.0.recv().ok();
    });
    let subscription = bus.subscribe("a").name("stuck").to(handler).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    is_in.await.unwrap();
    let report = bus.shutdown(Duration::ZERO).await;
    assert_eq!(report.stuck.iter().map(|name| &**name).collect::<Vec<_>>(), ["stuck"]);
    assert!(report.to_string().contains("stuck did not stop"), "{report}");
    drop(let_go);
    subscription.ended().await;
    assert_eq!(subscription.stats().done, 1);
}

#[tokio::test]
async fn a_handler_that_publishes_after_the_bus_is_gone_gets_its_event_back() {
    let bus = TestBus::start().await;
    let (sender, mut kept) = tokio::sync::mpsc::unbounded_channel::<Publisher<AnyPublisher>>();
    let handler = move |publisher: Publisher| {
        std::future::ready(sender.send(publisher).map_err(|error| error.to_string()))
    };
    bus.subscribe("a").to(handler).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    let publisher = kept.recv().await.unwrap();
    bus.shutdown(MINUTE).await;
    let refused = publisher.publish(number("a", 7)).await.unwrap_err();
    assert_eq!(refused.into_event().unwrap().payload(), &Number { n: 7 });
    drop(bus);
    assert_eq!(publisher.try_publish(number("a", 8)).unwrap_err().reason().unwrap(), &Refused::Closed);
}
