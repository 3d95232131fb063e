//! As many dead letters as may be kept.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Bus, DeadLetterId, DeadLetterPolicy, Redrive, Selection, StartAt};
use busway_observability::{Collector, Signal, Wants};
use busway_testkit::{ManualClock, Recorder, Script, Step};
use parking_lot::Mutex;

use super::{dir, numbers, open_on, order, stock, with_orders};
use crate::world::Number;

#[derive(Default)]
struct Alarms {
    letters: Mutex<Vec<(String, u64)>>,
    parked: Mutex<Vec<(String, u64)>>,
    dead: Mutex<Vec<String>>,
}

impl Collector for Alarms {
    fn wants(&self) -> Wants {
        Wants::ALARMS
    }

    fn collect(&self, signal: &Signal<'_>) {
        match *signal {
            Signal::DeadLettersFull { subscription, max } => {
                self.letters.lock().push((subscription.to_owned(), max));
            }
            Signal::ParkedFull { subscription, max } => {
                self.parked.lock().push((subscription.to_owned(), max));
            }
            Signal::DeadLetter { event, .. } => self.dead.lock().push(event.key().unwrap().to_string()),
            _ => {}
        }
    }
}

/// A bus whose alarms are heard.
async fn alarmed(dir: &tempfile::TempDir, clock: &ManualClock, alarms: &Arc<Alarms>) -> Bus {
    let collector: Arc<Alarms> = Arc::clone(alarms);
    let bus = with_orders(Bus::open(dir.path())).clock(Arc::new(clock.clone())).collector(collector);
    bus.start().await.unwrap()
}

#[tokio::test]
async fn a_full_dead_letter_store_stops_the_lane_and_loses_nothing() {
    let dir = dir();
    let (clock, alarms) = (ManualClock::new(), Arc::new(Alarms::default()));
    let bus = alarmed(&dir, &clock, &alarms).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new((0..4).map(|_| Step::Dead("no such order")));
    let policy = DeadLetterPolicy::keep().capacity(2);
    let builder = bus.subscribe("orders.#").durable("stock").dead_letters(policy);
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    for (n, key) in ["A", "B", "C", "D", "C", "E"].into_iter().enumerate() {
        bus.publish(order(key, u32::try_from(n).unwrap())).await.unwrap();
    }
    bus.idle().await;
    let stats = subscription.stats();
    assert_eq!((stats.dead, stats.no_room, stats.parked, stats.done), (2, 2, 3, 1), "{stats}");
    recorder.assert_payloads(&numbers([0, 1, 2, 3, 5]));
    assert_eq!(*alarms.letters.lock(), [("stock".to_owned(), 2)], "once");
    assert_eq!(*alarms.dead.lock(), ["A", "B"], "those without room are none yet");
    assert_eq!(subscription.lag().events, 3, "what is not given up is kept");
    // Nothing happens by itself, however long it takes.
    for _ in 0..5 {
        clock.advance(Duration::from_secs(1));
        bus.idle().await;
    }
    assert_eq!((recorder.count(), subscription.stats().no_room), (5, 2), "no attempt is spent on it");

    bus.dead_letters().discard(Selection::all().text("no such order")).await.unwrap();
    clock.advance(Duration::from_secs(1));
    bus.idle().await;
    let stats = subscription.stats();
    assert_eq!((stats.dead, stats.no_room, stats.parked, stats.done), (4, 0, 0, 2), "{stats}");
    assert_eq!(*alarms.dead.lock(), ["A", "B", "C", "D"], "now they are");
    recorder.assert_payloads(&numbers([0, 1, 2, 3, 5, 4]));
    let page = bus.dead_letters().list(&Selection::all()).await.unwrap();
    let offsets: Vec<_> = page.letters.iter().map(|letter| letter.id.position.offset).collect();
    assert_eq!(offsets, [2, 3]);
    bus.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn what_waits_for_room_is_attempted_once_more_behind_a_restart_and_then_waits_on() {
    let dir = dir();
    let clock = ManualClock::new();
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Dead("no such order"));
    let policy = DeadLetterPolicy::keep().capacity(1);
    for life in 0..3_usize {
        let bus = open_on(&clock, &dir).await;
        let subscription = stock(&bus).dead_letters(policy).to(recorder.scripted(&script)).await.unwrap();
        if life == 0 {
            bus.publish(order("A", 0)).await.unwrap();
            bus.publish(order("B", 1)).await.unwrap();
        }
        clock.advance(Duration::from_secs(1));
        bus.settle().await;
        assert_eq!((recorder.count(), subscription.stats().no_room), (2 + life, 1), "life {life}");
        assert_eq!(bus.dead_letters().count("stock").await.unwrap(), 1);
        bus.finish().await;
    }
}

