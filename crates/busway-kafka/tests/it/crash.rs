//! A process that dies where it hurts: what its crash points leave behind.

use std::sync::Arc;

use busway_engine::transport::{Letter, Receiver, Reception, TransportError, Verdict};
use busway_kafka::KafkaTransport;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::cluster::Cluster;
use crate::world::{
    events, nothing_comes, numbers, receive, reception, send, settle, take, told, with_orders,
};

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

/// Ends a member of which the broker hears nothing more, as if it had died.
async fn die(cluster: &Cluster, member: &Arc<dyn Receiver>) {
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    cluster.mock().request_errors(RDKafkaApiKey::OffsetCommit, &[refusal; 1_000]);
    member.close().await.unwrap();
    cluster.mock().clear_request_errors(RDKafkaApiKey::OffsetCommit);
}

/// The first member of a subscription has died with the first three events.
async fn one_has_died_with_three(cluster: &Cluster, transport: &KafkaTransport, stock: &Reception) {
    let first = receive(transport, stock).await;
    send(transport, events(0..3, None)).await;
    take(&first, 3).await;
    die(cluster, &first).await;
}

/// The second of three kills whoever handles it. Nobody knows which it was until they come one at a time; then each death counts, over all members.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kills_its_members_is_told_from_its_neighbours_and_its_deaths_are_counted() {
    let (cluster, transport) = with_orders(1).await;
    let stock = reception();
    let join = || receive(&transport, &stock);
    one_has_died_with_three(&cluster, &transport, &stock).await;
    let second = join().await;
    take(&second, 3).await;
    die(&cluster, &second).await;
    for (life, attempt) in [(1, 1), (2, 2), (3, 2)] {
        let member = join().await;
        if life == 1 {
            let alone = take(&member, 1).await;
            assert_eq!((numbers(&alone), alone[0].attempt.get()), (vec![0], 1));
            nothing_comes(&member).await;
            settle(&member, &alone, Verdict::Done).await;
        }
        let alone = take(&member, 1).await;
        assert_eq!((numbers(&alone), alone[0].attempt.get()), (vec![1], attempt));
        // A member that leaves with it has not died of it.
        match life {
            2 => member.close().await.unwrap(),
            _ => die(&cluster, &member).await,
        }
    }
    let last = join().await;
    let alone = take(&last, 1).await;
    assert_eq!((numbers(&alone), alone[0].attempt.get()), (vec![1], 3));
    settle(&last, &alone, Verdict::Dead(Letter::new("it kills its process"))).await;
    let behind = take(&last, 1).await;
    assert_eq!((numbers(&behind), behind[0].attempt.get()), (vec![2], 1));
    settle(&last, &behind, Verdict::Done).await;
    assert_eq!(cluster.position("stock", "orders", 0), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_between_which_all_was_settled_are_not_added_up() {
    let (cluster, transport) = with_orders(1).await;
    let stock = reception();
    let join = || receive(&transport, &stock);
    one_has_died_with_three(&cluster, &transport, &stock).await;
    let second = join().await;
    let came = take(&second, 3).await;
    settle(&second, &came, Verdict::Done).await;
    send(&transport, events(3..6, None)).await;
    take(&second, 3).await;
    die(&cluster, &second).await;
    // They come together: it may be the first that somebody has died of.
    assert_eq!(numbers(&take(&join().await, 3).await), [3, 4, 5]);
}
