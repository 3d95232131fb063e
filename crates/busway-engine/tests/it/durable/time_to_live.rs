//! Events of a durable subscription that wait longer than they may.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::{
    Breaker, Clock as _, DeadLetterPolicy, DeadLetterState, DurableSubscription, Redrive, Settings,
    SubscribeProblem,
};
use busway_event::{Draft, Priority};
use busway_middleware::{AnyHandler, Batch, Durable, IntoHandler as _, Outcome, Payload, batch};
use busway_observability::Metrics;
use busway_reliability::{Idempotency, Order, Retry};
use busway_testkit::{Gate, ManualClock, Recorder, Script, SharedKeys, Step, TestBus};

use super::batches::{Calls, noted};
use super::breakers::soon;
use super::redrives::id;
use super::{dir, numbers, open, open_on, publish, stock, with_orders};
use crate::world::{Number, ends, number};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An order that waits five seconds at most.
fn brief(n: u32) -> Draft<Number> {
    number("orders.created", n).ttl(seconds(5))
}

/// What ended without an attempt, what is kept of it, and what is left.
fn counts(subscription: &DurableSubscription) -> (u64, u64, u64) {
    let stats = subscription.stats();
    (stats.expired, stats.dead, subscription.lag().events)
}

/// Handles batches, and notes them.
fn noting(calls: &Calls) -> AnyHandler<Durable> {
    let calls = Arc::clone(calls);
    let handler = batch(move |orders| {
        noted(&calls, &orders);
        std::future::ready(())
    });
    handler.into_handler()
}

#[tokio::test]
async fn an_expired_event_is_settled_unattempted_and_counted_and_stays_so() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    bus.publish(brief(0)).await.unwrap();
    bus.publish(brief(1).priority(Priority::P0).ttl(seconds(3_600))).await.unwrap();
    publish(&bus, [2]).await;
    clock.advance(seconds(4));
    bus.publish(brief(3)).await.unwrap();
    clock.advance(seconds(1));
    let recorder = Recorder::<Number>::new();
    let subscription = stock(&bus).order(Order::None).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 2, 3]));
    assert_eq!(counts(&subscription), (1, 0, 0), "at the very moment, and not before");
    assert!(subscription.stats().to_string().contains("1 expired"), "{}", subscription.stats());
    let described = bus.describe();
    let settings = &described.subscription("stock").unwrap().settings;
    assert!(!settings.iter().any(|setting| setting.name.starts_with("ttl")), "{settings:?}");
    bus.finish().await;

    let bus = open_on(&clock, &dir).await;
    let subscription = stock(&bus).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    assert_eq!((recorder.count(), counts(&subscription)), (3, (0, 0, 0)));
    bus.finish().await;
}

#[tokio::test]
async fn nothing_expires_for_what_is_said_of_all_and_what_a_subscription_says_is_for_events_without_their_own()
 {
    let (dir, second) = (dir(), Some(seconds(1)));
    let all = Settings::new().ttl(Priority::P2, second);
    let levels =
        |builder| with_orders(builder).settings(all.clone()).filter_settings("orders.#", all.clone());
    let bus = TestBus::open(dir.path(), levels).await;
    let recorders = [(); 3].map(|()| Recorder::<Number>::new());
    let names = ["all", "own", "before"];
    let builders = [
        bus.subscribe("orders.#").durable("all"),
        bus.subscribe("orders.#").durable("own").ttl(Priority::P2, second),
        bus.subscribe("orders.#").ttl(Priority::P2, second).durable("before"),
    ];
    let mut subscriptions = Vec::new();
    for (builder, recorder) in builders.into_iter().zip(&recorders) {
        let subscription = builder.to(recorder.handler()).await.unwrap();
        subscription.pause();
        subscriptions.push(subscription);
    }
    publish(&bus, [0]).await;
    bus.publish(brief(1)).await.unwrap();
    bus.publish(number("orders.created", 2).priority(Priority::P0)).await.unwrap();
    bus.clock().advance(seconds(2));
    subscriptions.iter().for_each(DurableSubscription::resume);
    bus.settle().await;
    let expired: Vec<u64> = subscriptions.iter().map(|one| one.stats().expired).collect();
    assert_eq!(expired, [0, 1, 1]);
    assert_eq!(recorders.each_ref().map(Recorder::count), [3, 2, 2]);
    let described = bus.describe();
    let shown = names.map(|name| {
        let settings = &described.subscription(name).unwrap().settings;
        settings.iter().find(|it| it.name == "ttl_p2").map(|it| it.value.clone())
    });
    assert_eq!(shown.each_ref().map(Option::as_deref), [None, Some("1s"), Some("1s")]);
    bus.finish().await;
}

