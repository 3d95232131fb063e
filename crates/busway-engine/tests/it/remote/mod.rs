//! Subscriptions at a transport.

mod at_a_bus;
mod budget;
mod keys;
mod members;
mod poison;
pub(crate) mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use busway_engine::remote::{Members, RemoteError, RemoteState};
use busway_engine::transport::{Ability, Capability, Letter, TransportError, Verdict};
use busway_engine::{Breaker, Bus, Fallback, SubscribeProblem};
use busway_event::{AnyEvent, Event, Raw};
use busway_middleware::{Batch, Delivery, Outcome, Payload, batch, inline};
use busway_reliability::{Order, Retry};
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};

use self::world::{Scripted, again, delivery, down, no_event, of, parts, until};
use crate::world::ends;

async fn memory() -> Bus {
    Bus::memory().producer("shop").start().await.unwrap()
}

fn done(number: u64) -> (u64, Verdict) {
    (number, Verdict::Done)
}

#[tokio::test]
async fn what_a_broker_delivers_is_handled_and_settled_and_nothing_else() {
    let (bus, broker, seen) = (memory().await, Scripted::able(), Recorder::<Raw>::new());
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").to(seen.handler()).await.unwrap();
    bus.publish(Event::new("orders.made", Raw::from("local"))).await.unwrap();
    broker.deliver([delivery(1, "a", None), again(delivery(2, "b", None), 3)]);
    assert_eq!(broker.told(2).await, [done(1), done(2)]);
    seen.assert_payloads(&[Raw::from("a"), Raw::from("b")]);
    let deliveries = seen.deliveries();
    assert_eq!([deliveries[0].attempt(), deliveries[1].attempt()], [1, 3]);
    let position = deliveries[1].position().unwrap();
    assert_eq!((&*position.stream, position.offset), ("orders", 2));
    let stats = ends(stock.stop()).await;
    assert_eq!((stats.subscription.done, stats.in_hand, stats.state), (2, 0, RemoteState::Stopped));
    assert!(*broker.post.is_closed.lock());
}

#[tokio::test]
async fn a_failing_event_is_attempted_again_in_its_place_and_then_given_up_with_its_reason() {
    let bus = TestBus::start().await;
    let (broker, seen) = (Scripted::able(), Recorder::<Raw>::new());
    let script = Script::new([Step::Fail("no stock"), Step::Fail("no stock"), Step::Fail("never")]);
    let retry = Retry::default().attempts(3).first_delay(Duration::from_secs(1));
    let stock = bus.subscribe("orders.#").retry(retry).on(&broker, "orders", "stock");
    let stock = stock.to(seen.scripted(&script)).await.unwrap();
    broker.deliver([again(delivery(1, "a", Some("k")), 2), delivery(2, "b", Some("k"))]);
    let told = async {
        loop {
            if broker.told_now().len() == 2 {
                return;
            }
            bus.clock().advance_to_next();
            tokio::task::yield_now().await;
        }
    };
    ends(told).await;
    let letter = Letter::new("never").attempts(3).handler("stock");
    assert_eq!(broker.told_now(), [(1, Verdict::Dead(letter)), done(2)]);
    let order: Vec<_> =
        seen.deliveries().iter().map(|seen| (payload(seen.event()), seen.attempt())).collect();
    assert_eq!(order, [("a".into(), 2), ("a".into(), 3), ("a".into(), 4), ("b".into(), 1)]);
    assert_eq!(stock.stats().subscription.retried, 2);
}

