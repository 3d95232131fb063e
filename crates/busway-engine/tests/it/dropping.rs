//! The last handle of a bus stops everything in the background: no task, no thread, no memory.

use std::sync::{Arc, Weak};
use std::time::Duration;

use busway_engine::{Bus, Refused};
use busway_middleware::{Payload, State, blocking};
use busway_testkit::Gate;

use crate::world::{Number, number};

/// Names of this process's threads that belong to a bus; the kernel cuts names at 15 characters.
#[cfg(target_os = "linux")]
fn threads(named: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let read = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    read.filter(|name| name.trim_end() == named).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_last_handle_ends_tasks_and_frees_what_they_hold() {
    let (held, gate) = (Arc::new(()), Gate::closed());
    let weak: Weak<()> = Arc::downgrade(&held);
    let bus = Bus::memory().producer("test").state(held).start().await.unwrap();
    let wait = gate.clone();
    let handler = move |_: Payload<Number>, State(held): State<Arc<()>>| {
        let gate = wait.clone();
        async move {
            gate.pass().await;
            drop(held);
        }
    };
    let subscription = bus.subscribe("a").concurrency(4).to(handler).await.unwrap();
    for n in 0..20 {
        bus.publish(number("a", n)).await.unwrap();
    }
    gate.reached(4).await;
    drop(bus);
    subscription.ended().await;
    let stats = subscription.stats();
    assert_eq!((stats.tally.offered, stats.tally.abandoned, stats.running), (20, 20, 0));
    drop(subscription);
    assert!(weak.upgrade().is_none(), "something still holds the bus's state");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_last_handle_leaves_no_thread() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let builder = bus.subscribe("a").name("drop-test").concurrency(3);
    let subscription = builder.to(blocking(|_: Payload<Number>| {})).await.unwrap();
    for n in 0..100 {
        bus.publish(number("a", n)).await.unwrap();
    }
    bus.idle().await;
    assert!(threads("busway-drop-tes") > 0, "there was a thread");
    drop(bus);
    subscription.ended().await;
    // `ended` returns when the thread has left busway's code; the kernel may take a moment to forget it.
    while threads("busway-drop-tes") > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_publisher_handle_and_a_clone_in_a_handler_do_not_keep_things_running() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let publisher = bus.publisher::<Number>("a").unwrap();
    let subscription = bus.subscribe("a").to(async |_: Payload<Number>| {}).await.unwrap();
    publisher.publish(Number { n: 1 }).await.unwrap();
    drop(bus);
    let refused = publisher.publish(Number { n: 2 }).await.unwrap_err();
    assert_eq!(refused.reason().unwrap(), &Refused::Closed);
    assert_eq!(refused.into_event().unwrap().into_payload(), Number { n: 2 });
    subscription.ended().await;
}

#[tokio::test]
async fn two_buses_in_one_process_do_not_mix() {
    let [one, two] = [Bus::memory().producer("one"), Bus::memory().producer("two")];
    let (one, two) = (one.start().await.unwrap(), two.start().await.unwrap());
    let seen = one.subscribe("a").name("same").to(async |_: Payload<Number>| {}).await.unwrap();
    let other = two.subscribe("a").name("same").to(async |_: Payload<Number>| {}).await.unwrap();
    for n in 0..10 {
        one.publish(number("a", n)).await.unwrap();
    }
    one.idle().await;
    two.idle().await;
    assert_eq!((seen.stats().done, other.stats().done), (10, 0));
    one.shutdown(Duration::from_secs(1)).await;
    assert_eq!(two.publish(number("a", 1)).await.unwrap().offered, 1);
    two.shutdown(Duration::from_secs(1)).await;
}
