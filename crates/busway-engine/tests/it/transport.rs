//! A bus as a transport, where its own suite does not look.

use busway_engine::transport::{LocalTransport, Reception, Transport as _, TransportError, Verdict};
use busway_engine::{Bus, Stream};
use busway_event::{Event, Filter, Raw};
use busway_testkit::{ManualClock, TestBus};

use crate::world::ends;

#[tokio::test]
async fn a_member_that_was_dropped_is_followed_by_the_next_however_far_its_end_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let stream = Stream::new("orders").capture("orders.#");
    let bus = Bus::open(folder.path()).stream(stream).producer("shop").start().await.unwrap();
    let transport = LocalTransport::new(&bus);
    let filter = Filter::new("orders.#").unwrap();
    let reception = Reception::new("orders", "stock", filter);
    for turns in 0..40 {
        drop(transport.receiver(&reception).await.unwrap());
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let next = ends(transport.receiver(&reception)).await;
        assert!(next.is_ok(), "behind {turns} turns: {next:?}");
        ends(next.unwrap().close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_delivery_that_is_gone_keeps_the_renewal_from_no_other_one() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let orders = Stream::new("orders").capture("orders.#");
    let bus = TestBus::open_on(clock.clone(), folder.path(), |builder| builder.stream(orders)).await;
    let reception = Reception::new("orders", "stock", Filter::new("orders.#").unwrap());
    let receiver = LocalTransport::new(&bus).receiver(&reception).await.unwrap();
    for name in ["a", "b"] {
        bus.publish(Event::new("orders.made", Raw::from(name)).key(name)).await.unwrap();
    }
    let mut page = Vec::new();
    while page.len() < 2 {
        page.extend(ends(receiver.receive(8)).await.unwrap());
    }
    let [first, second] = [0, 1].map(|at: usize| page[at].id);
    assert_eq!(receiver.settle(vec![(first, Verdict::Done)]).await, [Ok(())]);
    clock.advance(reception.ack_wait * 2 / 3);
    let renewed = receiver.renew(&[first, second]).await;
    assert!(matches!(renewed, Err(TransportError::Gone { .. })), "{renewed:?}");
    clock.advance(reception.ack_wait * 2 / 3);
    // Whoever takes back what was not renewed has its turn.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(receiver.settle(vec![(second, Verdict::Done)]).await, [Ok(())], "it has been renewed");
    ends(receiver.close()).await.unwrap();
}