#[tokio::test]
async fn an_expired_event_is_a_dead_letter_when_asked_for_and_does_not_expire_again() {
    let (dir, metrics) = (dir(), Metrics::new());
    let bus = TestBus::open(dir.path(), |builder| with_orders(builder).metrics(&metrics)).await;
    bus.publish(brief(0)).await.unwrap();
    bus.publish(brief(1)).await.unwrap();
    bus.clock().advance(seconds(6));
    let recorder = Recorder::<Number>::new();
    let policy = DeadLetterPolicy::keep().capacity(1).with_expired();
    let subscription = stock(&bus).dead_letters(policy).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    assert_eq!((recorder.count(), counts(&subscription)), (0, (2, 1, 1)));
    assert_eq!(subscription.stats().no_room, 1, "there is room for one letter");
    let letter = bus.dead_letters().get(&id(0)).await.unwrap();
    assert_eq!(letter.reason, "expired: its time to live of 5s was over before an attempt");
    assert_eq!((letter.attempt_count, letter.state), (0, DeadLetterState::Waiting));

    bus.dead_letters().redrive(&id(0), Redrive::default()).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&numbers([0]));
    bus.clock().advance(seconds(2));
    bus.settle().await;
    assert_eq!(counts(&subscription), (2, 2, 0), "there was room again");
    assert!(bus.dead_letters().get(&id(1)).await.unwrap().reason.starts_with("expired"));
    assert_eq!((recorder.count(), subscription.stats().replayed), (1, 1));
    let (text, line) = (metrics.render(), r#"busway_events_expired_total{subscription="stock"} 2"#);
    assert!(text.lines().any(|one| one == line), "{text}");
    bus.finish().await;
}

#[tokio::test]
async fn letters_that_are_discarded_are_no_letters_of_expired_events() {
    let dir = dir();
    let bus = open(&dir).await;
    bus.publish(brief(0)).await.unwrap();
    bus.clock().advance(seconds(6));
    let recorder = Recorder::<Number>::new();
    let policy = DeadLetterPolicy::discard().with_expired();
    let subscription = stock(&bus).dead_letters(policy).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    assert_eq!((counts(&subscription), subscription.stats().discarded), ((1, 0, 0), 0));
    bus.finish().await;
}

#[tokio::test]
async fn a_wall_clock_that_is_ahead_for_a_while_expires_nothing() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    let subscription = stock(&bus).to(recorder.handler()).await.unwrap();
    subscription.pause();
    let began = clock.utc();
    bus.publish(brief(0)).await.unwrap();
    clock.advance(seconds(1));
    clock.set_utc(began.saturating_add(seconds(86_400)));
    subscription.resume();
    bus.settle().await;
    recorder.assert_payloads(&numbers([0]));
    subscription.pause();
    // Stored while it was ahead, or behind: nobody waits less than was said.
    bus.publish(brief(1)).await.unwrap();
    clock.set_utc(began.saturating_add(seconds(2)));
    bus.publish(brief(2)).await.unwrap();
    clock.advance(seconds(4));
    subscription.resume();
    bus.settle().await;
    assert_eq!((recorder.count(), subscription.stats().expired), (3, 0));
    // The other clock counts meanwhile.
    subscription.pause();
    bus.publish(brief(3)).await.unwrap();
    clock.set_utc(began.saturating_add(seconds(86_400)));
    clock.advance(seconds(5));
    subscription.resume();
    bus.settle().await;
    assert_eq!((recorder.count(), subscription.stats().expired), (3, 1));
    bus.finish().await;
}

#[tokio::test]
async fn what_failed_and_what_waits_behind_it_expires_too_when_it_has_its_turn() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no connection")]);
    let retry = Retry::constant(seconds(6));
    let subscription = stock(&bus).retry(retry).to(recorder.scripted(&script)).await.unwrap();
    for n in 0..3 {
        let draft = if n < 2 { brief(n) } else { number("orders.created", n) };
        bus.publish(draft.key("A-1")).await.unwrap();
    }
    bus.settle().await;
    recorder.assert_payloads(&numbers([0]));
    bus.clock().advance(seconds(6));
    bus.settle().await;
    recorder.assert_payloads(&numbers([0, 2]));
    let stats = subscription.stats();
    assert_eq!((stats.failed, stats.expired, stats.dead, stats.parked), (1, 2, 0, 0), "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn what_waits_for_its_channel_expires_uncalled_and_leaves_its_probe_to_the_next() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no connection")]);
    let breaker = Breaker::default().opens_after(1).open_for(seconds(30)).max_probes(1);
    let builder = stock(&bus).retry(soon()).breaker(breaker);
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, [0]).await;
    bus.settle().await;
    // It comes back, and waits with the others.
    bus.clock().advance(seconds(1));
    bus.publish(brief(1)).await.unwrap();
    publish(&bus, [2]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([0]));
    bus.clock().advance(seconds(30));
    bus.settle().await;
    recorder.assert_payloads(&numbers([0, 2, 0]));
    assert_eq!((counts(&subscription), subscription.stats().parked), ((1, 0, 0), 0));
    bus.finish().await;
}

