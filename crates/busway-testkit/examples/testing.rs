//! A handler with a deadline, tested without waiting: the clock is in the test's hand.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::Timeout;
use busway_event::{Event, Raw};
use busway_middleware::Stage;
use busway_testkit::{Recorder, Script, Step, TestBus};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), busway_engine::Error> {
    let bus = TestBus::start().await;
    let deadline = Timeout::new(Duration::from_secs(3_600)).clock(Arc::new(bus.clock().clone()));
    bus.middleware(Stage::Timeout).add("deadline", deadline)?;
    let recorder = Recorder::<Raw>::new();
    let script = Script::new([Step::Hang, Step::Done]);
    bus.subscribe("jobs").name("worker").to(recorder.scripted(&script)).await?;

    bus.publish(Event::new("jobs", Raw::from("hangs"))).await?;
    bus.publish(Event::new("jobs", Raw::from("works"))).await?;
    println!("at rest within a minute: {}", bus.settle_within(Duration::from_secs(60)).await);
    println!("at rest within an hour: {}", bus.settle_within(Duration::from_secs(3_600)).await);
    bus.assert_outcomes("worker", &["failed", "done"]);
    bus.assert_balanced();
    println!("{}", bus.finish().await.tally);
    Ok(())
}
