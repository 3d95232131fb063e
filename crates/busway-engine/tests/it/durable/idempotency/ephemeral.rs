//! Idempotency of ephemeral subscriptions: in memory.

use std::time::Duration;

use busway_engine::{Breaker, Fallback, SubscribeBuilder, SubscribeProblem, Subscription};
use busway_event::Event;
use busway_middleware::{Delivery, Payload, inline};
use busway_reliability::{Idempotency, Overflow};
use busway_testkit::{Gate, ManualClock, Recorder, Script, SharedKeys, Step, TestBus};

use super::super::breakers::PAID;
use super::super::numbers;
use super::{about, once, publish};
use crate::dependency::Service;
use crate::world::{Number, ends, number, turns};

#[tokio::test]
async fn an_ephemeral_subscription_remembers_in_memory_for_as_long_as_its_cache_does() {
    let (bus, recorder) = (TestBus::start().await, Recorder::<Number>::new());
    let subscription = bus.subscribe("orders.#").idempotent(once()).to(recorder.handler()).await.unwrap();
    publish(&bus, [("A", 1), ("A", 2), ("B", 3)]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 3]));
    bus.clock().advance(Duration::from_secs(60));
    publish(&bus, [("A", 4)]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 3, 4]));
    let stats = subscription.stats();
    let steps = stats.idempotency.unwrap();
    assert_eq!((stats.done, stats.skipped), (3, 1));
    assert_eq!((steps.local_hits, steps.misses, steps.leased, steps.store_hits), (1, 3, 3, 0), "{steps}");
    assert!(bus.describe().to_string().contains("idempotent = metadata bizId"));
    bus.finish().await;
}

#[tokio::test]
async fn a_duplicate_waits_in_its_place_until_the_other_one_has_ended() {
    let (bus, recorder, gate) = (TestBus::start().await, Recorder::<Number>::new(), Gate::closed());
    let script = Script::new([Step::Wait(gate.clone()), Step::Fail("no"), Step::Done]);
    let builder = bus.subscribe("orders.#").concurrency(3).idempotent(once());
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, [("A", 1), ("A", 2), ("B", 3), ("B", 4)]).await;
    gate.reached(1).await;
    while subscription.stats().failed < 1 || subscription.stats().done < 1 {
        turns().await;
    }
    gate.open();
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.failed, stats.skipped), (2, 1, 1), "{stats}");
    let mut handled: Vec<u32> = recorder.payloads().iter().map(|number| number.n).collect();
    handled.sort_unstable();
    assert_eq!(handled, [1, 3, 4], "B failed and was handled again by its duplicate");
    bus.finish().await;
}

#[tokio::test]
async fn with_a_shared_store_it_waits_in_its_place_while_that_cannot_be_reached() {
    let (bus, recorder) = (TestBus::start().await, Recorder::<Number>::new());
    let keys = SharedKeys::new(bus.clock());
    keys.set_reachable(false);
    let shared = Idempotency::by_metadata(["bizId"]).store(keys.store());
    let subscription =
        bus.subscribe("orders.#").name("stock").idempotent(shared).to(recorder.handler()).await.unwrap();
    publish(&bus, [("A", 1), ("A", 2)]).await;
    assert!(!bus.settle_within(Duration::from_secs(10)).await);
    assert_eq!(recorder.count(), 0);
    keys.set_reachable(true);
    assert!(bus.settle_within(Duration::from_secs(10)).await);
    recorder.assert_payloads(&numbers([1]));
    assert!(subscription.stats().idempotency.unwrap().unreachable >= 10);
    bus.finish().await;
}

