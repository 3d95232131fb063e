//! Hot reload: a file is watched, and what it says is in force as soon as it is saved; what is wrong changes nothing.
//!
//! `cargo run --example 17_hot_reload --features config` writes its own file, changes it while events are published, breaks it, mends it, and prints what is
//! said of each.

use std::path::Path;
use std::time::Duration;

use busway::config::{Config, Watcher};
use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "order-created")]
struct OrderCreated {
    order_id: u32,
}

async fn reserve(order: Payload<OrderCreated>) {
    println!("  reserved {}", order.order_id);
}

async fn refuse(order: Payload<OrderCreated>) {
    println!("  sold out: {}", order.order_id);
}

const FILE: &str = "\
routes:
  stock:
    filter: orders.created
    handler: reserve
    limits: { concurrency: 1 }
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("busway-17-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("busway.yaml");
    std::fs::write(&path, FILE)?;

    // What the program can do, by name. Which events it is done with, the file says.
    let builder = Bus::memory().handler("reserve", reserve).handler("refuse", refuse);
    let bus = Config::load(&path)?.configure(builder).start().await?;
    // A service needs no more than this line: the watcher looks at the file by itself when it changes.
    let watcher = Watcher::of(&path).quiet(Duration::from_secs(1)).start(&bus).await?;
    order(&bus, 1).await?;

    println!("  -- another handler, and another route --");
    let more = "  audit: { filter: orders.#, handler: refuse, limits: { overflow: block } }\n";
    save(&watcher, &path, &(FILE.replace("handler: reserve", "handler: refuse") + more)).await?;
    order(&bus, 2).await?;

    println!("  -- a slip of the pen --");
    save(&watcher, &path, &FILE.replace("handler: reserve", "handler: reserv")).await?;
    println!("health: {}", bus.health(None));
    // What was in force stays so.
    order(&bus, 3).await?;

    println!("  -- and mended --");
    save(&watcher, &path, FILE).await?;
    println!("health: {}", bus.health(None));
    order(&bus, 4).await?;

    let status = watcher.status();
    println!("{} applied, {} refused", status.applied, status.refused);
    println!("drained: {}", bus.shutdown(Duration::from_secs(10)).await.is_drained());
    std::fs::remove_dir_all(folder).ok();
    Ok(())
}

async fn order(bus: &Bus, order_id: u32) -> busway::Result<()> {
    bus.publish(Event::new("orders.created", OrderCreated { order_id })).await?;
    bus.idle().await;
    Ok(())
}

/// Saves the file, has it looked at now instead of in a moment, and prints what became of it.
async fn save(watcher: &Watcher, path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)?;
    let status = watcher.look().await;
    if let Some(reload) = status.history.back() {
        // The folder is another one each time.
        let folder = path.parent().unwrap_or(path).display().to_string();
        println!("{}", reload.to_string().replace(&folder, "").trim_end());
    }
    Ok(())
}
