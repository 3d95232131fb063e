//! A breaker pauses the channel whose dependency is down, and nobody else.

use std::time::Duration;

use busway_engine::{Breaker, ChannelUnknown, DurableBuilder, Fallback, SubscribeProblem};
use busway_event::Timestamp;
use busway_middleware::{Batch, BoxError, Payload, batch, inline};
use busway_reliability::{BreakerProblem, BreakerState, FailureClass, Force, Retry};
use busway_testkit::{Gate, ManualClock, Recorder, Script, Step, TestBus};

use super::{dir, open, open_on, stock};
use crate::dependency::Service;
use crate::world::{Number, ends, number, turns};

pub(super) const PAID: &str = "orders.paid";
pub(super) const CREATED: &str = "orders.created";

/// Opens with the second failure, for half a minute.
pub(super) fn breaker() -> Breaker {
    Breaker::default().opens_after(2).open_for(Duration::from_secs(30))
}

/// Parked events come back long before the breaker lets them pass.
pub(crate) fn soon() -> Retry {
    Retry::default().first_delay(Duration::from_millis(1)).longest_delay(Duration::from_millis(1))
}

pub(super) fn guarded(bus: &TestBus) -> DurableBuilder {
    stock(bus).retry(soon()).breaker(breaker())
}

pub(super) async fn publish_on(bus: &TestBus, topic: &str, numbers: impl IntoIterator<Item = u32>) {
    for n in numbers {
        bus.publish(number(topic, n)).await.unwrap();
    }
}

fn state(bus: &TestBus, topic: &str) -> BreakerState {
    bus.breakers().get("stock", topic).unwrap().state
}

#[tokio::test]
async fn an_open_breaker_pauses_its_channel_without_spending_attempts_and_others_flow_on() {
    let dir = dir();
    let bus = open(&dir).await;
    let service = Service::default();
    service.down(PAID);
    let subscription = guarded(&bus).to(service.handler()).await.unwrap();
    // Many more than fit into the window.
    publish_on(&bus, PAID, 0..600).await;
    publish_on(&bus, CREATED, 600..700).await;
    bus.settle().await;
    assert_eq!(service.calls(PAID), [(0, 1), (1, 1)], "two calls told that it is down");
    assert_eq!(service.calls(CREATED).len(), 100, "all others flow on");
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.failed, stats.parked, stats.running), (100, 2, 600, 0), "{stats}");

    // The two that failed are due again; that they were is no reason to call.
    bus.clock().advance(Duration::from_millis(29_999));
    bus.settle().await;
    let channel = bus.breakers().get("stock", PAID).unwrap();
    assert_eq!((service.calls(PAID).len(), channel.state, channel.waiting), (2, BreakerState::Open, 600));
    assert_eq!(
        channel.to_string(),
        "stock on orders.paid (open): 0 well, 2 failed, 600 refused, 600 waiting, opened 1 times"
    );
    assert_eq!(state(&bus, CREATED), BreakerState::Closed);

    service.up(PAID);
    bus.clock().advance(Duration::from_millis(1));
    bus.settle().await;
    let mut calls = service.calls(PAID);
    assert_eq!(calls.len(), 602);
    calls.sort_unstable();
    calls.dedup_by_key(|(n, _)| *n);
    assert_eq!(calls.len(), 600, "each is handled");
    let charged: Vec<_> =
        service.calls(PAID)[2..].iter().filter(|(_, attempt)| *attempt != 1).copied().collect();
    assert_eq!(charged, [(0, 2), (1, 2)], "only what failed was charged");
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.parked, subscription.lag().events), (700, 0, 0), "{stats}");
    let moves: Vec<_> = bus.breaker_moves("stock").iter().map(|moved| (moved.from, moved.to)).collect();
    let [closed, half, opened] = [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open];
    assert_eq!(moves, [(closed, opened), (opened, half), (half, closed)]);
    bus.finish().await;
}

