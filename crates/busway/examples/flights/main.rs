//! Replays real departures from New York over the bus, and counts them in five subscriptions side by side.
//!
//! `cargo run --release --example flights [-- --data FILE] [--json]`. None of the subscriptions may drop an event or let one
//! expire: they block their publisher when they are behind, and the figures at the end prove that nothing is missing.

mod board;
mod flight;
mod output;
mod rows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use busway::prelude::*;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::board::Boards;
use crate::flight::Flight;
use crate::output::Figures;
use crate::rows::{ReadError, Row, Rows};

/// Replays departures over the bus.
#[derive(Debug, Parser)]
#[command(name = "flights")]
struct Arguments {
    /// A file of departures, `.csv` or `.csv.xz`. Default: the week that ships with busway.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Prints one JSON object on one line instead of the table.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/flights-2013-01-week1.csv");
    let file = arguments.data.unwrap_or(shipped);
    match replay(&file).await {
        Ok(figures) => {
            if arguments.json {
                println!("{}", figures.to_json());
            } else {
                println!("{figures}");
            }
            if figures.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("flights: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Publishes every row of `file` and waits until all of them are handled.
async fn replay(file: &Path) -> Result<Figures, BoxError> {
    let mut rows = Rows::open(file)?;
    #[expect(clippy::disallowed_methods, reason = "the example reports how long it took")]
    let started = Instant::now();
    let boards = Arc::new(Boards::default());
    let bus = Bus::memory().producer("flights").state(Arc::clone(&boards)).start().await?;
    board::subscribe(&bus).await?;

    let progress = progress_bar();
    let mut bad_rows = 0;
    let read = loop {
        match rows.next_row() {
            Ok(Some(Row::Flight { line, flight })) => publish(&bus, line, flight).await?,
            Ok(Some(Row::Bad { line, reason })) => {
                bad_rows += 1;
                progress.suspend(|| eprintln!("{}:{line}: {reason}", file.display()));
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err::<(), ReadError>(error),
        }
        progress.inc(1);
    };
    let report = bus.shutdown(Duration::from_secs(60)).await;
    progress.finish_and_clear();
    // A file that breaks off in the middle gives no figures that look whole.
    read?;
    let lost = report.tally.dropped + report.tally.expired + report.tally.abandoned;
    Ok(Figures::new(&boards, lost, bad_rows, started.elapsed()))
}

async fn publish(bus: &Bus, line: u64, flight: Flight) -> Result<(), BoxError> {
    let (topic, priority, key) = (flight.topic(), flight.priority(), flight.tail_number.clone());
    let event = Event::new(topic, flight).key(key).priority(priority).meta("row", line.to_string());
    bus.publish(event).await?;
    Ok(())
}

/// Drawn on a terminal only; silent when the output goes elsewhere.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {human_pos} departures, {per_sec}, {elapsed}");
    let bar = ProgressBar::new_spinner();
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
