//! What is sent is what is received.

use std::time::Duration;

use busway_engine::transport::{Reception, Transport, TransportError, Verdict};
use busway_engine::{StartAt, Stream};
use busway_event::{CodecId, Encoded, EventId, Filter, Priority, Timestamp, TraceContext};

use crate::server::Server;
use crate::world::{
    connected, event, event_of, nothing_comes, numbers, orders, parts, reception, send, settle, take,
};

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_every_field_of_an_event_comes_as_it_went() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one")).await.unwrap();
    let mut parts = parts(1, "orders.created.eu");
    parts.id = EventId::foreign("tests", "A-1");
    parts.origin_id = Some("A-1".to_owned());
    parts.key = Some("köy 1".into());
    parts.priority = Priority::P0;
    parts.ttl = Some(Duration::from_secs(3_600));
    // In this order: pairs whose names are legal attributes come first.
    parts.metadata.set("tenant", "north");
    parts.metadata.set("bizId", "ä\u{1f600} b");
    parts.metadata.set_trace(TraceContext::new([7; 16], [9; 8], 1).unwrap().with_state("vendor=1"));
    let bytes: Vec<u8> = (0..=255).collect();
    let encoded = Encoded { type_name: "a.b.C".into(), version: 7, codec: CodecId::Raw, bytes: bytes.into() };
    parts.metadata.set_version(7);
    let event = busway_event::AnyEvent::receive(parts, encoded).unwrap();
    let sent = send(&*transport.sender().await.unwrap(), vec![event.clone()]).await;
    let received = take(&receiver, 1).await;
    let came = received[0].event.as_ref().unwrap();
    let (a, b) = (came.header(), event.header());
    assert_eq!((a.id(), a.time(), a.topic(), a.key()), (b.id(), b.time(), b.topic(), b.key()));
    assert_eq!((a.priority(), a.ttl(), came.origin_id()), (b.priority(), b.ttl(), Some("A-1")));
    assert_eq!(came.type_name(), "a.b.C");
    assert_eq!(format!("{:?}", a.metadata()), format!("{:?}", b.metadata()));
    let (a, b) = (came.encoded(1 << 20).unwrap(), event.encoded(1 << 20).unwrap());
    assert_eq!((a.bytes, a.version, a.codec), (b.bytes, b.version, b.codec));
    assert_eq!((received[0].attempt.get(), received[0].offset), (1, sent[0].offset));
    assert!(sent[0].offset.is_some() && !sent[0].duplicate);
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_an_id_that_is_sent_twice_is_there_once_and_keeps_its_place() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one")).await.unwrap();
    let sender = transport.sender().await.unwrap();
    let first = send(&*sender, vec![event(1), event(2), event(1)]).await;
    server.command(&["SCRIPT", "FLUSH"]).await;
    let again = send(&*sender, vec![event(2), event(3)]).await;
    let duplicates =
        |sent: &[busway_engine::transport::Sent]| sent.iter().map(|sent| sent.duplicate).collect::<Vec<_>>();
    assert_eq!((duplicates(&first), duplicates(&again)), (vec![false, false, true], vec![true, false]));
    assert_eq!((first[2].offset, again[0].offset), (first[0].offset, first[1].offset));
    let received = take(&receiver, 3).await;
    assert_eq!(numbers(&received), [1, 2, 3]);
    nothing_comes(&receiver).await;
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_wildcards_leave_out_what_does_not_match_and_settle_it() {
    let server = Server::start().await;
    let transport = connected(&server, orders().partitions(3)).await;
    let filter = Filter::new("orders.+.eu").unwrap();
    let receiver = transport.receiver(&Reception::new("orders", "eu", filter)).await.unwrap();
    let topics = ["orders.created.eu", "orders.created", "orders.paid.eu", "orders.paid.us", "orders"];
    let events = topics
        .iter()
        .zip(1..)
        .map(|(topic, number): (_, u32)| event_of(parts(number, topic), number.to_string().into_bytes()));
    let sender = transport.sender().await.unwrap();
    send(&*sender, events.collect()).await;
    let received = take(&receiver, 2).await;
    let mut came = numbers(&received);
    came.sort_unstable();
    assert_eq!(came, [1, 3]);
    settle(&receiver, &received, Verdict::Done).await;
    nothing_comes(&receiver).await;
    for partition in ["busway:stream:orders:0", "busway:stream:orders:1", "busway:stream:orders:2"] {
        let pending: Vec<redis::Value> = server.ask(&["XPENDING", partition, "eu", "-", "+", "9"]).await;
        assert_eq!(pending, [], "{partition}");
    }
    let refused = sender.send(vec![event_of(parts(9, "payments.made"), vec![])]).await.remove(0).unwrap_err();
    assert!(
        refused.is_refused() && matches!(refused.reason(), TransportError::Unmappable { .. }),
        "{refused}"
    );
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_empty_and_large_payloads_come_whole_and_in_order() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one")).await.unwrap();
    let sizes = [0_usize, 1, 1 << 20, 0, 70_000];
    let events = sizes.iter().zip(1..).map(|(size, number)| {
        event_of(parts(number, "orders.created"), vec![u8::try_from(number).unwrap(); *size])
    });
    send(&*transport.sender().await.unwrap(), events.collect()).await;
    let received = take(&receiver, sizes.len()).await;
    let came = received.iter().map(|received| {
        let bytes = received.event.as_ref().unwrap().encoded(1 << 20).unwrap().bytes;
        (bytes.len(), bytes.first().copied())
    });
    let expected = sizes.iter().zip(1_u8..).map(|(size, number)| (*size, (*size > 0).then_some(number)));
    assert_eq!(came.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_what_is_no_event_comes_with_its_bytes_and_can_be_settled() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one")).await.unwrap();
    let key = "busway:stream:orders:0";
    server.command(&["XADD", key, "*", "data", "hello", "colour", "red"]).await;
    server.command(&["XADD", key, "*", "ce_id", "1", "ce_specversion", "9", "data", "x"]).await;
    send(&*transport.sender().await.unwrap(), vec![event(1)]).await;
    let received = take(&receiver, 3).await;
    let foreign = received[0].event.as_ref().unwrap_err();
    assert_eq!(foreign.bytes.as_ref(), b"hello");
    assert_eq!(foreign.headers, [("colour".to_owned(), "red".to_owned())]);
    assert!(foreign.place.starts_with(key), "{}", foreign.place);
    let broken = received[1].event.as_ref().unwrap_err();
    assert!(broken.headers.iter().any(|(name, _)| name == "ce_specversion"), "{broken:?}");
    assert_eq!(numbers(&received[2..]), [1]);
    settle(&receiver, &received, Verdict::Done).await;
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_subscription_begins_where_it_says() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let sender = transport.sender().await.unwrap();
    let early = send(&*sender, vec![event(1), event(2)]).await;
    let (seconds, micros): (i64, i64) = server.ask(&["TIME"]).await;
    let ms = seconds * 1_000 + micros / 1_000 + 2;
    // The server's clock is asked until it is there: events of one millisecond are not told apart by their time.
    while server.ask::<(i64, i64)>(&["TIME"]).await <= (ms / 1_000, ms % 1_000 * 1_000) {}
    send(&*sender, vec![event(3), event(4)]).await;
    let offset = early[1].offset.unwrap();
    let beginnings = [
        (StartAt::Earliest, vec![1, 2, 3, 4]),
        (StartAt::Offset(offset), vec![2, 3, 4]),
        (StartAt::Offset(offset + 1), vec![3, 4]),
        (StartAt::Time(Timestamp::from_nanos(ms * 1_000_000)), vec![3, 4]),
        (StartAt::Offset(u64::MAX), vec![]),
        (StartAt::Latest, vec![]),
        (StartAt::Stored, vec![]),
    ];
    let mut receivers = Vec::new();
    for (at, (start_at, expected)) in beginnings.into_iter().enumerate() {
        let reception = Reception::new("orders", format!("from:{at}"), Filter::new("#").unwrap());
        let receiver = transport.receiver(&reception.start_at(start_at)).await.unwrap();
        assert_eq!(numbers(&take(&receiver, expected.len()).await), expected, "{start_at:?}");
        receivers.push(receiver);
    }
    send(&*sender, vec![event(5)]).await;
    for receiver in &receivers {
        assert_eq!(numbers(&take(receiver, 1).await), [5]);
    }
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_declaration_that_differs_is_refused_and_changes_nothing() {
    let server = Server::start().await;
    let transport = connected(&server, orders().partitions(2)).await;
    transport.prepare(&[orders().partitions(2)]).await.unwrap();
    let other = [orders().partitions(3), orders().capture("more.#").partitions(2)];
    for (stream, differs) in other.into_iter().zip(["partitions", "filters"]) {
        let error = transport.prepare(&[stream]).await.unwrap_err();
        assert!(
            matches!(&error, TransportError::Incompatible { setting, .. } if *setting == differs),
            "{error}"
        );
    }
    transport.receiver(&reception("one")).await.unwrap();
    let narrower = Reception::new("orders", "stock", Filter::new("orders.+").unwrap());
    let error = transport.receiver(&narrower).await.unwrap_err();
    assert!(matches!(error, TransportError::Incompatible { setting: "filter", .. }), "{error}");
    let nowhere = Reception::new("nowhere", "stock", Filter::new("#").unwrap());
    let error = transport.receiver(&nowhere).await.unwrap_err();
    assert!(matches!(error, TransportError::Gone { .. }), "{error}");
    let bad = Stream::new("a:b").capture("a");
    assert!(matches!(transport.prepare(&[bad]).await, Err(TransportError::Unmappable { .. })));
}