#[tokio::test]
async fn probes_go_out_by_themselves_as_many_as_may_and_a_failing_one_opens_the_channel_again() {
    let dir = dir();
    let bus = open(&dir).await;
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let fails = [Step::Fail("down"), Step::Fail("down")];
    let probes = [Step::Wait(gate.clone()), Step::Wait(gate.clone()), Step::Fail("still down")];
    let script = Script::new(fails.into_iter().chain(probes));
    let breaker = breaker().max_probes(2).required_successes(3);
    let subscription =
        guarded(&bus).breaker(breaker).concurrency(8).to(recorder.scripted(&script)).await.unwrap();
    publish_on(&bus, PAID, 0..20).await;
    bus.settle().await;
    assert_eq!(recorder.count(), 2);
    // What failed is due, and waits with the others.
    bus.clock().advance(Duration::from_millis(1));
    bus.settle().await;
    bus.clock().advance(Duration::from_secs(30));
    gate.reached(2).await;
    turns().await;
    let channel = bus.breakers().get("stock", PAID).unwrap();
    assert_eq!((channel.state, channel.probes, gate.waiting()), (BreakerState::HalfOpen, 2, 2));
    let handled = recorder.payloads().split_off(2);
    assert_eq!(handled, super::numbers([2, 3]), "two at once and no more, and none that has failed before");
    gate.open();
    bus.settle().await;
    // Two have succeeded, the third says that it was too early.
    let channel = bus.breakers().get("stock", PAID).unwrap();
    assert_eq!((channel.state, channel.counts.opened), (BreakerState::Open, 2));
    assert!(recorder.count() <= 6, "probes, {} in all", recorder.count());
    bus.clock().advance(Duration::from_secs(30));
    bus.settle().await;
    assert_eq!((subscription.stats().done, state(&bus, PAID)), (20, BreakerState::Closed));
    bus.finish().await;
}

#[tokio::test]
async fn slow_probes_bring_no_more_events_back_than_there_may_be_probes() {
    let dir = dir();
    let bus = open(&dir).await;
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let fails = [Step::Fail("down"), Step::Fail("down"), Step::Wait(gate.clone()), Step::Fail("still down")];
    let guarded = guarded(&bus).breaker(breaker().required_successes(9));
    guarded.to(recorder.scripted(&Script::new(fails))).await.unwrap();
    publish_on(&bus, PAID, 0..200).await;
    bus.settle().await;
    let before = bus.breakers().get("stock", PAID).unwrap();
    assert_eq!((before.state, before.waiting), (BreakerState::Open, 198));
    bus.clock().advance(Duration::from_secs(30));
    gate.reached(1).await;
    // Each of them is another look of who lets events come back.
    for n in 200..220 {
        publish_on(&bus, CREATED, [n]).await;
        turns().await;
    }
    let during = bus.breakers().get("stock", PAID).unwrap();
    assert_eq!((during.state, during.probes), (BreakerState::HalfOpen, 1));
    assert!(during.waiting >= before.waiting - 5, "{} of {} wait", during.waiting, before.waiting);
    gate.open();
    bus.settle().await;
    let after = bus.breakers().get("stock", PAID).unwrap();
    assert_eq!((after.state, after.counts.opened), (BreakerState::Open, 2));
    let refused = after.counts.refused - before.counts.refused;
    assert!(refused <= 8, "{refused} asked in vain");
    bus.finish().await;
}

#[tokio::test]
async fn order_holds_through_a_pause_whatever_the_topic_and_a_restart_charges_nothing() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = open_on(&clock, &dir).await;
    let service = Service::default();
    service.down(PAID);
    guarded(&bus).to(service.handler()).await.unwrap();
    publish_on(&bus, PAID, 0..2).await;
    bus.settle().await;
    for (topic, n) in [(PAID, 2), (CREATED, 3), (PAID, 4), (CREATED, 5)] {
        bus.publish(number(topic, n).key("A-1")).await.unwrap();
    }
    bus.publish(number(CREATED, 6).key("B-7")).await.unwrap();
    bus.settle().await;
    assert_eq!(service.calls(CREATED), [(6, 1)], "A-1 waits behind its first event");
    bus.finish().await;

    // A circuit lives in memory: after a restart it is closed, and what is due is tried.
    service.up(PAID);
    clock.advance(Duration::from_secs(30));
    let bus = open_on(&clock, &dir).await;
    let again = Service::default();
    guarded(&bus).concurrency(4).to(again.handler()).await.unwrap();
    bus.settle().await;
    let mut paid = again.calls(PAID);
    paid.sort_unstable();
    assert_eq!(paid, [(0, 2), (1, 2), (2, 1), (4, 1)]);
    assert_eq!(again.calls(CREATED), [(3, 1), (5, 1)]);
    bus.finish().await;
}

