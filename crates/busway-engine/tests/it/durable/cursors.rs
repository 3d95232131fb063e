//! Stored cursors: where subscriptions stand, sending them elsewhere, removing them, and being told of what is gone.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;

use busway_engine::{
    AtCap, Audit, Bus, BusBuilder, CursorError, RequestError, Retention, StartAt, Stream, SubscribeProblem,
};
use busway_event::{Event, Raw};
use busway_middleware::{Delivery, Gap, Payload};
use busway_testkit::{Gate, ManualClock, Recorder, Script, Step, TestBus};

use super::{dir, numbers, open, open_on, order, publish, stock};
use crate::world::{Number, ends, turns};

#[tokio::test]
async fn a_subscription_that_runs_is_sent_back_and_forth_and_comes_to_its_end_first() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let gate = Gate::closed();
    let script = Script::new([Step::Done, Step::Done, Step::Wait(gate.clone())]);
    stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, 0..6).await;
    gate.reached(1).await;
    let seeking = tokio::spawn({
        let bus = Bus::clone(&bus);
        async move { bus.cursor("stock").seek(StartAt::Offset(1)).await }
    });
    turns().await;
    assert!(!seeking.is_finished(), "its handler runs");
    gate.open();
    ends(seeking).await.unwrap().unwrap();
    bus.settle().await;
    // How far it came before is a matter of moments; then all from there on, in order.
    let handled = recorder.payloads();
    let (before, again) = handled.split_at(handled.len() - 5);
    assert_eq!(again, numbers(1..6));
    assert!((3..=6).contains(&before.len()) && before == numbers(0..u32::try_from(before.len()).unwrap()));
    _ = recorder.take();
    bus.cursor("stock").seek(StartAt::Latest).await.unwrap();
    publish(&bus, [6]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([6]));
    bus.finish().await;
}

#[tokio::test]
async fn a_subscription_that_does_not_run_is_sent_elsewhere_listed_and_removed() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let subscription = stock(&bus).to(recorder.handler()).await.unwrap();
    publish(&bus, 0..4).await;
    bus.settle().await;
    let standing = bus.cursor("stock").standing().await.unwrap();
    assert!(standing.is_running && standing.filter == "orders.#");
    assert_eq!(
        (standing.partitions[0].next.to_string(), standing.partitions[0].behind),
        ("orders/0/4".into(), 0)
    );
    let refused = bus.cursor("stock").remove().await.unwrap_err();
    assert!(matches!(refused, CursorError::Running { .. }), "{refused}");
    subscription.stop().await;
    bus.cursor("stock").seek(StartAt::Offset(2)).await.unwrap();
    let standings = bus.cursors().await.unwrap();
    assert_eq!((standings.len(), standings[0].is_running, standings[0].partitions[0].behind), (1, false, 2));
    _ = recorder.take();
    let subscription = stock(&bus).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&numbers([2, 3]));
    subscription.stop().await;
    bus.cursor("stock").remove().await.unwrap();
    assert!(bus.cursors().await.unwrap().is_empty());
    let unknown = bus.cursor("stock").seek(StartAt::Earliest).await.unwrap_err();
    assert!(matches!(unknown, CursorError::Unknown { ref name } if name == "stock"), "{unknown}");
    bus.finish().await;
}

#[tokio::test]
async fn a_seek_that_nobody_waits_for_and_one_behind_it_are_both_what_they_say() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let subscription = stock(&bus).to(recorder.handler()).await.unwrap();
    publish(&bus, 0..6).await;
    bus.settle().await;
    subscription.pause();
    for _ in 0..20 {
        let given_up = tokio::spawn({
            let bus = Bus::clone(&bus);
            async move { bus.cursor("stock").seek(StartAt::Earliest).await }
        });
        tokio::task::yield_now().await;
        given_up.abort();
        bus.cursor("stock").seek(StartAt::Offset(4)).await.unwrap();
        let standing = bus.cursor("stock").standing().await.unwrap();
        assert_eq!(standing.partitions[0].behind, 2);
    }
    _ = recorder.take();
    subscription.resume();
    bus.settle().await;
    recorder.assert_payloads(&numbers([4, 5]));
    let cursor = bus.cursor("stock");
    let (stopping, late) = tokio::join!(subscription.stop(), cursor.seek(StartAt::Earliest));
    assert_eq!(stopping.done, 8);
    assert!(matches!(late, Ok(()) | Err(CursorError::Closed)), "{late:?}");
    bus.finish().await;
}

