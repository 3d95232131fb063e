//! What must hold when things do not go well.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use busway_engine::transport::Verdict;
use busway_event::AnyEvent;
use futures_util::FutureExt as _;
use tokio::time::timeout;

use crate::conformance::Restarted;
use crate::conformance::world::{
    World, assert_same_events, ids, ids_of, nothing_comes, receiver_on, send, settle_all, take,
    take_and_settle,
};

/// Who settles nothing is given no more than it asked for, and neither publishers nor others wait for it.
pub(super) async fn slow_consumers_hold_nobody(world: &World) {
    let slow = world.receiver(&world.reception("slow").in_flight_max(8).ack_wait(LONG)).await;
    let quick = world.receiver(&world.reception("quick")).await;
    let events = world.events(50);
    send(&*world.sender().await, &events).await;
    assert_eq!(take_and_settle(&*quick, 50).await.len(), 50);
    let held = take(&*slow, 8).await;
    nothing_comes(&*slow, Duration::from_millis(300)).await;
    settle_all(&*slow, &held, || Verdict::Done).await;
    let rest = take_and_settle(&*slow, 42).await;
    let all: BTreeSet<_> = ids_of(&held).into_iter().chain(ids(&rest)).collect();
    assert_eq!(all.len(), 50);
}

/// While others take all the time that the processors have, everything takes longer and nothing else changes.
pub(super) async fn pressure_on_the_processors(world: &World) {
    let _pressure = Pressure::begin();
    let receiver = world.receiver(&world.reception("all").in_flight_max(16).ack_wait(LONG)).await;
    let sender = world.sender().await;
    let keys = ["a", "b", "c", "d", "e"];
    let events: Vec<_> =
        (0..200).map(|at| world.event("keyed", keys.get(at % keys.len()).copied())).collect();
    let sending = async {
        for some in events.chunks(20) {
            send(&*sender, some).await;
        }
    };
    let ((), came) = tokio::join!(sending, take_and_settle(&*receiver, events.len()));
    for key in keys {
        let of_key = |all: &[AnyEvent]| {
            let own = all.iter().filter(|event| event.key().is_some_and(|own| own.as_str() == key));
            own.map(|event| event.id()).collect::<Vec<_>>()
        };
        assert_eq!(of_key(&came), of_key(&events), "{key}");
    }
}

/// Twice as many threads as there are processors, which do nothing, all the time.
struct Pressure {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Pressure {
    fn begin() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let count = 2 * thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let thread = |_| {
            let is_over = Arc::clone(&is_over);
            #[expect(clippy::disallowed_methods, reason = "what is tested is what other work does to it")]
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        Self { threads: (0..count).map(thread).collect(), is_over }
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// Who closes gives back what it has not settled: nothing is lost, and the next need not wait for its time.
pub(super) async fn closing_with_events_in_flight(world: &World) {
    let reception = world.reception("all").in_flight_max(8).ack_wait(LONG);
    let receiver = world.receiver(&reception).await;
    let events = world.events(30);
    send(&*world.sender().await, &events).await;
    let came = take(&*receiver, 6).await;
    let (done, _in_flight) = came.split_at(2);
    settle_all(&*receiver, done, || Verdict::Done).await;
    if let Err(error) = receiver.close().await {
        panic!("not closed: {error}");
    }
    let receiver = world.receiver(&reception).await;
    let done = ids_of(done);
    let left: Vec<_> = events.iter().filter(|event| !done.contains(&event.id())).cloned().collect();
    assert_same_events(&take_and_settle(&*receiver, 28).await, &left, "those that were not settled");
}

/// A receive that is given up loses nothing of what had come.
pub(super) async fn dropped_receives_lose_nothing(world: &World) {
    let receiver = world.receiver(&world.reception("all").ack_wait(LONG)).await;
    let events = world.events(40);
    let sender = world.sender().await;
    let mut came = Vec::new();
    for event in &events {
        send(&*sender, std::slice::from_ref(event)).await;
        // Polled once, a few times, or until a moment is over: then it is dropped.
        if let Some(Ok(received)) = receiver.receive(1).now_or_never() {
            came.extend(received);
        }
        if let Ok(Ok(received)) = timeout(Duration::from_millis(1), receiver.receive(1)).await {
            came.extend(received);
        }
    }
    let missing = events.len() - came.len();
    came.extend(take(&*receiver, missing).await);
    let all: BTreeSet<_> = ids_of(&came).into_iter().collect();
    assert_eq!(all, ids(&events).into_iter().collect());
}

/// What the broker said it has taken is there when it was killed, and who was there goes on.
pub(super) async fn broker_restarts(world: &World) {
    let reception = world.reception("all");
    let mut receiver = world.receiver(&reception).await;
    let mut sender = world.sender().await;
    let mut came = BTreeSet::new();
    let events = world.events(90);
    for (round, events) in events.chunks(30).enumerate() {
        send(&*sender, events).await;
        came.extend(ids(&take_and_settle(&*receiver, 10).await));
        if round == 2 {
            break;
        }
        match world.broker().restart().await {
            Restarted::ConnectionsStay => {}
            Restarted::ConnectAgain => {
                let transport = world.another().await;
                receiver = receiver_on(&*transport, &reception).await;
                sender = match transport.sender().await {
                    Ok(sender) => sender,
                    Err(error) => panic!("{error}"),
                };
            }
            Restarted::Never(_) => return,
        }
    }
    let missing = |came: &BTreeSet<_>| ids(&events).into_iter().any(|id| !came.contains(&id));
    while missing(&came) {
        // A verdict that the broker has not heard before it died brings an event again.
        came.extend(ids(&take_and_settle(&*receiver, 1).await));
    }
}

const LONG: Duration = Duration::from_secs(60);
