//! Circuit breakers: a service that is down is not called again and again, no attempt is spent on it, and nobody else waits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use busway::prelude::*;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "payment-settled", key = payment_id)]
struct PaymentSettled {
    payment_id: String,
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "user-seen", key = user)]
struct UserSeen {
    user: String,
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "profile", key = user)]
struct Profile {
    user: String,
    plan: String,
}

/// Another company's service: the first calls hang, the next ones are refused, then it is repaired.
#[derive(Clone)]
struct Service {
    calls: Arc<AtomicUsize>,
    hangs: usize,
    down_until: Arc<AtomicUsize>,
}

impl Service {
    fn new(hangs: usize) -> Self {
        Self { calls: Arc::default(), hangs, down_until: Arc::new(AtomicUsize::new(usize::MAX)) }
    }

    async fn call(&self) -> Result<(), BoxError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if call < self.hangs {
            std::future::pending::<()>().await;
        }
        match call < self.down_until.load(Ordering::Relaxed) {
            true => Err("connection refused".into()),
            false => Ok(()),
        }
    }

    fn is_repaired(&self) {
        self.down_until.store(0, Ordering::Relaxed);
    }

    fn breaks(&self) {
        self.down_until.store(usize::MAX, Ordering::Relaxed);
    }
}

fn show(bus: &Bus, subscription: &str, topic: &str) {
    if let Some(status) = bus.breakers().get(subscription, topic) {
        println!("{subscription} is {} after {} calls that failed", status.state, status.counts.failures);
    }
}

/// Whoever waits for the notification of a payment gets an empty acknowledgement now; the notification itself follows when it can.
async fn payments(bus: &Bus) -> busway::Result<()> {
    let (mail, (sent, mut notified)) = (Service::new(1), unbounded_channel());
    let service = mail.clone();
    let notify = move |payment: Payload<PaymentSettled>| {
        let (service, sent): (Service, UnboundedSender<String>) = (service.clone(), sent.clone());
        async move {
            service.call().await?;
            sent.send(payment.payment_id.clone())?;
            Ok::<(), BoxError>(())
        }
    };
    let breaker = Breaker::default()
        .opens_after(2)
        .open_for(Duration::from_millis(1_500))
        .fallback(Fallback::ack_and_retry_later());
    let subscription = bus
        .subscribe("payments.settled")
        .durable("payment-notify")
        .deadline(Duration::from_millis(1_500))
        .breaker(breaker)
        .to(notify)
        .await?;
    for payment_id in ["A-1", "A-2", "A-3", "A-4"] {
        let payment = PaymentSettled { payment_id: payment_id.into() };
        bus.publish(Event::new("payments.settled", payment)).await?;
    }
    bus.idle().await;
    show(bus, "payment-notify", "payments.settled");
    println!("{} payments wait in the store", subscription.stats().parked);
    mail.is_repaired();
    let mut all = Vec::new();
    while all.len() < 4 {
        all.extend(notified.recv().await);
    }
    all.sort();
    bus.idle().await;
    println!("notified: {}", all.join(", "));
    show(bus, "payment-notify", "payments.settled");
    Ok(())
}

/// A profile may be a little old: while its service is down the last one that was read is the answer.
async fn profiles(bus: &Bus) -> busway::Result<()> {
    let profiles = Service::new(0);
    profiles.is_repaired();
    let service = profiles.clone();
    let sync = move |seen: Payload<UserSeen>| {
        let service = service.clone();
        async move {
            service.call().await?;
            let profile = Profile { user: seen.user.clone(), plan: "gold".into() };
            Ok::<_, BoxError>(Event::new("profiles.synced", profile))
        }
    };
    let breaker = Breaker::default().opens_after(5).fallback(Fallback::cached::<Profile>());
    bus.subscribe("users.seen")
        .durable("user-profile-sync")
        .deadline(Duration::from_secs(3))
        .breaker(breaker)
        .to(sync)
        .await?;
    let print = |profile: Payload<Profile>, meta: Meta| {
        let from = meta.get("fallback").unwrap_or("the service");
        println!("{} has the plan {}, says {from}", profile.user, profile.plan);
        std::future::ready(())
    };
    bus.subscribe("profiles.synced").to(print).await?;
    let seen = async |user: &str| {
        bus.publish(Event::new("users.seen", UserSeen { user: user.into() })).await?;
        bus.idle().await;
        busway::Result::Ok(())
    };
    seen("anna").await?;
    profiles.breaks();
    for user in ["u-1", "u-2", "u-3", "u-4", "u-5"] {
        seen(user).await?;
    }
    show(bus, "user-profile-sync", "users.seen");
    seen("anna").await
}

async fn start(path: &Path) -> busway::Result<Bus> {
    let streams = [("payments", "payments.#"), ("users", "users.#"), ("profiles", "profiles.#")];
    let streams = streams.map(|(name, filter)| Stream::new(name).capture(filter));
    Ok(streams.into_iter().fold(Bus::open(path), busway::BusBuilder::stream).start().await?)
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let path = std::env::temp_dir().join(format!("busway-14-circuit-breaker-{}", std::process::id()));
    let bus = start(&path).await?;
    payments(&bus).await?;
    profiles(&bus).await?;
    bus.shutdown(Duration::from_secs(5)).await;
    drop(std::fs::remove_dir_all(path));
    Ok(())
}