#[tokio::test]
async fn a_cursor_cannot_stand_outside_of_the_log_nor_without_one() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    publish(&bus, 0..2).await;
    bus.settle().await;
    let outside = bus.cursor("stock").seek(StartAt::Offset(3)).await.unwrap_err();
    let CursorError::Request(RequestError::OutsideOfLog { offset: 3, next: 2, .. }) = outside else {
        panic!("{outside}")
    };
    bus.cursor("stock").seek(StartAt::Stored).await.unwrap();
    bus.settle().await;
    assert_eq!(recorder.count(), 2);
    bus.finish().await;
    let memory = Bus::memory().start().await.unwrap();
    assert!(matches!(memory.cursors().await, Err(CursorError::NoStore)));
}

#[tokio::test]
async fn what_was_parked_behind_the_new_position_is_given_again_with_the_others() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no connection"), Step::Done, Step::Fail("no connection")]);
    let subscription = stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    for (key, n) in [("A", 0), ("B", 1), ("C", 2)] {
        bus.publish(order(key, n)).await.unwrap();
    }
    bus.settle().await;
    assert_eq!(subscription.stats().parked, 2);
    bus.cursor("stock").seek(StartAt::Offset(1)).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&numbers([0, 1, 2, 1, 2]));
    assert_eq!(subscription.stats().parked, 1, "the first one waits as before");
    clock.advance(Duration::from_secs(60));
    bus.settle().await;
    assert_eq!((recorder.count(), subscription.stats().parked), (6, 0));
    bus.finish().await;
}

/// Blocking tasks run one after the other, so that it is known how far the removal has come.
#[test]
fn a_subscription_that_is_being_removed_does_not_begin_meanwhile() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    runtime.unwrap().block_on(async {
        let (dir, (held, is_held), (release, released)) = (dir(), mpsc::channel(), mpsc::channel());
        let released = parking_lot::Mutex::new(released);
        let build = |builder: BusBuilder| {
            let orders = Stream::new("orders").capture("orders.#").audit(Audit::forever());
            // The writer's thread is held up with the first event.
            builder.stream(orders).on_audit_head(move |_| {
                held.send(()).unwrap();
                released.lock().recv().unwrap();
            })
        };
        let bus = TestBus::open(dir.path(), build).await;
        stock(&bus).to(async || {}).await.unwrap().stop().await;
        let cursor = bus.cursor("stock");
        let (mut publishing, mut removing) =
            (Box::pin(bus.publish(order("A", 1))), Box::pin(cursor.remove()));
        poll_once(publishing.as_mut()).await;
        is_held.recv().unwrap();
        // As far as each comes without the writer. Behind a yield: what is ready for too long in a row is made to wait.
        let turn = async || {
            tokio::task::yield_now().await;
            tokio::task::spawn_blocking(|| {}).await.unwrap();
        };
        for _ in 0..TURNS {
            poll_once(removing.as_mut()).await;
            turn().await;
        }
        let (mut beginning, mut begun) = (Box::pin(stock(&bus).to(async || {})), None);
        for _ in 0..TURNS {
            begun = poll_once(beginning.as_mut()).await;
            if begun.is_some() {
                break;
            }
            turn().await;
        }
        release.send(()).unwrap();
        let begun = match begun {
            Some(begun) => begun,
            None => beginning.await,
        };
        let error = begun.unwrap_err();
        assert!(matches!(error.problems(), [SubscribeProblem::NameTaken]), "{error}");
        removing.await.unwrap();
        publishing.await.unwrap();
        stock(&bus).to(async || {}).await.unwrap();
        bus.settle().await;
        bus.finish().await;
    });
}

/// More than anything takes that waits for no other thread than the one for what blocks.
const TURNS: usize = 64;

/// Polls a future once.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Offset, gap, and how many were lost before.
type Told = (u64, Option<Gap>, u64);

