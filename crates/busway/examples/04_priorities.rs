//! Priorities: urgent events start first, and the least urgent still move: 8:4:2:1.

use std::time::Duration;

use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "job")]
struct Job {
    n: u32,
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let bus = Bus::memory().start().await?;
    let (started, mut order) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |job: Event<Job>| {
        let started = started.clone();
        async move { started.send((job.priority(), job.payload().n)).map_err(BoxError::from) }
    };
    let subscription = bus.subscribe("jobs").name("worker").capacity(32).to(handler).await?;

    // While it is paused, events wait. The least urgent come first.
    subscription.pause();
    for priority in Priority::ALL.into_iter().rev() {
        for n in 0..30 {
            bus.publish(Event::new("jobs", Job { n }).priority(priority)).await?;
        }
    }
    // An event that is too old when its turn comes is not handled: it expires, and is counted.
    let brief = Event::new("jobs", Job { n: 99 }).priority(Priority::P0).ttl(Duration::from_nanos(1));
    bus.publish(brief).await?;
    subscription.resume();
    bus.idle().await;

    let mut round = [0; 4];
    for _ in 0..15 {
        if let Some((priority, _)) = order.recv().await
            && let Some(count) = round.get_mut(priority.index())
        {
            *count += 1;
        }
    }
    println!("the first 15 by priority: {round:?}");
    let stats = subscription.stats();
    println!("{} delivered, {} expired", stats.tally.delivered, stats.tally.expired);
    bus.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
