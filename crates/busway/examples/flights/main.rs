//! Replays real departures from New York over the bus, and counts them in five subscriptions side by side.
//!
//! `cargo run --release --example flights [-- --data FILE] [--store DIR] [--flaky] [--json]`. None of the subscriptions may drop an event or let one
//! expire: they block their publisher when they are behind, and the figures at the end prove that nothing is missing. With a store
//! the replay may be interrupted at any instant, also by `kill -9`: started again, it goes on, and its figures are the same. With `--flaky`
//! a service fails for a while: notices of cancelled flights are retried, given up and given again, and all other figures stay what they are.

mod board;
mod flight;
mod ledger;
mod notices;
mod output;
mod rows;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use busway::prelude::*;
use clap::Parser;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::board::Boards;
use crate::flight::Flight;
use crate::notices::Desk;
use crate::output::Figures;
use crate::rows::{ReadError, Row, Rows};

/// Replays departures over the bus.
#[derive(Debug, Parser)]
#[command(name = "flights")]
struct Arguments {
    /// A file of departures, `.csv` or `.csv.xz`. Default: the week that ships with busway.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Keeps the departures and the counts in this folder, and goes on from there when it is started again.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Lets a service fail for one airline, and recover: its notices are retried, given up and given again. Without `--store` in a folder of
    /// its own, which is removed.
    #[arg(long)]
    flaky: bool,
    /// Prints one JSON object on one line instead of the table.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/flights-2013-01-week1.csv");
    let file = arguments.data.unwrap_or(shipped);
    let figures = match &arguments.store {
        Some(store) => replay_stored(&file, store, arguments.flaky).await,
        None if arguments.flaky => replay_for_once(&file).await,
        None => replay(&file).await,
    };
    let printed = match figures {
        Ok(figures) => {
            let text = if arguments.json { figures.to_json().to_string() } else { figures.to_string() };
            print(&text).map(|()| figures.exit_code())
        }
        Err(error) => Err(error),
    };
    match printed {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(format_args!("flights: {}", with_causes(&*error)));
            ExitCode::FAILURE
        }
    }
}

/// A full disk or a closed pipe is an error like any other.
fn print(figures: &str) -> Result<(), BoxError> {
    let written = writeln!(io::stdout().lock(), "{figures}");
    written.map_err(|error| format!("the figures cannot be printed: {error}").into())
}

/// What an error says, and why, down to its first cause.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A line for people. That nobody can read it is no reason to stop.
fn complain(line: std::fmt::Arguments<'_>) {
    _ = writeln!(io::stderr().lock(), "{line}");
}

/// Publishes every row of `file` and waits until all of them are handled.
async fn replay(file: &Path) -> Result<Figures, BoxError> {
    let progress = progress_bar();
    let mut rows = Rows::open(file, &progress)?;
    #[expect(clippy::disallowed_methods, reason = "the example reports how long it took")]
    let started = Instant::now();
    let boards = Arc::new(Boards::default());
    let bus = Bus::memory().producer("flights").state(Arc::clone(&boards)).start().await?;
    let subscriptions = board::subscribe(&bus).await?;

    let mut bad_rows = 0;
    let read = loop {
        match rows.next_row() {
            Ok(Some(Row::Flight { line, flight })) => publish(&bus, line, flight).await?,
            Ok(Some(Row::Bad { line, reason })) => {
                bad_rows += 1;
                progress.suspend(|| complain(format_args!("{}:{line}: {reason}", file.display())));
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err::<(), ReadError>(error),
        }
    };
    let report = bus.shutdown(Duration::from_secs(60)).await;
    progress.finish_and_clear();
    // A file that breaks off in the middle gives no figures that look whole.
    read?;
    board::check_handled(&subscriptions)?;
    let lost = report.tally.dropped + report.tally.expired + report.tally.abandoned;
    Ok(Figures::new(&boards, lost, bad_rows, started.elapsed()))
}

/// On a store that nobody needs afterwards: what fails has to lie somewhere until it is attempted again.
async fn replay_for_once(file: &Path) -> Result<Figures, BoxError> {
    let folder = tempfile::tempdir().map_err(|error| format!("no folder for a store: {error}"))?;
    replay_stored(file, folder.path(), true).await
}

/// The same on a store: publishes what it does not hold yet, and waits until all of it is handled.
async fn replay_stored(file: &Path, store: &Path, is_flaky: bool) -> Result<Figures, BoxError> {
    let progress = progress_bar();
    let mut rows = Rows::open(file, &progress)?;
    #[expect(clippy::disallowed_methods, reason = "the example reports how long it took")]
    let started = Instant::now();
    let desk = Arc::new(Desk::default());
    let bus = ledger::open(store, Arc::<Desk>::clone(&desk)).await?;
    let position = ledger::position(&bus, file)?;
    let subscriptions = ledger::subscribe(&bus).await?;
    let notifying = if is_flaky { Some(notices::subscribe(&bus, &desk).await?) } else { None };
    let complain_of = |line: u64, reason: &str| {
        progress.suspend(|| complain(format_args!("{}:{line}: {reason}", file.display())));
    };
    let position = ledger::publish(&bus, &mut rows, position, complain_of).await?;
    bus.idle().await;
    let notices = match &notifying {
        Some(notifying) => Some(notices::finish(&bus, notifying, &desk).await?),
        None => None,
    };
    progress.finish_and_clear();
    let lost = ledger::check_handled(&subscriptions)?;
    let boards = ledger::boards(&bus)?;
    bus.shutdown(Duration::from_secs(60)).await;
    Ok(Figures::new(&boards, lost, position.bad_rows, started.elapsed()).with(notices))
}

async fn publish(bus: &Bus, line: u64, flight: Flight) -> Result<(), BoxError> {
    let (topic, priority, key) = (flight.topic(), flight.priority(), flight.tail_number.clone());
    let event = Event::new(topic, flight).key(key).priority(priority).meta("row", line.to_string());
    bus.publish(event).await?;
    Ok(())
}

/// Drawn on a terminal only; silent when the output goes elsewhere. It measures the bytes of the file, which are known
/// before its rows are.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0).with_finish(ProgressFinish::AndClear);
    match ProgressStyle::with_template("{wide_bar} {percent}% of {total_bytes}, {elapsed}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
