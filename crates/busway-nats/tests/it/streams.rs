//! Streams and consumers that are there already, or are not any more.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, ConsumerLimits, DiscardPolicy, StorageType};
use busway_engine::transport::{Transport, TransportError, Verdict};
use busway_persistence::{AtCap, Retention, Stream};

use crate::server::{
    Server, join, nothing_comes, number, orders, receive, reception, send_numbers, settle, take,
};

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_stream_is_made_once_as_it_is_declared() {
    let server = Server::start();
    let transport = server.transport().await;
    let declared = [
        Stream::new("orders")
            .capture("orders.#")
            .retention(Retention::forever().age(Duration::from_secs(3_600))),
        Stream::new("full")
            .capture("full.+")
            .retention(Retention::forever().cap(1 << 20, AtCap::RefusePublish)),
        Stream::new("counted").capture("counted").retention(Retention::forever().count(10)).partitions(4),
    ];
    for _ in 0..2 {
        transport.prepare(&declared).await.unwrap();
    }
    let plain = server.plain().await;
    let orders = plain.get_stream("orders").await.unwrap().cached_info().config.clone();
    assert_eq!(orders.subjects, ["orders", "orders.>"]);
    assert_eq!(
        (orders.max_age, orders.duplicate_window),
        (Duration::from_secs(3_600), Duration::from_secs(120))
    );
    assert_eq!((orders.storage, orders.num_replicas), (StorageType::File, 1));
    let full = plain.get_stream("full").await.unwrap().cached_info().config.clone();
    assert_eq!((full.max_bytes, full.discard), (1 << 20, DiscardPolicy::New));
    assert_eq!(plain.get_stream("counted").await.unwrap().cached_info().config.max_messages, 40);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_stream_that_is_something_else_is_incompatible_and_left_as_it_is() {
    let server = Server::start();
    let (transport, plain) = (server.transport().await, server.plain().await);
    let there = Config {
        name: "orders".to_owned(),
        subjects: vec!["orders.created".to_owned()],
        max_messages: 7,
        ..Config::default()
    };
    plain.create_stream(there).await.unwrap();
    let before = plain.get_stream("orders").await.unwrap().cached_info().config.clone();
    let error = transport.prepare(&[Stream::new("orders").capture("orders.#")]).await.unwrap_err();
    let TransportError::Incompatible { what, setting, found, wanted } = &error else { panic!("{error}") };
    assert_eq!((what.as_str(), *setting), ("stream orders", "subjects"));
    assert_eq!((found.as_str(), wanted.as_str()), ("orders.created", "orders orders.>"));
    let error = transport.prepare(&[Stream::new("orders").capture("orders.created")]).await.unwrap_err();
    assert!(matches!(&error, TransportError::Incompatible { setting: "max_msgs", .. }), "{error}");
    // Another stream has the subject.
    let error = transport.prepare(&[Stream::new("more").capture("orders.#")]).await.unwrap_err();
    assert!(matches!(error, TransportError::Refused(_)) && error.to_string().contains("overlap"), "{error}");
    let after = plain.get_stream("orders").await.unwrap().cached_info().config.clone();
    assert_eq!(after, before);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_what_the_server_has_no_words_for_is_unmappable_and_nothing_is_made() {
    let server = Server::start();
    let transport = server.transport().await;
    let fine = Stream::new("fine").capture("fine");
    for bad in [
        Stream::new("all").capture("#"),
        Stream::new("inbox").capture("_INBOX.#"),
        Stream::new("a.b").capture("a"),
        Stream::new("none"),
        Stream::new("bad").capture("a..b"),
    ] {
        let error = transport.prepare(&[fine.clone(), bad]).await.unwrap_err();
        assert!(matches!(error, TransportError::Unmappable { transport: "nats", .. }), "{error}");
    }
    assert!(server.plain().await.get_stream("fine").await.is_err());
    let within = server.builder().subject_prefix("shop").connect().await.unwrap();
    within.prepare(&[Stream::new("all").capture("#")]).await.unwrap();
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_consumer_that_is_something_else_is_incompatible() {
    let (server, transport) = orders().await;
    let stream = server.plain().await.get_stream("orders").await.unwrap();
    let base = || pull::Config { ack_policy: AckPolicy::Explicit, max_deliver: -1, ..Default::default() };
    let named =
        |name: &str, config: pull::Config| pull::Config { durable_name: Some(name.to_owned()), ..config };
    let wait = Duration::from_secs(30);
    for (name, config, expected) in [
        ("narrow", pull::Config { filter_subject: "orders.x".to_owned(), ..base() }, "filters"),
        ("none", pull::Config { ack_policy: AckPolicy::All, ..base() }, "ack_policy"),
        ("few", pull::Config { max_deliver: 3, ..base() }, "max_deliver"),
        ("bare", pull::Config { headers_only: true, ..base() }, "headers_only"),
        ("idle", pull::Config { inactive_threshold: wait, ..base() }, "inactive_threshold"),
        ("brief", pull::Config { max_expires: wait / 3, ..base() }, "max_expires"),
        ("small", pull::Config { max_batch: 16, ..base() }, "max_batch"),
        ("light", pull::Config { max_bytes: 1_000, ..base() }, "max_bytes"),
        ("hasty", pull::Config { ack_wait: wait / 2, ..base() }, "ack_wait"),
    ] {
        stream.create_consumer(named(name, config)).await.unwrap();
        let error = transport.receiver(&reception(name, "#").ack_wait(wait)).await.unwrap_err();
        assert!(
            matches!(&error, TransportError::Incompatible { setting, .. } if *setting == expected),
            "{name}: {error}"
        );
        assert!(error.to_string().starts_with(&format!("consumer {name} has")), "{error}");
    }
    stream.create_consumer(named("patient", pull::Config { ack_wait: wait * 2, ..base() })).await.unwrap();
    join(&transport, &reception("patient", "#").ack_wait(wait)).await;
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_consumer_that_is_deleted_is_made_again_and_nothing_is_skipped() {
    let (server, transport) = orders().await;
    send_numbers(&transport, 1..=6).await;
    let receiver = join(&transport, &reception("stock", "#")).await;
    assert_eq!(take(&*receiver, 2).await, [1, 2]);
    let held = receive(&*receiver, 2).await;
    let stream = server.plain().await.get_stream("orders").await.unwrap();
    stream.delete_consumer("stock").await.unwrap();
    // From the last place that is known to be settled, which may be earlier than it was: at least once.
    let all = tokio::time::timeout(crate::server::PATIENCE, async {
        let mut all: Vec<_> = Vec::new();
        while all.iter().map(number).max() != Some(6) {
            all.extend(receiver.receive(10).await.unwrap());
        }
        all
    })
    .await
    .unwrap();
    let numbers: Vec<_> = all.iter().map(number).collect();
    assert!((3..=6).all(|number| numbers.contains(&number)), "{numbers:?}");
    let told = receiver.settle(vec![(held[0].id, Verdict::Done)]).await;
    assert!(matches!(told[0], Err(TransportError::Gone { .. })), "{told:?}");
    // What had been there before it was lost and is held by nobody can be settled again.
    let again: Vec<_> = all.into_iter().rev().take(6).collect();
    for told in receiver.settle(again.iter().map(|one| (one.id, Verdict::Done)).collect()).await {
        assert!(matches!(told, Ok(()) | Err(TransportError::Gone { .. })), "{told:?}");
    }
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_stream_that_is_not_there_is_gone() {
    let (server, transport) = orders().await;
    let receiver = join(&transport, &reception("stock", "#")).await;
    nothing_comes(&*receiver).await;
    server.plain().await.delete_stream("orders").await.unwrap();
    let gone = tokio::time::timeout(crate::server::PATIENCE, receiver.receive(1)).await.unwrap().unwrap_err();
    assert!(matches!(&gone, TransportError::Gone { what, .. } if what == "stream orders"), "{gone}");
    let error = transport.receiver(&reception("mail", "#")).await.unwrap_err();
    assert!(matches!(&error, TransportError::Gone { what, .. } if what == "stream orders"), "{error}");
    transport.prepare(&[Stream::new("orders").capture("orders.#")]).await.unwrap();
    // The receiver comes back with its stream.
    send_numbers(&transport, 1..=1).await;
    let all = receive(&*receiver, 1).await;
    settle(&*receiver, &all, &Verdict::Done).await;
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_of_a_stream_that_was_made_again_all_is_delivered() {
    let (server, transport) = orders().await;
    send_numbers(&transport, 1..=4).await;
    let first = join(&transport, &reception("stock", "#")).await;
    assert_eq!(take(&*first, 3).await, [1, 2, 3]);
    first.close().await.unwrap();
    // It knows that three are settled, and has one that is not.
    let receiver = join(&transport, &reception("stock", "#")).await;
    let held = receive(&*receiver, 1).await;
    let plain = server.plain().await;
    let config = plain.get_stream("orders").await.unwrap().cached_info().config.clone();
    plain.delete_stream("orders").await.unwrap();
    plain.create_stream(config).await.unwrap();
    send_numbers(&transport, 5..=7).await;
    assert_eq!(take(&*receiver, 3).await, [5, 6, 7]);
    // What the stream of before had delivered says nothing of this one.
    let told = receiver.settle(vec![(held[0].id, Verdict::Done)]).await;
    assert!(matches!(told[0], Err(TransportError::Gone { .. })), "{told:?}");
    nothing_comes(&*receiver).await;
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_stream_whose_consumers_are_removed_when_idle_is_incompatible() {
    let server = Server::start();
    let transport = server.transport().await;
    let plain = server.plain().await;
    let idle = Duration::from_secs(3_600);
    let limits = ConsumerLimits { inactive_threshold: idle, ..Default::default() };
    let config = Config {
        name: "orders".to_owned(),
        subjects: vec!["orders.>".to_owned()],
        consumer_limits: Some(limits),
        ..Default::default()
    };
    let stream = plain.create_stream(config).await.unwrap();
    if stream.cached_info().config.consumer_limits.is_none() {
        // A server before 2.10 has no such limits.
        return;
    }
    let error = transport.receiver(&reception("stock", "#")).await.unwrap_err();
    let TransportError::Incompatible { what, setting, found, .. } = &error else { panic!("{error}") };
    assert_eq!((what.as_str(), *setting), ("stream orders", "consumer_limits.inactive_threshold"));
    assert_eq!(*found, format!("{idle:?}"));
    // Nothing was made that would be removed.
    assert_eq!(plain.get_stream("orders").await.unwrap().cached_info().state.consumer_count, 0);
}
