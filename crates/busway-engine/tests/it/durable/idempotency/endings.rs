//! Attempts that end otherwise than by themselves, and what becomes of their keys.

use std::num::NonZeroU32;
use std::sync::mpsc;
use std::time::Duration;

use busway_engine::{Bus, StartAt, StoreTx, Stream, SubscribeProblem, in_store};
use busway_event::Event;
use busway_middleware::Payload;
use busway_persistence::{ReadTables, Table, TxError, WriteTables};
use busway_reliability::{Rate, Retry};
use busway_testkit::{Gate, ManualClock, Recorder, Script, SharedKeys, Step, TestBus};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::super::breakers::soon;
use super::super::{dir, numbers, open, open_on, stock};
use super::shared::{handled_behind_the_stores_back, is_settled_in_the_next_life, shared, ticks};
use super::{once, publish, steps};
use crate::world::{Number, ends, turns};

const EFFECTS: Table<String, u32> = Table::new("effects");

#[tokio::test]
async fn an_effect_in_the_store_that_its_deadline_cuts_off_is_not_repeated_by_a_duplicate() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = TestBus::open_on(clock.clone(), dir.path(), |builder| {
        builder.stream(Stream::new("orders").capture("orders.#")).table(&EFFECTS)
    })
    .await;
    let (begun, mut is_begun) = watch::channel(0_u32);
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let effect = move |event: Event<Number>, tx: &mut StoreTx<'_>| -> Result<(), TxError> {
        let biz_id = event.metadata().get("bizId").unwrap_or_default().to_owned();
        let before = tx.get(&EFFECTS, &biz_id)?.unwrap_or(0);
        tx.put(&EFFECTS, &biz_id, &(before + 1))?;
        begun.send_modify(|runs| *runs += 1);
        if *begun.borrow() == 1 {
            // Behind its last call, and before its commit.
            _ = wait.lock().recv();
        }
        Ok(())
    };
    let builder =
        stock(&bus).concurrency(2).retry(soon()).deadline(Duration::from_secs(1)).idempotent(once());
    let subscription = builder.to(in_store(effect)).await.unwrap();
    publish(&bus, [("A", 1)]).await;
    ends(is_begun.wait_for(|runs| *runs == 1)).await.unwrap();
    clock.advance(Duration::from_secs(2));
    // Its deadline is seen while it runs.
    turns().await;
    let_go.send(()).unwrap();
    publish(&bus, [("A", 2), ("A", 3)]).await;
    bus.settle().await;
    let count = bus.read(|tables| tables.get(&EFFECTS, "A")).unwrap();
    assert_eq!(count, Some(1), "{}", subscription.stats());
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.skipped, stats.dead), (1, 2, 0), "{stats}");
    bus.finish().await;
}

/// Moves the clock until something has ended.
#[track_caller]
fn with_time<T>(clock: &ManualClock, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let time = async {
        loop {
            // It may wait for the disk for a while, and then for the clock again.
            ticks(clock).await;
        }
    };
    ends(async {
        tokio::select! {
            biased;
            ended = future => ended,
            ended = time => ended,
        }
    })
}

#[tokio::test]
async fn an_effect_that_the_store_cannot_be_told_of_is_settled_when_the_bus_ends_and_not_repeated() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let keys = SharedKeys::new(&clock);
    let (bus, _) = handled_behind_the_stores_back(&dir, &clock, &keys, &recorder).await;
    with_time(&clock, bus.finish()).await;
    keys.set_reachable(true);
    is_settled_in_the_next_life(&dir, &clock, &keys, &recorder).await;
}

