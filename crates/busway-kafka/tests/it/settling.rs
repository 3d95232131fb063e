//! Verdicts.

use std::time::Duration;

use busway_engine::transport::{Letter, Reception, Transport as _, TransportError, Verdict};
use busway_event::Filter;
use busway_persistence::Stream;
use rdkafka::Message as _;
use rdkafka::message::{Headers as _, OwnedMessage};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::time::Instant;

use crate::world::{
    event, events, nothing_comes, numbers, receive, reception, send, settle, take, told, with_orders,
};

fn header(record: &OwnedMessage, name: &str) -> String {
    let found = record.headers().unwrap().iter().find(|header| header.key == name);
    String::from_utf8(found.unwrap().value.unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_written_before_the_position_passes_it() {
    let (cluster, transport) = with_orders(1).await;
    let receiver = receive(&transport, &reception()).await;
    send(&transport, events(0..1, Some("a"))).await;
    let came = take(&receiver, 1).await;
    let letter = Letter::new("no such product").attempts(3).handler("stock");
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.mock().request_errors(RDKafkaApiKey::Produce, &[refusal]);
    let refused = told(&receiver, &came, Verdict::Dead(letter.clone())).await;
    assert!(matches!(&refused[..], [Err(TransportError::TooLarge { .. })]), "{refused:?}");
    assert_eq!(cluster.position("stock", "orders", 0), 0);
    assert!(cluster.records("orders.dead").is_empty());
    // The verdict may be told again.
    settle(&receiver, &came, Verdict::Dead(letter)).await;
    assert_eq!(cluster.position("stock", "orders", 0), 1);
    let dead = cluster.records("orders.dead");
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].payload(), dead[0].key()), (Some(&b"0"[..]), Some(&b"a"[..])));
    let said = ["busway-reason", "busway-attempts", "busway-handler", "busway-subscription", "busway-topic"];
    let said = said.map(|name| header(&dead[0], name));
    assert_eq!(said, ["no such product", "3", "stock", "stock", "orders"]);
    assert_eq!(header(&dead[0], "ce_subject"), "orders.created");
    assert_eq!(header(&dead[0], "busway-offset"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_without_a_key_waits_in_a_topic_of_retries_and_its_place_is_passed() {
    let (cluster, transport) = with_orders(1).await;
    let receiver = receive(&transport, &reception()).await;
    let others = Reception::new("orders", "billing", Filter::new("#").unwrap());
    let other = receive(&transport, &others).await;
    send(&transport, events(0..2, None)).await;
    let came = take(&receiver, 2).await;
    settle(&other, &take(&other, 2).await, Verdict::Done).await;
    let begun = Instant::now();
    settle(&receiver, &came[..1], Verdict::Again(Duration::from_millis(1_500))).await;
    settle(&receiver, &came[1..], Verdict::Done).await;
    assert_eq!(cluster.position("stock", "orders", 0), 2, "nothing holds it up");
    let waiting = cluster.records("orders.retry.10s");
    assert_eq!(waiting.len(), 1);
    assert_eq!(header(&waiting[0], "busway-attempts"), "1");
    let again = take(&receiver, 1).await;
    assert!(begun.elapsed() >= Duration::from_millis(1_450), "{:?}", begun.elapsed());
    assert_eq!((numbers(&again), again[0].attempt.get()), (vec![0], 2));
    assert_eq!((again[0].offset, again[0].partition), (came[0].offset, came[0].partition));
    settle(&receiver, &again, Verdict::Done).await;
    assert_eq!(cluster.position("stock", "orders.retry.10s", 0), 1);
    nothing_comes(&receiver).await;
    // It is nobody else's retry.
    nothing_comes(&other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_put_off_holds_its_later_events_and_no_others() {
    let (cluster, transport) = with_orders(1).await;
    let receiver = receive(&transport, &reception()).await;
    send(&transport, vec![event(0, Some("a"))]).await;
    let first = take(&receiver, 1).await;
    settle(&receiver, &first, Verdict::Again(Duration::from_secs(2))).await;
    send(&transport, vec![event(1, Some("a")), event(2, Some("b")), event(3, Some("a")), event(4, None)])
        .await;
    let flowing = take(&receiver, 2).await;
    assert_eq!(numbers(&flowing), [2, 4]);
    settle(&receiver, &flowing, Verdict::Done).await;
    nothing_comes(&receiver).await;
    assert!(cluster.records("orders.retry.10s").is_empty(), "its order would be lost");
    let again = take(&receiver, 1).await;
    assert_eq!((numbers(&again), again[0].attempt.get()), (vec![0], 2));
    nothing_comes(&receiver).await;
    settle(&receiver, &again, Verdict::Done).await;
    assert_eq!(numbers(&take(&receiver, 2).await), [1, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_is_known_with_another_filter_is_told_apart() {
    let (_cluster, transport) = with_orders(1).await;
    let receiver = receive(&transport, &reception()).await;
    receiver.close().await.unwrap();
    let other = Reception::new("orders", "stock", Filter::new("orders.paid").unwrap());
    let error = transport.receiver(&other).await.unwrap_err();
    assert!(matches!(&error, TransportError::Incompatible { setting: "filter", .. }), "{error}");
    let unknown = Reception::new("bills", "stock", Filter::new("#").unwrap());
    let error = transport.receiver(&unknown).await.unwrap_err();
    assert!(matches!(&error, TransportError::Gone { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_fails_for_a_while_is_tried_until_the_broker_has_heard() {
    let (cluster, transport) = with_orders(1).await;
    let receiver = receive(&transport, &reception()).await;
    send(&transport, events(0..3, None)).await;
    let came = take(&receiver, 3).await;
    let busy = RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    cluster.mock().request_errors(RDKafkaApiKey::OffsetCommit, &[busy, busy, busy]);
    settle(&receiver, &came, Verdict::Done).await;
    assert_eq!(cluster.position("stock", "orders", 0), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_others_that_is_larger_than_what_is_sent_here_can_be_given_up() {
    let (cluster, transport) = with_orders(1).await;
    let receiver = receive(&transport, &reception()).await;
    cluster.write("orders", &[("colour", "red")], &"x".repeat(1_000_100)).await;
    let came = take(&receiver, 1).await;
    settle(&receiver, &came, Verdict::Dead(Letter::new("y".repeat(4_096)))).await;
    assert_eq!(cluster.position("stock", "orders", 0), 1);
    assert_eq!(cluster.records("orders.dead")[0].payload().map(<[u8]>::len), Some(1_000_100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_off_is_as_young_as_its_write_and_says_when_it_was_made() {
    let (cluster, transport) = with_orders(1).await;
    let receiver = receive(&transport, &reception()).await;
    send(&transport, events(0..2, None)).await;
    let came = take(&receiver, 2).await;
    let made = came[0].event.as_ref().unwrap().time().as_millis();
    settle(&receiver, &came[..1], Verdict::Again(Duration::from_secs(1))).await;
    settle(&receiver, &came[1..], Verdict::Dead(Letter::new("no"))).await;
    for topic in ["orders.retry.1s", "orders.dead"] {
        let record = &cluster.records(topic)[0];
        assert_ne!(record.timestamp().to_millis(), Some(made), "{topic}");
        assert_eq!(header(record, "busway-time"), made.to_string(), "{topic}");
    }
    let again = take(&receiver, 1).await;
    assert_eq!(again[0].event.as_ref().unwrap().time().as_millis(), made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_whose_name_has_members_elsewhere_is_refused() {
    let (cluster, transport) = with_orders(1).await;
    cluster.make("bills", 1);
    let bills = Stream::new("bills").capture("bills.#");
    transport.prepare(&[bills]).await.unwrap();
    let elsewhere = Reception::new("bills", "stock", Filter::new("#").unwrap());
    let member = receive(&transport, &elsewhere).await;
    // It is a member as soon as it is given something.
    cluster.write("bills", &[("colour", "red")], "hello").await;
    let event = take(&member, 1).await;
    let error = transport.receiver(&reception()).await.unwrap_err();
    assert!(matches!(&error, TransportError::Incompatible { setting: "members", .. }), "{error}");
    settle(&member, &event, Verdict::Done).await;
    member.close().await.unwrap();
    // Another member of its own is not.
    receive(&transport, &elsewhere).await;
}
