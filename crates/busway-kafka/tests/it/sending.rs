//! Sending, and what brokers have against it.

use std::time::Duration;

use busway_engine::transport::{Transport, TransportError, Verdict};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Said};

use crate::cluster::Cluster;
use crate::world::{event, events, numbers, orders, receive, reception, send, settle, take, with_orders};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broker_refuses_for_a_while_is_written_once_and_in_order() {
    let (cluster, transport) = with_orders(1).await;
    let busy = [Said::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, Said::RD_KAFKA_RESP_ERR__TRANSPORT];
    cluster.mock().request_errors(RDKafkaApiKey::Produce, &[busy[0], busy[1], busy[0], busy[1]]);
    let sent = send(&transport, events(0..50, Some("a"))).await;
    let offsets: Vec<_> = sent.iter().map(|sent| sent.offset.unwrap()).collect();
    assert_eq!(offsets, (0..50).collect::<Vec<_>>());
    assert_eq!(cluster.records("orders").len(), 50, "each is there once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broker_refuses_for_good_says_why() {
    let (cluster, transport) = with_orders(1).await;
    let sender = transport.sender().await.unwrap();
    // In this order: a client asks for nothing of a topic for a while that it may not write to.
    let errors =
        [Said::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, Said::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED];
    let mut reasons = Vec::new();
    for error in errors {
        cluster.mock().request_errors(RDKafkaApiKey::Produce, &[error]);
        let refused = sender.send(vec![event(0, None)]).await.pop().unwrap().unwrap_err();
        assert!(refused.is_refused() && !refused.is_transient(), "{}", refused.reason());
        reasons.push(refused.reason().clone());
    }
    assert!(matches!(reasons[0], TransportError::TooLarge { .. }), "{reasons:?}");
    assert!(matches!(reasons[1], TransportError::AccessDenied { .. }), "{reasons:?}");
    let mut elsewhere = crate::world::parts(1, None);
    elsewhere.topic = busway_event::Topic::new("bills.paid").unwrap();
    let lost = crate::world::event_of(elsewhere, Vec::new());
    let refused = sender.send(vec![lost]).await.pop().unwrap().unwrap_err();
    assert!(
        refused.is_refused() && refused.reason().to_string().contains("bills.paid"),
        "{}",
        refused.reason()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_other_partitions_is_left_as_it_is() {
    let (_cluster, transport) = with_orders(4).await;
    let error = transport.prepare(&[orders(8)]).await.unwrap_err();
    let expected = ("partitions", "4", "8");
    match &error {
        TransportError::Incompatible { setting, found, wanted, .. } => {
            assert_eq!((*setting, found.as_str(), wanted.as_str()), expected);
        }
        error => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_goes_to_the_partition_that_it_has_in_the_embedded_store() {
    let (_cluster, transport) = with_orders(16).await;
    let receiver = receive(&transport, &reception()).await;
    // The check value of CRC-32C, as busway-persistence has it.
    send(&transport, vec![event(0, Some("123456789"))]).await;
    let came = take(&receiver, 1).await;
    assert_eq!(came[0].partition, Some(14));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_go_away_and_come_back_lose_nothing() {
    let (cluster, transport) = with_orders(2).await;
    let receiver = receive(&transport, &reception()).await;
    send(&transport, events(0..10, Some("a"))).await;
    let before = take(&receiver, 10).await;
    settle(&receiver, &before, Verdict::Done).await;
    cluster.mock().broker_down(-1).unwrap();
    let sender = transport.sender().await.unwrap();
    let sending = tokio::spawn(async move { sender.send(events(10..20, Some("a"))).await });
    tokio::time::timeout(Duration::from_millis(800), std::future::pending::<()>()).await.unwrap_err();
    assert!(!sending.is_finished(), "it waits for a broker");
    cluster.mock().broker_up(-1).unwrap();
    let sent = sending.await.unwrap();
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    let after = take(&receiver, 10).await;
    assert_eq!(numbers(&after), (10..20).collect::<Vec<_>>());
    settle(&receiver, &after, Verdict::Done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_stay_away_are_said_to_in_bounded_time() {
    let cluster = Cluster::of(1);
    cluster.make("orders", 1);
    let transport = cluster.builder().timeout(Duration::from_secs(1)).connect().await.unwrap();
    transport.prepare(&[orders(1)]).await.unwrap();
    cluster.mock().broker_down(-1).unwrap();
    let sender = transport.sender().await.unwrap();
    let sent = tokio::time::timeout(Duration::from_secs(5), sender.send(events(0..3, None))).await.unwrap();
    for sent in sent {
        let error = sent.unwrap_err();
        assert!(error.is_transient() && !error.is_refused(), "it may be there: {}", error.reason());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_changes_nothing_but_the_time() {
    let (cluster, transport) = with_orders(1).await;
    cluster.mock().broker_round_trip_time(-1, Duration::from_millis(150)).unwrap();
    let receiver = receive(&transport, &reception()).await;
    send(&transport, events(0..30, Some("a"))).await;
    let came = take(&receiver, 30).await;
    assert_eq!(numbers(&came), (0..30).collect::<Vec<_>>());
    settle(&receiver, &came, Verdict::Done).await;
    assert_eq!(cluster.position("stock", "orders", 0), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_and_the_largest_message_limit_make_clients_that_work() {
    let cluster = Cluster::of(1);
    cluster.make("orders", 1);
    for (round, bytes) in [(0, 32 << 10), (1, 100 << 20)] {
        let transport = cluster.builder().message_bytes_max(bytes).connect().await.unwrap();
        transport.prepare(&[orders(1)]).await.unwrap();
        let receiver = receive(&transport, &reception()).await;
        send(&transport, events(round..round + 1, None)).await;
        let came = take(&receiver, 1).await;
        settle(&receiver, &came, Verdict::Done).await;
        receiver.close().await.unwrap();
    }
}
