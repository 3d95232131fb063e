//! What comes after what.

use std::collections::HashMap;

use busway_engine::transport::Verdict;
use busway_event::EventId;

use crate::conformance::PATIENCE;
use crate::conformance::world::{World, event_of, send, take, take_and_settle};

/// Of each key in the order in which they were sent, also over many sends, while others are under way.
pub(super) async fn order_per_key(world: &World) {
    let receiver = world.receiver(&world.reception("all").in_flight_max(16)).await;
    let keys: Vec<_> = (0..KEYS).map(|key| format!("key-{key}")).collect();
    let mut sent: HashMap<String, Vec<EventId>> = HashMap::new();
    let sender = world.sender().await;
    for _ in 0..ROUNDS {
        let events: Vec<_> = keys.iter().map(|key| world.event("keyed", Some(key))).collect();
        for (key, event) in keys.iter().zip(&events) {
            sent.entry(key.clone()).or_default().push(event.id());
        }
        send(&*sender, &events).await;
    }
    let mut came: HashMap<String, Vec<EventId>> = HashMap::new();
    for event in take_and_settle(&*receiver, KEYS * ROUNDS).await {
        let key = event.key().map(|key| key.as_str().to_owned()).unwrap_or_default();
        came.entry(key).or_default().push(event.id());
    }
    assert_eq!(came, sent);
}

/// An event that takes long does not keep those of other keys waiting.
pub(super) async fn concurrency_across_keys(world: &World) {
    // It is held for as long as the others take, and that is no reason to deliver it again.
    let receiver = world.receiver(&world.reception("all").in_flight_max(8).ack_wait(PATIENCE)).await;
    let sender = world.sender().await;
    let slow = world.event("keyed", Some("slow"));
    send(&*sender, std::slice::from_ref(&slow)).await;
    let held = take(&*receiver, 1).await;
    let others: Vec<_> = (0..20).map(|_| world.event("keyed", Some("quick"))).collect();
    send(&*sender, &others).await;
    let came = take_and_settle(&*receiver, others.len()).await;
    assert!(came.iter().all(|event| event.id() != slow.id()));
    for received in held {
        assert_eq!(event_of(&received).id(), slow.id());
        // Whether that is heard is of other cases.
        drop(receiver.settle(vec![(received.id, Verdict::Done)]).await);
    }
}

const KEYS: usize = 8;
const ROUNDS: usize = 25;
