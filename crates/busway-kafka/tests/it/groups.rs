//! Members that come and go while there is work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::{Receiver, Transport as _, TransportError, Verdict};
use parking_lot::Mutex;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::world::{
    PATIENCE, TIMEOUT, event, number, numbers, orders, receive, reception, send, settle, take, told,
    with_orders,
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
    while seen.came.lock().len() < EVENTS {
        let Ok(received) = timeout(Duration::from_millis(100), receiver.receive(8)).await else { continue };
        let received = match received {
            Ok(received) => received,
            Err(TransportError::Closed) => return,
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                continue;
            }
        };
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
                // While a group is changing a broker may hear late of what is settled: then nobody says so here.
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_join_and_leave_under_load_lose_nothing_and_keep_the_order_of_keys() {
    let cluster = Cluster::of(1);
    join_and_leave(&cluster, TIMEOUT, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebalance_that_is_delayed_loses_nothing_and_keeps_the_order_of_keys() {
    let cluster = Cluster::of(1);
    join_and_leave(&cluster, TIMEOUT, delay).await;
}

/// A commit that is sent while a group forms waits behind the question to join. Were it given up after the timeout, its connection would be, and the question with it:
/// the group would begin to form anew again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_takes_longer_to_form_than_the_timeout_forms_all_the_same() {
    let cluster = Cluster::of(1);
    join_and_leave(&cluster, Duration::from_secs(1), |_| {}).await;
}

/// What members ask the broker takes long from now on, and first it says that the group is being changed.
fn delay(cluster: &Cluster) {
    let (mock, again) = (cluster.mock(), RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS);
    mock.broker_round_trip_time(1, Duration::from_millis(150)).unwrap();
    mock.request_errors(RDKafkaApiKey::JoinGroup, &[again; 3]);
    mock.request_errors(RDKafkaApiKey::OffsetCommit, &[again; 3]);
    // Each of these costs the group a round, which lasts as long as a session.
    mock.request_errors(RDKafkaApiKey::SyncGroup, &[again]);
}

/// A second member joins while a first one works, and later the first one leaves.
async fn join_and_leave(cluster: &Cluster, time: Duration, trouble: impl FnOnce(&Cluster)) {
    cluster.make("orders", PARTITIONS);
    let connect = || async { cluster.builder().timeout(time).connect().await.unwrap() };
    let transport = connect().await;
    transport.prepare(&[orders(PARTITIONS)]).await.unwrap();
    let seen = Arc::new(Seen::default());
    let wanted = reception().in_flight_max(16);
    let first = receive(&transport, &wanted.clone().member("first")).await;
    let working = tokio::spawn(work(1, Arc::clone(&first), Arc::clone(&seen)));
    let sending = transport.clone();
    let sender = tokio::spawn(async move {
        for round in 0..u32::try_from(EVENTS / KEYS).unwrap() {
            let keys = u32::try_from(KEYS).unwrap();
            let some = (0..keys).map(|key| event(round * keys + key, Some(&format!("key-{key}")))).collect();
            send(&sending, some).await;
            timeout(Duration::from_millis(80), std::future::pending::<()>()).await.unwrap_err();
        }
    });
    until(|| seen.count() > EVENTS / 10).await;
    let another = connect().await;
    trouble(cluster);
    let second = receive(&another, &wanted.clone().member("second")).await;
    let helping = tokio::spawn(work(2, Arc::clone(&second), Arc::clone(&seen)));
    until(|| seen.busy.lock().contains(&2)).await;
    cluster.mock().broker_round_trip_time(1, Duration::ZERO).unwrap();
    until(|| seen.count() > EVENTS / 2).await;
    first.close().await.unwrap();
    let ended = timeout(PATIENCE, async {
        sender.await.unwrap();
        working.await.unwrap();
        helping.await.unwrap();
    });
    let in_time = ended.await.is_ok();
    let left: Vec<_> = {
        let came = seen.came.lock();
        (0..u32::try_from(EVENTS).unwrap()).filter(|number| !came.contains(number)).collect()
    };
    assert!(in_time, "these did not come: {left:?}");
    // What came last may have come to a member that had to give its partition away.
    let committed = async {
        while all_positions(cluster) < EVENTS {
            if let Ok(Ok(late)) = timeout(Duration::from_millis(100), second.receive(8)).await {
                told(&second, &late, Verdict::Done).await;
            }
        }
    };
    let is_committed = timeout(PATIENCE, committed).await.is_ok();
    let positions = positions(cluster);
    assert!(is_committed, "not all of it is committed: {positions:?}");
    assert_eq!(all_positions(cluster), EVENTS, "a position passes what is settled, and no more");
    assert!(!positions.contains(&0), "whichever partitions a member has, it has something to do");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_does_not_take_a_member_is_said_to_it() {
    let (cluster, transport) = with_orders(1).await;
    let refusals = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT,
    ];
    for (refusal, said) in refusals.into_iter().zip(["cooperative-sticky", "session timeout"]) {
        cluster.mock().request_errors(RDKafkaApiKey::JoinGroup, &[refusal; 3]);
        let receiver = receive(&transport, &reception()).await;
        let error = timeout(PATIENCE, receiver.receive(1)).await.unwrap().unwrap_err();
        assert!(matches!(&error, TransportError::Refused(reason) if reason.contains(said)), "{error}");
        receiver.close().await.unwrap();
        cluster.mock().clear_request_errors(RDKafkaApiKey::JoinGroup);
    }
}

fn positions(cluster: &Cluster) -> Vec<i64> {
    (0..PARTITIONS).map(|partition| cluster.position("stock", "orders", i32::from(partition))).collect()
}

fn all_positions(cluster: &Cluster) -> usize {
    usize::try_from(positions(cluster).iter().sum::<i64>()).unwrap()
}

async fn until(holds: impl Fn() -> bool) {
    let holding = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, holding).await.unwrap();
}

const EVENTS: usize = 2_400;
/// So many that each partition has some of them.
const KEYS: usize = 24;
const PARTITIONS: u16 = 8;
