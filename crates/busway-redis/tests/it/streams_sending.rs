//! What is sent is there once, or not at all.

use std::time::Duration;

use busway_engine::transport::{SendError, Sent, Transport, TransportError};
use busway_event::AnyEvent;
use busway_redis::RedisTransport;

use crate::server::Server;
use crate::world::{
    connected, event, event_of, nothing_comes, numbers, orders, parts, reception, send, take,
};

const KEY: &str = "busway:stream:orders:0";

fn keyed(number: u32, key: &str) -> AnyEvent {
    let mut parts = parts(number, "orders.created");
    parts.key = Some(key.into());
    event_of(parts, number.to_string().into_bytes())
}

fn is_there(sent: &[Sent]) -> Vec<bool> {
    sent.iter().map(|sent| sent.duplicate).collect()
}

async fn errors(transport: &RedisTransport, events: Vec<AnyEvent>) -> Vec<SendError> {
    transport.sender().await.unwrap().send(events).await.into_iter().map(Result::unwrap_err).collect()
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_doubles_within_a_call_and_of_before_are_removed_among_others_whose_order_stays() {
    let server = Server::start().await;
    let transport = connected(&server, orders().partitions(3)).await;
    let receiver = transport.receiver(&reception("one").in_flight_max(1_000)).await.unwrap();
    let sender = transport.sender().await.unwrap();
    let before = send(&*sender, (1..=20).map(event).collect()).await;
    // More than one transaction takes; the second half has been sent in the first, and some before.
    let all: Vec<u32> = (11..=310).chain(200..=400).chain(1..=5).collect();
    let sent = send(&*sender, all.iter().copied().map(event).collect()).await;
    let mut places = std::collections::HashMap::new();
    places.extend((1..=20).zip(before.iter().map(|sent| sent.offset)));
    for (number, sent) in all.iter().zip(&sent) {
        let first = places.get(number).copied();
        assert_eq!(sent.duplicate, first.is_some(), "{number}");
        assert!(sent.offset.is_some(), "{number}");
        assert_eq!(sent.offset, first.unwrap_or(sent.offset), "{number}");
        places.insert(*number, sent.offset);
    }
    let mut came = numbers(&take(&receiver, 400).await);
    nothing_comes(&receiver).await;
    came.sort_unstable();
    assert_eq!(came, (1..=400).collect::<Vec<_>>());
    for partition in 0..3 {
        let key = format!("busway:stream:orders:{partition}");
        let entries: Vec<(String, Vec<String>)> = server.ask(&["XRANGE", &key, "-", "+"]).await;
        let numbers: Vec<u32> =
            entries.iter().map(|(_, fields)| fields.last().unwrap().parse().unwrap()).collect();
        assert!(numbers.is_sorted() && !numbers.is_empty(), "{numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_what_two_senders_send_at_once_is_there_once() {
    let server = Server::start().await;
    let transports = [connected(&server, orders()).await, connected(&server, orders()).await];
    let receiver = transports[0].receiver(&reception("one").in_flight_max(1_000)).await.unwrap();
    for round in 0..20_u32 {
        let sending = transports.each_ref().map(|transport| {
            let transport = transport.clone();
            tokio::spawn(async move {
                let sender = transport.sender().await.unwrap();
                send(&*sender, (1..=50).map(|number| event(round * 50 + number)).collect()).await
            })
        });
        let [one, other] = sending;
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        for (one, other) in one.iter().zip(&other) {
            assert!(one.duplicate != other.duplicate, "{one:?} {other:?}");
            assert_eq!(one.offset, other.offset);
        }
    }
    assert_eq!(numbers(&take(&receiver, 1_000).await), (1..=1_000).collect::<Vec<_>>());
    nothing_comes(&receiver).await;
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_partition_that_is_gone_takes_nothing_and_remembers_nothing_and_the_others_go_on() {
    let server = Server::start().await;
    let transport = connected(&server, orders().partitions(2)).await;
    let sender = transport.sender().await.unwrap();
    // Keys of both partitions.
    let keys = ["a", "b", "c", "d", "e", "f"];
    let events = || keys.iter().zip(1..).map(|(key, number)| keyed(number, key)).collect::<Vec<_>>();
    server.command(&["DEL", KEY]).await;
    let told = sender.send(events()).await;
    let lost = told.iter().filter(|told| told.is_err()).count();
    assert!(lost > 0 && lost < keys.len(), "{lost}");
    for error in told.iter().filter_map(|told| told.as_ref().err()) {
        assert!(error.is_refused() && matches!(error.reason(), TransportError::Gone { .. }), "{error:?}");
    }
    assert_eq!(server.ask::<u64>(&["EXISTS", KEY]).await, 0);
    transport.prepare(&[orders().partitions(2)]).await.unwrap();
    let again = send(&*sender, events()).await;
    assert_eq!(is_there(&again), told.iter().map(Result::is_ok).collect::<Vec<_>>());
    assert_eq!(server.ask::<usize>(&["XLEN", KEY]).await, lost);
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_what_cannot_be_remembered_or_kept_is_not_there_and_can_be_sent_again() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let sender = transport.sender().await.unwrap();
    send(&*sender, vec![event(1)]).await;
    let events = || vec![event(1), event(2), event(3), event(2)];
    // Somebody has taken the names of these spans of time, and of those that may follow.
    let names: Vec<String> = server.ask(&["KEYS", "busway:id:orders:*"]).await;
    let (start, span) = names[0].rsplit_once(':').unwrap();
    let taken = [0, 1].map(|more| format!("{start}:{}", span.parse::<u64>().unwrap() + more));
    server.command(&["RENAME", &names[0], "kept"]).await;
    for name in &taken {
        server.command(&["SET", name, "mine"]).await;
    }
    for error in errors(&transport, events()).await {
        assert!(error.is_refused() && !error.is_transient(), "{error:?}");
    }
    assert_eq!(server.ask::<u64>(&["XLEN", KEY]).await, 1);
    server.command(&["DEL", &taken[0], &taken[1]]).await;
    server.command(&["RENAME", "kept", &names[0]]).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for error in errors(&transport, events()).await {
        assert!(error.is_refused() && error.reason().to_string().contains("OOM"), "{error:?}");
    }
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(server.ask::<u64>(&["XLEN", KEY]).await, 1);
    server.command(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(is_there(&send(&*sender, events()).await), [true, false, false, true]);
    assert_eq!(server.ask::<u64>(&["XLEN", KEY]).await, 3);
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_an_id_is_remembered_into_the_next_span_and_forgotten_behind_that() {
    let server = Server::start().await;
    let window: u64 = 400;
    let builder = RedisTransport::builder(&server.url()).id_window(Duration::from_millis(window));
    let transport = builder.connect().await.unwrap();
    transport.prepare(&[orders()]).await.unwrap();
    let sender = transport.sender().await.unwrap();
    let span = async || {
        let (seconds, micros): (u64, u64) = server.ask(&["TIME"]).await;
        (seconds * 1_000 + micros / 1_000) / window
    };
    let begun = span().await;
    while span().await == begun {}
    let first = send(&*sender, vec![event(1)]).await.remove(0);
    while span().await < begun + 2 {}
    let again = send(&*sender, vec![event(2), event(1)]).await;
    // On a busy machine its time may be over.
    if span().await == begun + 2 {
        assert_eq!(is_there(&again), [false, true]);
        assert_eq!(again[1].offset, first.offset);
    }
    while span().await < begun + 5 {}
    assert_eq!(is_there(&send(&*sender, vec![event(1)]).await), [false]);
    let names: Vec<String> = server.ask(&["KEYS", "busway:id:orders:*"]).await;
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_who_may_not_use_transactions_is_refused_when_connecting() {
    let server = Server::start().await;
    server.command(&["ACL", "SETUSER", "app", "on", ">pass", "~*", "&*", "+@all", "-multi"]).await;
    let url = format!("redis://app:pass@{}", server.address);
    let error = RedisTransport::builder(&url).connect().await.unwrap_err();
    assert!(matches!(error, TransportError::AccessDenied { .. }), "{error}");
}
