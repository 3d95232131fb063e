//! What the server does, or becomes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use busway_engine::Retention;
use busway_engine::transport::{Capability, Transport, TransportError, Verdict};
use busway_event::Durability;
use busway_redis::RedisTransport;
use busway_testkit::conformance::kills_wanted;

use crate::server::Server;
use crate::world::{PATIENCE, connected, event, numbers, orders, reception, send, settle, take};

const KEY: &str = "busway:stream:orders:0";

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_trimming_takes_what_all_have_settled_and_nothing_else() {
    let server = Server::start().await;
    let transport = connected(&server, orders().retention(Retention::forever().count(2))).await;
    let receiver = transport.receiver(&reception("one")).await.unwrap();
    let slow = busway_engine::transport::Reception::new("orders", "slow", "#".parse().unwrap());
    let slow = transport.receiver(&slow).await.unwrap();
    send(&*transport.sender().await.unwrap(), (1..=20).map(event).collect()).await;
    let received = take(&receiver, 20).await;
    settle(&receiver, &received, Verdict::Done).await;
    // The other one has read nothing.
    assert_eq!(transport.trim().await, Ok(0));
    let first = take(&slow, 10).await;
    settle(&slow, &first[5..], Verdict::Done).await;
    settle(&slow, &first[..2], Verdict::Done).await;
    settle(&slow, &first[2..3], Verdict::Again(Duration::from_secs(60))).await;
    // It has not settled the third, which is put off, and what follows.
    assert_eq!(transport.trim().await, Ok(2));
    settle(&slow, &first[3..5], Verdict::Done).await;
    assert_eq!(transport.trim().await, Ok(0));
    let rest = take(&slow, 10).await;
    assert_eq!(numbers(&rest), (11..=20).collect::<Vec<_>>());
    settle(&slow, &rest, Verdict::Done).await;
    assert_eq!(server.ask::<u64>(&["XLEN", KEY]).await, 18);
    // By age, as long as that allows.
    let by_age =
        connected(&server, orders().retention(Retention::forever().age(Duration::from_secs(3_600)))).await;
    assert_eq!(by_age.trim().await, Ok(0));
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_server_that_has_lost_its_data_is_an_error_and_nothing_is_made_anew() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one")).await.unwrap();
    let sender = transport.sender().await.unwrap();
    send(&*sender, vec![event(1)]).await;
    let held = take(&receiver, 1).await;
    server.command(&["FLUSHALL"]).await;
    let error = tokio::time::timeout(PATIENCE, receiver.receive(1)).await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Gone { .. }) && !error.is_transient(), "{error}");
    let error = receiver.settle(vec![(held[0].id, Verdict::Done)]).await.remove(0).unwrap_err();
    assert!(matches!(error, TransportError::Gone { .. }), "{error}");
    let error = sender.send(vec![event(2)]).await.remove(0).unwrap_err();
    assert!(error.is_refused() && matches!(error.reason(), TransportError::Gone { .. }), "{error:?}");
    assert_eq!(server.ask::<u64>(&["EXISTS", KEY]).await, 0);
    // Made anew by another process it is another stream: this member does not go on there as if nothing had been.
    let anew = connected(&server, orders()).await;
    anew.receiver(&reception("two")).await.unwrap();
    let error = tokio::time::timeout(PATIENCE, receiver.receive(1)).await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Gone { .. }), "{error}");
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_group_that_somebody_removed_is_not_made_anew() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one")).await.unwrap();
    server.command(&["XGROUP", "DESTROY", KEY, "stock"]).await;
    let error = tokio::time::timeout(PATIENCE, receiver.receive(1)).await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Gone { .. }), "{error}");
    let error = transport.receiver(&reception("one")).await.unwrap_err();
    assert!(matches!(&error, TransportError::Gone { .. }), "{error}");
    assert!(error.to_string().contains("busway:groups:orders"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_server_that_is_killed_and_started_again_loses_nothing_that_it_acknowledged() {
    let mut server = Server::start().await;
    let transport = connected(&server, orders()).await;
    assert_eq!(transport.capabilities().durability(), Durability::Synced);
    let receiver = transport.receiver(&reception("one").ack_wait(Duration::from_secs(2))).await.unwrap();
    let sender = transport.sender().await.unwrap();
    let (acknowledged, done) = (Arc::new(parking_lot::Mutex::new(0_u32)), tokio::sync::watch::channel(false));
    let sending = {
        let (acknowledged, done) = (Arc::clone(&acknowledged), done.1.clone());
        tokio::spawn(async move {
            let mut number = 1;
            while !*done.borrow() {
                // One that may be there is sent again under the same id.
                if sender.send(vec![event(number)]).await.remove(0).is_ok() {
                    *acknowledged.lock() = number;
                    number += 1;
                }
            }
        })
    };
    for round in 1..=u32::try_from(kills_wanted()).unwrap() {
        let sent = async {
            while *acknowledged.lock() < round * 50 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, sent).await.unwrap();
        server.kill();
        server.start_again().await;
    }
    done.0.send(true).unwrap();
    sending.await.unwrap();
    let last = *acknowledged.lock();
    let mut came = std::collections::BTreeSet::new();
    while came.len() < usize::try_from(last).unwrap() {
        match tokio::time::timeout(PATIENCE, receiver.receive(64)).await.unwrap() {
            Ok(received) => {
                came.extend(numbers(&received));
                receiver.settle(received.iter().map(|one| (one.id, Verdict::Done)).collect()).await;
            }
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
    assert_eq!(came.into_iter().collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    // None is there twice, whatever was sent again.
    assert_eq!(server.ask::<u32>(&["XLEN", KEY]).await, last);
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_wrong_password_is_access_denied_and_is_not_repeated() {
    let server = Server::start().await;
    server.command(&["CONFIG", "SET", "requirepass", "r1ght"]).await;
    for user in [":wr0ng@", ""] {
        let url = format!("redis://{user}{}", server.address);
        let error = RedisTransport::builder(&url).connect().await.unwrap_err();
        assert!(matches!(error, TransportError::AccessDenied { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("wr0ng"), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_server_that_does_not_answer_is_unreachable_within_the_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let (begun, timeout) = (Instant::now(), Duration::from_millis(300));
    let error = RedisTransport::builder(&url).timeout(timeout).connect().await.unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }) && error.is_transient(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let mut server = Server::start().await;
    let builder = RedisTransport::builder(&server.url()).timeout(timeout);
    let transport = builder.connect().await.unwrap();
    transport.prepare(&[orders()]).await.unwrap();
    let sender = transport.sender().await.unwrap();
    let receiver = transport.receiver(&reception("one")).await.unwrap();
    server.kill();
    let begun = Instant::now();
    let error = sender.send(vec![event(1)]).await.remove(0).unwrap_err();
    assert!(!error.is_refused() && error.is_transient(), "{error:?}");
    let error = receiver.receive(1).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_what_the_server_promises_is_what_its_settings_say() {
    let server = Server::start().await;
    let found = async || RedisTransport::builder(&server.url()).connect().await.unwrap().capabilities();
    server.command(&["CONFIG", "SET", "appendfsync", "everysec"]).await;
    let every_second = found().await;
    assert_eq!(every_second.durability(), Durability::Written);
    assert!(every_second.notes()[0].contains("last second"), "{:?}", every_second.notes());
    server.command(&["CONFIG", "SET", "appendonly", "no"]).await;
    let in_memory = found().await;
    assert!(!in_memory.has(Capability::SurvivesRestart) && in_memory.notes().len() == 1);
    server.command(&["CONFIG", "SET", "appendonly", "yes", "appendfsync", "always"]).await;
    server.command(&["ACL", "SETUSER", "app", "on", ">pass", "~*", "&*", "+@all", "-config"]).await;
    let url = format!("redis://app:pass@{}", server.address);
    let untold = RedisTransport::builder(&url).connect().await.unwrap().capabilities();
    assert_eq!(untold.durability(), Durability::Written);
    assert!(untold.notes()[0].contains("CONFIG GET"), "{:?}", untold.notes());
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let error = RedisTransport::builder(&server.url()).connect().await.unwrap_err();
    assert!(matches!(&error, TransportError::Refused(said) if said.contains("noeviction")), "{error}");
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_an_event_whose_id_may_not_be_kept_is_refused_and_not_there() {
    let server = Server::start().await;
    connected(&server, orders()).await;
    let words = ["ACL", "SETUSER", "app", "on", ">pass", "~busway:stream:*", "~busway:meta:*", "+@all"];
    server.command(&words).await;
    let url = format!("redis://app:pass@{}", server.address);
    let transport = RedisTransport::builder(&url).connect().await.unwrap();
    transport.prepare(&[orders()]).await.unwrap();
    let sender = transport.sender().await.unwrap();
    let errors = sender.send(vec![event(1), event(2)]).await;
    for error in errors.into_iter().map(Result::unwrap_err) {
        assert!(error.is_refused() && !error.is_transient(), "{error:?}");
    }
    assert_eq!(server.ask::<u64>(&["XLEN", KEY]).await, 0);
}