#[tokio::test]
async fn a_delayed_event_waits_from_when_it_was_due() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let subscription = stock(&bus).to(recorder.handler()).await.unwrap();
    bus.publish(brief(0).delay(seconds(60))).await.unwrap();
    bus.clock().advance(seconds(60));
    bus.settle().await;
    recorder.assert_payloads(&numbers([0]));
    assert_eq!(subscription.stats().expired, 0);
    bus.finish().await;
}

#[tokio::test]
async fn of_a_batch_those_that_have_expired_are_left_out() {
    let dir = dir();
    let bus = open(&dir).await;
    let calls = Calls::default();
    for n in 0..6 {
        let draft = if n % 2 == 0 { brief(n) } else { number("orders.created", n) };
        bus.publish(draft).await.unwrap();
    }
    bus.clock().advance(seconds(6));
    let policy = DeadLetterPolicy::keep().with_expired();
    let subscription = stock(&bus).dead_letters(policy).to(noting(&calls)).await.unwrap();
    bus.settle().await;
    assert_eq!((calls.lock().concat(), counts(&subscription)), (vec![1, 3, 5], (3, 3, 0)));
    assert_eq!(subscription.stats().done, 3);
    bus.finish().await;
}

#[tokio::test]
async fn what_waits_for_a_store_of_keys_expires_meanwhile_and_its_key_is_not_done() {
    for is_batch in [false, true] {
        let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
        let keys = SharedKeys::new(&clock);
        let bus = open_on(&clock, &dir).await;
        let (calls, once) = (Calls::default(), Idempotency::by_metadata(["biz"]).store(keys.store()));
        let builder = stock(&bus).idempotent(once);
        let subscription = match is_batch {
            false => builder.to(recorder.handler()).await.unwrap(),
            true => builder.to(noting(&calls)).await.unwrap(),
        };
        keys.set_reachable(false);
        bus.publish(brief(0).meta("biz", "A")).await.unwrap();
        for _ in 0..6 {
            crate::world::turns().await;
            clock.advance(seconds(1));
        }
        bus.settle().await;
        assert_eq!(counts(&subscription), (1, 0, 0), "batch: {is_batch}");
        keys.set_reachable(true);
        bus.publish(brief(1).meta("biz", "A")).await.unwrap();
        bus.settle().await;
        let handled = recorder.payloads().into_iter().map(|number| number.n).chain(calls.lock().concat());
        assert_eq!(handled.collect::<Vec<_>>(), [1], "batch: {is_batch}");
        bus.finish().await;
    }
}

#[tokio::test]
async fn one_that_expires_when_its_turn_at_a_key_has_come_leaves_that_to_the_next() {
    for is_batch in [false, true] {
        let (dir, gate, calls) = (dir(), Gate::closed(), Calls::default());
        let bus = open(&dir).await;
        let builder = stock(&bus).concurrency(2).idempotent(Idempotency::by_metadata(["biz"]));
        let fails = |n: u32| if n == 0 { Outcome::dead("never") } else { Outcome::Done };
        let subscription = match is_batch {
            false => {
                let (gate, calls) = (gate.clone(), Arc::clone(&calls));
                let handler = move |order: Payload<Number>| {
                    calls.lock().push(vec![order.n]);
                    let gate = gate.clone();
                    async move {
                        gate.pass().await;
                        fails(order.n)
                    }
                };
                builder.to(handler).await.unwrap()
            }
            true => {
                let (gate, calls) = (gate.clone(), Arc::clone(&calls));
                let handler = batch(move |orders: Batch<Number>| {
                    let (numbers, gate) = (noted(&calls, &orders), gate.clone());
                    async move {
                        gate.pass().await;
                        numbers.into_iter().map(fails).collect::<Vec<_>>()
                    }
                });
                builder.to(handler).await.unwrap()
            }
        };
        bus.publish(number("orders.created", 0).meta("biz", "A")).await.unwrap();
        gate.reached(1).await;
        for draft in [brief(1), brief(2), number("orders.created", 3)] {
            bus.publish(draft.meta("biz", "A")).await.unwrap();
        }
        while subscription.stats().parked < 3 {
            crate::world::turns().await;
        }
        bus.clock().advance(seconds(6));
        gate.open();
        // No more time passes: nobody's patience ends.
        ends(bus.settle()).await;
        assert_eq!((calls.lock().concat(), counts(&subscription)), (vec![0, 3], (2, 1, 0)), "{is_batch}");
        bus.finish().await;
    }
}

#[tokio::test]
async fn members_of_a_group_want_the_same_time_to_live() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let member = || stock(&bus).group("workers");
    member().ttl(Priority::P1, Some(seconds(9))).to(recorder.handler()).await.unwrap();
    let error = member().to(recorder.handler()).await.unwrap_err();
    let [SubscribeProblem::GroupMismatch { setting, existing, wanted, .. }] = error.problems() else {
        panic!("{error}")
    };
    assert_eq!((*setting, existing.as_str(), wanted.as_str()), ("ttl", "ttl_p1 = 9s", "none"));
    bus.finish().await;
}
