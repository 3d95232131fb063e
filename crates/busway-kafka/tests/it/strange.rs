//! What others may write that rdkafka cannot read.

use busway_engine::transport::{Letter, Transport as _, Verdict};

use crate::raw;
use crate::world::{events, numbers, receive, reception, send, settle, take, with_orders};

const EVENT: [raw::RawHeader<'static>; 5] = [
    (b"ce_specversion", b"1.0"),
    (b"ce_id", b"A-1"),
    (b"ce_source", b"/shop"),
    (b"ce_type", b"order-created"),
    (b"ce_subject", b"orders.created"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_whose_name_is_no_text_ends_no_member_and_is_kept_in_the_dead_letter() {
    let (cluster, transport) = with_orders(1).await;
    let receiver = receive(&transport, &reception()).await;
    let headers = [&EVENT[..], &[(&b"colour\xff\xfe"[..], &b"red"[..]), (b"size", b"9")]].concat();
    raw::produce(&cluster.brokers, "orders", &headers, b"hello");
    send(&transport, events(1..2, None)).await;
    let came = take(&receiver, 2).await;
    let strange = came[0].event.clone().unwrap_err();
    assert!(strange.reason.contains("no UTF-8"), "{}", strange.reason);
    assert_eq!(strange.bytes.as_ref(), b"hello");
    assert!(strange.headers.contains(&("size".to_owned(), "9".to_owned())), "{:?}", strange.headers);
    assert_eq!(numbers(&came[1..]), [1]);
    settle(&receiver, &came[..1], Verdict::Dead(Letter::new(strange.reason.clone()))).await;
    settle(&receiver, &came[1..], Verdict::Done).await;
    assert_eq!(cluster.position("stock", "orders", 0), 2);
    let dead = raw::fetch(&cluster.brokers, "orders.dead");
    for expected in [&b"colour\xff\xfe"[..], b"busway-reason", b"no UTF-8", b"hello"] {
        assert!(dead.windows(expected.len()).any(|some| some == expected), "{expected:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_is_no_text_is_no_mark_and_its_position_counts() {
    let (cluster, transport) = with_orders(1).await;
    send(&transport, events(0..3, None)).await;
    raw::commit(&cluster.brokers, "stock", "orders", 1, b"busway1;\xff\xfe;#");
    let receiver = transport.receiver(&reception()).await.unwrap();
    let came = take(&receiver, 2).await;
    assert_eq!(numbers(&came), [1, 2]);
    settle(&receiver, &came, Verdict::Done).await;
}
