//! Events that an open breaker has acknowledged are owed: by their subscription, by whoever takes its place, and in the report of a shutdown.

use std::time::Duration;

use busway_engine::{Breaker, Fallback, SubscribeBuilder, Subscription};
use busway_middleware::inline;
use busway_testkit::{Recorder, TestBus};

use crate::dependency::Service;
use crate::world::{Number, account, assert_settled, ends, number, turns};

const PAID: &str = "orders.paid";
const OPEN_FOR: Duration = Duration::from_secs(30);

fn guarded(bus: &TestBus) -> SubscribeBuilder {
    let breaker = Breaker::default().opens_after(2).open_for(OPEN_FOR);
    bus.subscribe(PAID).name("stock").breaker(breaker.fallback(Fallback::ack_and_retry_later()))
}

/// A bus, its service that is down, and a subscription that has failed with 0 and 1 and put 2 to 9 aside.
async fn aside() -> (TestBus, Service, Subscription) {
    let (bus, service) = (TestBus::start().await, Service::default());
    service.down(PAID);
    let subscription = guarded(&bus).to(service.handler()).await.unwrap();
    publish(&bus, 0..10).await;
    turns().await;
    let channel = bus.breakers().get("stock", PAID).unwrap();
    assert_eq!((channel.waiting, subscription.stats().tally.waiting()), (8, 8), "what is aside waits");
    (bus, service, subscription)
}

async fn publish(bus: &TestBus, numbers: impl IntoIterator<Item = u32>) {
    for n in numbers {
        bus.publish(number(PAID, n)).await.unwrap();
    }
}

fn called(service: &Service) -> Vec<u32> {
    let mut called: Vec<u32> = service.calls(PAID)[2..].iter().map(|(n, _)| *n).collect();
    called.sort_unstable();
    called
}

#[tokio::test]
async fn a_subscription_that_is_stopped_ends_when_what_is_aside_is_handled() {
    let (bus, service, subscription) = aside().await;
    let stopped = tokio::join!(subscription.stop(), async {
        turns().await;
        assert_eq!(service.calls(PAID).len(), 2, "the channel is open");
        service.up(PAID);
        bus.clock().advance(OPEN_FOR);
    });
    assert_eq!(called(&service), (2..10).collect::<Vec<_>>());
    let stats = stopped.0;
    assert_settled(&stats);
    assert_eq!((stats.done, stats.failed, stats.tally.abandoned), (16, 2, 0), "answered, and handled");
    assert!(bus.finish().await.is_drained());
}

#[tokio::test]
async fn a_paused_subscription_that_is_stopped_abandons_what_is_aside() {
    let (bus, _, subscription) = aside().await;
    subscription.pause();
    let stats = ends(subscription.stop()).await;
    assert_settled(&stats);
    assert_eq!(stats.tally.abandoned, 8, "{stats}");
    assert!(!bus.shutdown(Duration::ZERO).await.is_drained());
}

#[tokio::test]
async fn a_shutdown_waits_for_what_is_aside_within_its_grace() {
    let (bus, service, _subscription) = aside().await;
    let (report, ()) = tokio::join!(bus.shutdown(OPEN_FOR * 2), async {
        turns().await;
        service.up(PAID);
        bus.clock().advance(OPEN_FOR);
    });
    assert!(report.is_drained(), "{report}");
    assert_eq!(called(&service), (2..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_shutdown_says_what_of_it_is_left_behind_its_grace() {
    let (bus, service, _subscription) = aside().await;
    let grace = Duration::from_secs(1);
    let (report, ()) = tokio::join!(bus.shutdown(grace), async {
        turns().await;
        bus.clock().advance(grace);
    });
    assert!(!report.is_drained(), "{report}");
    assert_eq!(account(&report.tally), [18, 10, 0, 0, 8]);
    assert_eq!(report.left.iter().map(|left| left.events).collect::<Vec<_>>(), [8]);
    assert_eq!(service.calls(PAID).len(), 2);
}

#[tokio::test]
async fn whoever_takes_the_place_is_given_what_is_aside_and_is_not_held_up_by_it() {
    let (bus, service, old) = aside().await;
    let recorder = Recorder::<Number>::new();
    let new = guarded(&bus).taking_over(&old).to(recorder.handler()).await.unwrap();
    publish(&bus, [10]).await;
    turns().await;
    assert_eq!(recorder.payloads(), [Number { n: 10 }], "the old one has ended");
    assert_eq!(new.stats().tally.waiting(), 8);
    // And once more.
    let last = guarded(&bus).taking_over(&new).to(recorder.handler()).await.unwrap();
    turns().await;
    bus.clock().advance(OPEN_FOR);
    ends(bus.settle()).await;
    let mut handled: Vec<u32> = recorder.payloads().iter().map(|payload| payload.n).collect();
    handled.sort_unstable();
    assert_eq!((handled, service.calls(PAID).len()), ((2..11).collect(), 2));
    assert_settled(&last.stats());
    assert!(bus.finish().await.is_drained());
}

#[tokio::test]
async fn what_is_put_aside_behind_a_takeover_is_the_new_ones() {
    let (bus, service, old) = aside().await;
    old.pause();
    publish(&bus, 10..14).await;
    let new = guarded(&bus).taking_over(&old).to(service.handler()).await.unwrap();
    turns().await;
    assert_eq!(service.calls(PAID).len(), 2, "the old one has them, and its channel is open");
    new.resume();
    service.up(PAID);
    bus.clock().advance(OPEN_FOR);
    ends(bus.settle()).await;
    assert_eq!(called(&service), (2..14).collect::<Vec<_>>());
    assert_eq!(new.stats().done, 12, "the old one has handled none of them");
    assert!(bus.finish().await.is_drained());
}

#[tokio::test]
async fn what_the_one_in_its_place_does_not_want_or_cannot_keep_is_abandoned_and_counted() {
    for is_inline in [false, true] {
        let (bus, _, old) = aside().await;
        let (subscribe, recorder) =
            (bus.subscribe("orders.created").name("stock"), Recorder::<Number>::new());
        let new = match is_inline {
            false => subscribe.taking_over(&old).to(recorder.handler()).await.unwrap(),
            true => bus.subscribe(PAID).name("stock").taking_over(&old).to(inline(|| {})).await.unwrap(),
        };
        turns().await;
        ends(bus.settle()).await;
        assert_eq!(account(&new.stats().tally), [0; 5]);
        let report = bus.shutdown(Duration::ZERO).await;
        assert!(!report.is_drained(), "{report}");
        assert_eq!(account(&report.tally), [18, 10, 0, 0, 8]);
    }
}

#[tokio::test]
async fn a_member_that_leaves_its_group_leaves_it_what_is_aside() {
    let (bus, service) = (TestBus::start().await, Service::default());
    service.down(PAID);
    let first = guarded(&bus).group("stock").to(service.handler()).await.unwrap();
    publish(&bus, 0..10).await;
    turns().await;
    let recorder = Recorder::<Number>::new();
    let second = guarded(&bus).group("stock").to(recorder.handler()).await.unwrap();
    _ = ends(first.stop()).await;
    let (stats, ()) = tokio::join!(second.stop(), async {
        turns().await;
        bus.clock().advance(OPEN_FOR);
    });
    assert_settled(&stats);
    assert_eq!((recorder.count(), stats.tally.abandoned), (8, 0), "{stats}");
    assert!(bus.finish().await.is_drained());
}
