//! Leases of a shared store are kept for as long as a handler runs, or what is before it waits: while nobody dies, nobody else handles the event.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use busway_engine::{Breaker, Subscription};
use busway_middleware::{AnyHandler, Batch, Durable, IntoHandler, Payload, batch};
use busway_testkit::{Gate, ManualClock, Recorder, SharedKeys, TestBus};

use super::super::breakers::PAID;
use super::super::{dir, open_on, stock};
use super::publish;
use super::shared::shared;
use crate::dependency::Service;
use crate::world::{Number, number, turns};

/// Lets so many seconds go by, one after the other.
async fn seconds(clock: &ManualClock, many: u32) {
    for _ in 0..many {
        turns().await;
        clock.advance(Duration::from_secs(1));
    }
    turns().await;
}

/// A way of making a handler that waits, and counts events.
type Make = fn(&Gate, &Arc<AtomicUsize>) -> AnyHandler<Durable>;

fn one_by_one(gate: &Gate, calls: &Arc<AtomicUsize>) -> AnyHandler<Durable> {
    let (gate, calls) = (gate.clone(), Arc::clone(calls));
    IntoHandler::<Durable, _>::into_handler(move |_: Payload<Number>| {
        calls.fetch_add(1, Ordering::Relaxed);
        let gate = gate.clone();
        async move { gate.pass().await }
    })
}

fn in_batches(gate: &Gate, calls: &Arc<AtomicUsize>) -> AnyHandler<Durable> {
    let (gate, calls) = (gate.clone(), Arc::clone(calls));
    IntoHandler::<Durable, _>::into_handler(batch(move |orders: Batch<Number>| {
        calls.fetch_add(orders.len(), Ordering::Relaxed);
        let gate = gate.clone();
        async move { gate.pass().await }
    }))
}

#[tokio::test]
async fn a_handler_that_takes_longer_than_a_lease_keeps_it() {
    let handlers: [Make; 2] = [one_by_one, in_batches];
    for handler in handlers {
        let (one, two, clock) = (dir(), dir(), ManualClock::new());
        let (keys, gate, calls) = (SharedKeys::new(&clock), Gate::closed(), Arc::default());
        let one = open_on(&clock, &one).await;
        let two = open_on(&clock, &two).await;
        stock(&one).idempotent(shared(&keys)).to(handler(&gate, &calls)).await.unwrap();
        publish(&one, [("A", 1)]).await;
        gate.reached(1).await;
        let recorder = Recorder::<Number>::new();
        let second = stock(&two).idempotent(shared(&keys)).to(recorder.handler()).await.unwrap();
        publish(&two, [("A", 2)]).await;
        seconds(&clock, 100).await;
        assert_eq!((recorder.count(), second.stats().parked), (0, 1));
        gate.open();
        seconds(&clock, 2).await;
        assert_eq!((calls.load(Ordering::Relaxed), recorder.count(), second.stats().skipped), (1, 0, 1));
        one.finish().await;
        two.finish().await;
    }
}

/// One whose circuit is open for a minute, and that waits for it with an event that has a key.
async fn waits(bus: &TestBus, keys: &SharedKeys, service: &Service) -> Subscription {
    let breaker = Breaker::default().opens_after(1).open_for(Duration::from_secs(60));
    let builder = bus.subscribe(PAID).name("stock").breaker(breaker).idempotent(shared(keys));
    let subscription = builder.to(service.handler()).await.unwrap();
    service.down(PAID);
    for (biz_id, n) in [("A", 1), ("B", 2)] {
        bus.publish(number(PAID, n).meta("bizId", biz_id)).await.unwrap();
    }
    turns().await;
    assert_eq!(service.calls(PAID), [(1, 1)]);
    service.up(PAID);
    subscription
}

/// Another process that handles the same, where nothing is down.
async fn other(bus: &TestBus, keys: &SharedKeys) -> (Subscription, Recorder<Number>) {
    let recorder = Recorder::<Number>::new();
    let builder = bus.subscribe(PAID).name("stock").idempotent(shared(keys));
    let subscription = builder.to(recorder.handler()).await.unwrap();
    bus.publish(number(PAID, 3).meta("bizId", "B")).await.unwrap();
    (subscription, recorder)
}

#[tokio::test]
async fn who_waits_for_an_open_circuit_keeps_its_lease() {
    let clock = ManualClock::new();
    let (keys, service) = (SharedKeys::new(&clock), Service::default());
    let one = TestBus::build_on(clock.clone(), |builder| builder).await;
    let two = TestBus::build_on(clock.clone(), |builder| builder).await;
    let first = waits(&one, &keys, &service).await;
    let (second, recorder) = other(&two, &keys).await;
    seconds(&clock, 59).await;
    assert_eq!((recorder.count(), service.calls(PAID).len()), (0, 1));
    seconds(&clock, 3).await;
    assert_eq!((recorder.count(), service.calls(PAID).last()), (0, Some(&(2, 1))));
    assert_eq!((first.stats().done, second.stats().skipped), (1, 1));
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn a_lease_that_was_lost_while_it_waited_is_asked_for_again_before_its_handler_runs() {
    let clock = ManualClock::new();
    let (keys, service) = (SharedKeys::new(&clock), Service::default());
    let one = TestBus::build_on(clock.clone(), |builder| builder).await;
    let two = TestBus::build_on(clock.clone(), |builder| builder).await;
    let first = waits(&one, &keys, &service).await;
    let (second, recorder) = other(&two, &keys).await;
    keys.set_reachable(false);
    seconds(&clock, 32).await;
    keys.set_reachable(true);
    seconds(&clock, 3).await;
    assert_eq!((recorder.count(), second.stats().done), (1, 1), "nobody has kept the lease");
    seconds(&clock, 30).await;
    assert_eq!(service.calls(PAID), [(1, 1)], "it has been handled elsewhere");
    assert_eq!((first.stats().done, first.stats().skipped), (0, 1));
    one.finish().await;
    two.finish().await;
}