#[tokio::test]
async fn a_redrive_that_fails_again_finds_its_place_though_all_are_taken() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new((0..2).map(|_| Step::Dead("no such order")));
    let builder = stock(&bus).dead_letters(DeadLetterPolicy::keep().capacity(1));
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    bus.publish(order("A", 1)).await.unwrap();
    bus.idle().await;
    for expected in [2, 2] {
        let all = || Selection::all().subscription("stock");
        bus.dead_letters().redrive(all(), Redrive::default().unlimited()).await.unwrap();
        bus.idle().await;
        let stats = subscription.stats();
        assert_eq!((stats.dead, stats.no_room, stats.parked), (expected, 0, 0), "{stats}");
    }
    assert_eq!(subscription.stats().replayed, 1);
    assert_eq!(bus.dead_letters().count("stock").await.unwrap(), 0);
    bus.finish().await;
}

#[tokio::test]
async fn an_event_that_dies_again_behind_a_seek_has_its_place_and_its_attempts() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Dead("no such order"));
    let builder = stock(&bus).dead_letters(DeadLetterPolicy::keep().capacity(1));
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    bus.publish(order("A", 0)).await.unwrap();
    bus.settle().await;
    for deaths in 2..5 {
        bus.cursor("stock").seek(StartAt::Earliest).await.unwrap();
        bus.settle().await;
        let stats = subscription.stats();
        assert_eq!((stats.dead, stats.no_room, stats.parked), (deaths, 0, 0), "{stats}");
        let page = bus.dead_letters().list(&Selection::all()).await.unwrap();
        let [letter] = &page.letters[..] else { panic!("{} letters", page.letters.len()) };
        assert_eq!((u64::from(letter.attempt_count), letter.attempts.len() as u64), (deaths, deaths));
    }
    // Its place is its own, and no other one's.
    bus.publish(order("B", 1)).await.unwrap();
    bus.settle().await;
    assert_eq!((subscription.stats().no_room, bus.dead_letters().count("stock").await.unwrap()), (1, 1));
    bus.dead_letters().discard(Selection::all()).await.unwrap();
    clock.advance(Duration::from_secs(1));
    bus.settle().await;
    assert_eq!((subscription.stats().no_room, bus.dead_letters().count("stock").await.unwrap()), (0, 1));
    bus.finish().await;
}

#[tokio::test]
async fn as_many_parked_events_as_may_be_are_told_of_once() {
    let dir = dir();
    let (clock, alarms) = (ManualClock::new(), Arc::new(Alarms::default()));
    let bus = alarmed(&dir, &clock, &alarms).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new((0..4).map(|_| Step::Fail("no connection")));
    let builder = bus.subscribe("orders.#").durable("stock").parked_max(4);
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    for n in 0..8 {
        bus.publish(order(&n.to_string(), n)).await.unwrap();
        bus.idle().await;
    }
    assert_eq!((subscription.stats().parked, recorder.count()), (4, 4), "nothing more is read");
    assert_eq!(bus.numbers().subscriptions[0].parked_full, 1);
    assert_eq!(*alarms.parked.lock(), [("stock".to_owned(), 4)]);
    clock.advance(Duration::from_secs(60));
    bus.idle().await;
    assert_eq!((subscription.stats().parked, subscription.stats().done), (0, 8));
    assert_eq!(bus.numbers().subscriptions[0].parked_full, 0);
    assert_eq!(alarms.parked.lock().len(), 1);
    let described = bus.describe().to_string();
    assert!(described.contains("parked_max = 4 (subscription)"), "{described}");
    bus.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn each_place_that_becomes_free_is_no_news_and_many_are() {
    let dir = dir();
    let (clock, alarms) = (ManualClock::new(), Arc::new(Alarms::default()));
    let bus = alarmed(&dir, &clock, &alarms).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Dead("no such order"));
    let builder =
        bus.subscribe("orders.#").durable("stock").dead_letters(DeadLetterPolicy::keep().capacity(16));
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    for n in 0..24 {
        bus.publish(order(&n.to_string(), n)).await.unwrap();
    }
    bus.idle().await;
    assert_eq!((subscription.stats().no_room, alarms.letters.lock().len()), (8, 1));
    for offset in 0..4 {
        let id: DeadLetterId = format!("stock/orders/0/{offset}").parse().unwrap();
        bus.dead_letters().discard(&id).await.unwrap();
        clock.advance(Duration::from_secs(1));
        bus.idle().await;
    }
    assert_eq!((subscription.stats().no_room, alarms.letters.lock().len()), (4, 1), "it is full as it was");
    // Room for more than wait.
    bus.dead_letters().discard(Selection::all()).await.unwrap();
    clock.advance(Duration::from_secs(1));
    bus.idle().await;
    assert_eq!((subscription.stats().no_room, alarms.letters.lock().len()), (0, 1));
    for n in 24..40 {
        bus.publish(order(&n.to_string(), n)).await.unwrap();
    }
    bus.idle().await;
    assert_eq!((subscription.stats().no_room, alarms.letters.lock().len()), (4, 2), "it is full again");
    bus.shutdown(Duration::ZERO).await;
}
