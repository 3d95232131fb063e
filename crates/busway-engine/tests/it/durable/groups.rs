//! Members of one durable subscription: one cursor, lanes shared, each event handled once, whoever comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use busway_engine::{
    DurableBuilder, DurableSubscription, StartAt, State as SubscriptionState, StoreTx, SubscribeProblem,
    TxError, in_store,
};
use busway_event::{Event, Key, Priority};
use busway_middleware::{Delivery, Outcome, Payload};
use busway_reliability::{Order, Retry};
use busway_router::GroupRule;
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};
use parking_lot::Mutex;

use super::transactions::{add, count, total};
use super::{dir, numbers, open, order, publish, stock};
use crate::world::{Number, ends, turns};

/// Who has done what: member, key, number.
type Log = Arc<Mutex<Vec<(u32, String, u32)>>>;

fn workers(bus: &TestBus) -> DurableBuilder {
    stock(bus).group("workers")
}

/// One in five attempts fails, where `failing`.
async fn join(bus: &TestBus, log: &Log, member: u32, failing: bool) -> DurableSubscription {
    let log = Arc::clone(log);
    let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(u64::from(member))));
    let handler = move |event: Event<Number>| {
        let (log, key) = (Arc::clone(&log), event.key().map(Key::to_string).unwrap_or_default());
        let fails = failing && random.lock().u32(..5) == 0;
        async move {
            tokio::task::yield_now().await;
            if fails {
                return Outcome::failed("now and then");
            }
            log.lock().push((member, key, event.payload().n));
            Outcome::Done
        }
    };
    workers(bus).concurrency(1 + member as usize % 3).to(handler).await.unwrap()
}

/// Each of the numbers was done once, and those of a key in their order.
#[track_caller]
fn assert_once_and_in_order(log: &Log, events: u32) {
    let mut last = BTreeMap::<String, u32>::new();
    for (_, key, n) in log.lock().iter() {
        let before = last.insert(key.clone(), *n);
        assert!(before < Some(*n), "{key}: {n} behind {before:?}");
    }
    let all: BTreeSet<u32> = log.lock().iter().map(|(_, _, n)| *n).collect();
    assert_eq!((all.len(), log.lock().len()), (events as usize, events as usize));
}

/// Goes on until everything is settled, though some of it is parked.
async fn settle_all(bus: &TestBus, events: u64) {
    let settled = async {
        while bus.stats().durable("stock").unwrap().done < events {
            bus.settle().await;
            bus.clock().advance(Duration::from_secs(60));
        }
    };
    ends(settled).await;
}

