//! A pipeline: simulated devices publish readings, windows of them become summaries, a live table shows these, and metrics are served all the while.
//!
//! `cargo run --example pipeline --features http -- --seconds 20` prints where its metrics are; `--help` lists what can be set. Three topics in a row:
//!
//! - `devices.{site}.{id}.{metric}`: a reading, stored in the stream `readings`. A radio sends some of them twice, and one sensor is broken now and then.
//! - `sites.{site}.summary`: a window of a site's readings, published in the commit that closes the window: none is lost, none comes twice.
//! - `sites.{site}.alarm`: a window that was too hot. It goes to a pager, which is away for a while.

mod devices;
mod pager;
mod table;
mod windows;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::time::Duration;

use busway::observability::Endpoint;
use busway::prelude::*;
use busway::{Metrics, RetryBudget, Topic};
use clap::Parser;

use crate::devices::Devices;
use crate::pager::Pager;
use crate::table::Board;
use crate::windows::{Summary, WINDOWS};

/// Simulated devices, windows of their readings, a live table and metrics.
#[derive(Debug, Parser)]
#[command(name = "pipeline")]
struct Options {
    /// How long it runs.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Sites with devices.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    sites: u32,
    /// Devices of each site; each has two metrics.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    devices: u32,
    /// How long a window is, in milliseconds of the readings' own time.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    window: u64,
    /// Where metrics are served; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// Prints a line for each summary instead of the table; so does output that is no terminal.
    #[arg(long)]
    plain: bool,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let options = Options::parse();
    let board = Board::new(!options.plain && std::io::stdout().is_terminal());
    let pager = Pager::default();
    let folder = std::env::temp_dir().join(format!("busway-pipeline-{}", std::process::id()));
    let metrics = Metrics::with_tenants("site", (0..options.sites).map(devices::site))?;
    let bus = Bus::open(&folder)
        .stream(Stream::new("readings").capture("devices.#"))
        .stream(Stream::new("sites").capture("sites.#"))
        .table(&WINDOWS)
        .metrics(&metrics)
        .producer("pipeline")
        .state(board.clone())
        .state(pager.clone())
        .start()
        .await?;
    let serving = Endpoint::new(metrics).address(options.address).serve()?;
    println!("metrics at http://{}/metrics", serving.address());

    subscribe(&bus, &options).await?;

    let devices = Devices::new(options.sites, options.devices);
    let sent = devices.run(&bus, Duration::from_secs(options.seconds)).await?;
    pager.is_back();
    bus.idle().await;
    board.show();
    println!("{sent} readings, {} summaries, {} alarms told", board.summaries(), pager.told());
    drop(serving);
    println!("{}", bus.shutdown(Duration::from_secs(10)).await);
    std::fs::remove_dir_all(folder).ok();
    Ok(())
}

async fn show(topic: Topic, summary: Payload<Summary>, board: State<Board>) {
    board.add(topic.as_str(), &summary);
}

async fn page(hot: Payload<Summary>, pager: State<Pager>) -> Result<(), BoxError> {
    pager.page(&hot)
}

async fn subscribe(bus: &Bus, options: &Options) -> busway::Result<()> {
    // Readings of a site are folded one after the other; sites side by side.
    let length = options.window;
    let fold = move |reading, tx: &mut StoreTx<'_>| windows::fold(reading, tx, length);
    bus.subscribe("devices.+.+.+")
        .durable("windows")
        .start_at(StartAt::Earliest)
        .concurrency(8)
        .idempotent(Idempotency::by_pointer("/number").ttl(Duration::from_secs(600)))
        .to(in_store(fold))
        .await?;

    // Of people who watch: memory is enough, and who looks too slowly misses the oldest.
    bus.subscribe("sites.+.summary")
        .name("table")
        .capacity(64)
        .overflow(Overflow::DropOldest)
        .to(show)
        .await?;

    let soon = Retry::default().first_delay(Duration::from_millis(100)).longest_delay(Duration::from_secs(1));
    let guard = Breaker::default().opens_after(3).open_for(Duration::from_millis(500));
    bus.subscribe("sites.+.alarm")
        .durable("pager")
        .retry(soon)
        .retry_budget(RetryBudget::percent(50).at_least(20))
        .breaker(guard.fallback(Fallback::ack_and_retry_later()))
        .to(page)
        .await?;
    Ok(())
}
