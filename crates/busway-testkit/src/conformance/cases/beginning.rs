//! Where a subscription begins, and where it goes on.

use std::time::Duration;

use busway_engine::StartAt;
use busway_engine::transport::Verdict;

use crate::conformance::world::{
    World, assert_same_events, event_of, nothing_comes, receiver_on, send, settle_all, take, take_and_settle,
    utc,
};

/// Who comes back to a subscription goes on where it stood, also over another connection, and with what was sent meanwhile.
pub(super) async fn resume(world: &World) {
    let reception = world.reception("all");
    let receiver = world.receiver(&reception).await;
    let events = world.events(20);
    let sender = world.sender().await;
    let (before, meanwhile) = events.split_at(15);
    send(&*sender, before).await;
    let came = take(&*receiver, 10).await;
    settle_all(&*receiver, &came, || Verdict::Done).await;
    if let Err(error) = receiver.close().await {
        panic!("not closed: {error}");
    }
    send(&*sender, meanwhile).await;
    let another = world.another().await;
    let receiver = receiver_on(&*another, &reception).await;
    let done: Vec<_> = came.iter().map(|received| event_of(received).id()).collect();
    let left: Vec<_> = events.iter().filter(|event| !done.contains(&event.id())).cloned().collect();
    assert_same_events(&take_and_settle(&*receiver, 10).await, &left, "those that were not settled");
    nothing_comes(&*receiver, Duration::from_millis(300)).await;
}

/// A subscription that is removed leaves nothing: another one of its name begins where it wants to.
pub(super) async fn removed_subscriptions_begin_anew(world: &World) {
    let reception = world.reception("all").start_at(StartAt::Earliest);
    let receiver = world.receiver(&reception).await;
    let keys = [None, Some("a"), Some("b"), Some("c"), None, Some("d")];
    let events: Vec<_> = keys.into_iter().map(|key| world.event("event", key)).collect();
    send(&*world.sender().await, &events).await;
    assert_same_events(&take_and_settle(&*receiver, 6).await, &events, "before it is removed");
    if let Err(error) = receiver.close().await {
        panic!("not closed: {error}");
    }
    let another = world.another().await;
    for _ in 0..2 {
        if let Err(error) = another.remove(&reception.stream, &reception.name).await {
            panic!("not removed: {error}");
        }
    }
    let receiver = receiver_on(&*another, &reception).await;
    assert_same_events(&take_and_settle(&*receiver, 6).await, &events, "all, once more");
}

/// A new subscription may want all that is kept.
pub(super) async fn earliest(world: &World) {
    let events = world.events(10);
    send(&*world.sender().await, &events).await;
    let receiver = world.receiver(&world.reception("all").start_at(StartAt::Earliest)).await;
    assert_same_events(&take_and_settle(&*receiver, 10).await, &events, "all that is kept");
    let latest = world.receiver(&world.reception("new").start_at(StartAt::Latest)).await;
    nothing_comes(&*latest, Duration::from_millis(300)).await;
}

/// Or all from a place on that a receipt named.
pub(super) async fn replay_from_an_offset(world: &World) {
    let events = world.events(10);
    let sent = send(&*world.sender().await, &events).await;
    let Some(from) = sent.get(6).and_then(|sent| sent.offset) else { panic!("no offset was told: {sent:?}") };
    let receiver = world.receiver(&world.reception("some").start_at(StartAt::Offset(from))).await;
    let came = take(&*receiver, 4).await;
    assert!(came.iter().any(|first| first.offset == Some(from)), "{came:?}");
    let came: Vec<_> = came.iter().map(event_of).collect();
    assert_same_events(&came, events.get(6..).unwrap_or_default(), "from there on");
}

/// Or all from a time on.
pub(super) async fn replay_from_a_time(world: &World) {
    let sender = world.sender().await;
    send(&*sender, &world.events(5)).await;
    // Between the two, as far apart as clocks of one machine may be.
    let from = passed(Duration::from_millis(50)).await;
    passed(Duration::from_millis(50)).await;
    let events = world.events(5);
    send(&*sender, &events).await;
    let receiver = world.receiver(&world.reception("some").start_at(StartAt::Time(from))).await;
    assert_same_events(&take_and_settle(&*receiver, 5).await, &events, "from then on");
}

/// The time when so much has passed.
async fn passed(time: Duration) -> busway_event::Timestamp {
    let until = utc().saturating_add(time);
    loop {
        let now = utc();
        if now >= until {
            return now;
        }
        tokio::task::yield_now().await;
    }
}
