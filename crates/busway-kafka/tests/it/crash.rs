//! A process that dies where it hurts: what its crash points leave behind.

use busway_engine::transport::{Letter, TransportError, Verdict};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::world::{events, numbers, receive, reception, send, settle, take, told, with_orders};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_goes_between_a_dead_letter_and_its_commit_leaves_both() {
    let (cluster, transport) = with_orders(1).await;
    let receiver = receive(&transport, &reception()).await;
    send(&transport, events(0..1, None)).await;
    let came = take(&receiver, 1).await;
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    cluster.mock().request_errors(RDKafkaApiKey::OffsetCommit, &[refusal; 1_000]);
    let letter = Verdict::Dead(Letter::new("no such product"));
    let unheard = told(&receiver, &came, letter.clone()).await;
    // Nobody can say whether it is settled, and why is said.
    match &unheard[..] {
        [Err(TransportError::Unreachable { reason, .. })] => {
            assert!(reason.to_lowercase().contains("authorization"), "{reason}");
        }
        unheard => panic!("{unheard:?}"),
    }
    assert_eq!(cluster.records("orders.dead").len(), 1);
    drop(receiver);
    let next = receive(&transport, &reception()).await;
    let again = take(&next, 1).await;
    assert_eq!(numbers(&again), [0], "it is delivered again");
    cluster.mock().clear_request_errors(RDKafkaApiKey::OffsetCommit);
    settle(&next, &again, letter).await;
    assert_eq!(cluster.records("orders.dead").len(), 2, "and given up twice");
    assert_eq!(cluster.position("stock", "orders", 0), 1);
}
