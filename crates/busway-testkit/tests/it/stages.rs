//! Middleware that waits goes by the clock of the bus, as the service under test added it.

use std::num::NonZeroU32;
use std::time::Duration;

use busway_engine::{RateLimit, Timeout};
use busway_event::{Event, Raw};
use busway_middleware::{Payload, Stage};
use busway_reliability::Rate;
use busway_testkit::{Recorder, TestBus};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_timeout_goes_by_the_clock_of_the_bus() {
    let bus = TestBus::start().await;
    bus.middleware(Stage::Timeout).add("deadline", Timeout::new(HOUR)).unwrap();
    bus.subscribe("a")
        .name("slow")
        .to(async |_: Payload<Raw>| std::future::pending::<()>().await)
        .await
        .unwrap();
    bus.publish(Event::new("a", Raw::from("x"))).await.unwrap();
    assert!(!bus.settle_within(Duration::from_secs(3_599)).await, "before its time");
    assert!(bus.settle_within(HOUR).await);
    bus.assert_outcomes("slow", &["failed"]);
    bus.finish().await;
}

#[tokio::test]
async fn a_rate_limit_goes_by_the_clock_of_the_bus_from_its_first_event_on() {
    let bus = TestBus::start().await;
    let hourly = Rate::new(1, HOUR).unwrap();
    let limit = RateLimit::new(hourly, NonZeroU32::MIN);
    let handle = limit.handle();
    bus.middleware(Stage::User).add("rate", limit).unwrap();
    let recorder = Recorder::<Raw>::new();
    bus.subscribe("a").to(recorder.handler()).await.unwrap();
    // Time that passes before the first event earns nothing above the burst.
    bus.clock().advance(HOUR * 5);
    for text in ["1", "2", "3"] {
        bus.publish(Event::new("a", Raw::from(text))).await.unwrap();
    }
    assert!(!bus.settle_within(HOUR).await);
    assert_eq!(recorder.count(), 2, "one at once, one an hour later");
    handle.set_rate(Rate::per_second(NonZeroU32::MIN));
    assert!(bus.settle_within(Duration::from_secs(1)).await);
    assert_eq!(recorder.count(), 3);
    bus.finish().await;
}

#[tokio::test]
async fn a_rate_that_is_changed_before_the_first_event_holds_from_it_on() {
    let bus = TestBus::start().await;
    let limit = RateLimit::new(Rate::new(1, HOUR).unwrap(), NonZeroU32::MIN);
    limit.handle().set_rate(Rate::per_second(NonZeroU32::MIN));
    bus.middleware(Stage::User).add("rate", limit).unwrap();
    let recorder = Recorder::<Raw>::new();
    bus.subscribe("a").to(recorder.handler()).await.unwrap();
    for text in ["1", "2"] {
        bus.publish(Event::new("a", Raw::from(text))).await.unwrap();
    }
    assert!(bus.settle_within(Duration::from_secs(1)).await, "a second, not an hour");
    assert_eq!(recorder.count(), 2);
    bus.finish().await;
}
