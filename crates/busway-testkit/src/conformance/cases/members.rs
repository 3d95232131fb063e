//! Several who share, and several who do not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::{Received, Receiver, Transport, TransportError, Verdict};
use busway_event::{AnyEvent, EventId};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::conformance::world::{
    SOON, World, assert_same_events, event_of, ids, ids_of, receiver_on, send, settle_all, take_and_settle,
};

/// Each event comes to one of them.
pub(super) async fn groups_share(world: &World) {
    let another = world.another().await;
    let reception = world.reception("all").in_flight_max(8);
    let one = world.receiver(&reception.clone().member("one")).await;
    let two = receiver_on(&*another, &reception.member("two")).await;
    let events = world.events(200);
    send(&*world.sender().await, &events).await;
    let came = shared(&[one, two], events.len()).await;
    let all: BTreeSet<_> = came.iter().flatten().copied().collect();
    assert_eq!(all, ids(&events).into_iter().collect());
    let total: usize = came.iter().map(Vec::len).sum();
    assert_eq!(total, events.len(), "nobody failed, and no event came twice");
    assert!(came.iter().all(|came| !came.is_empty()), "one of two had nothing to do");
}

/// Whoever is there has all of it: before the other came, with it, and when it has left.
pub(super) async fn members_join_and_leave(world: &World) {
    let reception = world.reception("all").in_flight_max(8);
    let one = world.receiver(&reception.clone().member("one")).await;
    let sender = world.sender().await;
    let events = world.events(150);
    let (alone, rest) = events.split_at(50);
    let (together, left) = rest.split_at(50);
    send(&*sender, alone).await;
    assert_eq!(take_and_settle(&*one, 50).await.len(), 50);
    let another = world.another().await;
    let two = receiver_on(&*another, &reception.member("two")).await;
    send(&*sender, together).await;
    let came = shared(&[Arc::clone(&one), Arc::clone(&two)], 50).await;
    let both: BTreeSet<_> = came.into_iter().flatten().collect();
    assert_eq!(both, ids(together).into_iter().collect());
    if let Err(error) = one.close().await {
        panic!("not closed: {error}");
    }
    send(&*sender, left).await;
    let came: BTreeSet<_> = ids(&take_and_settle(&*two, 50).await).into_iter().collect();
    assert_eq!(came, ids(left).into_iter().collect());
}

/// What members settle of a key is in its order, while others come and go; what is delivered again is no event overtaken.
pub(super) async fn keys_keep_their_order(world: &World) {
    let reception = world.reception("all").in_flight_max(8);
    let (seen, sender) = (Seen::default(), world.sender().await);
    let keys: Vec<_> = (0..6).map(|key| format!("key-{key}")).collect();
    let events: Vec<_> =
        (0..240).map(|at| world.event("keyed", keys.get(at % 6).map(String::as_str))).collect();
    let joined = async |transport: &Arc<dyn Transport>, name: &str| {
        receiver_on(&**transport, &reception.clone().member(name)).await
    };
    let member = async |receiver: Arc<dyn Receiver>, leaves_at: usize| {
        while seen.len() < leaves_at {
            match timeout(TURN, receiver.receive(8)).await {
                Ok(Ok(came)) => {
                    seen.note(&came);
                    drop(settle_all(&*receiver, &came, || Verdict::Done).await);
                }
                Ok(Err(error)) if !error.is_transient() => panic!("{error}"),
                Ok(Err(_)) => tokio::task::yield_now().await,
                Err(_) => {}
            }
        }
        if let Err(error) = receiver.close().await {
            panic!("not closed: {error}");
        }
    };
    let transports = [world.another().await, world.another().await, world.another().await];
    let [one, two, three] = &transports;
    let (one, two) = (joined(one, "one").await, joined(two, "two").await);
    let sending = async {
        for some in events.chunks(12) {
            send(&*sender, some).await;
        }
    };
    let all = timeout(SOON, async {
        // One leaves in the middle, another comes then.
        let in_turn = async {
            member(two, 100).await;
            member(joined(three, "three").await, events.len()).await;
        };
        tokio::join!(sending, member(one, events.len()), in_turn);
    });
    let in_time = all.await.is_ok();
    assert!(in_time, "{} of {} events came", seen.len(), events.len());
    for key in &keys {
        let expected = events.iter().filter(|event| event.key().is_some_and(|own| own.as_str() == key));
        assert_eq!(seen.of(key), expected.map(|event| event.id()).collect::<Vec<_>>(), "{key}");
    }
}

/// What came to any member, each event once.
#[derive(Default)]
struct Seen(Mutex<(BTreeSet<EventId>, Vec<AnyEvent>)>);

impl Seen {
    fn note(&self, received: &[Received]) {
        let (known, order) = &mut *self.0.lock();
        order.extend(received.iter().map(event_of).filter(|event| known.insert(event.id())));
    }

    fn len(&self) -> usize {
        self.0.lock().1.len()
    }

    fn of(&self, key: &str) -> Vec<EventId> {
        let seen = self.0.lock();
        let of_key = seen.1.iter().filter(|event| event.key().is_some_and(|own| own.as_str() == key));
        of_key.map(|event| event.id()).collect()
    }
}

/// Two subscriptions have all events each, and what one settles is the other's all the same.
pub(super) async fn subscriptions_are_apart(world: &World) {
    let one = world.receiver(&world.reception("one")).await;
    let two = world.receiver(&world.reception("two")).await;
    let events = world.events(20);
    send(&*world.sender().await, &events).await;
    assert_same_events(&take_and_settle(&*one, 20).await, &events, "the first");
    assert_same_events(&take_and_settle(&*two, 20).await, &events, "the second");
}

/// What came to each of them, until so many came in all.
async fn shared(receivers: &[Arc<dyn Receiver>], count: usize) -> Vec<Vec<EventId>> {
    let (mut came, mut all) = (vec![Vec::new(); receivers.len()], BTreeSet::new());
    let coming = timeout(SOON, async {
        while all.len() < count {
            for (receiver, came) in receivers.iter().zip(&mut came) {
                let Ok(Ok(received)) = timeout(TURN, receiver.receive(4)).await else { continue };
                let settled = settle_all(&**receiver, &received, || Verdict::Done).await;
                for (id, settled) in ids_of(&received).into_iter().zip(settled) {
                    // Somebody else's by now, who settles it: members may come and go.
                    if !matches!(settled, Err(TransportError::Gone { .. })) {
                        all.insert(id);
                        came.push(id);
                    }
                }
            }
        }
    });
    let in_time = coming.await.is_ok();
    assert!(in_time, "{} of {count} events came", all.len());
    came
}

/// Time to receive in, before it is the other's turn.
const TURN: Duration = Duration::from_millis(50);
