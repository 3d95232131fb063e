//! The end of a bus with a store: nothing is lost, nothing stays behind.

use std::time::Duration;

use busway_engine::{Bus, Refused, Stopping};
use busway_middleware::{BoxError, Payload};
use busway_reliability::Retry;
use busway_testkit::{Gate, Recorder, Script, Step};

use super::{dir, numbers, open, open_on, publish, stock, with_orders};
use crate::world::{Number, ends, number, turns};

#[tokio::test]
async fn a_shutdown_waits_for_running_handlers_and_leaves_the_rest_in_the_log() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let gate = Gate::closed();
    let script = Script::new([Step::Wait(gate.clone())]);
    stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, 0..5).await;
    gate.reached(1).await;
    let shutdown = bus.shutdown(Duration::from_secs(60));
    let opens = async {
        turns().await;
        let refused = bus.publish(number("orders.created", 9)).await.unwrap_err();
        assert_eq!(refused.reason(), Some(&Refused::Closed));
        assert_eq!(refused.into_event().unwrap().payload().n, 9);
        gate.open();
    };
    let (report, ()) = ends(async { tokio::join!(shutdown, opens) }).await;
    assert!(report.is_drained() && report.left.is_empty(), "{report}");
    recorder.assert_payloads(&numbers([0]));
    let late = bus.publish(number("orders.created", 9)).await.unwrap_err();
    assert_eq!(late.reason(), Some(&Refused::Closed));

    // The directory is free, the bus's handle is not dropped.
    let again = open(&dir).await;
    let rest = Recorder::<Number>::new();
    stock(&again).to(rest.handler()).await.unwrap();
    again.settle().await;
    rest.assert_payloads(&numbers(1..5));
    again.finish().await;
}

#[tokio::test]
async fn a_handler_that_fails_because_it_was_told_to_stop_is_not_charged() {
    let dir = dir();
    let bus = open(&dir).await;
    let obeys = async |stopping: Stopping| {
        stopping.stopped().await;
        Err::<(), BoxError>("stopped".into())
    };
    let subscription = stock(&bus).retry(Retry::never()).to(obeys).await.unwrap();
    publish(&bus, [7]).await;
    turns().await;
    let clock = bus.clock().clone();
    let shutdown = bus.shutdown(Duration::from_secs(5));
    let passes = async {
        turns().await;
        clock.advance(Duration::from_secs(5));
    };
    ends(async { tokio::join!(shutdown, passes) }).await;
    let stats = subscription.stats();
    assert_eq!((stats.dead, stats.failed, stats.cut_short), (0, 0, 1), "{stats}");
    let clock = bus.clock().clone();
    drop(bus);

    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&numbers([7]));
    assert_eq!(recorder.deliveries()[0].attempt(), 1);
    assert_eq!(bus.dead_letters().count("stock").await.unwrap(), 0);
    bus.finish().await;
}

#[tokio::test]
async fn a_handler_that_does_not_end_is_told_to_stop_cut_short_and_not_charged() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Hang]);
    stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, 0..2).await;
    recorder.wait_for(1).await;
    let clock = bus.clock().clone();
    let shutdown = bus.shutdown(Duration::from_secs(5));
    let passes = async {
        for _ in 0..20 {
            turns().await;
            clock.advance(Duration::from_secs(1));
        }
    };
    let (report, ()) = ends(async { tokio::join!(shutdown, passes) }).await;
    assert!(!report.is_drained(), "{report}");
    assert_eq!((&*report.left[0].subscription, report.left[0].events), ("stock", 1));
    assert!(
        report.to_string().contains("abandoned 1 in") && report.to_string().contains("stock left 1"),
        "{report}"
    );
    drop(bus);

    let bus = open(&dir).await;
    _ = recorder.take();
    stock(&bus).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    let attempts: Vec<_> =
        recorder.deliveries().iter().map(|it| (it.offset().unwrap(), it.attempt())).collect();
    assert_eq!(attempts, [(0, 1), (1, 1)]);
    bus.finish().await;
}

#[tokio::test]
async fn the_token_is_live_through_the_grace_and_a_handler_may_end_by_it() {
    let dir = dir();
    let bus = open(&dir).await;
    let reached = Gate::closed();
    let at = reached.clone();
    let handler = move |_: Payload<Number>, stopping: Stopping| {
        at.open();
        async move { stopping.stopped().await }
    };
    let subscription = stock(&bus).to(handler).await.unwrap();
    publish(&bus, [1]).await;
    reached.pass().await;
    let clock = bus.clock().clone();
    let shutdown = bus.shutdown(Duration::from_secs(5));
    let passes = async {
        turns().await;
        clock.advance(Duration::from_secs(4));
        turns().await;
        assert_eq!(subscription.stats().running, 1);
        clock.advance(Duration::from_secs(1));
    };
    let (report, ()) = ends(async { tokio::join!(shutdown, passes) }).await;
    assert!(report.is_drained(), "it ended by itself: {report}");
    assert_eq!(subscription.stats().done, 1);
}

#[tokio::test]
async fn dropping_the_last_handle_stops_everything_and_frees_the_directory() {
    let dir = dir();
    let held = std::sync::Arc::new(());
    for round in 0..3_u32 {
        let starts = async {
            loop {
                match with_orders(Bus::open(dir.path())).start().await {
                    Ok(bus) => return bus,
                    Err(error) => assert!(error.is_transient(), "{error}"),
                }
                turns().await;
            }
        };
        let bus = ends(starts).await;
        let holds = std::sync::Arc::clone(&held);
        let handler = move |_: Payload<Number>| {
            let holds = std::sync::Arc::clone(&holds);
            async move {
                std::future::pending::<()>().await;
                drop(holds);
            }
        };
        bus.subscribe("orders.#").durable("stock").to(handler).await.unwrap();
        let receipt = bus.publish(number("orders.created", round)).await.unwrap();
        assert_eq!(receipt.position.unwrap().offset, u64::from(round));
    }
    let released = async {
        while std::sync::Arc::strong_count(&held) > 1 {
            turns().await;
        }
    };
    ends(released).await;
}

#[test]
fn a_bus_that_outlives_its_runtime_gives_its_directory_free() {
    let dir = dir();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bus = runtime.block_on(async {
        let bus = with_orders(Bus::open(dir.path())).start().await.unwrap();
        bus.subscribe("orders.#").durable("stock").to(async |_: Payload<Number>| {}).await.unwrap();
        bus.publish(number("orders.created", 1)).await.unwrap();
        bus
    });
    drop(runtime);
    drop(bus);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bus = with_orders(Bus::open(dir.path())).start().await.unwrap();
        assert_eq!(
            bus.publish(number("orders.created", 2)).await.unwrap().to_string(),
            "synced at orders/0/1"
        );
    });
}