#[tokio::test]
async fn a_subscription_is_sent_elsewhere_while_the_store_is_away_and_says_what_that_store_does_not_know() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let keys = SharedKeys::new(&clock);
    let (bus, _) = handled_behind_the_stores_back(&dir, &clock, &keys, &recorder).await;
    with_time(&clock, bus.cursor("stock").seek(StartAt::Latest)).await.unwrap();
    keys.set_reachable(true);
    publish(&bus, [("B", 2)]).await;
    with_time(&clock, bus.settle()).await;
    recorder.assert_payloads(&numbers([1, 2]));
    assert_eq!(bus.stats().durable[0].idempotency.unwrap().untold, 1);
    bus.finish().await;
}

#[tokio::test]
async fn a_member_leaves_while_the_store_is_away_and_its_event_goes_to_the_others() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let (keys, bus) = (SharedKeys::new(&clock), open_on(&clock, &dir).await);
    let member = || stock(&bus).group("shift").idempotent(shared(&keys));
    let leaves = member().to(recorder.handler()).await.unwrap();
    keys.set_reachable(false);
    publish(&bus, [("A", 1)]).await;
    while steps(&leaves).unreachable == 0 {
        turns().await;
    }
    let stays = member().to(recorder.handler()).await.unwrap();
    with_time(&clock, leaves.stop()).await;
    assert_eq!(recorder.count(), 0);
    keys.set_reachable(true);
    with_time(&clock, async {
        while recorder.count() == 0 {
            turns().await;
        }
    })
    .await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([1]));
    assert_eq!(recorder.deliveries()[0].attempt(), 1, "it was charged nothing");
    assert_eq!(stays.stats().parked, 0);
    bus.finish().await;
}

#[tokio::test]
async fn of_many_that_wait_for_a_key_only_the_next_has_its_turn_when_it_is_let_go_undone() {
    let (dir, clock, gate) = (dir(), ManualClock::new(), Gate::closed());
    let (bus, recorder) = (open_on(&clock, &dir).await, Recorder::<Number>::new());
    let script = Script::new([Step::Wait(gate.clone()), Step::Fail("no"), Step::Fail("no")]);
    let retry = Retry::default().first_delay(Duration::from_secs(60)).longest_delay(Duration::from_secs(60));
    let builder = stock(&bus).concurrency(4).retry(retry).idempotent(once());
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, (0..40).map(|n| ("A", n))).await;
    gate.reached(1).await;
    while steps(&subscription).busy < 39 {
        turns().await;
    }
    gate.open();
    bus.settle().await;
    let (stats, steps) = (subscription.stats(), steps(&subscription));
    assert_eq!((stats.done, stats.skipped), (1, 39), "{stats}");
    assert!(steps.busy <= 45, "each waits once, and is not woken to find it taken: {steps}");
    bus.finish().await;
}

#[tokio::test]
async fn what_cannot_hold_is_refused_when_the_subscription_begins() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (keys, bus) = (SharedKeys::new(&clock), open(&dir).await);
    let deadline = Duration::from_secs(3);
    // Of the very length it leaves no time to ask for it.
    let mut lease = Duration::from_secs(2);
    for short in [lease, deadline] {
        lease = short;
        let short = stock(&bus).deadline(deadline).idempotent(shared(&keys).lease(lease));
        let error = short.to(async |_: Payload<Number>| {}).await.unwrap_err();
        assert_eq!(error.problems(), [SubscribeProblem::LeaseTooShort { lease, deadline }]);
    }
    // The bus's own store leases for as long as the attempt lasts.
    stock(&bus)
        .deadline(deadline)
        .idempotent(once().lease(lease))
        .to(async |_: Payload<Number>| {})
        .await
        .unwrap();

    let rate = Rate::new(1, Duration::from_secs(1)).unwrap();
    let in_memory = Bus::memory().start().await.unwrap();
    let bounded = in_memory.subscribe("a").idempotent(once().retry_rate(rate, NonZeroU32::MIN));
    let error = bounded.to(async |_: Payload<Number>| {}).await.unwrap_err();
    assert_eq!(error.problems(), [SubscribeProblem::RetryRateInMemory]);
    drop(in_memory.shutdown(Duration::ZERO).await);
    bus.finish().await;
}
