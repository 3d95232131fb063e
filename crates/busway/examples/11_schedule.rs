//! Delayed and scheduled events: stored until they are due, and published once, whatever the process does in between.

use std::path::Path;
use std::time::Duration;

use busway::prelude::*;
use busway::schedule::Unscheduled;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "payment-reminder", key = order_id)]
struct Reminder {
    order_id: String,
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "report-wanted")]
struct ReportWanted;

fn reminder(order_id: &str) -> Draft<Reminder> {
    Event::new("payments.remind", Reminder { order_id: order_id.into() })
}

/// What waits is stored, so a stream has to capture its topic.
async fn start(path: &Path, told: UnboundedSender<String>) -> busway::Result<Bus> {
    let payments = Stream::new("payments").capture("payments.#");
    let reports = Stream::new("reports").capture("reports.#");
    Ok(Bus::open(path).stream(payments).stream(reports).state(told).start().await?)
}

/// Declared at each start, as subscriptions are: the store knows when the next tick is due.
async fn declare(bus: &Bus) -> busway::Result<()> {
    // Each tick is published once. What was missed while the process was down comes together, as one.
    let beat = bus.schedule("heartbeat-report").every(Duration::from_millis(200)).missed(Missed::Once);
    beat.publish(Event::new("reports.wanted", ReportWanted)).await?;
    let nightly = bus.schedule("nightly-report").cron("30 3 * * 1-5");
    nightly.publish(Event::new("reports.wanted", ReportWanted)).await?;
    Ok(())
}

async fn remind(reminder: Payload<Reminder>, told: State<UnboundedSender<String>>) {
    // Nobody listens any more when the program ends.
    told.send(reminder.order_id.clone()).ok();
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let path = std::env::temp_dir().join(format!("busway-11-schedule-{}", std::process::id()));
    let (told, mut reminders) = unbounded_channel();
    let bus = start(&path, told.clone()).await?;
    let receipt = bus.publish(reminder("A-1").delay(Duration::from_millis(300))).await?;
    println!("A-1 waits: {}", receipt.due.is_some() && receipt.position.is_none());
    // Paid in time.
    let receipt = bus.publish(reminder("B-7").delay(Duration::from_secs(3_600))).await?;
    let taken_back = matches!(bus.unschedule(receipt.id).await?, Unscheduled::TakenBack { .. });
    println!("B-7 is taken back: {taken_back}");
    if let Err(error) = bus.schedule("never").cron("0 25 * * *").publish(reminder("C-9")).await {
        println!("{error}");
    }
    bus.shutdown(Duration::from_secs(5)).await;

    println!("  -- the process starts again --");
    let bus = start(&path, told).await?;
    bus.subscribe("payments.remind").durable("reminders").start_at(StartAt::Earliest).to(remind).await?;
    println!("reminded of {}", reminders.recv().await.unwrap_or_default());
    println!("{} left", bus.scheduled(10).await?.events.len());

    declare(&bus).await?;
    let (ticked, mut reports) = unbounded_channel();
    let report = inline(move |_: Payload<ReportWanted>| {
        ticked.send(()).ok();
    });
    bus.subscribe("reports.wanted").to(report).await?;
    for report in 1..=2 {
        reports.recv().await;
        println!("report {report}");
    }
    for schedule in bus.schedules(10).await? {
        println!("{}: {}", schedule.name, schedule.rule);
    }
    bus.shutdown(Duration::from_secs(5)).await;
    drop(std::fs::remove_dir_all(path));
    Ok(())
}
