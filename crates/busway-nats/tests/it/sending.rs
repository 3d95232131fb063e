//! Sending: answers, ids, sizes, refusals.

use std::time::Duration;

use busway_engine::transport::{Transport, TransportError};
use busway_event::Durability;
use busway_persistence::{AtCap, Retention, Stream};
use bytes::Bytes;

use crate::server::{Server, event, event_of, join, orders, receive, reception, send, take};

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_events_are_numbered_in_order_and_an_id_that_is_sent_twice_is_there_once() {
    let (_server, transport) = orders().await;
    let sender = transport.sender().await.unwrap();
    let events = || (1..=300).map(|number| event("orders.created", number)).collect::<Vec<_>>();
    let first = send(&*sender, events()).await;
    let offsets: Vec<_> = first.iter().filter_map(|sent| sent.offset).collect();
    assert_eq!(offsets, (1..=300).collect::<Vec<_>>());
    assert!(first.iter().all(|sent| !sent.duplicate && sent.durability == Durability::Written));
    let again = send(&*sender, events()).await;
    assert!(again.iter().all(|sent| sent.duplicate));
    let receiver = join(&transport, &reception("stock", "#")).await;
    assert_eq!(take(&*receiver, 300).await, (1..=300).collect::<Vec<_>>());
    crate::server::nothing_comes(&*receiver).await;
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_batch_that_is_larger_than_the_clients_own_queues_is_sent() {
    let (_server, transport) = orders().await;
    let sender = transport.sender().await.unwrap();
    let events = (1..=6_000).map(|number| event("orders.created", number)).collect();
    let sent = tokio::time::timeout(Duration::from_secs(60), send(&*sender, events)).await.unwrap();
    assert_eq!(sent.last().and_then(|sent| sent.offset), Some(6_000));
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_payloads_of_any_size_arrive_and_what_is_over_the_limit_is_refused_before_it_is_sent() {
    let (_server, transport) = orders().await;
    let sender = transport.sender().await.unwrap();
    let limit = transport.capabilities().payload_limit().unwrap();
    let big = Bytes::from(vec![b'7'; limit - 1_000]);
    let events = vec![
        event_of("orders.empty", 1, Bytes::new()),
        event_of("orders.big", 2, big.clone()),
        event_of("orders.over", 3, vec![b'7'; limit].into()),
        event("orders.behind", 4),
    ];
    let sent = sender.send(events).await;
    assert!(sent[0].is_ok() && sent[1].is_ok() && sent[3].is_ok(), "{sent:?}");
    let refused = sent[2].as_ref().unwrap_err();
    assert!(refused.is_refused() && !refused.is_transient());
    assert!(
        matches!(refused.reason(), TransportError::TooLarge { len, limit: of } if *of == limit && *len > limit),
        "{:?}",
        refused.reason()
    );
    let receiver = join(&transport, &reception("stock", "#")).await;
    let came = receive(&*receiver, 3).await;
    let bytes = |index: usize| came[index].event.as_ref().unwrap().encoded(usize::MAX).unwrap().bytes;
    assert_eq!((bytes(0), bytes(1), bytes(2)), (Bytes::new(), big, Bytes::from_static(b"4")));
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_subject_of_no_stream_and_a_full_stream_are_refused_with_the_reason() {
    let (_server, transport) = orders().await;
    let full = Stream::new("full")
        .capture("full.#")
        .retention(Retention::forever().cap(256 << 10, AtCap::RefusePublish));
    transport.prepare(&[full]).await.unwrap();
    let sender = transport.sender().await.unwrap();
    let sent = sender.send(vec![event("payments.made", 1), event("orders.made", 2)]).await;
    let refused = sent[0].as_ref().unwrap_err();
    assert!(refused.is_refused() && refused.event().id() == event("payments.made", 1).id());
    assert!(
        refused.reason().to_string().contains("no stream captures payments.made"),
        "{}",
        refused.reason()
    );
    assert!(sent[1].is_ok(), "its neighbour is sent");
    let large = || Bytes::from(vec![b'7'; 100 << 10]);
    let sent = sender.send((10..14).map(|number| event_of("full.a", number, large())).collect()).await;
    let refused = sent[3].as_ref().unwrap_err();
    assert!(sent[0].is_ok() && refused.is_refused(), "{sent:?}");
    assert!(refused.reason().to_string().contains("maximum bytes exceeded"), "{}", refused.reason());
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_without_an_answer_an_event_may_be_there() {
    let mut server = Server::start();
    let transport = server.builder().timeout(Duration::from_millis(500)).connect().await.unwrap();
    transport.prepare(&[Stream::new("orders").capture("orders.#")]).await.unwrap();
    let sender = transport.sender().await.unwrap();
    server.kill();
    let sent = sender.send(vec![event("orders.created", 1)]).await;
    let error = sent[0].as_ref().unwrap_err();
    assert!(!error.is_refused() && error.is_transient(), "{error:?}");
    assert!(error.reason().to_string().contains(&server.address.to_string()), "{}", error.reason());
}