#[tokio::test]
async fn a_channel_is_forced_open_and_closed_and_goes_by_its_rules_again() {
    let dir = dir();
    let bus = open(&dir).await;
    let service = Service::default();
    let subscription = guarded(&bus).to(service.handler()).await.unwrap();
    bus.breakers().force("stock", PAID, Force::Open).unwrap();
    publish_on(&bus, PAID, 0..3).await;
    bus.settle().await;
    bus.clock().advance(Duration::from_secs(3_600));
    bus.settle().await;
    let channel = bus.breakers().get("stock", PAID).unwrap();
    assert_eq!(
        (service.calls(PAID).len(), channel.waiting, channel.next_probe),
        (0, 3, None),
        "no probe either"
    );
    assert_eq!((channel.force, channel.state), (Force::Open, BreakerState::Open));
    bus.breakers().force("stock", PAID, Force::Automatic).unwrap();
    bus.settle().await;
    assert_eq!((subscription.stats().done, state(&bus, PAID)), (3, BreakerState::Closed));

    service.down(PAID);
    bus.breakers().force("stock", PAID, Force::Closed).unwrap();
    publish_on(&bus, PAID, 3..9).await;
    bus.settle().await;
    assert_eq!((subscription.stats().failed, state(&bus, PAID)), (6, BreakerState::Closed), "whatever fails");

    let error = bus.breakers().force("stocks", PAID, Force::Open).unwrap_err();
    assert!(matches!(error, ChannelUnknown::Subscription { .. }), "{error}");
    let error = bus.breakers().force("stock", "orders..paid", Force::Open).unwrap_err();
    assert!(matches!(error, ChannelUnknown::Topic { .. }), "{error}");
    let error = bus.breakers().force("stock", "invoices.paid", Force::Open).unwrap_err();
    assert!(matches!(error, ChannelUnknown::NotMeant { .. }), "{error}");
    bus.finish().await;
}

#[tokio::test]
async fn a_batch_is_made_of_what_may_be_called_and_each_of_its_events_counts() {
    let dir = dir();
    let bus = open(&dir).await;
    let service = Service::default();
    service.down(PAID);
    let calls = service.clone();
    let handler = move |batch: Batch<Number>| {
        let call = |event: &busway_event::Event<Number>| calls.call(event.topic(), event.payload().n, 1);
        std::future::ready(batch.iter().map(call).collect::<Vec<Result<(), BoxError>>>())
    };
    let subscription = guarded(&bus).to(batch(handler)).await.unwrap();
    publish_on(&bus, PAID, 0..2).await;
    bus.settle().await;
    assert_eq!(state(&bus, PAID), BreakerState::Open);
    for n in 2..40 {
        publish_on(&bus, if n % 2 == 0 { PAID } else { CREATED }, [n]).await;
    }
    bus.settle().await;
    assert_eq!((service.calls(PAID).len(), service.calls(CREATED).len()), (2, 19));
    service.up(PAID);
    bus.clock().advance(Duration::from_secs(30));
    bus.settle().await;
    assert_eq!((subscription.stats().done, state(&bus, PAID)), (40, BreakerState::Closed));
    bus.finish().await;
}

