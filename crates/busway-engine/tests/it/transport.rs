//! A bus as a transport, where its own suite does not look.

use busway_engine::transport::{LocalTransport, Reception, Transport as _};
use busway_engine::{Bus, Stream};

use crate::world::ends;

#[tokio::test]
async fn a_member_that_was_dropped_is_followed_by_the_next_however_far_its_end_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let stream = Stream::new("orders").capture("orders.#");
    let bus = Bus::open(folder.path()).stream(stream).producer("shop").start().await.unwrap();
    let transport = LocalTransport::new(&bus);
    let filter = busway_event::Filter::new("orders.#").unwrap();
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
