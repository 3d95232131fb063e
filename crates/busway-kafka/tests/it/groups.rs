//! Members that come and go while there is work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use busway_engine::transport::{Receiver, TransportError, Verdict};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::world::{
    PATIENCE, event, number, numbers, receive, reception, send, settle, take, told, with_orders,
};

/// What members saw, all of them together.
#[derive(Default)]
struct Seen {
    /// In the order in which they came first.
    came: Mutex<Vec<u32>>,
    /// How often the broker said that it has heard that one is settled.
    settled: Mutex<BTreeMap<u32, u32>>,
    /// Members that had something to do.
    busy: Mutex<BTreeSet<usize>>,
}

impl Seen {
    fn count(&self) -> usize {
        self.settled.lock().len()
    }
}

async fn work(member: usize, receiver: Arc<dyn Receiver>, seen: Arc<Seen>) {
    while seen.count() < EVENTS {
        let Ok(received) = timeout(Duration::from_millis(100), receiver.receive(8)).await else { continue };
        let Ok(received) = received else { continue };
        seen.busy.lock().insert(member);
        for number in numbers(&received) {
            let mut came = seen.came.lock();
            if !came.contains(&number) {
                came.push(number);
            }
        }
        for (received, told) in received.iter().zip(told(&receiver, &received, Verdict::Done).await) {
            match told {
                Ok(()) => *seen.settled.lock().entry(number(received)).or_default() += 1,
                Err(TransportError::Gone { .. }) => {}
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_join_and_leave_under_load_lose_nothing_and_keep_the_order_of_keys() {
    let (cluster, transport) = with_orders(8).await;
    let seen = Arc::new(Seen::default());
    let wanted = reception().in_flight_max(16);
    let first = receive(&transport, &wanted.clone().member("first")).await;
    let working = tokio::spawn(work(1, Arc::clone(&first), Arc::clone(&seen)));
    let sent = Arc::new(AtomicUsize::new(0));
    let (sending, counted) = (transport.clone(), Arc::clone(&sent));
    let sender = tokio::spawn(async move {
        for round in 0..u32::try_from(EVENTS / KEYS).unwrap() {
            let keys = u32::try_from(KEYS).unwrap();
            let some = (0..keys).map(|key| event(round * keys + key, Some(&format!("key-{key}")))).collect();
            send(&sending, some).await;
            counted.fetch_add(KEYS, Ordering::SeqCst);
            tokio::time::timeout(Duration::from_millis(40), std::future::pending::<()>()).await.unwrap_err();
        }
    });
    until(|| seen.count() > EVENTS / 10).await;
    let another = cluster.connect().await;
    let second = receive(&another, &wanted.clone().member("second")).await;
    let helping = tokio::spawn(work(2, Arc::clone(&second), Arc::clone(&seen)));
    until(|| seen.busy.lock().contains(&2) && seen.count() > EVENTS / 2).await;
    first.close().await.unwrap();
    timeout(2 * PATIENCE, async {
        sender.await.unwrap();
        working.await.unwrap();
        helping.await.unwrap();
    })
    .await
    .unwrap();
    assert_eq!(sent.load(Ordering::SeqCst), EVENTS);
    let settled = seen.settled.lock().clone();
    assert!(settled.values().all(|times| *times == 1), "settled is never delivered again: {settled:?}");
    let mut last = BTreeMap::new();
    for number in seen.came.lock().iter() {
        let before = last.insert(*number as usize % KEYS, *number);
        assert!(before < Some(*number), "{number} came behind {before:?} of its key");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_settled_before_its_partition_goes_stays_so_and_after_it_is_gone() {
    let (cluster, transport) = with_orders(4).await;
    let wanted = reception().ack_wait(Duration::from_secs(60));
    let first = receive(&transport, &wanted.clone().member("first")).await;
    let all: Vec<_> = (0..40).map(|number| event(number, Some(&format!("key-{number}")))).collect();
    send(&transport, all).await;
    let came = take(&first, 40).await;
    let (before, after) = came.split_at(20);
    settle(&first, before, Verdict::Done).await;
    let another = cluster.connect().await;
    let second = receive(&another, &wanted.member("second")).await;
    // Nothing of the first half is among what the second is given.
    let moved = take(&second, 1).await;
    let after_them = told(&first, after, Verdict::Done).await;
    let gone: BTreeSet<_> = after
        .iter()
        .zip(&after_them)
        .filter(|(_, told)| matches!(told, Err(TransportError::Gone { .. })))
        .map(|(received, _)| number(received))
        .collect();
    assert!(after_them.iter().all(|told| told.is_ok() || matches!(told, Err(TransportError::Gone { .. }))));
    assert!(gone.contains(&number(&moved[0])), "{gone:?} {moved:?}");
    let rest = take(&second, gone.len() - 1).await;
    let theirs: BTreeSet<_> = numbers(&moved).into_iter().chain(numbers(&rest)).collect();
    assert_eq!(theirs, gone);
}

async fn until(holds: impl Fn() -> bool) {
    let holding = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, holding).await.unwrap();
}

const EVENTS: usize = 1_200;
const KEYS: usize = 6;
