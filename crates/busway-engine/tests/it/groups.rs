//! Members of a group share events: each event goes to one, keys stick and stay in order while members come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use busway_engine::{SubscribeProblem, Subscription};
use busway_event::{Event, Key};
use busway_middleware::{Payload, inline};
use busway_reliability::Overflow;
use busway_router::GroupRule;
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};
use parking_lot::Mutex;

use crate::world::{Number, number};

type Log = Arc<Mutex<Vec<(u32, String, u32)>>>;

async fn join(bus: &TestBus, log: &Log, member: u32) -> Subscription {
    let log = Arc::clone(log);
    let handler = move |event: Event<Number>| {
        let (log, key) = (Arc::clone(&log), event.key().map(Key::to_string).unwrap_or_default());
        async move {
            tokio::task::yield_now().await;
            log.lock().push((member, key, event.payload().n));
        }
    };
    let builder = bus.subscribe("a.#").group("g").capacity(32).overflow(Overflow::Block(None));
    builder.to(handler).await.unwrap()
}

#[tokio::test]
async fn each_event_goes_to_one_member_and_round_robin_is_exact() {
    let bus = TestBus::start().await;
    let log = Log::default();
    for member in 0..3 {
        join(&bus, &log, member).await;
    }
    for n in 0..300 {
        assert_eq!(bus.publish(number("a.b", n)).await.unwrap().offered, 1);
    }
    bus.settle().await;
    let mut by_member = BTreeMap::<u32, u32>::new();
    for (member, _, _) in log.lock().iter() {
        *by_member.entry(*member).or_default() += 1;
    }
    assert_eq!(by_member, BTreeMap::from([(0, 100), (1, 100), (2, 100)]));
    bus.finish().await;
}

#[tokio::test]
async fn a_key_sticks_to_a_member() {
    let bus = TestBus::start().await;
    let log = Log::default();
    for member in 0..4 {
        join(&bus, &log, member).await;
    }
    for n in 0..400 {
        bus.publish(number("a", n).key(format!("k{}", n % 20))).await.unwrap();
    }
    bus.settle().await;
    let mut homes = BTreeMap::<String, u32>::new();
    for (member, key, _) in log.lock().iter() {
        assert_eq!(homes.entry(key.clone()).or_insert(*member), member, "{key} moved");
    }
    let members: std::collections::BTreeSet<_> = homes.values().collect();
    assert!(members.len() > 1, "all keys are at one member");
    bus.finish().await;
}

#[tokio::test]
async fn keys_stay_in_order_while_members_come_and_go() {
    let bus = TestBus::start().await;
    let log = Log::default();
    let mut members = vec![join(&bus, &log, 0).await];
    for n in 0..1_000 {
        bus.publish(number("a", n).key(format!("k{}", n % 7))).await.unwrap();
        if n % 50 == 49 {
            members.push(join(&bus, &log, n).await);
        }
        if n % 70 == 69 {
            members.remove(0).stop().await;
        }
    }
    bus.settle().await;
    let mut last = BTreeMap::<String, u32>::new();
    for (_, key, n) in log.lock().iter() {
        let before = last.insert(key.clone(), *n);
        assert!(before < Some(*n), "{key}: {n} after {before:?}");
    }
    assert_eq!(log.lock().len(), 1_000);
    bus.finish().await;
}

#[tokio::test]
async fn the_least_loaded_member_is_preferred() {
    let bus = TestBus::start().await;
    let (busy, idle, gate) = (Recorder::<Number>::new(), Recorder::<Number>::new(), Gate::closed());
    let stuck = Script::new([Step::Wait(gate.clone())]);
    bus.subscribe("a").group("g").to(busy.scripted(&stuck)).await.unwrap();
    bus.publish(number("a", 0)).await.unwrap();
    gate.reached(1).await;
    let builder = bus.subscribe("a").group("g").group_rule(GroupRule::LeastLoaded);
    builder.to(idle.handler()).await.unwrap();
    for n in 1..=10 {
        bus.publish(number("a", n)).await.unwrap();
        idle.wait_for(n as usize).await;
    }
    assert_eq!((busy.count(), idle.count()), (1, 10));
    gate.open();
    bus.settle().await;
    bus.finish().await;
}

#[tokio::test]
async fn what_waits_for_a_member_that_leaves_goes_to_the_others() {
    let bus = TestBus::start().await;
    let (first, second, gate) = (Recorder::<Number>::new(), Recorder::<Number>::new(), Gate::closed());
    let leaving =
        bus.subscribe("a").group("g").to(first.scripted(&Script::new([Step::Wait(gate.clone())]))).await;
    bus.publish(number("a", 0)).await.unwrap();
    gate.reached(1).await;
    let hold = Script::new([Step::Wait(gate.clone())]);
    bus.subscribe("a").group("g").to(second.scripted(&hold)).await.unwrap();
    for n in 1..10 {
        bus.publish(number("a", n)).await.unwrap();
    }
    leaving.unwrap().stop().await;
    gate.open();
    bus.settle().await;
    assert_eq!((first.count(), second.count()), (1, 9));
    bus.finish().await;
}

#[tokio::test]
async fn members_share_their_settings_and_inline_handlers_have_no_queue_to_share() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a").group("g").capacity(8).to(recorder.handler()).await.unwrap();
    let error = bus.subscribe("a").group("g").capacity(9).to(recorder.handler()).await.unwrap_err();
    assert_eq!(error.problems().len(), 1);
    assert!(error.to_string().contains("group \"g\" has capacity = 8, this member wants 9"), "{error}");
    let error = bus.subscribe("a").group("h").to(inline(|_: Payload<Number>| {})).await.unwrap_err();
    assert_eq!(error.problems(), [SubscribeProblem::InlineInGroup]);
}
