//! A server that dies and comes back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::{Sender, Transport, Verdict};
use busway_testkit::conformance::kills_wanted;

use crate::server::{Server, event, join, number, orders, receive, reception, take};

/// Sends until it is taken, as a forwarder does; returns how often that was in vain.
async fn insist(sender: &dyn Sender, numbers: std::ops::RangeInclusive<u32>) -> usize {
    insist_on(sender, numbers.map(|number| event("orders.created", number)).collect()).await
}

async fn insist_on(sender: &dyn Sender, mut left: Vec<busway_event::AnyEvent>) -> usize {
    let mut in_vain = 0;
    while !left.is_empty() {
        let sent = sender.send(left).await;
        left = sent
            .into_iter()
            .filter_map(Result::err)
            .inspect(|error| assert!(error.is_transient(), "{error:?}"))
            .map(busway_engine::transport::SendError::into_event)
            .collect();
        in_vain += left.len();
    }
    in_vain
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nats-server"]
async fn on_nats_a_server_that_is_killed_and_started_again_loses_nothing_that_was_acknowledged() {
    let mut server = Server::start();
    let transport = server.builder().timeout(Duration::from_millis(500)).connect().await.unwrap();
    let orders = busway_persistence::Stream::new("orders").capture("orders.#");
    transport.prepare(&[orders]).await.unwrap();
    let reception = reception("stock", "#").ack_wait(Duration::from_secs(2));
    let receiver = join(&transport, &reception).await;
    let kills = u32::try_from(kills_wanted()).unwrap();
    let came = tokio::spawn({
        let receiver = Arc::clone(&receiver);
        async move {
            let mut came = BTreeSet::new();
            while came.len() < kills as usize * 100 {
                match receiver.receive(16).await {
                    Ok(some) => {
                        came.extend(some.iter().map(number));
                        // What the server has not heard comes again.
                        let verdicts = some.iter().map(|one| (one.id, Verdict::Done)).collect();
                        drop(receiver.settle(verdicts).await);
                    }
                    Err(error) => assert!(error.is_transient(), "{error}"),
                }
            }
            came
        }
    });
    let sender = transport.sender().await.unwrap();
    let mut in_vain = 0;
    for round in 0..kills {
        in_vain += insist(&*sender, round * 100 + 1..=round * 100 + 50).await;
        server.kill();
        // While it is away, events are sent on.
        let sending = tokio::spawn({
            let sender = Arc::clone(&sender);
            async move { insist(&*sender, round * 100 + 51..=round * 100 + 100).await }
        });
        tokio::time::timeout(Duration::from_millis(600), std::future::pending::<()>()).await.unwrap_err();
        server.start_again();
        in_vain += sending.await.unwrap();
    }
    let came = tokio::time::timeout(Duration::from_secs(60), came).await.unwrap().unwrap();
    assert_eq!(came, (1..=kills * 100).collect());
    assert!(in_vain > 0, "the outages were noticed");
    receiver.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_one_who_waits_during_an_outage_is_told_and_receives_afterwards() {
    let mut server = Server::start();
    let transport = server.builder().timeout(Duration::from_millis(400)).connect().await.unwrap();
    transport.prepare(&[busway_persistence::Stream::new("orders").capture("orders.#")]).await.unwrap();
    let receiver = join(&transport, &reception("stock", "#")).await;
    server.kill();
    let told = tokio::time::timeout(crate::server::PATIENCE, receiver.receive(1)).await.unwrap().unwrap_err();
    assert!(told.is_transient(), "{told}");
    server.start_again();
    let waiting = tokio::spawn({
        let receiver = Arc::clone(&receiver);
        async move { take(&*receiver, 1).await }
    });
    insist(&*transport.sender().await.unwrap(), 1..=1).await;
    assert_eq!(waiting.await.unwrap(), [1]);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_connection_that_is_made_anew_loses_nothing() {
    let (_server, transport) = orders().await;
    // What was delivered to the old connection at its end comes again when its time is over.
    let reception = reception("stock", "#").ack_wait(Duration::from_secs(1));
    let receiver = join(&transport, &reception).await;
    let sender = transport.sender().await.unwrap();
    for round in 1..=5 {
        let coming = async {
            let mut came = Vec::new();
            while !came.contains(&round) {
                for one in receive(&*receiver, 1).await {
                    came.push(number(&one));
                    // Its time may be over: then it comes again.
                    drop(receiver.settle(vec![(one.id, Verdict::Done)]).await);
                }
            }
        };
        let sending = async {
            transport.reconnect().await.unwrap();
            insist(&*sender, round..=round).await;
        };
        tokio::join!(coming, sending);
    }
    insist(&*sender, 9..=9).await;
    while number(&receive(&*receiver, 1).await[0]) != 9 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nats-server"]
async fn on_nats_members_of_partitions_lose_nothing_and_keep_the_order_when_the_server_is_killed() {
    let (mut server, _first) = crate::server::orders_in(4).await;
    // Each key's events, as they came.
    let came = Arc::new(parking_lot::Mutex::new(vec![Vec::new(); 6]));
    let mut members = Vec::new();
    let reception = reception("stock", "#").ack_wait(Duration::from_secs(2));
    for _ in 0..2 {
        let transport = server.builder().timeout(Duration::from_millis(500)).connect().await.unwrap();
        let (receiver, came) = (join(&transport, &reception).await, Arc::clone(&came));
        members.push(tokio::spawn(async move {
            loop {
                let some = receiver.receive(16).await.unwrap_or_default();
                // Once the server has heard of it, the next may be at the other member.
                some.iter().map(number).for_each(|number| came.lock()[number as usize % 6].push(number));
                drop(receiver.settle(some.iter().map(|one| (one.id, Verdict::Done)).collect()).await);
            }
        }));
    }
    let transport = server.builder().timeout(Duration::from_millis(500)).connect().await.unwrap();
    let sender = transport.sender().await.unwrap();
    let kills = u32::try_from(kills_wanted()).unwrap();
    for round in 0..kills {
        let events = (round * 60..round * 60 + 60)
            .map(|number| crate::server::keyed("orders.created", &format!("key-{}", number % 6), number));
        // By and by: a lost answer to one may let a later one come first.
        for event in events {
            insist_on(&*sender, vec![event]).await;
        }
        server.kill();
        tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await.unwrap_err();
        server.start_again();
    }
    let all = async {
        while came.lock().iter().flatten().collect::<BTreeSet<_>>().len() < kills as usize * 60 {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), all).await;
    assert!(in_time.is_ok(), "{:?}", came.lock());
    members.iter().for_each(tokio::task::JoinHandle::abort);
    for (key, numbers) in came.lock().iter().enumerate() {
        // A server that is killed may forget its last answers: what it asks for again is of the past.
        let mut first = Vec::new();
        for number in numbers {
            if first.last().is_none_or(|last| *last < number) {
                first.push(number);
            }
        }
        assert_eq!(first.len(), kills as usize * 10, "key {key}: {numbers:?}");
    }
}
