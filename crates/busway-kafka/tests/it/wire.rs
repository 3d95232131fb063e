//! Records of others, and ours to others.

use busway_engine::transport::{Letter, Verdict};
use busway_event::TraceContext;
use rdkafka::Message as _;
use rdkafka::message::Headers as _;

use crate::world::{event_of, nothing_comes, parts, receive, reception, send, settle, take, with_orders};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_others_are_read_in_both_modes_and_what_is_none_keeps_its_bytes() {
    let (cluster, transport) = with_orders(1).await;
    let receiver = receive(&transport, &reception()).await;
    let binary = [
        ("ce_specversion", "1.0"),
        ("ce_id", "A-1"),
        ("ce_source", "/shop"),
        ("ce_type", "order-created"),
        ("ce_subject", "orders.created"),
        ("content-type", "application/json"),
    ];
    cluster.write("orders", &binary, r#"{"n":1}"#).await;
    let json = r#"{"specversion":"1.0","id":"A-2","source":"/shop","type":"t","subject":"orders.paid","data":{"n":2}}"#;
    cluster.write("orders", &[("content-type", "application/cloudevents+json")], json).await;
    cluster.write("orders", &[("colour", "red")], "hello").await;
    let came = take(&receiver, 3).await;
    let [binary, structured] = [0, 1].map(|at| came[at].event.clone().unwrap());
    assert_eq!((binary.origin_id(), binary.topic().as_str()), (Some("A-1"), "orders.created"));
    assert_eq!((structured.origin_id(), structured.topic().as_str()), (Some("A-2"), "orders.paid"));
    let foreign = came[2].event.clone().unwrap_err();
    assert_eq!((foreign.bytes.as_ref(), foreign.place.as_str()), (&b"hello"[..], "orders[0]@2"));
    assert_eq!(foreign.headers, [("colour".to_owned(), "red".to_owned())]);
    settle(&receiver, &came[..2], Verdict::Done).await;
    settle(&receiver, &came[2..], Verdict::Dead(Letter::new(foreign.reason))).await;
    nothing_comes(&receiver).await;
    let dead = cluster.records("orders.dead");
    assert_eq!(dead[0].payload(), Some(&b"hello"[..]));
    assert!(dead[0].headers().unwrap().iter().any(|header| header.key == "colour"));
    assert_eq!(cluster.position("stock", "orders", 0), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_events_are_cloud_events_to_others() {
    let (cluster, transport) = with_orders(1).await;
    let mut rich = parts(7, Some("Schlüssel"));
    let trace: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    rich.metadata.set_trace(trace);
    let event = event_of(rich, b"hello".to_vec());
    send(&transport, vec![event.clone()]).await;
    let records = cluster.records("orders");
    assert_eq!((records[0].payload(), records[0].key()), (Some(&b"hello"[..]), Some("Schlüssel".as_bytes())));
    assert_eq!(records[0].timestamp().to_millis(), Some(event.time().as_millis()));
    let header = |name: &str| {
        let found = records[0].headers().unwrap().iter().find(|header| header.key == name);
        String::from_utf8(found.unwrap().value.unwrap().to_vec()).unwrap()
    };
    assert_eq!(header("ce_id"), event.id().to_string());
    assert_eq!(header("ce_subject"), "orders.created");
    assert_eq!(
        (header("ce_specversion"), header("ce_partitionkey")),
        ("1.0".to_owned(), "Schlüssel".to_owned())
    );
    assert_eq!(header("content-type"), "application/octet-stream");
    assert_eq!(header("traceparent"), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
}
