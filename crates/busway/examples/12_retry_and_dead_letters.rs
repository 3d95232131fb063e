//! Failures: what may pass is attempted again, what will not is a dead letter, and an operator gives it again, edits it or lets it go.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use busway::prelude::*;
use busway::{DeadLetterId, DeadLetterPolicy, FailureClass, Redrive, RetryBudget, Selection};

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "parcel-sent")]
struct ParcelSent {
    address: String,
}

/// The service that prints labels. It is down at first.
#[derive(Clone, Default)]
struct Printer {
    is_up: Arc<AtomicBool>,
}

async fn print_label(
    parcel: Payload<ParcelSent>,
    delivery: Delivery,
    printer: State<Printer>,
) -> Result<(), BoxError> {
    if parcel.address.is_empty() {
        // Another attempt would fail as well.
        return Err(Permanent("the address is empty").into());
    }
    if !printer.is_up.load(Ordering::Relaxed) {
        return Err("the printer does not answer".into());
    }
    let replay = if delivery.is_replay() { " (replay)" } else { "" };
    println!("label for {}, attempt {}{replay}", parcel.address, delivery.attempt());
    Ok(())
}

async fn start(path: &Path, printer: &Printer) -> busway::Result<Bus> {
    let stream = Stream::new("parcels").capture("parcels.#");
    Ok(Bus::open(path).stream(stream).state(printer.clone()).producer("post").start().await?)
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let path = std::env::temp_dir().join(format!("busway-12-retry-{}", std::process::id()));
    let printer = Printer::default();
    let bus = start(&path, &printer).await?;

    let labels = bus
        .subscribe("parcels.sent")
        .durable("labels")
        // Three attempts, 10 ms and 40 ms apart; the default is 16 within 8 minutes.
        .retry(Retry::listed(&[Duration::from_millis(10), Duration::from_millis(40)]))
        // An outage adds a fifth to the load on the printer, not the double of it; ten a second are always allowed.
        .retry_budget(RetryBudget::percent(20).at_least(10))
        // What is not marked may be told by its error.
        .classify(|error| match error.to_string().contains("no such country") {
            true => FailureClass::Permanent,
            false => FailureClass::Transient,
        })
        .dead_letters(
            DeadLetterPolicy::keep().capacity(10_000).expire_after(Duration::from_secs(30 * 24 * 3_600)),
        )
        .to(print_label)
        .await?;
    for address in ["Kiel", "Ulm", ""] {
        bus.publish(Event::new("parcels.sent", ParcelSent { address: address.into() })).await?;
    }
    // What is parked comes back by itself when it is due.
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while labels.stats().dead < 3 {
        looks.tick().await;
    }
    bus.idle().await;

    let letters = bus.dead_letters().by("ann");
    for letter in letters.list(&Selection::all().subscription("labels")).await?.letters {
        println!("{}: {} ({} attempts)", letter.id, letter.reason, letter.attempt_count);
    }

    println!("  -- the printer is up again --");
    printer.is_up.store(true, Ordering::Relaxed);
    // Under a request: made again, by whichever process, it is carried out once. It stops by itself when the same error keeps coming back.
    let dead_printer = || Selection::all().subscription("labels").text("does not answer");
    let redrive = letters.clone().request("ticket-7").redrive(dead_printer(), Redrive::default()).await?;
    bus.idle().await;
    println!("{redrive}");
    let again = letters.clone().request("ticket-7").redrive(dead_printer(), Redrive::default()).await?;
    println!("again: {}", if again.repeated { "done before" } else { "done twice" });

    let nameless: DeadLetterId = "labels/parcels/0/2".parse()?;
    let edit = letters.edit(&nameless, r#"{"address":"Bonn"}"#).await?;
    bus.idle().await;
    println!("{edit}");
    let kept = letters.get(&nameless).await?;
    // As it was published, beside what was made of it.
    println!("kept: {}", String::from_utf8_lossy(&kept.event?.encoded(1_024)?.bytes));
    println!("{}", letters.discard(&nameless).await?);
    println!("trail: {} operations", letters.operations(None, 10).await?.len());

    bus.shutdown(Duration::from_secs(5)).await;
    drop(std::fs::remove_dir_all(path));
    Ok(())
}
