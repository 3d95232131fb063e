//! All of a send, or none.

use busway_engine::transport::{Transport, Verdict};
use busway_kafka::KafkaTransport;
use futures_util::FutureExt as _;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::cluster::Cluster;
use crate::world::{event, events, numbers, orders, receive, reception, send, settle, take};

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
    let results = sender.send(vec![event(0, Some("a")), event(1, Some("b"))]).await;
    for result in results {
        let error = result.unwrap_err();
        assert!(error.is_refused(), "none of them is there: {}", error.reason());
    }
    send(&transport, events(2..4, Some("a"))).await;
    // A send that is given up leaves no transaction open.
    assert!(sender.send(events(4..6, Some("a"))).now_or_never().is_none());
    send(&transport, events(6..8, Some("a"))).await;
}
