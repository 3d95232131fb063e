//! Circuit breakers: a service that is down is not called again and again, no attempt is spent on it, and nobody else waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use busway::prelude::*;
use tokio::sync::mpsc::unbounded_channel;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "profile", key = user)]
struct Profile {
    user: String,
    plan: String,
}

/// Another company's service: its first calls hang, and while it is down they are refused.
#[derive(Clone, Default)]
struct Service {
    calls: Arc<AtomicUsize>,
    hang: usize,
    is_up_from: Arc<AtomicUsize>,
}

impl Service {
    async fn call(&self) -> Result<(), BoxError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if call < self.hang {
            std::future::pending::<()>().await;
        }
        match call >= self.is_up_from.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("connection refused".into()),
        }
    }
}

fn show(bus: &Bus, subscription: &str, topic: &str) {
    if let Some(channel) = bus.breakers().get(subscription, topic) {
        println!("{subscription} is {} after {} calls that failed", channel.state, channel.counts.failures);
    }
}

/// A payment is acknowledged now, with an empty answer, so that nothing behind it waits; its notification follows when it can.
async fn payments(bus: &Bus) -> busway::Result<()> {
    let (sent, mut notified) = unbounded_channel();
    let mail = Service { hang: 1, is_up_from: Arc::new(usize::MAX.into()), ..Service::default() };
    let service = mail.clone();
    let notify = move |payment: AnyEvent| {
        let (service, sent) = (service.clone(), sent.clone());
        async move {
            service.call().await?;
            sent.send(payment.key().map(Key::to_string))?;
            Ok::<(), BoxError>(())
        }
    };
    let later = Breaker::default().opens_after(2).open_for(Duration::from_millis(1_500));
    let later = later.fallback(Fallback::ack_and_retry_later());
    let notifying = bus.subscribe("payments.settled").durable("payment-notify").breaker(later);
    let notifying = notifying.deadline(Duration::from_millis(1_500)).to(notify).await?;
    for payment in ["A-1", "A-2", "A-3", "A-4"] {
        bus.publish(Event::new("payments.settled", Raw::default()).key(payment)).await?;
    }
    bus.idle().await;
    show(bus, "payment-notify", "payments.settled");
    println!("{} payments wait in the store", notifying.stats().parked);
    mail.is_up_from.store(0, Ordering::Relaxed);
    let mut all = Vec::new();
    while all.len() < 4 {
        all.extend(notified.recv().await.flatten());
    }
    all.sort();
    bus.idle().await;
    println!("notified: {}", all.join(", "));
    show(bus, "payment-notify", "payments.settled");
    Ok(())
}

/// A profile may be a little old: while its service is down the last one that was read is the answer.
async fn profiles(bus: &Bus) -> busway::Result<()> {
    let profiles = Service::default();
    let service = profiles.clone();
    let sync = move |seen: AnyEvent| {
        let (service, user) = (service.clone(), seen.key().map(Key::to_string).unwrap_or_default());
        async move {
            service.call().await?;
            Ok::<_, BoxError>(Event::new("profiles.synced", Profile { user, plan: "gold".into() }))
        }
    };
    let cached = Breaker::default().opens_after(5).fallback(Fallback::cached::<Profile>());
    let syncing = bus.subscribe("users.seen").durable("user-profile-sync").breaker(cached);
    syncing.deadline(Duration::from_secs(3)).to(sync).await?;
    let print = async |profile: Payload<Profile>, meta: Meta| {
        let from = meta.get("fallback").unwrap_or("the service");
        println!("{} has the plan {}, says {from}", profile.user, profile.plan);
    };
    bus.subscribe("profiles.synced").to(print).await?;
    for user in ["anna", "u-1", "u-2", "u-3", "u-4", "u-5", "anna"] {
        bus.publish(Event::new("users.seen", Raw::default()).key(user)).await?;
        bus.idle().await;
        profiles.is_up_from.store(usize::MAX, Ordering::Relaxed);
    }
    show(bus, "user-profile-sync", "users.seen");
    Ok(())
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let path = std::env::temp_dir().join(format!("busway-14-circuit-breaker-{}", std::process::id()));
    let [payment, user, profile] = ["payments", "users", "profiles"].map(Stream::new);
    let bus = Bus::open(&path).stream(payment.capture("payments.#")).stream(user.capture("users.#"));
    let bus = bus.stream(profile.capture("profiles.#")).start().await?;
    payments(&bus).await?;
    profiles(&bus).await?;
    bus.shutdown(Duration::from_secs(5)).await;
    drop(std::fs::remove_dir_all(path));
    Ok(())
}
