//! Operating a bus: a start that can be given up, settings on three levels, groups, guards, and a look at all of it.

use std::future::{pending, ready};
use std::time::Duration;

use busway::prelude::*;
use busway::{GroupRule, PublishError, Settings};

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "job")]
struct Job {
    n: u32,
}

fn job(n: u32) -> Draft<Job> {
    Event::new("jobs.new", Job { n })
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    // A start waits for its hooks. What ends first here would be a signal to stop in a real program.
    let slow = Bus::memory().on_start("reach the database", |_bus| pending());
    if let Err(error) = slow.start_until(ready(())).await {
        println!("{error}");
    }

    // The nearest level wins: the subscription itself, then its filter, then the bus.
    let bus = Bus::memory()
        .settings(Settings::new().capacity(16).overflow(Overflow::Block(None)))
        .filter_settings("jobs.#", Settings::new().share([4, 3, 2, 1]).capacity(8))
        .on_start("audit", async |bus: Bus| {
            bus.subscribe("#").name("audit").to(async |_: AnyEvent| {}).await?;
            Ok(())
        })
        .start()
        .await?;

    // Two members of a group: each event goes to one of them, keyed events always to the same one.
    for _member in 0..2 {
        let member = bus.subscribe("jobs.#").name("workers").group("workers");
        let member = member.group_rule(GroupRule::LeastLoaded).priority_limit(Priority::P0, 4).concurrency(2);
        member.to(async |_: Payload<Job>| {}).await?;
    }

    println!("one: {} subscriptions", bus.publish(job(0)).await?.offered);
    // Without waiting, for callers that are not async: what would block drops instead, and is counted.
    println!("at once: {} subscriptions", bus.try_publish(job(1))?.offered);
    // To one topic over and over: checked once, found again by its own generation.
    let publisher = bus.publisher::<Job>("jobs.new")?;
    publisher.try_publish(Job { n: 2 })?;
    publisher.publish_event(publisher.draft(Job { n: 3 }).key("k")).await?;
    // All or none.
    let receipts = bus.publish_batch(vec![job(4), job(5)]).await?;
    println!("batch: {} receipts", receipts.len());
    let spoilt = vec![job(6), Event::new("jobs..new", Job { n: 7 })];
    if let Err(PublishError::Refused { event, reason, .. }) = bus.publish_batch(spoilt).await {
        println!("{reason}; {} come back", event.len());
    }
    bus.idle().await;

    // A guard ends its subscription; `abort` ends one at once and says what it left.
    let guard = bus.subscribe("jobs.#").name("watch").to(async |_: AnyEvent| {}).await?.scoped();
    println!("watched: {} subscriptions", bus.publish(job(8)).await?.offered);
    bus.idle().await;
    drop(guard);
    let lazy = bus.subscribe("jobs.#").name("lazy").to(async |_: AnyEvent| {}).await?;
    lazy.pause();
    println!("not watched: {} subscriptions", bus.publish(job(9)).await?.offered);
    println!("aborted: {}", lazy.abort().tally);
    bus.idle().await;

    let description = bus.describe();
    if let Some(workers) = description.subscription("workers") {
        println!("{}: {} members, {}", workers.name, workers.handlers.len(), workers.state);
        let shown = ["capacity", "overflow", "concurrency", "share", "limit_p0", "order"];
        let shown = workers.settings.iter().filter(|setting| shown.contains(&setting.name));
        shown.for_each(|setting| println!("  {setting}"));
    }
    print!("{}", bus.stats());
    bus.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
