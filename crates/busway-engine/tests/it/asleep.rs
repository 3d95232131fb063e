//! Subscriptions before their first event: they are there in every respect, and cost next to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway_engine::{Bus, Publisher, State, Stopping};
use busway_middleware::{Payload, blocking};
use busway_testkit::{Recorder, TestBus};

use crate::world::{Number, ends, number};

#[tokio::test]
async fn a_subscription_without_events_is_listed_and_described_and_its_name_is_taken() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let named = bus.subscribe("a.b").name("quiet").to(recorder.handler()).await.unwrap();
    let unnamed = bus.subscribe("a.+").to(recorder.handler()).await.unwrap();
    assert_eq!((named.name(), unnamed.name()), ("quiet", "a.+ #1"));
    let stats = bus.stats();
    let listed: Vec<_> = stats.subscriptions.iter().map(|one| (&*one.name, one.state)).collect();
    assert_eq!(listed, [("quiet", State::Running), ("a.+ #1", State::Running)]);
    let description = bus.describe();
    let described = description.subscription("quiet").unwrap();
    assert_eq!((described.filter.as_str(), described.handlers.len()), ("a.b", 1));
    for taken in ["quiet", "a.+ #1"] {
        assert!(bus.subscribe("x").name(taken).to(recorder.handler()).await.is_err(), "{taken}");
    }
    bus.finish().await;
}

#[tokio::test]
async fn one_that_stops_before_its_first_event_is_gone_with_what_its_handler_held() {
    let bus = TestBus::start().await;
    for abort in [false, true] {
        let held = Arc::new(());
        let handler = {
            let held = Arc::clone(&held);
            move |_: Payload<Number>| {
                let _held = Arc::clone(&held);
                std::future::ready(())
            }
        };
        let subscription = bus.subscribe("a").name("w").to(handler).await.unwrap();
        let stats = match abort {
            true => subscription.abort(),
            false => subscription.stop().await,
        };
        assert_eq!((stats.state, stats.tally.offered), (State::Stopped, 0));
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(bus.publish(number("a", 1)).await.unwrap().offered, 0);
    }
    assert!(bus.stats().subscriptions.is_empty());
    bus.finish().await;
}

#[tokio::test]
async fn pausing_holds_even_the_first_event_back() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let subscription = bus.subscribe("a").to(recorder.handler()).await.unwrap();
    subscription.pause();
    bus.publish(number("a", 1)).await.unwrap();
    bus.settle().await;
    assert_eq!((subscription.stats().tally.waiting(), recorder.payloads().len()), (1, 0));
    subscription.resume();
    bus.settle().await;
    recorder.assert_payloads(&[Number { n: 1 }]);
    bus.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_first_event_that_meets_the_end_is_handled_or_abandoned_or_never_offered() {
    for round in 0..400 {
        let bus = Bus::memory().producer("test").start().await.unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let handler = {
            let count = Arc::clone(&count);
            move |_: Payload<Number>| {
                count.fetch_add(1, Ordering::Relaxed);
                std::future::ready(())
            }
        };
        let subscription = bus.subscribe("a").to(handler).await.unwrap();
        let publishing = {
            let bus = bus.clone();
            tokio::spawn(
                async move { bus.publish(number("a", 1)).await.map_or(0, |receipt| receipt.offered) },
            )
        };
        match round % 3 {
            0 => drop(subscription.stop().await),
            1 => drop(subscription.abort()),
            _ => drop(bus.shutdown(Duration::from_secs(10)).await),
        }
        let offered = ends(publishing).await.unwrap();
        ends(bus.idle()).await;
        let tally = bus.stats().tally;
        assert_eq!((tally.offered, tally.settled()), (offered as u64, offered as u64), "{tally}");
        assert_eq!(tally.delivered, count.load(Ordering::Relaxed));
        bus.shutdown(Duration::from_secs(10)).await;
    }
}

/// Whether the thread of this name sleeps, by the kernel's word.
#[cfg(target_os = "linux")]
fn sleeps(named: &str) -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let read = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let state = |stat: &str| stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    read.filter(|stat| stat.contains(&format!("({named})"))).any(|stat| state(&stat) == Some('S'))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_paused_thread_sleeps_beside_events_that_wait() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let (recorder, name) = (Arc::new(AtomicU64::new(0)), "nap-test");
    let count = Arc::clone(&recorder);
    let handler = blocking(move |_: Payload<Number>| _ = count.fetch_add(1, Ordering::Relaxed));
    let subscription = bus.subscribe("a").name(name).to(handler).await.unwrap();
    bus.publish(number("a", 0)).await.unwrap();
    ends(bus.idle()).await;
    subscription.pause();
    bus.publish(number("a", 1)).await.unwrap();
    ends(async {
        while !sleeps("busway-nap-test") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((subscription.stats().tally.waiting(), recorder.load(Ordering::Relaxed)), (1, 1));
    subscription.resume();
    ends(bus.idle()).await;
    assert_eq!(recorder.load(Ordering::Relaxed), 2);
    bus.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn idle_waits_for_what_a_handler_publishes_to_a_subscription_that_sleeps() {
    for round in 0..300 {
        let bus = Bus::memory().producer("test").start().await.unwrap();
        let recorder = Recorder::<Number>::new();
        // The sleeper is scanned first, and the scan takes its time.
        bus.subscribe("b").to(recorder.handler()).await.unwrap();
        for n in 0..40 {
            bus.subscribe(format!("quiet.{n}")).to(recorder.handler()).await.unwrap();
        }
        bus.subscribe("a").to(|event: Payload<Number>| async move { number("b", event.n) }).await.unwrap();
        bus.publish(number("a", round)).await.unwrap();
        ends(bus.idle()).await;
        recorder.assert_payloads(&[Number { n: round }]);
        bus.shutdown(Duration::from_secs(10)).await;
    }
}

#[tokio::test]
async fn after_the_grace_no_subscription_wakes_up() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let (recorder, offered) = (Recorder::<Number>::new(), Arc::new(AtomicU64::new(u64::MAX)));
    let told = Arc::clone(&offered);
    let handler = move |_: Payload<Number>, stopping: Stopping, publisher: Publisher| {
        let told = Arc::clone(&told);
        async move {
            stopping.stopped().await;
            let receipt = publisher.publish(number("b", 1)).await.map_err(|error| error.to_string())?;
            told.store(receipt.offered as u64, Ordering::Relaxed);
            Ok::<(), String>(())
        }
    };
    bus.subscribe("a").to(handler).await.unwrap();
    bus.subscribe("b").to(recorder.handler()).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    let report = ends(bus.shutdown(Duration::ZERO)).await;
    assert_eq!((offered.load(Ordering::Relaxed), recorder.payloads().len()), (0, 0), "{report}");
}

#[tokio::test]
async fn what_a_sleeping_handler_holds_is_gone_after_a_shutdown() {
    let bus = TestBus::start().await;
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let handler = move |_: Payload<Number>| {
        let _held = Arc::clone(&inside);
        std::future::ready(())
    };
    drop(bus.subscribe("a").to(handler).await.unwrap());
    bus.shutdown(Duration::from_secs(10)).await;
    assert_eq!(Arc::strong_count(&held), 1);
    assert!(bus.stats().subscriptions.is_empty());
}
