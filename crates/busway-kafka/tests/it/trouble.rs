//! What cannot be connected, or may not be written.

use std::time::Duration;

use busway_engine::transport::{Transport as _, TransportError};
use busway_kafka::KafkaTransport;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::time::{Instant, timeout};

use crate::cluster::Cluster;
use crate::world::{PATIENCE, event, orders, send, with_orders};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_is_an_error_in_bounded_time() {
    let begun = Instant::now();
    let connecting = KafkaTransport::builder("127.0.0.1:1").timeout(Duration::from_secs(2)).connect();
    let error = timeout(Duration::from_secs(10), connecting).await.unwrap().unwrap_err();
    assert!(
        matches!(&error, TransportError::Unreachable { address, .. } if address == "127.0.0.1:1"),
        "{error}"
    );
    assert!(error.is_transient() && begun.elapsed() < Duration::from_secs(6), "{error}");
    assert!(error.to_string().contains("refused"), "it says why: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_nothing_is_an_error_in_bounded_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connecting = KafkaTransport::builder(&address).timeout(Duration::from_secs(2)).connect();
    let error = timeout(Duration::from_secs(10), connecting).await.unwrap().unwrap_err();
    assert!(matches!(&error, TransportError::Unreachable { .. }), "{error}");
}

/// A mock broker knows no SASL at all: that it cannot be had is said, and no password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_does_not_know_who_this_is_is_an_error_in_bounded_time() {
    let cluster = Cluster::of(1);
    let connecting = cluster.builder().sasl("PLAIN", "ann", "s3cr3t").connect();
    let error = timeout(Duration::from_secs(20), connecting).await.unwrap().unwrap_err();
    assert!(matches!(&error, TransportError::AccessDenied { .. } | TransportError::Refused(_)), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("s3cr3t"), "{error}");
}

/// A producer that may not write is of no use any more, but not its transport.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_written_is_denied_and_goes_on_when_it_may() {
    let cluster = Cluster::of(1);
    cluster.make("orders", 1);
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 2];
    cluster.mock().request_errors(RDKafkaApiKey::InitProducerId, &refusals);
    let transport = cluster.connect().await;
    transport.prepare(&[orders(1)]).await.unwrap();
    let sender = transport.sender().await.unwrap();
    let mut denied = 0;
    let sending = async {
        loop {
            match sender.send(vec![event(1, None)]).await.remove(0) {
                Ok(sent) => return sent,
                Err(error) => {
                    let reason = error.reason();
                    assert!(matches!(reason, TransportError::AccessDenied { .. }), "{reason:?}");
                    denied += 1;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, sending).await.unwrap();
    // The second producer at least: the first may have been replaced before anything was sent.
    assert!(denied >= 1, "{denied}");
    assert_eq!(cluster.records("orders").len(), 1);
}

/// What brokers say that have lost the end of a log, with what they knew of who wrote it: librdkafka ends the producer for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_whose_brokers_have_lost_what_it_was_told_is_replaced() {
    let (cluster, transport) = with_orders(1).await;
    send(&transport, vec![event(1, None)]).await;
    let lost = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    cluster.mock().request_errors(RDKafkaApiKey::Produce, &[lost]);
    let sender = transport.sender().await.unwrap();
    let mut failed = 0;
    let sending = async {
        while let Err(error) = sender.send(vec![event(2, None)]).await.remove(0) {
            let reason = error.reason();
            assert!(reason.is_transient(), "a bridge waits: {reason:?}");
            failed += 1;
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, sending).await.unwrap();
    assert!(failed >= 1, "{failed}");
    assert_eq!(cluster.records("orders").len(), 2);
}

#[cfg(not(feature = "ssl"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_without_the_feature_is_refused_with_its_name() {
    let error = KafkaTransport::builder("127.0.0.1:1").tls().connect().await.unwrap_err();
    assert!(matches!(&error, TransportError::Refused(reason) if reason.contains("ssl")), "{error}");
    let error = KafkaTransport::builder("127.0.0.1:1").sasl("SCRAM-SHA-256", "ann", "s3cr3t").connect().await;
    let error = error.unwrap_err();
    assert!(matches!(&error, TransportError::Refused(_)), "{error}");
    assert!(!format!("{error:?} {error}").contains("s3cr3t"), "{error}");
}
