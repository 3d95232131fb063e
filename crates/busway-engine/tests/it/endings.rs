//! How things end while others begin: groups, names, the start, the last handle, and the sum that outlives them all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use busway_engine::{Bus, State};
use busway_middleware::{Delivery, Payload, blocking};
use busway_reliability::Overflow;
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};
use parking_lot::Mutex;

use crate::world::{Number, account, ends, number, turns};

#[tokio::test]
async fn a_member_that_joins_while_the_last_one_drains_gets_events() {
    let bus = TestBus::start().await;
    let (old, new, gate) = (Recorder::<Number>::new(), Recorder::<Number>::new(), Gate::closed());
    let script = Script::new([Step::Wait(gate.clone())]);
    let last = bus.subscribe("a").group("g").to(old.scripted(&script)).await.unwrap();
    bus.publish(number("a", 0)).await.unwrap();
    gate.reached(1).await;
    let stopping = tokio::spawn(last.stop());
    turns().await;
    let joined = bus.subscribe("a").group("g").to(new.handler()).await.unwrap();
    assert_eq!(bus.publish(number("a", 1)).await.unwrap().offered, 1);
    gate.open();
    stopping.await.unwrap();
    bus.settle().await;
    assert_eq!((old.count(), new.count()), (1, 1));
    assert_eq!(joined.stats().state, State::Running);
    bus.finish().await;
}

/// Runs `one` on two threads that start at the same moment.
fn at_once<T: Send>(one: impl Fn(usize) -> T + Sync) -> [T; 2] {
    let barrier = Barrier::new(2);
    let run = |which| {
        barrier.wait();
        one(which)
    };
    std::thread::scope(|scope| [0, 1].map(|which| scope.spawn(move || run(which))).map(|t| t.join().unwrap()))
}