fn payload(event: &AnyEvent) -> String {
    String::from_utf8(event.encoded(1 << 20).unwrap().bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn what_cannot_be_kept_is_lost_only_when_that_is_written_out() {
    let (bus, mut broker) = (memory().await, Scripted::able());
    broker.capabilities =
        broker.capabilities.clone().with(Capability::DeadLetters, Ability::Missing("no disk"));
    let fails = async |_: Payload<Raw>| Outcome::dead("never");
    let refused = bus.subscribe("orders.#").on(&broker, "orders", "stock").to(fails).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "subscription \"stock\" did not begin at scripted: scripted has no dead letters: no disk; say .discard() to lose what cannot be handled"
    );
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").discard().to(fails).await.unwrap();
    broker.deliver([delivery(1, "a", None)]);
    assert_eq!(broker.told(1).await, [done(1)]);
    assert_eq!(stock.stats().subscription.dead, 1);
}

#[tokio::test]
async fn order_that_the_transport_cannot_keep_is_an_error_unless_it_is_not_wanted() {
    let (bus, mut broker) = (memory().await, Scripted::able());
    let missing = Ability::Missing("one consumer serves all");
    broker.capabilities = broker.capabilities.clone().with(Capability::OrderPerKeyInGroup, missing);
    let ignore = async |_: Payload<Raw>| {};
    let subscribe = || bus.subscribe("orders.#");
    let refused = subscribe().on(&broker, "orders", "stock").to(ignore).await.unwrap_err();
    let RemoteError::Transport { reason, advice, .. } = &refused else { panic!("{refused}") };
    assert!(
        matches!(**reason, TransportError::Missing { capability: Capability::OrderPerKeyInGroup, .. }),
        "{refused}"
    );
    assert!(advice.contains("Members::One"), "{advice}");
    subscribe().order(Order::None).on(&broker, "orders", "any").to(ignore).await.unwrap();
    subscribe().on(&broker, "orders", "alone").members(Members::One).to(ignore).await.unwrap();
}

#[tokio::test]
async fn what_means_nothing_at_a_transport_is_refused_all_of_it_at_once() {
    let (bus, broker) = (memory().await, Scripted::able());
    let later = Breaker::default().fallback(Fallback::ack_and_retry_later());
    let builder = bus.subscribe("a..b").group("workers").coalesce_by(|_| None).breaker(later);
    let refused = builder.on(&broker, "orders", "stock").to(inline(|_: Payload<Raw>| {})).await.unwrap_err();
    let RemoteError::Subscription(refused) = refused else { panic!("{refused}") };
    let [filter, rest @ ..] = refused.problems() else { panic!("{refused}") };
    assert!(matches!(filter, SubscribeProblem::Filter(_)), "{filter}");
    let not_remote = |setting| SubscribeProblem::NotRemote { setting };
    assert_eq!(
        rest,
        ["group", "coalesce_by", "the fallback AckAndRetryLater", "an inline handler"].map(not_remote)
    );
}

#[tokio::test]
async fn an_event_that_is_delivered_again_while_it_runs_is_not_started_twice() {
    let (bus, broker, gate) = (memory().await, Scripted::able(), Gate::closed());
    let seen = Recorder::<Raw>::new();
    let stock = bus.subscribe("orders.#").concurrency(4).on(&broker, "orders", "stock");
    let stock = stock.to(seen.scripted(&Script::new([Step::Wait(gate.clone())]))).await.unwrap();
    broker.deliver([delivery(1, "a", None)]);
    gate.reached(1).await;
    broker.deliver([again(delivery(2, "a", None), 2)]);
    until(|| stock.stats().joined == 1).await;
    assert_eq!(broker.told_now(), []);
    gate.open();
    assert_eq!(broker.told(2).await, [done(1), done(2)]);
    assert_eq!(seen.count(), 1);
}

#[tokio::test]
async fn an_event_that_runs_is_not_worn_out_by_being_delivered_meanwhile() {
    let (bus, broker, gate) = (memory().await, Scripted::able(), Gate::closed());
    let seen = Recorder::<Raw>::new();
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").deliveries_max(1);
    let stock = stock.to(seen.scripted(&Script::new([Step::Wait(gate.clone())]))).await.unwrap();
    broker.deliver([delivery(1, "a", None)]);
    gate.reached(1).await;
    broker.deliver([again(delivery(2, "a", None), 2)]);
    until(|| stock.stats().joined == 1).await;
    gate.open();
    assert_eq!(broker.told(2).await, [done(1), done(2)]);
    assert_eq!((seen.count(), stock.stats().worn_out), (1, 0));
}

#[tokio::test]
async fn what_is_no_event_or_worn_out_or_expired_is_settled_unattempted() {
    let (bus, broker, seen) = (memory().await, Scripted::able(), Recorder::<Raw>::new());
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").deliveries_max(2);
    let stock = stock.to(seen.handler()).await.unwrap();
    let mut old = parts("old", None);
    (old.time, old.ttl) = (busway_event::Timestamp::from_nanos(1), Some(Duration::from_secs(1)));
    let old =
        busway_engine::transport::Received::new(busway_engine::transport::DeliveryId(3), Ok(of(old, "old")));
    broker.deliver([
        no_event(1),
        again(delivery(2, "poison", None), 3),
        old,
        again(delivery(4, "a", None), 2),
    ]);
    let told = broker.told(4).await;
    let verdict = |number| told.iter().find(|(id, _)| *id == number).map(|(_, verdict)| verdict.clone());
    assert_eq!(verdict(1), Some(Verdict::Dead(Letter::new("no ce-id").handler("stock"))));
    let Some(Verdict::Dead(worn_out)) = verdict(2) else { panic!("{told:?}") };
    assert!(worn_out.reason.starts_with("delivered 3 times and never settled"), "{}", worn_out.reason);
    assert_eq!((verdict(3), verdict(4)), (Some(Verdict::Done), Some(Verdict::Done)));
    seen.assert_payloads(&[Raw::from("a")]);
    let stats = stock.stats();
    assert_eq!((stats.unreadable, stats.worn_out, stats.expired), (1, 1, 1));
}

#[tokio::test]
async fn no_more_is_in_hand_than_may_be_and_a_paused_one_receives_nothing() {
    let (bus, broker, gate) = (memory().await, Scripted::able(), Gate::closed());
    let running = Arc::new(AtomicUsize::new(0));
    let (most, waits) = (Arc::clone(&running), gate.clone());
    let holds = move |_: Delivery| {
        let (most, waits) = (Arc::clone(&most), waits.clone());
        async move {
            most.fetch_add(1, Ordering::SeqCst);
            waits.pass().await;
        }
    };
    let stock = bus.subscribe("orders.#").concurrency(2).on(&broker, "orders", "stock").in_flight_max(5);
    let stock = stock.to(holds).await.unwrap();
    broker.deliver((0..20).map(|number| delivery(number, &number.to_string(), None)));
    gate.reached(2).await;
    until(|| stock.stats().in_hand == 5).await;
    // The first was asked for alone.
    assert_eq!((broker.asked_max(), running.load(Ordering::SeqCst)), (4, 2));
    stock.pause();
    gate.open();
    broker.told(2).await;
    crate::world::turns().await;
    assert_eq!((stock.stats().in_hand, running.load(Ordering::SeqCst)), (3, 2));
    stock.resume();
    let mut told: Vec<_> = broker.told(20).await.into_iter().map(|(number, _)| number).collect();
    told.sort_unstable();
    assert_eq!(told, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_worked_on_is_renewed_until_it_is_settled() {
    let bus = TestBus::start().await;
    let (broker, gate) = (Scripted::able(), Gate::closed());
    let holds = Recorder::<Raw>::new().scripted(&Script::new([Step::Wait(gate.clone())]));
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").ack_wait(Duration::from_secs(30));
    let _stock = stock.to(holds).await.unwrap();
    broker.deliver([delivery(1, "a", None), delivery(2, "b", None)]);
    gate.reached(1).await;
    for _ in 0..3 {
        bus.clock().advance(Duration::from_secs(10));
        crate::world::turns().await;
    }
    let mut renewed = broker.renewed();
    renewed.sort_unstable();
    assert_eq!(renewed, [1, 1, 1, 2, 2, 2]);
    gate.open();
    broker.told(2).await;
    bus.clock().advance(Duration::from_secs(60));
    crate::world::turns().await;
    assert_eq!(broker.renewed().len(), 6);
}

#[tokio::test]
async fn a_broker_that_is_down_is_waited_for_and_what_it_did_not_hear_is_counted() {
    let bus = TestBus::start().await;
    let (broker, seen) = (Scripted::able(), Recorder::<Raw>::new());
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").to(seen.handler()).await.unwrap();
    *broker.post.is_deaf.lock() = true;
    broker.deliver([delivery(1, "a", None)]);
    until(|| stock.stats().unheard == 1).await;
    *broker.post.is_deaf.lock() = false;
    broker.fail(down());
    let waits = || matches!(stock.stats().state, RemoteState::Waiting { failed: 1, reason } if reason.contains("it is down"));
    until(waits).await;
    broker.deliver([again(delivery(2, "a", None), 2)]);
    until(|| bus.clock().sleepers() > 0).await;
    bus.clock().advance(Duration::from_secs(1));
    assert_eq!(broker.told(1).await, [done(2)]);
    assert_eq!((seen.count(), stock.stats().state), (2, RemoteState::Flowing));
}

#[tokio::test]
async fn events_of_a_batch_that_fail_are_asked_for_again_until_they_are_given_up() {
    let (bus, broker) = (memory().await, Scripted::able());
    let fails = batch(|_: Batch<Raw>| async { Err::<(), _>("no stock") });
    let stock = bus.subscribe("orders.#").retry(Retry::default().attempts(2)).on(&broker, "orders", "stock");
    let _stock = stock.to(fails).await.unwrap();
    broker.deliver([delivery(1, "a", None), again(delivery(2, "b", None), 2)]);
    let told = broker.told(2).await;
    assert!(matches!(told[0], (1, Verdict::Again(_))), "{told:?}");
    assert!(
        matches!(&told[1], (2, Verdict::Dead(letter)) if letter.reason.ends_with("no stock")),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_bus_that_ends_handles_what_is_in_hand_or_gives_it_back_and_tells_the_broker() {
    let (bus, broker, gate) = (memory().await, Scripted::able(), Gate::closed());
    let seen = Recorder::<Raw>::new();
    let holds = Script::new([Step::Done, Step::Wait(gate.clone())]);
    let _stock =
        bus.subscribe("orders.#").on(&broker, "orders", "stock").to(seen.scripted(&holds)).await.unwrap();
    broker.deliver((1..=4).map(|number| delivery(number, &number.to_string(), None)));
    gate.reached(1).await;
    let report = ends(bus.shutdown(Duration::ZERO)).await;
    assert_eq!(report.tally.abandoned, 3, "{report}");
    let mut told = broker.told_now();
    told.sort_by_key(|(number, _)| *number);
    assert_eq!(told, [done(1), (2, Verdict::Back), (3, Verdict::Back), (4, Verdict::Back)]);
    assert!(*broker.post.is_closed.lock());
}

#[tokio::test]
async fn with_grace_the_end_of_a_bus_leaves_nothing_undone() {
    let (bus, broker, gate) = (memory().await, Scripted::able(), Gate::closed());
    let holds = Recorder::<Raw>::new().scripted(&Script::new([Step::Wait(gate.clone())]));
    let _stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").to(holds).await.unwrap();
    broker.deliver((1..=3).map(|number| delivery(number, &number.to_string(), None)));
    gate.reached(1).await;
    let shutdown = tokio::spawn({
        let bus = bus.clone();
        async move { bus.shutdown(Duration::from_secs(60)).await }
    });
    gate.open();
    assert!(ends(shutdown).await.unwrap().is_drained());
    assert_eq!(broker.told_now(), [done(1), done(2), done(3)]);
}

#[tokio::test]
async fn a_failure_while_the_bus_ends_is_no_dead_letter() {
    let bus = TestBus::start().await;
    let broker = Scripted::able();
    let failing = Script::new([]).then(Step::Fail("no stock"));
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock");
    let stock = stock.to(Recorder::<Raw>::new().scripted(&failing)).await.unwrap();
    broker.deliver([delivery(1, "a", None)]);
    until(|| stock.stats().subscription.retried == 1).await;
    ends(bus.shutdown(Duration::ZERO)).await;
    assert_eq!(broker.told_now(), [(1, Verdict::Back)]);
}

#[tokio::test]
async fn nothing_of_it_outlives_the_last_handle_of_its_bus() {
    let (bus, broker, gate) = (memory().await, Scripted::able(), Gate::closed());
    let holds = Recorder::<Raw>::new().scripted(&Script::new([Step::Wait(gate.clone())]));
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").to(holds).await.unwrap();
    broker.deliver([delivery(1, "a", None)]);
    gate.reached(1).await;
    drop((bus, stock));
    until(|| *broker.post.is_closed.lock()).await;
    assert_eq!(broker.told_now(), [(1, Verdict::Back)]);
}

#[tokio::test]
async fn an_idle_one_that_is_paused_receives_nothing_until_it_goes_on() {
    let (bus, broker) = (memory().await, Scripted::able());
    let seen = Recorder::<Raw>::new();
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").to(seen.handler()).await.unwrap();
    until(|| broker.is_asked()).await;
    stock.pause();
    until(|| !broker.is_asked()).await;
    broker.deliver([delivery(1, "a", None)]);
    assert_eq!((stock.stats().in_hand, broker.told_now()), (0, Vec::new()));
    stock.resume();
    assert_eq!(broker.told(1).await, [done(1)]);
}

#[tokio::test]
async fn one_whose_transport_is_closed_ends_and_says_so() {
    let (bus, broker, gate) = (memory().await, Scripted::able(), Gate::closed());
    let holds = Recorder::<Raw>::new().scripted(&Script::new([Step::Wait(gate.clone())]));
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").to(holds).await.unwrap();
    broker.deliver((1..=3).map(|number| delivery(number, &number.to_string(), None)));
    gate.reached(1).await;
    broker.fail(TransportError::Closed);
    gate.open();
    let mut told = broker.told(3).await;
    told.sort_by_key(|(number, _)| *number);
    assert_eq!(told, [done(1), (2, Verdict::Back), (3, Verdict::Back)]);
    until(|| stock.stats().state == RemoteState::Stopped).await;
}

#[tokio::test]
async fn one_that_ends_by_itself_is_forgotten_with_its_handler() {
    let (bus, broker, token) = (memory().await, Scripted::able(), Arc::new(()));
    let kept = Arc::clone(&token);
    let handler = move |_: busway_event::Topic| {
        assert!(Arc::strong_count(&kept) > 0);
        std::future::ready(())
    };
    drop(bus.subscribe("orders.#").on(&broker, "orders", "stock").to(handler).await.unwrap());
    broker.fail(TransportError::Closed);
    // Numbers are asked for as scrapes do.
    until(|| bus.numbers().subscriptions.is_empty() && Arc::strong_count(&token) == 1).await;
}

#[tokio::test]
async fn what_is_discarded_is_settled_also_when_it_is_no_event_or_worn_out() {
    let (bus, mut broker) = (memory().await, Scripted::able());
    broker.capabilities =
        broker.capabilities.with(Capability::DeadLetters, Ability::Missing("it keeps none"));
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").deliveries_max(2).discard();
    let stock = stock.to(Recorder::<Raw>::new().handler()).await.unwrap();
    broker.deliver([no_event(1), again(delivery(2, "a", None), 3)]);
    let mut told = broker.told(2).await;
    told.sort_by_key(|(number, _)| *number);
    assert_eq!(told, [done(1), done(2)]);
    assert_eq!((stock.stats().unreadable, stock.stats().worn_out), (1, 1));
}
