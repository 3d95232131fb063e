//! Settled in any order.

use std::collections::BTreeSet;

use busway_engine::transport::{Transport, Verdict};

use crate::cluster::Cluster;
use crate::world::{
    event, events, nothing_comes, number, numbers, orders, receive, reception, send, settle, take, told,
    with_orders,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_settled_behind_one_that_is_not_comes_to_nobody_again() {
    let (cluster, transport) = with_orders(1).await;
    let receiver = receive(&transport, &reception()).await;
    send(&transport, events(0..6, None)).await;
    let came = take(&receiver, 6).await;
    for at in [4, 1, 2] {
        settle(&receiver, &came[at..=at], Verdict::Done).await;
    }
    assert_eq!(cluster.position("stock", "orders", 0), 0, "the first is not settled");
    receiver.close().await.unwrap();
    let next = receive(&transport, &reception()).await;
    let came = take(&next, 3).await;
    assert_eq!(numbers(&came), [0, 3, 5]);
    nothing_comes(&next).await;
    settle(&next, &came[..1], Verdict::Done).await;
    assert_eq!(cluster.position("stock", "orders", 0), 3);
    settle(&next, &came[1..], Verdict::Done).await;
    assert_eq!(cluster.position("stock", "orders", 0), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_is_paused_at_the_limit_of_its_gap_and_goes_on_when_it_closes() {
    let cluster = Cluster::of(1);
    cluster.make("orders", 1);
    let transport = cluster.builder().gap_max(8).connect().await.unwrap();
    transport.prepare(&[orders(1)]).await.unwrap();
    let receiver = receive(&transport, &reception()).await;
    send(&transport, events(0..40, None)).await;
    let first = take(&receiver, 1).await;
    let behind = take(&receiver, 7).await;
    settle(&receiver, &behind, Verdict::Done).await;
    nothing_comes(&receiver).await;
    assert_eq!(cluster.position("stock", "orders", 0), 0);
    settle(&receiver, &first, Verdict::Done).await;
    let mut left = Vec::new();
    while left.len() < 32 {
        let some = take(&receiver, 1).await;
        left.extend(numbers(&some));
        settle(&receiver, &some, Verdict::Done).await;
    }
    assert_eq!(left, (8..40).collect::<Vec<_>>());
    assert_eq!(cluster.position("stock", "orders", 0), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_was_paused_when_it_went_goes_on_when_it_comes_back() {
    let cluster = Cluster::of(1);
    cluster.make("orders", 2);
    let transport = cluster.builder().gap_max(8).connect().await.unwrap();
    transport.prepare(&[orders(2)]).await.unwrap();
    let receiver = receive(&transport, &reception()).await;
    send(&transport, (0..160).map(|number| event(number, Some(&format!("key-{number}")))).collect()).await;
    // Of both partitions as much as their gaps take: both are paused.
    let mut came = take(&receiver, 16).await;
    nothing_comes(&receiver).await;
    let other = receive(&transport, &reception().member("other")).await;
    // A partition has moved as soon as something of it is delivered.
    take(&other, 1).await;
    other.close().await.unwrap();
    let mut settled = BTreeSet::new();
    while settled.len() < 160 {
        let told = told(&receiver, &came, Verdict::Done).await;
        settled.extend(came.iter().zip(told).filter(|(_, told)| told.is_ok()).map(|(one, _)| number(one)));
        if settled.len() < 160 {
            came = take(&receiver, 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_filter_leaves_out_does_not_hold_the_position_up() {
    let (cluster, transport) = with_orders(1).await;
    let wanted = busway_engine::transport::Reception::new(
        "orders",
        "paid",
        busway_event::Filter::new("orders.paid").unwrap(),
    );
    let receiver = receive(&transport, &wanted).await;
    send(&transport, events(0..5, None)).await;
    let passed = async {
        while cluster.position("paid", "orders", 0) < 5 {
            nothing_comes(&receiver).await;
        }
    };
    tokio::time::timeout(crate::world::PATIENCE, passed).await.unwrap();
}
