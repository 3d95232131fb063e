//! Schedules tick once for each due time, whatever the process does in between.

use busway_engine::Clock as _;
use busway_engine::schedule::{Missed, Schedule, ScheduleError, ScheduleState};
use busway_event::{Event, EventId, Timestamp};
use busway_testkit::{ManualClock, Recorder, TestBus};

use super::{NONE, handled, later, order, seconds, taken};
use crate::durable::{dir, open_on, stock};
use crate::world::{Number, number};

const HOUR: u64 = 3_600;

/// Ticks on the hour; its event says which hour.
async fn hourly(bus: &TestBus, missed: Missed) -> Schedule {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let hour = move |due: Timestamp| u32::try_from(due.saturating_since(start).as_secs() / HOUR).unwrap();
    let schedule = bus.schedule("hourly").cron("0 * * * *").missed(missed);
    schedule.publish_with(move |due| order(hour(due))).await.unwrap()
}

#[tokio::test]
async fn it_ticks_at_the_times_of_its_expression_and_its_events_have_ids_of_their_own() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, recorder) = handled(&clock, &dir).await;
    let schedule = hourly(&bus, Missed::Once).await;
    assert_eq!((schedule.name(), schedule.next()), ("hourly", Some(later(&clock, HOUR))));
    assert_eq!(taken(&bus, &recorder).await, NONE);
    for hour in 1..=3 {
        clock.advance(seconds(HOUR));
        assert_eq!(taken(&bus, &recorder).await, [hour]);
    }
    let id = EventId::foreign("busway/schedule/hourly", "2026-01-01T02:00:00Z");
    assert_eq!(bus.lookup(id).await.unwrap().unwrap().offset, 1);
    assert_eq!((schedule.next(), bus.stats().published), (Some(later(&clock, HOUR)), 3));
    bus.finish().await;
}

#[tokio::test]
async fn what_was_missed_while_the_process_was_down_follows_the_policy() {
    for (missed, expected) in [
        (Missed::Once, vec![5]),
        (Missed::All(100), vec![2, 3, 4, 5]),
        (Missed::All(2), vec![4, 5]),
        (Missed::Skip, vec![]),
    ] {
        let (dir, clock) = (dir(), ManualClock::new());
        let (bus, recorder) = handled(&clock, &dir).await;
        hourly(&bus, missed).await;
        clock.advance(seconds(HOUR));
        assert_eq!(taken(&bus, &recorder).await, [1]);
        bus.finish().await;
        clock.advance(seconds(4 * HOUR + 60));
        let (bus, recorder) = handled(&clock, &dir).await;
        let schedule = hourly(&bus, missed).await;
        assert_eq!(taken(&bus, &recorder).await, expected, "{missed:?}");
        assert_eq!(schedule.next(), Some(later(&clock, HOUR - 60)));
        clock.advance(seconds(HOUR - 60));
        assert_eq!(taken(&bus, &recorder).await, [6], "{missed:?}");
        bus.finish().await;
        // Over once: a further start finds nothing of it.
        let (bus, recorder) = handled(&clock, &dir).await;
        hourly(&bus, missed).await;
        assert_eq!(taken(&bus, &recorder).await, NONE, "{missed:?}");
        bus.finish().await;
    }
}

#[tokio::test]
async fn an_interval_goes_on_from_where_it_was_first_declared() {
    let (dir, clock) = (dir(), ManualClock::new());
    let declare = async |bus: &TestBus| {
        bus.schedule("beat").every(seconds(10)).publish(order(1)).await.unwrap();
    };
    let (bus, recorder) = handled(&clock, &dir).await;
    declare(&bus).await;
    clock.advance(seconds(4));
    assert_eq!(taken(&bus, &recorder).await, NONE);
    clock.advance(seconds(6));
    assert_eq!(taken(&bus, &recorder).await, [1]);
    bus.finish().await;
    clock.advance(seconds(15));
    let (bus, recorder) = handled(&clock, &dir).await;
    declare(&bus).await;
    assert_eq!(taken(&bus, &recorder).await, [1], "the one that was missed");
    clock.advance(seconds(5));
    assert_eq!(taken(&bus, &recorder).await, [1], "at 30 seconds, not 10 after the start");
    bus.finish().await;
}