#[tokio::test]
async fn a_group_counts_the_steps_of_all_its_members_also_of_those_that_have_left() {
    let bus = TestBus::start().await;
    let keys = SharedKeys::new(bus.clock());
    let member = || {
        let shared = Idempotency::by_metadata(["bizId"]).store(keys.store());
        bus.subscribe("orders.#").name("stock").group("workers").idempotent(shared)
    };
    let handler = async |_: Payload<Number>| {};
    let one = member().to(handler).await.unwrap();
    let two = member().to(handler).await.unwrap();
    let leased = |subscription: &Subscription| subscription.stats().idempotency.unwrap().leased;
    publish(&bus, [("A", 1), ("B", 2), ("C", 3), ("D", 4)]).await;
    bus.settle().await;
    assert_eq!((leased(&one), leased(&two)), (4, 4), "two each");
    let counted = one.stop().await.idempotency.unwrap();
    assert_eq!(counted.leased, 4);
    publish(&bus, [("E", 5)]).await;
    bus.settle().await;
    assert_eq!(leased(&two), 5);
    // Its keys go to who takes its place, and with them what was counted of them: once.
    let three = member().taking_over(&two).to(handler).await.unwrap();
    turns().await;
    publish(&bus, [("F", 6)]).await;
    bus.settle().await;
    assert_eq!(leased(&three), 6);
    bus.finish().await;
}

#[tokio::test]
async fn a_step_of_the_same_name_is_a_problem() {
    let bus = TestBus::start().await;
    let builder = bus.subscribe("orders.#").idempotent(once());
    let builder = builder.middleware(busway_middleware::Stage::User, "idempotent", Nothing);
    let error = builder.to(async || {}).await.unwrap_err();
    assert!(error.to_string().contains("idempotent"), "{error}");
    bus.finish().await;
}

struct Nothing;

impl busway_middleware::SyncMiddleware for Nothing {}

#[tokio::test]
async fn what_was_done_in_the_handlers_place_leaves_its_key_as_it_was() {
    let degraded = |_: &Delivery| Event::new("profiles.answered", Number { n: 0 });
    for fallback in [Fallback::handler(degraded), Fallback::cached::<Number>()] {
        for is_shared in [false, true] {
            let (bus, service) = (TestBus::start().await, Service::default());
            let keys = SharedKeys::new(bus.clock());
            let once = if is_shared { once().store(keys.store()) } else { once() };
            let breaker = Breaker::default().opens_after(1).open_for(Duration::from_secs(30));
            let builder = bus
                .subscribe(PAID)
                .name("stock")
                .breaker(breaker.fallback(fallback.clone()))
                .idempotent(once);
            let subscription = builder.to(service.answering()).await.unwrap();
            let paid = |biz_id: &str, n| number(PAID, n).meta("bizId", biz_id);
            bus.publish(paid("A", 1)).await.unwrap();
            bus.settle().await;
            service.down(PAID);
            bus.publish(paid("B", 2)).await.unwrap();
            bus.settle().await;
            for n in [3, 4] {
                bus.publish(paid("C", n)).await.unwrap();
                bus.settle().await;
            }
            let stats = subscription.stats();
            assert_eq!((stats.done, stats.failed, stats.skipped), (3, 1, 0), "{stats}");
            service.up(PAID);
            bus.clock().advance(Duration::from_secs(30));
            for n in [5, 6] {
                bus.publish(paid("C", n)).await.unwrap();
                bus.settle().await;
            }
            assert_eq!(service.calls(PAID), [(1, 1), (2, 1), (5, 1)], "{}", subscription.stats());
            assert_eq!(bus.published_on("profiles.answered").len(), 4);
            bus.finish().await;
        }
    }
}

#[tokio::test]
async fn an_inline_handler_that_returns_events_is_refused() {
    let (bus, keys) = (TestBus::start().await, SharedKeys::new(&ManualClock::new()));
    for once in [once(), once().store(keys.store())] {
        let returns = inline(|order: Payload<Number>| number("orders.counted", order.n));
        let subscribe = || bus.subscribe("orders.created").name("stock").idempotent(once.clone());
        let error = subscribe().to(returns).await.unwrap_err();
        assert_eq!(error.problems(), [SubscribeProblem::IdempotentInline], "{error}");
        let plain = inline(|_: Payload<Number>| {});
        subscribe().to(plain).await.unwrap().stop().await;
    }
    bus.finish().await;
}