#[tokio::test]
async fn a_subscription_is_told_once_of_events_that_are_gone() {
    let dir = dir();
    let capped = |builder: BusBuilder| {
        let retention = Retention::forever().cap(1 << 20, AtCap::DropOldest);
        builder.stream(Stream::new("orders").capture("orders.#").retention(retention))
    };
    let bus = TestBus::open(dir.path(), capped).await;
    let told: Arc<parking_lot::Mutex<Vec<Told>>> = Arc::default();
    let tells = Arc::clone(&told);
    let handler = move |_: Payload<Raw>, delivery: Delivery| {
        let told = (delivery.offset().unwrap(), delivery.gap().cloned(), delivery.lagged());
        tells.lock().push(told);
        async {}
    };
    let subscription = stock(&bus).to(handler).await.unwrap();
    subscription.pause();
    let large = bytes(60_000);
    for _ in 0..40 {
        bus.publish(Event::new("orders.created", Raw::from(large.clone()))).await.unwrap();
    }
    subscription.resume();
    bus.settle().await;
    let told = told.lock().clone();
    let (first, gap, lagged) = told.first().unwrap();
    let gap = gap.as_ref().unwrap();
    assert!(*first > 0, "some are gone");
    assert_eq!((gap.from, gap.to, *lagged), (0, *first, *first));
    assert_eq!(gap.to_string(), format!("orders/0/0 to {first}"));
    assert!(told.iter().skip(1).all(|(_, gap, lagged)| gap.is_none() && *lagged == 0));
    assert_eq!(subscription.stats().lost, *first);
    bus.finish().await;
}

#[tokio::test]
async fn events_that_are_gone_are_told_of_behind_a_restart_too_until_an_attempt_was_told() {
    let (dir, clock) = (dir(), ManualClock::new());
    let capped = |builder: BusBuilder| {
        let retention = Retention::forever().cap(1 << 20, AtCap::DropOldest);
        builder.stream(Stream::new("orders").capture("orders.#").retention(retention))
    };
    let told: Arc<parking_lot::Mutex<Vec<Told>>> = Arc::default();
    let open = async || {
        let bus = TestBus::open_on(clock.clone(), dir.path(), capped).await;
        let tells = Arc::clone(&told);
        let handler = move |_: Payload<Raw>, delivery: Delivery| {
            tells.lock().push((delivery.offset().unwrap(), delivery.gap().cloned(), delivery.lagged()));
            let is_first = delivery.offset() == Some(0);
            async move { if is_first { Err("no connection") } else { Ok(()) } }
        };
        let stock = bus.subscribe("orders.created").durable("stock").start_at(StartAt::Earliest);
        let subscription = stock.to(handler).await.unwrap();
        (bus, subscription)
    };
    let flood = async |bus: &TestBus| {
        for _ in 0..40 {
            bus.publish(Event::new("orders.seen", Raw::from(bytes(60_000)))).await.unwrap();
            bus.settle().await;
        }
    };
    let created = async |bus: &TestBus| {
        bus.publish(Event::new("orders.created", Raw::from("{}"))).await.unwrap();
        bus.settle().await;
        std::mem::take(&mut *told.lock())
    };

    // One that failed and waits is gone, and nothing else is attempted until the process ends.
    let (bus, subscription) = open().await;
    assert_eq!(created(&bus).await.len(), 1);
    flood(&bus).await;
    clock.advance(Duration::from_secs(3_600));
    bus.settle().await;
    assert_eq!((subscription.stats().lost, subscription.stats().parked), (1, 0));
    bus.finish().await;
    let (bus, subscription) = open().await;
    bus.settle().await;
    let standing = bus.cursor("stock").standing().await.unwrap();
    assert!(!standing.is_holding, "nothing is held for what is gone: {standing:?}");
    let gap = |told: &Told| told.1.as_ref().map(|gap| (gap.from, gap.to));
    let first = created(&bus).await;
    assert_eq!((first.len(), gap(&first[0]), first[0].2), (1, Some((0, 1)), 1));

    // Some that it never saw are gone, and it finds out without an attempt.
    subscription.pause();
    flood(&bus).await;
    subscription.resume();
    bus.settle().await;
    let lost = subscription.stats().lost - 1;
    assert!(lost > 0);
    bus.finish().await;
    for times in 0..2 {
        let (bus, subscription) = open().await;
        bus.settle().await;
        assert_eq!(subscription.stats().lost, lost, "told for the {times}th time");
        bus.finish().await;
    }
    let (bus, _) = open().await;
    let second = created(&bus).await;
    assert_eq!((second.len(), gap(&second[0]), second[0].2), (1, Some((42, 42 + lost)), lost));
    bus.finish().await;
    let (bus, subscription) = open().await;
    let third = created(&bus).await;
    assert_eq!((gap(&third[0]), subscription.stats().lost), (None, 0), "it was told");
    bus.finish().await;
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}
