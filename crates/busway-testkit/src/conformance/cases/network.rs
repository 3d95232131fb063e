//! What must hold when the network between a client and its broker fails.

use std::time::Duration;

use busway_engine::transport::{Ability, Capability, Receiver, Verdict};
use busway_event::{AnyEvent, EventId};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::Proxy;
use crate::conformance::world::{World, event_of, send, settle_all};

/// Connections break, and cannot be made for a while.
pub(super) async fn cut(world: &World) {
    under_traffic(world, Proxy::cut).await;
}

/// Nothing passes for a while, and nobody is told.
pub(super) async fn silent(world: &World) {
    under_traffic(world, Proxy::silence).await;
}

/// Clients read the end of their connections, which they may still write to.
pub(super) async fn half_closed(world: &World) {
    under_traffic(world, Proxy::half_close).await;
}

/// Everything takes longer, both ways.
pub(super) async fn late(world: &World) {
    under_traffic(world, |network| network.delay(LATE)).await;
}

/// Sends, receives and settles while the network fails and comes back, three times: what was taken arrives, and each key's events come in their order, where that holds for what is delivered
/// again.
async fn under_traffic(world: &World, fails: impl Fn(&Proxy)) {
    let Some(network) = world.broker().network() else { panic!("the harness has lost its network") };
    let receiver = world.receiver(&world.reception("all")).await;
    let sender = world.sender().await;
    let events: Vec<_> =
        (0..EVENTS).map(|number| world.event("event", Some(&format!("k{}", number % KEYS)))).collect();
    let seen = Mutex::new(Vec::new());
    let sending = async {
        // An event of a key is sent when the one before it was taken.
        for some in events.chunks(KEYS) {
            send(&*sender, some).await;
        }
    };
    let failing = async {
        for round in 1..=ROUNDS {
            until(|| seen.lock().len() >= round * EVENTS / (ROUNDS + 1)).await;
            fails(network);
            a_while().await;
            network.heal();
        }
    };
    tokio::join!(sending, failing, settle_until_all_came(&*receiver, events.len(), &seen));
    if keeps_order_again(world) {
        assert_in_order(&events, &seen.lock());
    }
}

/// Receives and settles until each of these has come; notes in which order they came first. A verdict of which nobody knows whether it was heard may have been: the
/// event comes again, or not.
async fn settle_until_all_came(member: &dyn Receiver, wanted: usize, seen: &Mutex<Vec<EventId>>) {
    while seen.lock().len() < wanted {
        let received = match member.receive(16).await {
            Ok(received) => received,
            Err(error) if error.is_transient() => {
                tokio::task::yield_now().await;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        for event in received.iter().map(event_of) {
            let mut seen = seen.lock();
            if !seen.contains(&event.id()) {
                seen.push(event.id());
            }
        }
        settle_all(member, &received, || Verdict::Done).await;
    }
}

/// Whether what is delivered again comes before later ones of its key: where the broker itself keeps their order, or whoever keeps it among members, of whom each may die. Otherwise the order
/// is that of what is delivered once.
fn keeps_order_again(world: &World) -> bool {
    let ability = |capability| world.capabilities().of(capability);
    matches!(ability(Capability::OrderPerKey), Ability::Native)
        || !matches!(ability(Capability::OrderPerKeyInGroup), Ability::Missing(_))
}

fn assert_in_order(sent: &[AnyEvent], seen: &[EventId]) {
    let place = |id: EventId| seen.iter().position(|seen| *seen == id);
    for (number, event) in sent.iter().enumerate() {
        let before = number.checked_sub(KEYS).and_then(|before| sent.get(before));
        let before = before.and_then(|before| place(before.id()));
        assert!(before < place(event.id()), "event {number} came before the one of its key in front of it");
    }
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

/// As long as a network fails. Nothing comes meanwhile that could be waited for.
async fn a_while() {
    _ = timeout(FAILS_FOR, std::future::pending::<()>()).await;
}

const EVENTS: usize = 120;
const KEYS: usize = 5;
const ROUNDS: usize = 3;
const FAILS_FOR: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_millis(5);
