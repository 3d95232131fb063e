//! busway as a contender: a bus in memory whose subscriptions count on a course.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use busway::SubscribeBuilder;
use busway::prelude::*;
use tokio::runtime::Runtime;

use crate::contest::Lap;
use crate::course::{Course, from_this_thread};
use crate::sample::Sample;
use crate::terms::{CAPACITY, two_workers};

/// What is measured: the tree that the harness was built from.
#[must_use]
pub fn version() -> String {
    crate::lockfile::version_of("busway")
}

/// Where a handler runs.
#[derive(Debug, Clone, Copy)]
pub enum Handling {
    /// In the subscription's task.
    Async,
    /// On the subscription's thread.
    Blocking,
    /// On the publisher's thread, inside the publish.
    Inline,
}

/// A bus without subscriptions.
///
/// # Errors
/// It does not start.
pub fn start(runtime: &Runtime) -> Result<Bus> {
    Ok(runtime.block_on(Bus::memory().start())?)
}

/// A bus with one subscription a receiver of the course.
///
/// # Errors
/// It does not start.
pub fn with_receivers(
    runtime: &Runtime,
    course: &Arc<Course>,
    receivers: usize,
    handling: Handling,
) -> Result<Bus> {
    let bus = start(runtime)?;
    for receiver in 0..receivers {
        let subscription = bus.subscribe(TOPIC);
        runtime.block_on(count(subscription, course, receiver, handling))?;
    }
    Ok(bus)
}

/// One publisher and one sync handler, a thread each, on the bus that `start` gives.
///
/// # Errors
/// The bus does not start, `publish` fails, or a message is not handled exactly once.
pub fn one_to_one(
    messages: u64,
    start: impl FnOnce(&Runtime) -> Result<Bus>,
    publish: impl Fn(&Bus, &Arc<Publisher<Sample>>, Range<u64>) -> Result<()>,
) -> Result<Lap> {
    let runtime = two_workers()?;
    let course = Course::new(1);
    let bus = start(&runtime)?;
    runtime.block_on(count(bus.subscribe(TOPIC), &course, 0, Handling::Blocking))?;
    let publisher = Arc::new(bus.publisher::<Sample>(TOPIC)?);
    let lap = from_this_thread(&course, messages, |numbers| publish(&bus, &publisher, numbers))?;
    finish(&runtime, &bus, &course, messages, lap)
}

/// Publishes the messages one by one, on this thread: for [`one_to_one`].
///
/// # Errors
/// One is refused.
pub fn singly(_: &Bus, publisher: &Arc<Publisher<Sample>>, numbers: Range<u64>) -> Result<()> {
    pollster::block_on(publish(Arc::clone(publisher), numbers))
}

/// Subscribes a handler that counts for a receiver.
///
/// # Errors
/// The subscription is refused.
pub async fn count(
    subscription: SubscribeBuilder,
    course: &Arc<Course>,
    receiver: usize,
    handling: Handling,
) -> Result<Subscription> {
    let course = Arc::clone(course);
    let handle = move |sample: Payload<Sample>| course.handled(receiver, &sample);
    let subscription = subscription.capacity(CAPACITY).overflow(Overflow::Block(None));
    Ok(match handling {
        Handling::Blocking => subscription.to(blocking(handle)).await?,
        Handling::Inline => subscription.to(inline(handle)).await?,
        Handling::Async => {
            let handle = move |sample: Payload<Sample>| {
                handle(sample);
                std::future::ready(())
            };
            subscription.to(handle).await?
        }
    })
}

/// Publishes the messages one by one.
///
/// # Errors
/// One is refused.
pub async fn publish(publisher: Arc<Publisher<Sample>>, numbers: Range<u64>) -> Result<()> {
    for number in numbers {
        publisher.publish(Sample::new(number)).await?;
    }
    Ok(())
}

/// Publishes the messages in batches.
///
/// # Errors
/// One is refused.
pub async fn publish_batches(bus: Bus, publisher: Arc<Publisher<Sample>>, numbers: Range<u64>) -> Result<()> {
    let mut first = numbers.start;
    while first < numbers.end {
        let past = numbers.end.min(first + BATCH);
        let drafts = (first..past).map(|number| publisher.draft(Sample::new(number))).collect();
        bus.publish_batch(drafts).await?;
        first = past;
    }
    Ok(())
}

/// Stops the bus and checks that every message was handled exactly once.
///
/// # Errors
/// One was not.
pub fn finish(runtime: &Runtime, bus: &Bus, course: &Course, messages: u64, lap: Lap) -> Result<Lap> {
    let report = runtime.block_on(bus.shutdown(Duration::from_secs(10)));
    ensure!(report.is_drained(), "the bus did not drain: {report}");
    course.verify(messages, lap)
}

/// The topic of every suite with one topic: three segments, as people write them.
pub const TOPIC: &str = "orders.created.us-east";

/// Messages a batch, where a contender is measured in batches.
const BATCH: u64 = 64;