#[tokio::test]
async fn one_with_another_rule_replaces_it_from_now_on_and_the_old_handle_says_so() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, recorder) = handled(&clock, &dir).await;
    let old = hourly(&bus, Missed::All(100)).await;
    let new = bus.schedule("hourly").every(seconds(60)).publish(order(99)).await.unwrap();
    assert_eq!((old.next(), new.next()), (None, Some(later(&clock, 60))));
    assert!(!old.remove().await.unwrap());
    clock.advance(seconds(60));
    assert_eq!(taken(&bus, &recorder).await, [99]);
    bus.finish().await;
    // Also across a restart: nothing of the old rule is made up for.
    clock.advance(seconds(10 * HOUR));
    let (bus, recorder) = handled(&clock, &dir).await;
    let schedule = hourly(&bus, Missed::All(100)).await;
    assert_eq!((taken(&bus, &recorder).await, schedule.next()), (vec![], Some(later(&clock, HOUR - 60))));
    assert!(schedule.remove().await.unwrap());
    clock.advance(seconds(2 * HOUR));
    assert_eq!(taken(&bus, &recorder).await, NONE);
    assert_eq!(bus.schedules(9).await.unwrap(), []);
    bus.finish().await;
}

#[tokio::test]
async fn a_missed_tick_whose_id_is_taken_is_over_and_the_others_are_published() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, _) = handled(&clock, &dir).await;
    hourly(&bus, Missed::All(100)).await;
    bus.finish().await;
    clock.advance(seconds(4 * HOUR + 60));
    let (bus, other) = handled(&clock, &dir).await;
    let id = EventId::foreign("busway/schedule/hourly", "2026-01-01T02:00:00Z");
    bus.publish(order(77).id(id)).await.unwrap();
    assert_eq!(taken(&bus, &other).await, [77]);
    bus.finish().await;
    let (bus, recorder) = handled(&clock, &dir).await;
    let schedule = hourly(&bus, Missed::All(100)).await;
    assert_eq!(taken(&bus, &recorder).await, [1, 3, 4]);
    assert_eq!(schedule.next(), Some(later(&clock, HOUR - 60)));
    bus.finish().await;
}

#[tokio::test]
async fn one_that_is_not_declared_again_rests_and_is_listed_and_can_be_removed() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, _) = handled(&clock, &dir).await;
    hourly(&bus, Missed::Once).await;
    bus.finish().await;
    let (bus, recorder) = handled(&clock, &dir).await;
    clock.advance(seconds(3 * HOUR));
    assert_eq!(taken(&bus, &recorder).await, NONE);
    let listed = bus.schedules(9).await.unwrap();
    assert_eq!((&*listed[0].name, &*listed[0].rule), ("hourly", "cron 0 * * * * in UTC"));
    assert_eq!(listed[0].state, ScheduleState::Resting);
    // Declared late, it makes up for what was missed as if the process had been down.
    hourly(&bus, Missed::Once).await;
    assert_eq!(taken(&bus, &recorder).await, [3]);
    assert_eq!(bus.schedules(9).await.unwrap()[0].state, ScheduleState::Declared);
    assert!(bus.remove_schedule("hourly").await.unwrap());
    assert!(!bus.remove_schedule("hourly").await.unwrap());
    bus.finish().await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_repeats_no_tick_and_stops_none() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, recorder) = handled(&clock, &dir).await;
    hourly(&bus, Missed::Once).await;
    clock.advance(seconds(HOUR));
    assert_eq!(taken(&bus, &recorder).await, [1]);
    clock.set_utc(Timestamp::from_nanos(0));
    clock.advance(seconds(HOUR));
    assert_eq!(taken(&bus, &recorder).await, [2], "an hour has passed");
    bus.finish().await;
    // Half an hour back over a restart: the tick at two was published, the next one is at three.
    clock.set_utc("2026-01-01T01:30:00Z".parse().unwrap());
    let (bus, recorder) = handled(&clock, &dir).await;
    let schedule = hourly(&bus, Missed::Once).await;
    assert_eq!(schedule.next(), Some("2026-01-01T03:00:00Z".parse().unwrap()));
    clock.advance(seconds(HOUR));
    assert_eq!(taken(&bus, &recorder).await, NONE);
    bus.finish().await;
    // A year ahead, and right again: it does not rest for a year.
    clock.set_utc("2027-01-01T00:30:00Z".parse().unwrap());
    let (bus, recorder) = handled(&clock, &dir).await;
    hourly(&bus, Missed::Skip).await;
    assert_eq!(taken(&bus, &recorder).await, NONE);
    bus.finish().await;
    clock.set_utc("2026-01-01T05:30:00Z".parse().unwrap());
    let (bus, recorder) = handled(&clock, &dir).await;
    hourly(&bus, Missed::Once).await;
    clock.advance(seconds(HOUR / 2));
    assert_eq!(taken(&bus, &recorder).await, [6]);
    bus.finish().await;
}

