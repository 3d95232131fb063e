//! Receiving: filters, groups, beginnings, limits.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::StartAt;
use busway_engine::transport::{Transport, TransportError, Verdict};
use busway_event::Timestamp;
use busway_persistence::Stream;

use crate::server::{
    Server, event, join, nothing_comes, number, orders, orders_in, receive, reception, send, send_numbers,
    settle, take,
};

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_filters_mean_what_they_mean_in_the_bus() {
    for prefix in ["", "shop.eu"] {
        let server = Server::start();
        let transport = server.builder().subject_prefix(prefix).connect().await.unwrap();
        transport.prepare(&[Stream::new("orders").capture("a.#").capture("b.+")]).await.unwrap();
        let topics = ["a", "a.b", "a.b.c", "a.c", "b.b", "b.c"];
        let events = topics.iter().zip(1..).map(|(topic, number)| event(topic, number)).collect();
        send(&*transport.sender().await.unwrap(), events).await;
        for (name, filter, expected) in [
            ("rest", "a.#", &[1, 2, 3, 4][..]),
            ("one", "a.+", &[2, 4]),
            ("within", "a.b.#", &[2, 3]),
            ("first", "+.b", &[2, 5]),
            ("all", "#", &[1, 2, 3, 4, 5, 6]),
            ("both", "+.#", &[1, 2, 3, 4, 5, 6]),
            ("exact", "a", &[1]),
        ] {
            let receiver = join(&transport, &reception(name, filter)).await;
            assert_eq!(take(&*receiver, expected.len()).await, expected, "{filter}");
            nothing_comes(&*receiver).await;
            // The same again is the same subscription, another filter is none.
            join(&transport, &reception(name, filter)).await;
            let other = transport.receiver(&reception(name, "a.x")).await.unwrap_err();
            assert!(matches!(&other, TransportError::Incompatible { setting: "filters", .. }), "{other}");
        }
    }
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_subscription_goes_on_where_it_stood() {
    let (server, transport) = orders().await;
    send_numbers(&transport, 1..=5).await;
    let receiver = join(&transport, &reception("stock", "#")).await;
    assert_eq!(take(&*receiver, 3).await, [1, 2, 3]);
    receiver.close().await.unwrap();
    transport.close().await.unwrap();
    let transport = server.transport().await;
    send_numbers(&transport, 6..=6).await;
    let receiver = join(&transport, &reception("stock", "#").start_at(StartAt::Earliest)).await;
    assert_eq!(take(&*receiver, 3).await, [4, 5, 6]);
    nothing_comes(&*receiver).await;
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_members_of_a_subscription_share_its_events_and_another_one_has_them_all() {
    let (server, transport) = orders().await;
    let other = server.transport().await;
    let reception = |name, member| reception(name, "#").member(member).in_flight_max(10);
    let members =
        [join(&transport, &reception("stock", "one")).await, join(&other, &reception("stock", "two")).await];
    send_numbers(&transport, 1..=20).await;
    // Neither may have more than ten under way, so that both have to work.
    let (one, two) = tokio::join!(receive(&*members[0], 10), receive(&*members[1], 10));
    let mut all: Vec<_> = one.iter().chain(&two).map(number).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=20).collect::<Vec<_>>());
    settle(&*members[0], &one, &Verdict::Done).await;
    settle(&*members[1], &two, &Verdict::Done).await;
    nothing_comes(&*members[0]).await;
    let mail = join(&transport, &self::reception("mail", "#")).await;
    assert_eq!(take(&*mail, 20).await, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_new_subscription_begins_where_it_says() {
    let (_server, transport) = orders().await;
    send_numbers(&transport, 1..=5).await;
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let between = Timestamp::from_nanos(i64::try_from(clock.as_nanos()).unwrap());
    send_numbers(&transport, 6..=8).await;
    let mut late = Vec::new();
    for start_at in [StartAt::Stored, StartAt::Latest] {
        late.push(join(&transport, &reception(&format!("{start_at:?}"), "#").start_at(start_at)).await);
    }
    for (name, start_at, expected) in [
        ("earliest", StartAt::Earliest, &[1, 2, 3, 4, 5, 6, 7, 8][..]),
        ("first", StartAt::Offset(0), &[1, 2, 3, 4, 5, 6, 7, 8]),
        ("offset", StartAt::Offset(4), &[4, 5, 6, 7, 8]),
        ("time", StartAt::Time(between), &[6, 7, 8]),
    ] {
        let receiver = join(&transport, &reception(name, "#").start_at(start_at)).await;
        let came = receive(&*receiver, expected.len()).await;
        assert_eq!(came.iter().map(number).collect::<Vec<_>>(), expected, "{name}");
        assert_eq!(came[0].offset, Some(u64::from(expected[0])), "its sequence");
    }
    send_numbers(&transport, 9..=9).await;
    for receiver in late {
        assert_eq!(take(&*receiver, 1).await, [9]);
    }
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_no_more_than_the_limit_is_under_way_and_a_receive_that_is_dropped_loses_nothing() {
    let (_server, transport) = orders().await;
    send_numbers(&transport, 1..=100).await;
    let receiver = join(&transport, &reception("stock", "#").in_flight_max(7)).await;
    let first = receive(&*receiver, 7).await;
    nothing_comes(&*receiver).await;
    settle(&*receiver, &first[..2], &Verdict::Done).await;
    let next = receive(&*receiver, 2).await;
    assert_eq!(next.iter().map(number).collect::<Vec<_>>(), [8, 9]);
    nothing_comes(&*receiver).await;
    settle(&*receiver, &first[2..], &Verdict::Done).await;
    settle(&*receiver, &next, &Verdict::Done).await;
    let mut came: Vec<u32> = Vec::new();
    for round in 0.. {
        // Cut short at every point that there is, some of the time.
        let patience = Duration::from_micros(200 * (round % 7));
        let Ok(some) = tokio::time::timeout(patience, receiver.receive(3)).await else { continue };
        let some = some.unwrap();
        came.extend(some.iter().map(number));
        settle(&*receiver, &some, &Verdict::Done).await;
        if came.len() >= 91 {
            break;
        }
    }
    assert_eq!(came, (10..=100).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_events_come_to_one_who_waits_while_several_are_sent() {
    let (_server, transport) = orders().await;
    let receiver = join(&transport, &reception("stock", "#")).await;
    let waiting = tokio::spawn({
        let receiver = Arc::clone(&receiver);
        async move { take(&*receiver, 500).await }
    });
    for start in (1..=500).step_by(50) {
        send_numbers(&transport, start..start + 50).await;
    }
    assert_eq!(waiting.await.unwrap(), (1..=500).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_one_who_has_room_for_one_and_waits_for_it_is_given_it() {
    for partitions in [1, 3] {
        let (_server, transport) = orders_in(partitions).await;
        let receiver = join(&transport, &reception("stock", "#").in_flight_max(1)).await;
        for number in 1..=3 {
            let (came, ()) = tokio::join!(receive(&*receiver, 1), async {
                nothing_comes_meanwhile().await;
                send_numbers(&transport, [number]).await;
            });
            assert_eq!(came.iter().map(crate::server::number).collect::<Vec<_>>(), [number]);
            settle(&*receiver, &came, &Verdict::Done).await;
        }
    }
}

/// So that the other waits already.
async fn nothing_comes_meanwhile() {
    _ = tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>()).await;
}
