//! Who a subscription is among the members of one at a broker.

use std::path::Path;

use busway_engine::remote::Members;
use busway_engine::{Bus, SubscribeBuilder};
use busway_event::Raw;
use busway_testkit::Recorder;

use super::memory;
use super::world::Scripted;
use crate::world::ends;

async fn stored(path: &Path) -> Bus {
    Bus::open(path).producer("shop").start().await.unwrap()
}

/// Who a bus joins as, which has ended then.
async fn joined(bus: Bus, broker: &Scripted, name: Option<&str>, members: Members) -> String {
    let subscription = bus.subscribe("orders.#");
    let subscription = name.into_iter().fold(subscription, SubscribeBuilder::name);
    let subscription = subscription.on(broker, "orders", "stock").members(members);
    let subscription = subscription.to(Recorder::<Raw>::new().handler()).await.unwrap();
    ends(subscription.stop()).await;
    assert!(ends(bus.shutdown(std::time::Duration::from_secs(10))).await.is_drained());
    broker.post.members.lock().pop().unwrap()
}

#[tokio::test]
async fn buses_of_one_producer_are_different_members_and_one_is_itself_again_after_a_restart() {
    let (broker, one, other) = (Scripted::able(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let several = Members::Several;
    let first = joined(stored(one.path()).await, &broker, None, several).await;
    assert_eq!(joined(stored(one.path()).await, &broker, None, several).await, first);
    let mut all = vec![
        first,
        joined(stored(one.path()).await, &broker, Some("of another name here"), several).await,
        joined(stored(other.path()).await, &broker, None, several).await,
        joined(memory().await, &broker, None, several).await,
        joined(memory().await, &broker, None, several).await,
    ];
    assert!(all.iter().all(|member| member.starts_with("shop-")), "{all:?}");
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 5, "{all:?}");
}

#[tokio::test]
async fn one_that_has_no_others_beside_it_is_itself_again_without_a_store() {
    let broker = Scripted::able();
    let first = joined(memory().await, &broker, None, Members::One).await;
    assert_eq!(joined(memory().await, &broker, None, Members::One).await, first);
    let bus = memory().await;
    let stock = bus.subscribe("orders.#").on(&broker, "orders", "stock").member("host-7");
    let _stock = stock.to(Recorder::<Raw>::new().handler()).await.unwrap();
    assert_eq!(*broker.post.members.lock(), ["host-7"]);
}
