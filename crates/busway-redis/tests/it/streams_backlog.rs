//! What is there already when a member comes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use busway_engine::transport::{Transport, TransportError, Verdict};

use crate::server::Server;
use crate::world::{
    PATIENCE, connected, event, nothing_comes, numbers, orders, reception, send, settle, take,
};

const KEY: &str = "busway:stream:orders:0";
const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_backlog_of_several_partitions_comes_whole_and_once_whatever_room_there_is() {
    let server = Server::start().await;
    let transport = connected(&server, orders().partitions(3)).await;
    send(&*transport.sender().await.unwrap(), (1..=2_000).map(event).collect()).await;
    // Less than there are partitions, as many, and more than one answer has.
    for (at, room) in [2, 3, 50, 700].into_iter().enumerate() {
        let name = format!("stock:{at}");
        let reception = busway_engine::transport::Reception::new("orders", name, "#".parse().unwrap());
        let reception = reception.start_at(busway_engine::StartAt::Earliest).ack_wait(LONG);
        let receiver = transport.receiver(&reception.in_flight_max(room)).await.unwrap();
        let (mut all, mut last) = (Vec::new(), BTreeMap::new());
        while all.len() < 2_000 {
            let received = tokio::time::timeout(PATIENCE, receiver.receive(room)).await.unwrap().unwrap();
            assert!(received.len() <= room);
            for one in &received {
                let id = one.event.as_ref().unwrap().id().as_uuid().as_u128() % 3;
                assert!(last.insert(id, one.offset) < Some(one.offset), "the order of a partition");
                assert_eq!(one.attempt.get(), 1);
            }
            all.extend(numbers(&received));
            settle(&receiver, &received, Verdict::Done).await;
        }
        assert_eq!(all.iter().copied().collect::<BTreeSet<_>>().len(), 2_000);
        nothing_comes(&receiver).await;
    }
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_what_is_due_again_does_not_wait_for_the_end_of_a_backlog() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one").ack_wait(LONG)).await.unwrap();
    send(&*transport.sender().await.unwrap(), (1..=1_000).map(event).collect()).await;
    let received = take(&receiver, 10).await;
    settle(&receiver, &received[1..], Verdict::Done).await;
    settle(&receiver, &received[..1], Verdict::Again(Duration::ZERO)).await;
    let mut seen = 10;
    loop {
        let received = tokio::time::timeout(PATIENCE, receiver.receive(10)).await.unwrap().unwrap();
        seen += received.len();
        let is_back = numbers(&received).contains(&1);
        settle(&receiver, &received, Verdict::Done).await;
        if is_back {
            break;
        }
    }
    // The page that was asked for without looking, and the next one.
    assert!(seen <= 40, "{seen}");
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_who_works_through_a_backlog_sees_that_the_stream_was_made_anew_and_gives_back_what_came() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one").ack_wait(LONG)).await.unwrap();
    send(&*transport.sender().await.unwrap(), (1..=30).map(event).collect()).await;
    let held = take(&receiver, 10).await;
    server.command(&["FLUSHALL"]).await;
    let anew = connected(&server, orders()).await;
    let other = anew.receiver(&reception("two").ack_wait(LONG)).await.unwrap();
    send(&*anew.sender().await.unwrap(), (1..=30).map(event).collect()).await;
    let error = tokio::time::timeout(PATIENCE, receiver.receive(10)).await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Gone { .. }), "{error}");
    let error = receiver.settle(vec![(held[0].id, Verdict::Done)]).await.remove(0).unwrap_err();
    assert!(matches!(error, TransportError::Gone { .. }), "{error}");
    let received = take(&other, 30).await;
    assert!(received.iter().all(|one| one.attempt.get() == 1), "{received:?}");
    assert_eq!(numbers(&received).into_iter().collect::<BTreeSet<_>>().len(), 30);
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_who_works_through_a_backlog_sees_that_its_subscription_was_removed() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one").ack_wait(LONG)).await.unwrap();
    send(&*transport.sender().await.unwrap(), (1..=30).map(event).collect()).await;
    let held = take(&receiver, 10).await;
    server.command(&["XGROUP", "DESTROY", KEY, "stock"]).await;
    let error = tokio::time::timeout(PATIENCE, receiver.receive(10)).await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Gone { .. }), "{error}");
    let verdicts = held.iter().map(|one| (one.id, Verdict::Done)).collect();
    for error in receiver.settle(verdicts).await.into_iter().map(Result::unwrap_err) {
        assert!(matches!(error, TransportError::Gone { .. }), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_of_a_page_that_is_done_those_that_others_have_by_now_are_told_as_gone() {
    let server = Server::start().await;
    let transport = connected(&server, orders()).await;
    let receiver = transport.receiver(&reception("one").ack_wait(LONG)).await.unwrap();
    send(&*transport.sender().await.unwrap(), (1..=6).map(event).collect()).await;
    let received = take(&receiver, 6).await;
    let ids: Vec<(String, Vec<String>)> = server.ask(&["XRANGE", KEY, "-", "+"]).await;
    let id = |number: usize| ids[number - 1].0.as_str();
    // Another member has taken one; somebody has settled one; one was delivered once more under the same name.
    let _: Vec<String> = server.ask(&["XCLAIM", KEY, "stock", "two", "0", id(2), "JUSTID"]).await;
    server.command(&["XACK", KEY, "stock", id(4)]).await;
    let _: redis::Value = server.ask(&["XCLAIM", KEY, "stock", "one", "0", id(5)]).await;
    let verdicts = received.iter().map(|one| (one.id, Verdict::Done)).collect();
    let told = receiver.settle(verdicts).await;
    let is_gone = told.iter().map(|told| matches!(told, Err(TransportError::Gone { .. })));
    assert_eq!(is_gone.collect::<Vec<_>>(), [false, true, false, true, true, false], "{told:?}");
    let left: Vec<(String, String, u64, u64)> = server.ask(&["XPENDING", KEY, "stock", "-", "+", "9"]).await;
    let left: Vec<_> = left.iter().map(|(id, name, _, _)| (id.as_str(), name.as_str())).collect();
    assert_eq!(left, [(id(2), "two"), (id(5), "one")]);
}
