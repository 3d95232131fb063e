//! The flights job in three processes that share a subscription at a broker, each killed in turn and started again.
//!
//! `cargo run --release -p busway-examples --example 19_scale_out -- --nats nats://127.0.0.1:4222 [--data FILE] [--workers N] [--calm] [--json]`, or
//! `--kafka 127.0.0.1:9092` in the place of `--nats`.
//!
//! The figures equal those of `cargo run --release --example flights`, but for `seconds`.

mod children;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use busway::BoxError;
use busway_examples::{Place, merge, publish, work};
use clap::{Parser, Subcommand};
use tokio::io::AsyncReadExt as _;

use crate::children::{Children, Told};

/// Handles departures in several processes.
#[derive(Debug, Parser)]
#[command(name = "19_scale_out")]
struct Arguments {
    /// The URL of a NATS server with `JetStream`.
    #[arg(long, global = true, default_value = "nats://127.0.0.1:4222")]
    nats: String,
    /// Kafka in the place of NATS: brokers, `host:port` with commas between them.
    #[arg(long, global = true)]
    kafka: Option<String>,
    /// A file of departures, `.csv` or `.csv.xz`. Default: the week that ships with busway.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    /// Processes that share the subscription.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Kills nobody.
    #[arg(long)]
    calm: bool,
    /// Prints one JSON object on one line.
    #[arg(long)]
    json: bool,
    /// What a process of this is; none for who starts them all.
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Clone, Subcommand)]
enum Part {
    /// Publishes.
    Publish {
        /// The folder of its store.
        store: PathBuf,
    },
    /// Handles.
    Work {
        /// The folder of its store.
        store: PathBuf,
        /// Its name among the members.
        member: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let place = match &arguments.kafka {
        Some(brokers) => Place::Kafka(brokers.clone()),
        None => Place::Nats(arguments.nats.clone()),
    };
    let done = match &arguments.part {
        None => run(&arguments).await,
        Some(Part::Publish { store }) => {
            let told = |published, bad| say(format_args!("published {published} {bad}"));
            publish(&place, &file(&arguments), store, told, told_to_end()).await
        }
        Some(Part::Work { store, member }) => {
            work(&place, store, member, |row| say(format_args!("row {row}")), told_to_end()).await
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes =
                std::iter::successors(Some(&*error as &dyn std::error::Error), |&error| error.source());
            let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
            _ = writeln!(std::io::stderr().lock(), "19_scale_out: {text}");
            ExitCode::FAILURE
        }
    }
}

/// A line for who started this process. That nobody reads it is no reason to stop.
fn say(line: std::fmt::Arguments<'_>) {
    _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Whoever started this process closes its standard input when it is to end.
async fn told_to_end() {
    let mut nothing = Vec::new();
    _ = tokio::io::stdin().read_to_end(&mut nothing).await;
}

fn file(arguments: &Arguments) -> PathBuf {
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../busway/examples/data/flights-2013-01-week1.csv");
    arguments.data.clone().unwrap_or(shipped)
}

/// Starts all processes, kills the workers one by one, waits until every departure is stored by somebody, and merges.
async fn run(arguments: &Arguments) -> Result<(), BoxError> {
    #[expect(clippy::disallowed_methods, reason = "the example reports how long it took")]
    let started = Instant::now();
    let folder = tempfile::tempdir()?;
    let mut common = vec!["--data".into(), file(arguments).into_os_string()];
    match &arguments.kafka {
        Some(brokers) => common.extend(["--kafka".into(), brokers.into()]),
        None => common.extend(["--nats".into(), arguments.nats.clone().into()]),
    }
    let mut children = Children::new(common);
    children.start("publisher", &["publish".into(), folder.path().join("publisher").into_os_string()])?;
    let members: Vec<String> =
        (1..=arguments.workers.max(1)).map(|number| format!("worker-{number}")).collect();
    let stores: Vec<PathBuf> = members.iter().map(|member| folder.path().join(member)).collect();
    let part = |member: &str| ["work".into(), folder.path().join(member).into_os_string(), member.into()];
    for member in &members {
        children.start(member, &part(member))?;
    }
    let mut to_kill = if arguments.calm { Vec::new() } else { members.clone() };
    let mut told = Told::default();
    while !told.is_complete() {
        children.listen(&mut told).await?;
        // At even distances of the way, as far as it is known how long that is.
        let next = members.len() + 1 - to_kill.len();
        if told.share(members.len() + 1) >= next
            && let Some(victim) = to_kill.pop()
        {
            children.kill(&victim).await?;
            children.start(&victim, &part(&victim))?;
        }
    }
    children.end().await?;
    let figures = merge(&stores, told.bad_rows, started.elapsed()).await?;
    match arguments.json {
        true => say(format_args!("{figures}")),
        false => say(format_args!("{}", serde_json::to_string_pretty(&figures)?)),
    }
    Ok(())
}

/// How long nothing may be heard of all processes together.
const PATIENCE: Duration = Duration::from_secs(60);
