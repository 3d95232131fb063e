//! Exactly once, inside the store: kill this program at any instant, start it again, and the total is right.
//!
//! Without an argument it proves that by itself: it runs itself in a new folder, kills that process four times, and lets the fifth come to its
//! end. With a folder as its argument it is the program that is killed: `cargo run --example 09_exactly_once_counter -- my-folder`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "payment-made")]
struct PaymentMade {
    cents: u64,
}

/// What was counted, and how far the producer came: in the same store as the events, and in the same commits.
const TOTALS: Table<String, u64> = Table::new("totals");
const PRODUCER: Table<String, u64> = Table::new("producer");

const PAYMENTS: u64 = 600;
const BATCH: u64 = 25;

/// Runs where the store is written: its write and the settlement of its event are one commit.
#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
fn count(payment: Payload<PaymentMade>, tx: &mut StoreTx<'_>) -> Result<(), TxError> {
    let before = tx.get(&TOTALS, "cents")?.unwrap_or(0);
    tx.put(&TOTALS, "cents", &(before + payment.cents))
}

/// The same as an async handler: what it reads is checked again when it is stored.
async fn count_payments(_payment: Payload<PaymentMade>, mut tx: Tx) -> Result<(), TxError> {
    let before = tx.get(&TOTALS, "payments")?.unwrap_or(0);
    tx.put(&TOTALS, "payments", &(before + 1))
}

/// Publishes the next batch and notes how far it came, both or neither.
fn publish_next(tx: &mut StoreTx<'_>) -> Result<u64, TxError> {
    let from = tx.get(&PRODUCER, "position")?.unwrap_or(0);
    let to = (from + BATCH).min(PAYMENTS);
    for cents in from + 1..=to {
        tx.publish(Event::new("payments.made", PaymentMade { cents }))?;
    }
    tx.put(&PRODUCER, "position", &to)?;
    Ok(to)
}

async fn work(path: &Path) -> busway::Result<()> {
    let payments = Stream::new("payments").capture("payments.#");
    let bus = Bus::open(path).stream(payments).table(&TOTALS).table(&PRODUCER).start().await?;
    let subscribe =
        |name| bus.subscribe("payments.#").durable(name).start_at(StartAt::Earliest).concurrency(64);
    subscribe("cents").to(in_store(count)).await?;
    subscribe("payments").concurrency(1).to(count_payments).await?;
    while bus.transaction(publish_next).await?.value < PAYMENTS {
        println!("{} cents so far", bus.read(|tables| tables.get(&TOTALS, "cents"))?.unwrap_or(0));
    }
    bus.idle().await;
    let (cents, payments) =
        bus.read(|tables| Ok((tables.get(&TOTALS, "cents")?, tables.get(&TOTALS, "payments")?)))?;
    println!("total {} cents in {} payments", cents.unwrap_or(0), payments.unwrap_or(0));
    bus.shutdown(std::time::Duration::from_secs(5)).await;
    Ok(())
}

/// Starts this program, and kills it when it has said so many lines; says the last line of one that came to its end.
fn run_and_kill(path: &Path, lines: usize) -> std::io::Result<Option<String>> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.arg(path).stdout(Stdio::piped()).spawn()?;
    let said = BufReader::new(child.stdout.take().expect("its output is piped"));
    let said: Vec<String> = said.lines().take(lines).collect::<Result<_, _>>()?;
    child.kill()?;
    child.wait()?;
    Ok(said.into_iter().last().filter(|line| line.starts_with("total")))
}

fn main() -> Result<(), BoxError> {
    if let Some(path) = std::env::args_os().nth(1) {
        let runtime = tokio::runtime::Runtime::new()?;
        return Ok(runtime.block_on(work(Path::new(&path)))?);
    }
    let path = std::env::temp_dir().join(format!("busway-09-counter-{}", std::process::id()));
    for killed_after in [1, 3, 6, 9] {
        match run_and_kill(&path, killed_after)? {
            None => println!("killed"),
            Some(total) => println!("it was quicker: {total}"),
        }
    }
    let total = run_and_kill(&path, usize::MAX)?.ok_or("it did not come to its end")?;
    println!("{total}");
    assert_eq!(total, format!("total {} cents in {PAYMENTS} payments", PAYMENTS * (PAYMENTS + 1) / 2));
    std::fs::remove_dir_all(path)?;
    Ok(())
}
