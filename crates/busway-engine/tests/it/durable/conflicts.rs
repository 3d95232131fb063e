//! Conflicts: a handler whose reads change again and again does not keep its task busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use busway_engine::clock::Sleep;
use busway_engine::{Bus, Clock};
use busway_event::Timestamp;
use busway_middleware::{BoxError, Payload};
use busway_testkit::ManualClock;
use parking_lot::Mutex;

use super::transactions::{TOTALS, add, total};
use super::{dir, with_orders};
use crate::world::{Number, ends, number};

/// A manual clock that notes for how long somebody wanted to pause.
#[derive(Debug, Default)]
struct Noting {
    clock: ManualClock,
    pauses: Mutex<Vec<Duration>>,
}

impl Clock for Noting {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn utc(&self) -> Timestamp {
        self.clock.utc()
    }

    fn sleep_until(&self, until: Instant) -> Sleep {
        self.clock.sleep_until(until)
    }

    fn pause(&self, about: Duration) -> Sleep {
        self.pauses.lock().push(about);
        self.clock.pause(about)
    }
}

#[tokio::test]
async fn one_conflict_after_the_other_is_followed_by_longer_pauses_up_to_a_bound() {
    const CONFLICTS: u32 = 40;
    let (dir, clock) = (dir(), Arc::new(Noting::default()));
    let builder = with_orders(Bus::open(dir.path())).table(&TOTALS).clock(Arc::clone(&clock) as _);
    let bus = builder.start().await.unwrap();
    let (runs, other) = (Arc::new(AtomicU32::new(0)), bus.clone());
    let its_runs = Arc::clone(&runs);
    let handler = move |order: Payload<Number>, mut tx: busway_engine::Tx| {
        let (run, other) = (its_runs.fetch_add(1, Ordering::Relaxed), other.clone());
        async move {
            add(&mut tx, order.n)?;
            if run < CONFLICTS {
                other.transaction(|tx| add(tx, 1)).await?;
            }
            Ok::<(), BoxError>(())
        }
    };
    let counting = bus.subscribe("orders.#").durable("stock").to(handler).await.unwrap();
    bus.publish(number("orders.created", 1_000)).await.unwrap();
    // Nobody moves the clock.
    ends(bus.idle()).await;
    assert_eq!((total(&bus), runs.load(Ordering::Relaxed)), (1_000 + u64::from(CONFLICTS), CONFLICTS + 1));
    let stats = counting.stats();
    assert_eq!((stats.done, stats.failed, stats.conflicts), (1, 0, u64::from(CONFLICTS)), "{stats}");
    let pauses = clock.pauses.lock().clone();
    assert_eq!(pauses.len(), CONFLICTS as usize - 3, "the first are followed by the next run at once");
    for (nth, pause) in pauses.iter().enumerate() {
        let longest = Duration::from_millis(1 << nth.min(6)).min(Duration::from_millis(50));
        assert!(*pause <= longest, "pause {nth} of {pause:?}");
    }
    assert!(pauses.iter().any(|pause| *pause > Duration::from_millis(8)), "{pauses:?}");
    bus.shutdown(Duration::ZERO).await;
}