#[tokio::test]
async fn errors_that_are_classified_as_bad_events_tell_nothing_of_the_service() {
    let later = Timestamp::from_nanos(4_000_000_000_000_000_000);
    for class in [FailureClass::Permanent, FailureClass::RetryAt(later)] {
        let dir = dir();
        let bus = open(&dir).await;
        let fails = async |_: Payload<Number>| Err::<(), BoxError>("no such order".into());
        let in_batches = |events: Batch<Number>| {
            let fails = events.iter().map(|_| Err("no such order".into()));
            std::future::ready(fails.collect::<Vec<Result<(), BoxError>>>())
        };
        guarded(&bus).classify(move |_| class).to(fails).await.unwrap();
        let batches = bus.subscribe("orders.#").durable("batches").breaker(breaker());
        batches.classify(move |_| class).to(batch(in_batches)).await.unwrap();
        let memory = bus.subscribe("orders.#").name("memory").breaker(breaker()).classify(move |_| class);
        memory.retry(Retry::never()).to(fails).await.unwrap();
        publish_on(&bus, PAID, 0..4).await;
        // In memory what waits for an open channel waits for ever.
        ends(bus.settle()).await;
        for subscription in ["stock", "batches", "memory"] {
            let channel = bus.breakers().get(subscription, PAID).unwrap();
            assert_eq!(channel.state, BreakerState::Closed, "{subscription}, {class:?}");
            assert_eq!(
                (channel.counts.failures, channel.counts.neither),
                (0, 4),
                "{subscription}, {class:?}"
            );
        }
        bus.finish().await;
    }
}

#[tokio::test]
async fn everything_wrong_with_a_breaker_is_said_before_anything_begins() {
    let dir = dir();
    let bus = open(&dir).await;
    let bad = Breaker::default().opens_after(0).max_probes(0).open_for(Duration::from_micros(10));
    let error = stock(&bus).breaker(bad.clone()).to(async |_: Payload<Number>| {}).await.unwrap_err();
    let expected = [
        BreakerProblem::NoFailures,
        BreakerProblem::NoProbes,
        BreakerProblem::OpenTooShort { time: Duration::from_micros(10) },
    ];
    assert_eq!(error.problems(), expected.clone().map(SubscribeProblem::Breaker));
    let error = bus.subscribe("a").breaker(bad).to(async |_: Payload<Number>| {}).await.unwrap_err();
    assert_eq!(error.problems(), expected.map(SubscribeProblem::Breaker));
    let retried = breaker().fallback(Fallback::ack_and_retry_later());
    let error = bus.subscribe("a").breaker(retried).to(inline(|| ())).await.unwrap_err();
    assert_eq!(error.problems(), [SubscribeProblem::InlineRetry]);
    // A setting of the subscription that members of its group share, and that can be looked up.
    let member = |breaker| stock(&bus).group("g").breaker(breaker).to(async |_: Payload<Number>| {});
    member(breaker()).await.unwrap();
    let error = member(Breaker::default()).await.unwrap_err();
    assert!(error.to_string().contains("breaker = opens after 2 for 30s"), "{error}");
    let described = bus.describe();
    let described = described.subscription("stock").unwrap().settings.last().unwrap();
    assert_eq!(
        described.to_string(),
        "breaker = opens after 2 for 30s, 5 probes at once, closes after 1, then pause (subscription)"
    );
    bus.finish().await;
}

#[tokio::test]
async fn a_circuit_goes_by_the_name_of_who_inherits_it() {
    let dir = dir();
    let bus = open(&dir).await;
    let service = Service::default();
    service.down(PAID);
    let old = guarded(&bus).to(service.handler()).await.unwrap();
    publish_on(&bus, PAID, 0..2).await;
    bus.settle().await;
    let heritage = old.heritage();
    let heir = |name| bus.subscribe("orders.#").durable(name).retry(soon()).breaker(breaker());
    // One that does not begin leaves it as it is.
    heir("no name").inherit(&heritage).to(service.handler()).await.unwrap_err();
    assert_eq!(state(&bus, PAID), BreakerState::Open);
    old.stop().await;
    heir("shelves").inherit(&heritage).to(service.handler()).await.unwrap();
    let of = |name| bus.breakers().get(name, PAID).map(|status| status.state);
    assert_eq!((of("stock"), of("shelves")), (None, Some(BreakerState::Open)));
    bus.breakers().force("shelves", PAID, Force::Closed).unwrap();
    assert_eq!(of("shelves"), Some(BreakerState::Closed));
    bus.finish().await;
}