#[tokio::test]
async fn a_key_sticks_to_a_member_and_each_event_is_handled_once() {
    let dir = dir();
    let bus = open(&dir).await;
    let log = Log::default();
    for member in 0..3 {
        join(&bus, &log, member, false).await;
    }
    let drafts = (0..600).map(|n| order(&format!("key-{}", n % 20), n)).collect();
    bus.publish_batch(drafts).await.unwrap();
    bus.settle().await;
    let mut homes = BTreeMap::<String, u32>::new();
    for (member, key, _) in log.lock().iter() {
        assert_eq!(homes.entry(key.clone()).or_insert(*member), member, "{key} moved");
    }
    assert_eq!(homes.values().collect::<BTreeSet<_>>().len(), 3, "each has keys");
    assert_once_and_in_order(&log, 600);
    let stats = bus.stats();
    assert_eq!((stats.durable.len(), stats.durable("stock").unwrap().done), (1, 600), "of all members");
    let description = bus.describe();
    let described = description.subscription("stock").unwrap();
    let at_once: Vec<u32> = described.handlers.iter().map(|it| it.concurrency.unwrap().get()).collect();
    assert_eq!((described.group.as_deref(), at_once), (Some("workers"), vec![1, 2, 3]));
    bus.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_overtaken_while_members_come_pause_and_go() {
    let dir = dir();
    let bus = open(&dir).await;
    let log = Log::default();
    let mut members = vec![join(&bus, &log, 0, true).await];
    for round in 0..40 {
        let numbers = round * 25..(round + 1) * 25;
        let drafts = numbers.map(|n| order(&format!("key-{}", n % 7), n)).collect();
        bus.publish_batch(drafts).await.unwrap();
        if round % 2 == 0 {
            members.push(join(&bus, &log, round + 1, true).await);
        }
        if round % 3 == 2 {
            ends(members.remove(0).stop()).await;
        }
        match round % 4 {
            1 => members[0].pause(),
            3 => members.iter().for_each(DurableSubscription::resume),
            _ => {}
        }
        bus.clock().advance(Duration::from_millis(300));
    }
    assert!(members.len() > 2);
    members.iter().for_each(DurableSubscription::resume);
    settle_all(&bus, 1_000).await;
    assert_once_and_in_order(&log, 1_000);
    let stats = members[0].stats();
    assert_eq!((stats.done, stats.cut_short, stats.dead, stats.parked), (1_000, 0, 0, 0), "{stats}");
    assert!(stats.failed > 100, "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn a_member_that_stops_ends_its_attempt_and_its_keys_go_to_the_others_uncharged() {
    let dir = dir();
    let bus = open(&dir).await;
    let (first, second, gate) = (Recorder::<Number>::new(), Recorder::<Number>::new(), Gate::closed());
    let holds = Script::new([Step::Wait(gate.clone())]);
    let leaving = workers(&bus).to(first.scripted(&holds)).await.unwrap();
    for n in 0..3 {
        bus.publish(order("A-1", n)).await.unwrap();
    }
    gate.reached(1).await;
    let staying = workers(&bus).concurrency(4).to(second.handler()).await.unwrap();
    let stopping = tokio::spawn(leaving.stop());
    for n in 3..9 {
        bus.publish(order(&format!("key-{n}"), n)).await.unwrap();
    }
    second.wait_for(6).await;
    turns().await;
    assert!(!stopping.is_finished());
    let done_of_others = second.payloads().iter().all(|number| number.n >= 3);
    assert!(done_of_others && first.count() == 1, "the lane of A-1 is closed until its attempt has ended");
    gate.open();
    ends(stopping).await.unwrap();
    bus.settle().await;
    let deliveries = second.deliveries();
    let late: Vec<_> = deliveries.iter().filter(|it| it.offset().unwrap() < 3).collect();
    assert_eq!(
        late.iter().map(|it| (it.offset().unwrap(), it.attempt())).collect::<Vec<_>>(),
        [(1, 1), (2, 1)]
    );
    let stats = staying.stats();
    assert_eq!((stats.done, stats.failed, stats.cut_short), (9, 0, 0), "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn an_event_that_failed_with_a_member_that_left_goes_on_counting_with_another() {
    let dir = dir();
    let bus = open(&dir).await;
    let (first, second) = (Recorder::<Number>::new(), Recorder::<Number>::new());
    let fails = Script::default().then(Step::Fail("not yet"));
    let leaving = workers(&bus).to(first.scripted(&fails)).await.unwrap();
    bus.publish(order("A-1", 7)).await.unwrap();
    bus.publish(order("A-1", 8)).await.unwrap();
    bus.settle().await;
    workers(&bus).to(second.handler()).await.unwrap();
    leaving.stop().await;
    bus.clock().advance(Duration::from_secs(1));
    bus.settle().await;
    let attempts: Vec<_> =
        second.deliveries().iter().map(|it| (it.offset().unwrap(), it.attempt())).collect();
    assert_eq!((first.count(), attempts), (1, vec![(0, 2), (1, 1)]));
    bus.finish().await;
}

#[tokio::test]
async fn a_member_that_pauses_lends_its_keys_and_when_all_pause_nothing_is_started() {
    let dir = dir();
    let bus = open(&dir).await;
    let log = Log::default();
    let one = join(&bus, &log, 1, false).await;
    let two = join(&bus, &log, 2, false).await;
    let all_keys = async |from: u32| {
        for n in from..from + 20 {
            bus.publish(order(&format!("key-{}", n % 20), n)).await.unwrap();
        }
        bus.settle().await;
        std::mem::take(&mut *log.lock())
    };
    let by_member = |log: Vec<(u32, String, u32)>, member: u32| -> BTreeSet<String> {
        log.into_iter().filter(|(by, ..)| *by == member).map(|(_, key, _)| key).collect()
    };
    let of_one = by_member(all_keys(0).await, 1);
    assert!((1..20).contains(&of_one.len()));
    one.pause();
    assert_eq!(by_member(all_keys(20).await, 2).len(), 20);
    assert_eq!(two.stats().state, SubscriptionState::Running);
    two.pause();
    assert_eq!(all_keys(40).await, []);
    assert_eq!((two.stats().state, two.lag().events), (SubscriptionState::Paused, 20));
    one.resume();
    bus.settle().await;
    assert_eq!(by_member(std::mem::take(&mut *log.lock()), 1).len(), 20);
    two.resume();
    assert_eq!(by_member(all_keys(60).await, 1), of_one, "it has its keys again");
    bus.finish().await;
}

#[tokio::test]
async fn events_without_a_key_go_to_whoever_is_free() {
    let dir = dir();
    let bus = open(&dir).await;
    let (stuck, others, gate) = (Recorder::<Number>::new(), Recorder::<Number>::new(), Gate::closed());
    let holds = Script::new([Step::Wait(gate.clone())]);
    workers(&bus).to(stuck.scripted(&holds)).await.unwrap();
    publish(&bus, [0]).await;
    gate.reached(1).await;
    workers(&bus).to(others.handler()).await.unwrap();
    // More than the window holds.
    publish(&bus, 1..600).await;
    others.wait_for(599).await;
    assert_eq!(stuck.count(), 1);
    others.assert_payloads(&numbers(1..600));
    gate.open();
    bus.finish().await;
}

#[tokio::test]
async fn of_several_free_members_the_rule_says_who_is_next() {
    let dir = dir();
    let bus = open(&dir).await;
    let gate = Gate::closed();
    let holds = Script::default().then(Step::Wait(gate.clone()));
    let recorders = [(); 3].map(|()| Recorder::<Number>::new());
    for recorder in &recorders {
        workers(&bus).order(Order::None).concurrency(3).to(recorder.scripted(&holds)).await.unwrap();
    }
    let counts = || recorders.each_ref().map(Recorder::count);
    for n in 0..6 {
        bus.publish(order("A-1", n)).await.unwrap();
        gate.reached(n as usize + 1).await;
    }
    assert_eq!(counts(), [2, 2, 2], "in turn");
    let last = Recorder::<Number>::new();
    let joining = workers(&bus).order(Order::None).concurrency(3).group_rule(GroupRule::LeastLoaded);
    joining.to(last.scripted(&holds)).await.unwrap();
    for n in 6..8 {
        bus.publish(order("A-1", n)).await.unwrap();
        gate.reached(n as usize + 1).await;
    }
    assert_eq!((counts(), last.count()), ([2, 2, 2], 2));
    gate.open();
    bus.settle().await;
    bus.finish().await;
}

#[tokio::test]
async fn the_last_member_ends_the_subscription_and_the_next_one_goes_on_there() {
    let dir = dir();
    let bus = open(&dir).await;
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let one = workers(&bus).to(recorder.handler()).await.unwrap();
    let holds = Script::new([Step::Wait(gate.clone())]);
    let two = workers(&bus).to(recorder.scripted(&holds)).await.unwrap();
    one.stop().await;
    publish(&bus, 0..4).await;
    gate.reached(1).await;
    let stopping = tokio::spawn(two.stop());
    turns().await;
    let late = workers(&bus).to(recorder.handler()).await.unwrap_err();
    assert_eq!(late.problems(), [SubscribeProblem::GroupEnding]);
    assert!(late.is_transient(), "{late}");
    gate.open();
    let stats = ends(stopping).await.unwrap();
    assert_eq!((stats.state, stats.done), (SubscriptionState::Stopped, 1));
    assert!(bus.stats().durable("stock").is_none());
    stock(&bus).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&numbers(0..4));
    bus.finish().await;
}

#[tokio::test]
async fn a_member_that_wants_something_else_is_told_what_differs() {
    let dir = dir();
    let bus = open(&dir).await;
    let ignore = async |_: Payload<Number>| {};
    workers(&bus).to(ignore).await.unwrap();
    let other_filter = bus.subscribe("orders.+").durable("stock").group("workers");
    let error = other_filter.to(ignore).await.unwrap_err();
    assert_eq!(error.problems().len(), 1);
    assert!(error.to_string().contains("has filter = orders.#, this member wants orders.+"), "{error}");
    let other = stock(&bus).group("helpers").order(Order::Key).retry(Retry::default().attempts(3));
    let other = other.priority_limit(Priority::P1, 3).share([1; 4]).traces(7).concurrency(50);
    let error = other.to(ignore).await.unwrap_err();
    let differing = |problem: &SubscribeProblem| match problem {
        SubscribeProblem::GroupMismatch { setting, .. } => *setting,
        other => panic!("{other}"),
    };
    let differing: Vec<&str> = error.problems().iter().map(differing).collect();
    assert_eq!(differing, ["group", "order", "share", "traces", "retry", "limit_p1"], "{error}");
    let alone = stock(&bus).to(ignore).await.unwrap_err();
    assert_eq!(alone.problems(), [SubscribeProblem::NameTaken]);
    bus.subscribe("orders.#").durable("alone").to(ignore).await.unwrap();
    let joins_nobody = bus.subscribe("orders.#").durable("alone").group("workers").to(ignore).await;
    assert_eq!(joins_nobody.unwrap_err().problems(), [SubscribeProblem::NameTaken]);
    // Where it begins is decided already, and the group may be named before.
    let late = bus.subscribe("orders.#").group("workers").durable("stock").start_at(StartAt::Latest);
    late.to(ignore).await.unwrap();
    bus.finish().await;
}

#[tokio::test]
async fn what_members_count_is_exact_over_stops_and_restarts() {
    let dir = dir();
    let in_the_store =
        |order: Payload<Number>, tx: &mut StoreTx<'_>| -> Result<(), TxError> { add(tx, order.n) };
    for round in 0..3 {
        let bus = super::transactions::open(&dir).await;
        let numbers = round * 60..(round + 1) * 60;
        let drafts = numbers.map(|n| order(&format!("key-{}", n % 9), n)).collect();
        let async_one = workers(&bus).concurrency(4).to(count).await.unwrap();
        let (one, two) = tokio::join!(
            workers(&bus).to(in_store(in_the_store)),
            workers(&bus).concurrency(2).to(in_store(in_the_store))
        );
        bus.publish_batch(drafts).await.unwrap();
        match round {
            0 => _ = ends(async_one.stop()).await,
            1 => _ = ends(one.unwrap().stop()).await,
            _ => two.unwrap().pause(),
        }
        bus.settle().await;
        let all = (round + 1) * 60;
        assert_eq!(total(&bus), u64::from(all * (all - 1) / 2));
        bus.finish().await;
    }
}

#[tokio::test]
async fn members_stay_when_their_subscription_is_sent_elsewhere() {
    let dir = dir();
    let bus = open(&dir).await;
    let log = Log::default();
    let _one = join(&bus, &log, 1, false).await;
    let two = join(&bus, &log, 2, false).await;
    for n in 0..40 {
        bus.publish(order(&format!("key-{}", n % 20), n)).await.unwrap();
    }
    bus.settle().await;
    let mut before = std::mem::take(&mut *log.lock());
    ends(bus.cursor("stock").seek(StartAt::Earliest)).await.unwrap();
    bus.settle().await;
    let mut again = std::mem::take(&mut *log.lock());
    before.sort();
    again.sort();
    assert_eq!((&again, two.stats().done), (&before, 80), "by the same members");
    bus.finish().await;
}

#[tokio::test]
async fn a_delivery_is_of_the_subscription_whoever_gets_it() {
    let dir = dir();
    let bus = open(&dir).await;
    let names = Arc::new(Mutex::new(BTreeSet::new()));
    let notes = Arc::clone(&names);
    let handler = move |_: Payload<Number>, delivery: Delivery| {
        notes.lock().insert(delivery.scope().subscription().to_owned());
        std::future::ready(())
    };
    let blocking = busway_middleware::blocking(|_: Payload<Number>| {});
    workers(&bus).to(handler).await.unwrap();
    workers(&bus).to(blocking).await.unwrap();
    for n in 0..20 {
        bus.publish(order(&format!("key-{n}"), n)).await.unwrap();
    }
    bus.settle().await;
    assert_eq!(*names.lock(), BTreeSet::from(["stock".to_owned()]));
    assert_eq!(bus.stats().durable("stock").unwrap().done, 20);
    let report = bus.finish().await;
    assert!(report.is_drained() && report.stuck.is_empty(), "{report}");
}
