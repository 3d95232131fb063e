//! offered = delivered + dropped + expired + abandoned + waiting, for each overflow policy.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Bus, Settings};
use busway_event::AnyEvent;
use busway_middleware::{Payload, blocking, inline};
use busway_reliability::Overflow;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::world::{Number, memory, number};

#[tokio::test]
async fn smoke() {
    let bus = memory().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let sub = bus
        .subscribe("a.#")
        .capacity(1024)
        .to(move |event: Payload<Number>| {
            let keep = Arc::clone(&keep);
            async move { keep.lock().push(event.n) }
        })
        .await
        .unwrap();
    for n in 0..1000 {
        bus.publish(number("a.b", n)).await.unwrap();
    }
    bus.idle().await;
    assert_eq!(*seen.lock(), (0..1000).collect::<Vec<_>>());
    println!("{}", bus.describe());
    let report = bus.shutdown(Duration::from_secs(1)).await;
    println!("{report} {}", sub.stats());
    assert!(report.is_drained());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smoke_concurrent() {
    let bus = memory().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let sub = bus
        .subscribe("a.#")
        .capacity(16)
        .concurrency(8)
        .overflow(Overflow::Block(None))
        .to(move |event: Payload<Number>| {
            let keep = Arc::clone(&keep);
            async move {
                tokio::task::yield_now().await;
                keep.lock().push(event.n)
            }
        })
        .await
        .unwrap();
    let blocks = bus
        .subscribe("a.b")
        .overflow(Overflow::Block(None))
        .to(blocking(|_: Payload<Number>| {}))
        .await
        .unwrap();
    let inl = bus.subscribe("a.b").to(inline(|_: Payload<Number>| {})).await.unwrap();
    for n in 0..10_000 {
        bus.publish(number("a.b", n).key(format!("k{}", n % 7))).await.unwrap();
    }
    bus.idle().await;
    assert_eq!(seen.lock().len(), 10_000);
    let mut per: std::collections::BTreeMap<u32, Vec<u32>> = Default::default();
    for n in seen.lock().iter() {
        per.entry(n % 7).or_default().push(*n);
    }
    for (_, v) in per {
        assert!(v.is_sorted());
    }
    assert_eq!(blocks.stats().done, 10_000);
    assert_eq!(inl.stats().done, 10_000);
    let report = bus.shutdown(Duration::from_secs(1)).await;
    println!("{report} {}", sub.stats());
    assert!(report.is_drained());
}