const ROUNDS: usize = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_found_a_group_at_once_are_members_of_the_same_one() {
    let runtime = tokio::runtime::Handle::current();
    let bus = Bus::memory().producer("test").start().await.unwrap();
    for round in 0..ROUNDS {
        let topic = format!("a.{round}");
        let joined = at_once(|_| {
            let builder = bus.subscribe(topic.as_str()).group("g");
            runtime.block_on(builder.to(async |_: Payload<Number>| {})).unwrap()
        });
        let receipt = bus.publish(number(&topic, 0)).await.unwrap();
        assert_eq!(receipt.offered, 1, "round {round}: an event goes to one member of a group");
        for member in joined {
            member.abort();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_take_a_name_at_once_one_gets_it() {
    let runtime = tokio::runtime::Handle::current();
    let bus = Bus::memory().producer("test").start().await.unwrap();
    for round in 0..ROUNDS {
        let begun = at_once(|_| {
            let builder = bus.subscribe("a").name("name");
            runtime.block_on(builder.to(async |_: Payload<Number>| {}))
        });
        assert_eq!(begun.iter().filter(|result| result.is_ok()).count(), 1, "round {round}");
        begun.into_iter().flatten().for_each(|subscription| _ = subscription.abort());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_whose_handlers_outlive_them_are_forgotten_by_who_subscribes_later() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let (token, running) = (Arc::new(()), Arc::new(AtomicU64::new(0)));
    let gate = Arc::new(Barrier::new(MANY + 1));
    for one_more in (1..).take(MANY) {
        let kept = (Arc::clone(&token), Arc::clone(&running), Arc::clone(&gate));
        let handler = blocking(move |_: Payload<Number>| {
            let (_token, running, gate) = &kept;
            running.fetch_add(1, Ordering::SeqCst);
            gate.wait();
        });
        let one = bus.subscribe("a").to(handler).await.unwrap();
        bus.publish(number("a", 0)).await.unwrap();
        while running.load(Ordering::SeqCst) < one_more {
            tokio::task::yield_now().await;
        }
        one.abort();
    }
    assert_eq!(Arc::strong_count(&token), 1 + MANY, "their handlers run");
    gate.wait();
    // Nobody asks for numbers, which would look at all of them.
    let forgotten = async {
        while Arc::strong_count(&token) > 1 {
            let other = bus.subscribe("b").to(async |_: Payload<Number>| {}).await.unwrap();
            // What this thread remembers of "a" goes with its next publish.
            bus.publish(number("b", 0)).await.unwrap();
            // Said several times that it ends, by its worker too: those before have their turn all the same.
            other.stop().await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.unwrap();
}

const MANY: usize = 8;
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_begins_while_the_bus_shuts_down_is_refused_or_ends() {
    let runtime = tokio::runtime::Handle::current();
    for _ in 0..ROUNDS / 4 {
        let bus = Bus::memory().producer("test").start().await.unwrap();
        let [subscribed, _] = at_once(|which| match which {
            0 => runtime.block_on(bus.subscribe("a").to(async |_: Payload<Number>| {})).ok(),
            _ => {
                runtime.block_on(bus.shutdown(Duration::ZERO));
                None
            }
        });
        if let Some(subscription) = subscribed {
            ends(subscription.ended()).await;
            assert_eq!(subscription.stats().state, State::Stopped);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_of_a_bus_never_goes_back_while_subscriptions_end() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let over = AtomicBool::new(false);
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..3_000 {
                let subscription = runtime.block_on(bus.subscribe("a").to(async |_: Payload<Number>| {}));
                runtime.block_on(bus.publish(number("a", n))).unwrap();
                runtime.block_on(subscription.unwrap().stop());
            }
            over.store(true, Ordering::SeqCst);
        });
        let mut last = 0;
        while !over.load(Ordering::SeqCst) {
            let offered = bus.stats().tally.offered;
            assert!(offered >= last, "{offered} after {last}");
            last = offered;
        }
    });
    assert_eq!(account(&bus.stats().tally), [3_000, 3_000, 0, 0, 0]);
}

#[tokio::test]
async fn dropping_the_start_stops_what_hooks_have_started() {
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let builder = Bus::memory().on_start("keep", async move |bus: Bus| {
        bus.subscribe("a").name("hook").to(async |_: Payload<Number>| {}).await?;
        *keep.lock() = Some(bus);
        std::future::pending::<()>().await;
        Ok(())
    });
    let starting = tokio::spawn(builder.start());
    turns().await;
    starting.abort();
    assert!(starting.await.is_err());
    let bus = kept.lock().take().unwrap();
    assert!(bus.publish(number("a", 1)).await.is_err(), "the bus never started");
}

#[tokio::test]
async fn a_paused_subscription_that_disconnects_handles_nothing() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let builder = bus.subscribe("a").capacity(2).overflow(Overflow::Disconnect);
    let subscription = builder.to(recorder.handler()).await.unwrap();
    subscription.pause();
    for n in 0..3 {
        bus.publish(number("a", n)).await.unwrap();
    }
    ends(subscription.ended()).await;
    assert_eq!(recorder.count(), 0, "nothing starts before it resumes");
    assert_eq!(account(&subscription.stats().tally), [3, 0, 1, 0, 2]);
}

#[tokio::test]
async fn any_name_will_do_for_a_blocking_subscription() {
    let bus = TestBus::start().await;
    for name in ["", "a\0b", "ünïcödé", "a/very-long-name-".repeat(20).as_str()] {
        let subscription = bus.subscribe("a").name(name).to(blocking(|_: Payload<Number>| {})).await.unwrap();
        bus.publish(number("a", 1)).await.unwrap();
        ends(bus.settle()).await;
        assert_eq!(subscription.stats().done, 1, "{name:?}");
        subscription.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_idle_waited_for_has_left_its_failure_behind() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let fails = |n: Payload<Number>| Err::<(), _>(format!("{} failed", n.n));
    let subscription = bus.subscribe("a").to(blocking(fails)).await.unwrap();
    for n in 0..3_000 {
        bus.publish(number("a", n)).await.unwrap();
        bus.idle().await;
        let failure = subscription.stats().last_failure.unwrap();
        assert_eq!(failure.error, format!("failed: {n} failed"));
    }
    bus.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_starts_once_a_paused_subscription_is_at_rest() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let started = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&started);
    let handler = blocking(move |_: Delivery| _ = count.fetch_add(1, Ordering::SeqCst));
    let subscription = bus.subscribe("a").capacity(8).to(handler).await.unwrap();
    for n in 0..3_000 {
        bus.publish(number("a", n)).await.unwrap();
        subscription.pause();
        bus.idle().await;
        let at_rest = started.load(Ordering::SeqCst);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(started.load(Ordering::SeqCst), at_rest, "round {n}");
        subscription.resume();
    }
    bus.shutdown(Duration::from_secs(5)).await;
}

/// Says that it was dropped by ending a channel.
fn token() -> (tokio::sync::mpsc::Sender<()>, tokio::sync::mpsc::Receiver<()>) {
    tokio::sync::mpsc::channel(1)
}

#[tokio::test]
async fn a_publisher_handle_does_not_keep_what_handlers_hold() {
    let (captured, captured_ended) = token();
    let (state, state_ended) = token();
    let bus = Bus::memory().producer("test").state(state).start().await.unwrap();
    let publisher = bus.publisher::<Number>("a").unwrap();
    let handler = move |_: Payload<Number>| {
        let captured = captured.clone();
        async move { drop(captured) }
    };
    bus.subscribe("a").to(handler).await.unwrap();
    publisher.publish(Number { n: 1 }).await.unwrap();
    bus.idle().await;
    drop(bus);
    turns().await;
    assert!(captured_ended.is_closed(), "the handle keeps the handler");
    assert!(state_ended.is_closed(), "the handle keeps the states");
    drop(publisher);
}

#[tokio::test]
async fn a_handle_of_a_stopped_subscription_is_all_that_is_left_of_it() {
    let bus = TestBus::start().await;
    let (captured, ended) = token();
    let handler = move |_: Payload<Number>| {
        let captured = captured.clone();
        async move { drop(captured) }
    };
    let subscription = bus.subscribe("a").to(handler).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    subscription.stop().await;
    // Another lookup on this thread, so that its memory of matches is of the present.
    bus.publish(number("b", 1)).await.unwrap();
    turns().await;
    assert!(ended.is_closed());
    bus.finish().await;
}