#[tokio::test]
async fn what_panics_or_is_refused_ends_its_tick_and_no_other() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, recorder) = handled(&clock, &dir).await;
    let start = clock.utc();
    let faulty = move |due: Timestamp| match due.saturating_since(start).as_secs() {
        10 => panic!("on purpose"),
        20 => order(1).key("x".repeat(1_000)),
        second => order(u32::try_from(second).unwrap()),
    };
    bus.schedule("faulty").every(seconds(10)).publish_with(faulty).await.unwrap();
    for expected in [vec![], vec![], vec![30]] {
        clock.advance(seconds(10));
        assert_eq!(taken(&bus, &recorder).await, expected);
    }
    bus.finish().await;
}

#[tokio::test]
async fn what_cannot_be_a_schedule_is_an_error_that_says_how() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    let at = |expression: &str| bus.schedule("a").cron(expression);
    let error = at("0 25 * * *").publish(order(1)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"0 25 * * *\" is no cron expression: at character 3, \"25\" is no hour: it is 0 to 23; a good one is \
         \"30 3 * * 1-5\": at 3:30 from Monday to Friday"
    );
    let never = at("0 0 31 2 *").publish(order(1)).await.unwrap_err();
    assert!(matches!(never, ScheduleError::Never { .. }), "{never}");
    let zone = at("@daily").time_zone("Middle/Earth").publish(order(1)).await.unwrap_err();
    assert!(matches!(zone, ScheduleError::Zone { .. }), "{zone}");
    let interval = bus.schedule("a").every(seconds(0)).publish(order(1)).await.unwrap_err();
    assert!(matches!(interval, ScheduleError::Interval { .. }), "{interval}");
    let nothing = bus.schedule("a").publish(order(1)).await.unwrap_err();
    assert!(nothing.to_string().starts_with("schedule \"a\" does not say when: add .cron("), "{nothing}");
    let uncaptured = at("@daily").publish(number("flights.landed", 1)).await.unwrap_err();
    assert!(matches!(uncaptured, ScheduleError::NotCaptured { .. }), "{uncaptured}");
    let topic = at("@daily").publish(Event::new("no..topic", Number { n: 1 })).await.unwrap_err();
    assert!(matches!(topic, ScheduleError::Invalid(_)), "{topic}");
    let name = bus.schedule("x".repeat(256)).cron("@daily").publish(order(1)).await.unwrap_err();
    assert!(matches!(name, ScheduleError::Store(_)), "{name}");
    assert_eq!(bus.schedules(9).await.unwrap(), []);
    bus.finish().await;
    let memory = TestBus::start().await;
    let store = memory.schedule("a").cron("@daily").publish(order(1)).await.unwrap_err();
    assert!(store.to_string().contains("begin with Bus::open(path)"), "{store}");
    memory.finish().await;
}

#[tokio::test]
async fn a_tick_may_itself_be_delayed() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    bus.schedule("late").cron("0 * * * *").publish(order(1).delay(seconds(60))).await.unwrap();
    clock.advance(seconds(HOUR));
    assert_eq!(taken(&bus, &recorder).await, NONE);
    clock.advance(seconds(60));
    assert_eq!(taken(&bus, &recorder).await, [1]);
    assert_eq!(bus.stats().published, 1);
    bus.finish().await;
}
