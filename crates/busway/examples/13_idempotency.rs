//! Idempotency: a payment that is asked for twice is made once, also over a failure and a restart.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "payment-wanted", key = account)]
struct PaymentWanted {
    account: String,
    payment: Payment,
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Payment {
    number: String,
    cents: u64,
}

/// The bank, which is away at its first call.
#[derive(Clone, Default)]
struct Bank(Arc<AtomicU32>);

impl Bank {
    fn pay(&self, payment: &Payment) -> Result<(), &'static str> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => {
                println!("the bank is away");
                Err("the bank is away")
            }
            _ => {
                println!("paid {} cents for {}", payment.cents, payment.number);
                Ok(())
            }
        }
    }
}

async fn pay(wanted: Payload<PaymentWanted>, State(bank): State<Bank>) -> Result<(), BoxError> {
    Ok(bank.pay(&wanted.payment)?)
}

/// Two events are one payment when they bear the same number, whatever their ids are.
fn once() -> Idempotency {
    Idempotency::by_pointer("/payment/number").ttl(Duration::from_secs(7 * 24 * 3_600))
}

async fn start(path: &Path) -> busway::Result<(Bus, busway::DurableSubscription)> {
    let bus = Bus::open(path).stream(Stream::new("payments").capture("payments.#")).state(Bank::default());
    let bus = bus.start().await?;
    let builder = bus.subscribe("payments.wanted").durable("payments").start_at(StartAt::Earliest);
    // A failure leaves no trace of the key: what is marked before it has succeeded would be lost here.
    let retry =
        Retry::default().first_delay(Duration::from_millis(20)).longest_delay(Duration::from_millis(20));
    let subscription = builder.retry(retry).idempotent(once()).to(pay).await?;
    Ok((bus, subscription))
}

/// Published anew, as somebody does who did not get an answer: another event with an id of its own.
async fn want(bus: &Bus, number: &str) -> busway::Result<()> {
    let payment = Payment { number: number.into(), cents: 4_200 };
    bus.publish(Event::new("payments.wanted", PaymentWanted { account: "A-1".into(), payment })).await?;
    Ok(())
}

async fn is_settled(subscription: &busway::DurableSubscription) {
    while subscription.lag().events > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let path = std::env::temp_dir().join(format!("busway-13-idempotency-{}", std::process::id()));
    let (bus, subscription) = start(&path).await?;
    for _ in 0..3 {
        want(&bus, "P-1").await?;
    }
    is_settled(&subscription).await;
    let stats = subscription.stats();
    println!("{} done, {} skipped", stats.done, stats.skipped);
    bus.shutdown(Duration::from_secs(5)).await;

    println!("  -- the process starts again --");
    let (bus, subscription) = start(&path).await?;
    want(&bus, "P-1").await?;
    is_settled(&subscription).await;
    if let Some(steps) = subscription.stats().idempotency {
        println!("{} known to the store, {} handled", steps.store_hits, steps.leased);
    }
    let by_nobody =
        bus.subscribe("payments.#").durable("wrong").idempotent(Idempotency::by_pointer("number"));
    if let Err(error) = by_nobody.to(async || {}).await {
        println!("{error}");
    }
    bus.shutdown(Duration::from_secs(5)).await;
    std::fs::remove_dir_all(&path).ok();
    Ok(())
}