#[tokio::test]
async fn a_handler_that_fills_its_own_mailbox_under_a_key_holds_nobody_up() {
    let bus = TestBus::start().await;
    let returns = async |order: Payload<Number>| vec![about("A", order.n), about("B", order.n)];
    let builder = bus.subscribe("orders.#").concurrency(2).capacity(2).overflow(Overflow::Block(None));
    let subscription = builder.idempotent(once()).to(returns).await.unwrap();
    publish(&bus, (0..64).map(|n| (["A", "B", "C", "D"][n % 4], u32::try_from(n).unwrap()))).await;
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!(stats.done, 4, "one of each key: {stats}");
    assert!(stats.skipped >= 56, "what was published from outside waited for room: {stats}");
    bus.finish().await;
}

#[tokio::test]
async fn keys_in_a_shared_store_are_those_of_a_name() {
    let (bus, keys) = (TestBus::start().await, SharedKeys::new(&ManualClock::new()));
    let subscribe = || bus.subscribe("orders.#").idempotent(once().store(keys.store()));
    let error = subscribe().to(async || {}).await.unwrap_err();
    assert_eq!(error.problems(), [SubscribeProblem::IdempotentUnnamed], "{error}");
    let (mail, stock) = (Recorder::<Number>::new(), Recorder::<Number>::new());
    subscribe().name("mail").to(mail.handler()).await.unwrap();
    subscribe().name("stock").to(stock.handler()).await.unwrap();
    publish(&bus, [("A", 1), ("A", 2)]).await;
    bus.settle().await;
    mail.assert_payloads(&numbers([1]));
    stock.assert_payloads(&numbers([1]));
    bus.finish().await;
}

#[tokio::test]
async fn members_of_a_group_have_their_keys_in_common_by_a_shared_store() {
    for name in [None, Some("stock")] {
        let (bus, keys) = (TestBus::start().await, SharedKeys::new(&ManualClock::new()));
        let recorders = [Recorder::<Number>::new(), Recorder::<Number>::new()];
        for recorder in &recorders {
            let member = bus.subscribe("orders.#").group("workers").idempotent(once().store(keys.store()));
            let member = name.into_iter().fold(member, SubscribeBuilder::name);
            member.to(recorder.handler()).await.unwrap();
        }
        for n in 0..4 {
            publish(&bus, [("A", n)]).await;
            bus.settle().await;
        }
        assert_eq!(recorders.iter().map(Recorder::count).sum::<usize>(), 1, "{name:?}");
        bus.finish().await;
    }
}

#[tokio::test]
async fn a_shared_store_that_is_away_keeps_nobody_in_memory_from_stopping_or_being_replaced() {
    for is_replaced in [false, true] {
        let (bus, recorder) = (TestBus::start().await, Recorder::<Number>::new());
        let keys = SharedKeys::new(bus.clock());
        keys.set_reachable(false);
        let shared = once().store(keys.store());
        let builder = bus.subscribe("orders.#").name("stock").idempotent(shared);
        let old = builder.to(recorder.handler()).await.unwrap();
        publish(&bus, [("A", 1)]).await;
        turns().await;
        let passes = async {
            loop {
                bus.clock().advance_to_next();
                turns().await;
            }
        };
        let ends_it = async {
            if !is_replaced {
                return old.stop().await;
            }
            let new = bus.subscribe("orders.#").name("stock").taking_over(&old);
            let new = new.to(recorder.handler()).await.unwrap();
            publish(&bus, [("B", 2)]).await;
            while new.stats().done == 0 {
                turns().await;
            }
            recorder.assert_payloads(&numbers([2]));
            old.stats()
        };
        let stats = ends(async {
            tokio::select! {
                stats = ends_it => stats,
                () = passes => unreachable!("it has no end"),
            }
        });
        let stats = stats.await;
        assert_eq!((stats.failed, stats.done), (1, 0), "{stats}");
        assert!(stats.last_failure.unwrap().error.contains("shared store of its keys is away"));
        bus.finish().await;
    }
}
