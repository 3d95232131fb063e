//! A subscription is closed while an event that its breaker has acknowledged is about to be given back: all that it owes are in the account.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use busway_engine::{Breaker, Bus, Fallback};
use busway_event::{Event, EventType};
use busway_middleware::{BoxError, Payload};
use busway_reliability::Tally;
use busway_testkit::{Gate, ManualClock};
use serde::{Deserialize, Serialize};

use crate::world::ends;

const PAID: &str = "orders.paid";
const OPEN_FOR: Duration = Duration::from_secs(30);

/// Set while a subscription is being closed: a payload that is let go of then gives others a long time.
static CLOSES: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Serialize, Deserialize)]
struct Clinging {
    n: u32,
}

impl EventType for Clinging {
    const NAME: &'static str = "clinging";
}

impl Drop for Clinging {
    fn drop(&mut self) {
        if CLOSES.swap(false, Ordering::SeqCst) {
            // Whoever gives events back is on another thread, and finds the entrance closed meanwhile.
            (0..20_000).for_each(|_| std::thread::yield_now());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_closing_subscription_owes_is_abandoned_with_what_was_about_to_be_given_back() {
    let (clock, held) = (ManualClock::new(), Gate::closed());
    let bus = Bus::memory().clock(Arc::new(clock.clone())).start().await.unwrap();
    let breaker =
        Breaker::default().opens_after(2).open_for(OPEN_FOR).fallback(Fallback::ack_and_retry_later());
    let gate = held.clone();
    let handler = move |payload: Payload<Clinging>| {
        let (n, gate) = (payload.n, gate.clone());
        async move {
            match n {
                0 | 1 => Err(BoxError::from("no connection")),
                // Its worker is held, so that what is given back stands in its place.
                _ => {
                    gate.pass().await;
                    Ok(())
                }
            }
        }
    };
    let subscription = bus.subscribe("orders.+").name("stock").breaker(breaker).to(handler).await.unwrap();
    for n in 0..6 {
        bus.publish(Event::new(PAID, Clinging { n })).await.unwrap();
    }
    ends(settled(|| subscription.stats().done == 4)).await;
    bus.publish(Event::new("orders.created", Clinging { n: 6 })).await.unwrap();
    ends(held.reached(1)).await;
    clock.advance(OPEN_FOR);
    // One of the four comes back, the others wait for its place.
    ends(settled(|| bus.breakers().get("stock", PAID).is_some_and(|channel| channel.waiting == 3))).await;
    subscription.pause();
    CLOSES.store(true, Ordering::SeqCst);
    let (stats, ()) = tokio::join!(ends(subscription.stop()), async {
        // Closing came first, in one go.
        held.open();
    });
    let Tally { offered, delivered, abandoned, .. } = stats.tally;
    assert_eq!((offered, delivered, abandoned), (11, 7, 4), "{stats}");
    ends(bus.shutdown(Duration::ZERO)).await;
}

async fn settled(mut is: impl FnMut() -> bool) {
    while !is() {
        tokio::task::yield_now().await;
    }
}
