//! What becomes of deliveries.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use busway_engine::transport::{Letter, Transport, TransportError, Verdict};

use crate::server::Server;
use crate::world::{
    A_WHILE, PATIENCE, connected, event, nothing_comes, numbers, orders, reception, send, settle, take,
};

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_what_is_done_is_never_delivered_again_and_settled_once() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let reception = reception("one").ack_wait(Duration::from_millis(100));
    let receiver = transport.receiver(&reception).await.unwrap();
    send(&*transport.sender().await.unwrap(), (1..=100).map(event).collect()).await;
    let received = take(&receiver, 100).await;
    assert_eq!(numbers(&received), (1..=100).collect::<Vec<_>>());
    settle(&receiver, &received, Verdict::Done).await;
    nothing_comes(&receiver).await;
    let twice = receiver.settle(vec![(received[0].id, Verdict::Done)]).await.remove(0).unwrap_err();
    assert!(matches!(twice, TransportError::Gone { .. }), "{twice}");
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_delayed_one_comes_when_it_is_due_and_not_before_whoever_asks() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    // Shorter than the delay: what is put off is not what lies too long.
    let short = Duration::from_millis(100);
    let one = transport.receiver(&reception("one").ack_wait(short)).await.unwrap();
    let other = transport.receiver(&reception("other").ack_wait(short)).await.unwrap();
    send(&*transport.sender().await.unwrap(), vec![event(1)]).await;
    let received = take(&one, 1).await;
    let begun = Instant::now();
    settle(&one, &received, Verdict::Again(Duration::from_millis(700))).await;
    let came = tokio::select! {
        came = take(&one, 1) => came,
        came = take(&other, 1) => came,
    };
    assert!(begun.elapsed() >= Duration::from_millis(695), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    assert_eq!((numbers(&came), came[0].attempt.get()), (vec![1], 2));
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_one_that_is_given_back_comes_at_once_and_its_attempt_does_not_count() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one").ack_wait(LONG)).await.unwrap();
    send(&*transport.sender().await.unwrap(), vec![event(1)]).await;
    for _ in 0..3 {
        let received = take(&receiver, 1).await;
        assert_eq!(received[0].attempt.get(), 1);
        settle(&receiver, &received, Verdict::Back).await;
    }
    // Who leaves gives back too, and its name goes with it.
    take(&receiver, 1).await;
    receiver.close().await.unwrap();
    assert_eq!(receiver.receive(1).await.unwrap_err(), TransportError::Closed);
    let names: Vec<BTreeMap<String, redis::Value>> =
        server.ask(&["XINFO", "CONSUMERS", "busway:stream:orders:0", "stock"]).await;
    assert!(
        names.iter().all(|name| name["name"] == redis::Value::BulkString(b"busway:again".to_vec())),
        "{names:?}"
    );
    let other = transport.receiver(&reception("other").ack_wait(LONG)).await.unwrap();
    let received = take(&other, 1).await;
    assert_eq!((numbers(&received), received[0].attempt.get()), (vec![1], 1));
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_dead_letter_has_all_of_the_event_and_why_and_is_settled() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one").ack_wait(Duration::from_millis(100))).await.unwrap();
    send(&*transport.sender().await.unwrap(), vec![event(7)]).await;
    let letter = Letter::new("no such customer").attempts(5).handler("Stock::take");
    settle(&receiver, &take(&receiver, 1).await, Verdict::Dead(letter)).await;
    nothing_comes(&receiver).await;
    let dead: Vec<(String, Vec<String>)> = server.ask(&["XRANGE", "busway:dead:orders", "-", "+"]).await;
    let stored: Vec<(String, Vec<String>)> =
        server.ask(&["XRANGE", "busway:stream:orders:0", "-", "+"]).await;
    assert_eq!(dead.len(), 1);
    let (fields, original) = (&dead[0].1, &stored[0].1);
    assert_eq!(&fields[..original.len()], &original[..]);
    let more = fields[original.len()..].to_vec();
    let expected = [
        "busway_reason",
        "no such customer",
        "busway_attempts",
        "5",
        "busway_handler",
        "Stock::take",
        "busway_subscription",
        "stock",
        "busway_partition",
        "0",
        "busway_id",
        &stored[0].0,
    ];
    assert_eq!(more, expected);
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_what_is_not_settled_in_time_goes_to_another_member_and_a_renewed_one_does_not() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let wait = Duration::from_millis(300);
    let one = transport.receiver(&reception("one").ack_wait(wait)).await.unwrap();
    send(&*transport.sender().await.unwrap(), vec![event(1), event(2)]).await;
    let received = take(&one, 2).await;
    let other = transport.receiver(&reception("other").ack_wait(wait)).await.unwrap();
    let kept = [received[1].id];
    let came = {
        let mut taking = std::pin::pin!(take(&other, 1));
        loop {
            match tokio::time::timeout(wait / 4, &mut taking).await {
                Ok(came) => break came,
                Err(_) => one.renew(&kept).await.unwrap(),
            }
        }
    };
    assert_eq!((numbers(&came), came[0].attempt.get()), (vec![1], 2));
    settle(&other, &came, Verdict::Done).await;
    let late = one.settle(vec![(received[0].id, Verdict::Done)]).await.remove(0).unwrap_err();
    assert!(matches!(late, TransportError::Gone { .. }), "{late}");
    settle(&one, &received[1..], Verdict::Done).await;
    nothing_comes(&other).await;
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_who_comes_back_under_its_name_has_what_it_had_at_once() {
    let server = Server::start().await;
    let transport = connected(&server, orders().partitions(2)).await;
    let receiver = transport.receiver(&reception("one").ack_wait(LONG)).await.unwrap();
    send(&*transport.sender().await.unwrap(), (1..=150).map(event).collect()).await;
    let received = take(&receiver, 100).await;
    settle(&receiver, &received[..20], Verdict::Done).await;
    let done = numbers(&received[..20]);
    // As if its process had died.
    drop(receiver);
    let receiver = transport.receiver(&reception("one").ack_wait(LONG)).await.unwrap();
    let again = take(&receiver, 130).await;
    let mut came: Vec<u32> = numbers(&again).into_iter().chain(done).collect();
    came.sort_unstable();
    assert_eq!(came, (1..=150).collect::<Vec<_>>());
    assert_eq!(again.iter().filter(|received| received.attempt.get() == 2).count(), 80);
    // And what a dropped one had goes to others when its time is over.
    drop(receiver);
    let other = transport.receiver(&reception("other").ack_wait(Duration::from_millis(100))).await.unwrap();
    let others = tokio::time::timeout(PATIENCE, other.receive(1)).await.unwrap().unwrap();
    assert!(others[0].attempt.get() >= 2);
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_member_that_died_is_forgotten_when_others_have_what_it_had() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let wait = Duration::from_millis(100);
    let one = transport.receiver(&reception("one").ack_wait(wait)).await.unwrap();
    send(&*transport.sender().await.unwrap(), vec![event(1)]).await;
    take(&one, 1).await;
    drop(one);
    let other = transport.receiver(&reception("other").ack_wait(wait)).await.unwrap();
    settle(&other, &take(&other, 1).await, Verdict::Done).await;
    let ask = async || -> Vec<BTreeMap<String, redis::Value>> {
        server.ask(&["XINFO", "CONSUMERS", "busway:stream:orders:0", "stock"]).await
    };
    let one = redis::Value::BulkString(b"one".to_vec());
    let gone = async {
        while ask().await.iter().any(|name| name["name"] == one) {
            nothing_comes(&other).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_two_members_share_all_events_and_each_has_one_of_them() {
    let server = Server::start().await;
    let transport = connected(&server, orders().partitions(2)).await;
    let one = transport.receiver(&reception("one").in_flight_max(10)).await.unwrap();
    let other = transport.receiver(&reception("other").in_flight_max(10)).await.unwrap();
    send(&*transport.sender().await.unwrap(), (1..=200).map(event).collect()).await;
    let (mut counts, mut all) = ([0, 0], Vec::new());
    while all.len() < 200 {
        for (at, receiver) in [&one, &other].into_iter().enumerate() {
            if let Ok(received) = tokio::time::timeout(A_WHILE, receiver.receive(50)).await {
                let received = received.unwrap();
                assert!(received.len() <= 10);
                counts[at] += received.len();
                all.extend(numbers(&received));
                settle(receiver, &received, Verdict::Done).await;
            }
        }
    }
    all.sort_unstable();
    assert_eq!(all, (1..=200).collect::<Vec<_>>());
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_no_more_is_in_flight_than_may_be_and_a_dropped_call_loses_nothing() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one").ack_wait(LONG).in_flight_max(3)).await.unwrap();
    send(&*transport.sender().await.unwrap(), (1..=20).map(event).collect()).await;
    let mut all = Vec::new();
    while all.len() < 20 {
        // Dropped when it is polled for the first time, mostly: its question goes on.
        let Ok(received) = tokio::time::timeout(Duration::ZERO, receiver.receive(2)).await else { continue };
        let received = received.unwrap();
        all.extend(numbers(&received));
        settle(&receiver, &received, Verdict::Done).await;
    }
    assert_eq!(all, (1..=20).collect::<Vec<_>>());
    send(&*transport.sender().await.unwrap(), (21..=30).map(event).collect()).await;
    let held = take(&receiver, 3).await;
    nothing_comes(&receiver).await;
    settle(&receiver, &held[..1], Verdict::Done).await;
    assert_eq!(numbers(&take(&receiver, 1).await), [24]);
}
