//! What comes again, and what does not.

use std::time::Duration;

use busway_engine::transport::{Letter, Verdict};
use busway_event::AnyEvent;
use tokio::time::{Instant, interval};

use crate::conformance::world::{
    ACK_WAIT, World, assert_same_events, event_of, ids, ids_of, nothing_comes, send, settle, settle_all,
    take, take_and_settle,
};

/// Settled events come to nobody any more: not to the member, not to who comes after it.
pub(super) async fn settled_is_settled(world: &World) {
    let reception = world.reception("all");
    let receiver = world.receiver(&reception).await;
    send(&*world.sender().await, &world.events(10)).await;
    take_and_settle(&*receiver, 10).await;
    nothing_comes(&*receiver, ACK_WAIT + ACK_WAIT / 2).await;
    close(&*receiver).await;
    let receiver = world.receiver(&reception).await;
    nothing_comes(&*receiver, ACK_WAIT).await;
}

/// Not before the time that was asked for, and then it does; the others do not wait for it.
pub(super) async fn again_after_a_while(world: &World) {
    let receiver = world.receiver(&world.reception("all")).await;
    let [failing, other]: [AnyEvent; 2] = [world.event("keyed", Some("a")), world.event("keyed", Some("b"))];
    send(&*world.sender().await, &[failing.clone(), other]).await;
    let came = take(&*receiver, 2).await;
    let begun = Instant::now();
    for received in &came {
        let verdict = match event_of(received).id() == failing.id() {
            true => Verdict::Again(AFTER),
            false => Verdict::Done,
        };
        settle(&*receiver, received.id, verdict).await;
    }
    let again = take(&*receiver, 1).await;
    let waited = begun.elapsed();
    assert_eq!(ids_of(&again), ids(&[failing]));
    assert!(waited + TICK >= AFTER, "it came after {waited:?}");
    assert!(again.iter().all(|received| received.attempt.get() >= 2), "delivered again: {again:?}");
    settle_all(&*receiver, &again, || Verdict::Done).await;
    nothing_comes(&*receiver, ACK_WAIT + TICK).await;
}

/// What was not attempted is there at once again.
pub(super) async fn back_at_once(world: &World) {
    let receiver = world.receiver(&world.reception("all").ack_wait(LONG)).await;
    let events = world.events(3);
    send(&*world.sender().await, &events).await;
    let came = take(&*receiver, 3).await;
    settle_all(&*receiver, &came, || Verdict::Back).await;
    assert_same_events(&take_and_settle(&*receiver, 3).await, &events, "all three again");
}

/// What is given up is settled, and its neighbours flow on.
pub(super) async fn dead_letters(world: &World) {
    let reception = world.reception("all");
    let receiver = world.receiver(&reception).await;
    let events = world.events(3);
    send(&*world.sender().await, &events).await;
    let came = take(&*receiver, 3).await;
    let [first, rest @ ..] = came.as_slice() else { panic!("three were asked for") };
    let letter = Letter::new("it cannot be done").attempts(3).handler("conformance");
    settle(&*receiver, first.id, Verdict::Dead(letter)).await;
    settle_all(&*receiver, rest, || Verdict::Done).await;
    nothing_comes(&*receiver, ACK_WAIT + ACK_WAIT / 2).await;
    close(&*receiver).await;
    let receiver = world.receiver(&reception).await;
    nothing_comes(&*receiver, ACK_WAIT).await;
}

/// A member that is gone without a word leaves what it had to the next.
pub(super) async fn crash_of_a_member(world: &World) {
    let reception = world.reception("all");
    let receiver = world.receiver(&reception).await;
    let events = world.events(10);
    send(&*world.sender().await, &events).await;
    let came = take(&*receiver, 10).await;
    let (done, _lost) = came.split_at(4);
    settle_all(&*receiver, done, || Verdict::Done).await;
    drop(receiver);
    let receiver = world.receiver(&reception).await;
    let again = take_and_settle(&*receiver, 6).await;
    let done = ids_of(done);
    let left: Vec<_> = events.iter().filter(|event| !done.contains(&event.id())).cloned().collect();
    assert_same_events(&again, &left, "what was settled does not come again, all else does");
}

/// What nobody settles comes again when its time is over.
pub(super) async fn timeout_of_a_delivery(world: &World) {
    let receiver = world.receiver(&world.reception("all")).await;
    let events = world.events(1);
    send(&*world.sender().await, &events).await;
    let begun = Instant::now();
    let came = take(&*receiver, 1).await;
    let again = take(&*receiver, 1).await;
    assert_eq!(ids_of(&again), ids(&events));
    assert!(begun.elapsed() + TICK >= ACK_WAIT, "too early: {:?}", begun.elapsed());
    assert!(again.iter().all(|received| received.attempt.get() >= 2), "delivered again: {again:?}");
    // Late, and for a delivery that is none any more: whatever is said of it, the event is settled once.
    drop(settle_all(&*receiver, &came, || Verdict::Done).await);
    drop(settle_all(&*receiver, &again, || Verdict::Done).await);
    nothing_comes(&*receiver, ACK_WAIT + TICK).await;
}

/// What is renewed stays where it is for as long as it is.
pub(super) async fn renewal(world: &World) {
    let receiver = world.receiver(&world.reception("all")).await;
    send(&*world.sender().await, &world.events(1)).await;
    let came = take(&*receiver, 1).await;
    let ids: Vec<_> = came.iter().map(|received| received.id).collect();
    let mut ticks = interval(ACK_WAIT / 4);
    for _ in 0..12 {
        ticks.tick().await;
        if let Err(error) = receiver.renew(&ids).await {
            panic!("not renewed: {error}");
        }
        nothing_comes(&*receiver, Duration::from_millis(1)).await;
    }
    settle_all(&*receiver, &came, || Verdict::Done).await;
    nothing_comes(&*receiver, ACK_WAIT + TICK).await;
}

async fn close(receiver: &dyn busway_engine::transport::Receiver) {
    if let Err(error) = receiver.close().await {
        panic!("not closed: {error}");
    }
}

const AFTER: Duration = Duration::from_millis(700);
/// What timers of brokers may be off.
const TICK: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);
