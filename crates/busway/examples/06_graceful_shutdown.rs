//! Shutdown: what waits is handled, handlers are not interrupted until the grace is over, and the report says what was left.
//!
//! Run with `--wait` to end it by Ctrl-C; press it twice to end at once.

#![expect(clippy::disallowed_methods, reason = "a program may spawn; the ban is for the library")]

use std::time::Duration;

use busway::PublishError;
use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "upload")]
struct Upload {
    parts: u32,
    /// Whether its client has gone away in the middle: then the next part never comes.
    broken: bool,
}

/// Takes in one part.
async fn receive(upload: &Upload) {
    match upload.broken {
        true => std::future::pending().await,
        false => tokio::task::yield_now().await,
    }
}

/// Each upload announces its end. What a running handler publishes passes also while the bus shuts down.
async fn store(upload: Payload<Upload>, stopping: Stopping, publisher: Publisher) -> Result<(), BoxError> {
    for _part in 0..upload.parts {
        tokio::select! {
            () = receive(&upload) => {}
            // Live until the grace is over: only then it is time to leave things in order.
            () = stopping.stopped() => {
                println!("interrupted, left in order");
                return Err("interrupted".into());
            }
        }
    }
    publisher.publish(Event::new("uploads.stored", Upload::clone(&upload))).await?;
    Ok(())
}

async fn confirm(upload: Payload<Upload>) {
    println!("stored {} parts", upload.parts);
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let bus = Bus::memory().start().await?;
    bus.subscribe("uploads.received").name("store").to(store).await?;
    bus.subscribe("uploads.stored").name("confirm").to(confirm).await?;
    for (parts, broken) in [(1, false), (2, false), (3, false), (4, true)] {
        bus.publish(Event::new("uploads.received", Upload { parts, broken })).await?;
    }

    if std::env::args().any(|argument| argument == "--wait") {
        println!("waiting for Ctrl-C");
        tokio::signal::ctrl_c().await.map_err(BoxError::from).unwrap_or_else(|error| println!("{error}"));
        let at_once = bus.clone();
        tokio::spawn(async move {
            // A second signal can only shorten the grace.
            if tokio::signal::ctrl_c().await.is_ok() {
                at_once.shutdown(Duration::ZERO).await;
            }
        });
    }
    let report = bus.shutdown(Duration::from_millis(500)).await;
    println!("drained: {}, {}", report.is_drained(), report.tally);

    let late = bus.publish(Event::new("uploads.received", Upload { parts: 1, broken: false })).await;
    if let Err(PublishError::Refused { reason, .. }) = late {
        println!("afterwards: {reason}");
    }
    Ok(())
}
