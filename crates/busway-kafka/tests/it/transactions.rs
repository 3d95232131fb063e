//! All of a send, or none.

use std::time::Duration;

use busway_engine::StartAt;
use busway_engine::transport::{SendError, Transport, TransportError, Verdict};
use busway_kafka::KafkaTransport;
use futures_util::FutureExt as _;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::cluster::Cluster;
use crate::world::{PATIENCE, event, events, numbers, orders, receive, reception, send, settle, take};

async fn transactional(cluster: &Cluster) -> KafkaTransport {
    let transport = cluster.builder().transactional("shop-1").connect().await.unwrap();
    transport.prepare(&[orders(2)]).await.unwrap();
    transport
}

fn cluster() -> Cluster {
    let cluster = Cluster::of(1);
    cluster.make("orders", 2);
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_in_a_transaction_comes_when_it_is_committed() {
    let cluster = cluster();
    let transport = transactional(&cluster).await;
    let receiver = receive(&transport, &reception()).await;
    for round in 0..3 {
        let sent = send(&transport, events(round * 10..round * 10 + 10, Some("a"))).await;
        assert!(sent.iter().all(|sent| sent.offset.is_some()));
    }
    let came = take(&receiver, 30).await;
    assert_eq!(numbers(&came), (0..30).collect::<Vec<_>>());
    settle(&receiver, &came, Verdict::Done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_that_cannot_be_sent_takes_its_transaction_with_it_and_not_the_next() {
    let cluster = cluster();
    let transport = transactional(&cluster).await;
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.mock().request_errors(RDKafkaApiKey::Produce, &[refusal]);
    let sender = transport.sender().await.unwrap();
    // In the other partition, so that it is not in the batch that is refused.
    let of = |key: &str| busway_persistence::partition_of(&busway_event::Key::new(key).unwrap(), 2);
    let other = ["b", "c", "d", "e"].into_iter().find(|key| of(key) != of("a")).unwrap();
    let results = sender.send(vec![event(0, Some("a")), event(1, Some(other))]).await;
    let errors: Vec<_> = results.into_iter().map(|result| result.unwrap_err()).collect();
    for error in &errors {
        assert!(error.is_refused(), "none of them is there: {}", error.reason());
    }
    let transient = errors.iter().filter(|error| error.is_transient()).count();
    assert_eq!(transient, 1, "the other may be sent again: {errors:?}");
    send(&transport, events(2..4, Some("a"))).await;
    // A send that is given up leaves no transaction open.
    assert!(sender.send(events(4..6, Some("a"))).now_or_never().is_none());
    send(&transport, events(6..8, Some("a"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_that_nothing_can_be_made_of_leaves_the_others_to_be_sent_again() {
    let cluster = cluster();
    let transport = transactional(&cluster).await;
    let sender = transport.sender().await.unwrap();
    let mut stray = crate::world::parts(1, None);
    stray.topic = busway_event::Topic::new("bills.paid").unwrap();
    let stray = crate::world::event_of(stray, Vec::new());
    let results = sender.send(vec![event(0, Some("a")), stray, event(2, Some("a"))]).await;
    let said: Vec<_> = results
        .into_iter()
        .map(|result| result.unwrap_err())
        .map(|error| (error.is_refused(), error.is_transient()))
        .collect();
    assert_eq!(said, [(true, true), (true, false), (true, true)]);
    assert!(cluster.records("orders").is_empty(), "no transaction was begun");
    send(&transport, vec![event(0, Some("a")), event(2, Some("a"))]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_whose_end_nobody_confirmed_is_ended_before_the_next() {
    let cluster = cluster();
    let short = cluster.builder().timeout(Duration::from_secs(1)).transactional("shop-1");
    let transport = short.connect().await.unwrap();
    transport.prepare(&[orders(2)]).await.unwrap();
    let sender = transport.sender().await.unwrap();
    let away = RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE;
    cluster.mock().request_errors(RDKafkaApiKey::EndTxn, &[away; 1_000]);
    let error = sender.send(events(0..2, Some("a"))).await.pop().unwrap().unwrap_err();
    assert!(error.is_transient() && !error.is_refused(), "it may be there: {}", error.reason());
    // Still nobody: what is sent now is not there, and the end is asked for again.
    let error = sender.send(events(2..4, Some("a"))).await.pop().unwrap().unwrap_err();
    assert!(error.is_transient() && error.is_refused(), "{}", error.reason());
    cluster.mock().clear_request_errors(RDKafkaApiKey::EndTxn);
    send(&transport, events(4..6, Some("a"))).await;
    transport.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_is_shut_out_is_closed_and_no_event_is_given_up_for_it() {
    let cluster = cluster();
    let transport = transactional(&cluster).await;
    let sender = transport.sender().await.unwrap();
    let fenced = RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED;
    cluster.mock().request_errors(RDKafkaApiKey::EndTxn, &[fenced]);
    for round in 0..2 {
        for result in sender.send(events(round..round + 2, Some("a"))).await {
            let error = result.unwrap_err();
            assert_eq!(error.reason(), &TransportError::Closed);
        }
    }
}

/// The right to an id that is taken away ends the producer, not its transport.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_are_denied_go_on_when_they_are_allowed_again() {
    let cluster = cluster();
    let transport = transactional(&cluster).await;
    send(&transport, events(0..1, Some("a"))).await;
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    cluster.mock().request_errors(RDKafkaApiKey::AddPartitionsToTxn, &[denied]);
    // The first that would come in its place may not either.
    cluster.mock().request_errors(RDKafkaApiKey::InitProducerId, &[denied]);
    let sender = transport.sender().await.unwrap();
    let mut refused = 0;
    let sending = async {
        while let Err(error) = sender.send(events(1..2, Some("a"))).await.remove(0) {
            let reason = error.reason();
            assert!(matches!(reason, TransportError::AccessDenied { .. }), "{reason:?}");
            refused += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, sending).await.unwrap();
    assert!(refused >= 2, "{refused}");
    let receiver = receive(&transport, &reception().start_at(StartAt::Earliest)).await;
    let came = take(&receiver, 2).await;
    assert_eq!(numbers(&came), [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transport_that_is_closed_waits_for_the_transaction_that_is_under_way() {
    let cluster = cluster();
    let transport = transactional(&cluster).await;
    send(&transport, events(0..1, Some("a"))).await;
    cluster.mock().broker_round_trip_time(-1, Duration::from_millis(300)).unwrap();
    let sender = transport.sender().await.unwrap();
    let sending = tokio::spawn(async move { sender.send(events(1..3, Some("a"))).await });
    tokio::task::yield_now().await;
    transport.close().await.unwrap();
    // It was under way, or has found the transport closed. A moment for its answers to be handed over.
    let sent = tokio::time::timeout(Duration::from_millis(100), sending).await.unwrap().unwrap();
    let is_closed = |error: &SendError| *error.reason() == TransportError::Closed;
    assert!(sent.iter().all(|sent| sent.as_ref().err().is_none_or(is_closed)), "{sent:?}");
}
