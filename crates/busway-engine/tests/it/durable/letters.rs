//! What operators do with dead letters.

use std::time::Duration;

use busway_engine::Clock as _;
use busway_engine::{
    DeadLetterError, DeadLetterId, DeadLetterPolicy, DeadLetterState, OperationKind, Redrive, Selection,
};
use busway_event::Event;
use busway_reliability::Retry;
use busway_testkit::{ManualClock, Recorder, Script, Step, TestBus};

use super::{dir, numbers, open, open_on, order, publish, stock};
use crate::world::{Number, number};

/// A bus with a subscription that gave up the orders 0 to `count`, each at once.
pub(super) async fn with_letters(bus: &TestBus, count: u32) -> (Recorder<Number>, Script) {
    let recorder = Recorder::<Number>::new();
    let script = Script::new((0..count).map(|_| Step::Dead("no such order")));
    stock(bus).to(recorder.scripted(&script)).await.unwrap();
    publish(bus, 0..count).await;
    bus.settle().await;
    assert_eq!(bus.dead_letters().count("stock").await.unwrap(), u64::from(count));
    let _ = recorder.take();
    (recorder, script)
}

pub(super) fn id(offset: u64) -> DeadLetterId {
    format!("stock/orders/0/{offset}").parse().unwrap()
}

pub(super) async fn left(bus: &TestBus) -> Vec<u64> {
    let page = bus.dead_letters().list(&Selection::all()).await.unwrap();
    page.letters.iter().map(|letter| letter.id.position.offset).collect()
}

#[tokio::test]
async fn a_letter_shows_the_bytes_the_place_and_every_attempt() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no connection"), Step::Panic("oh"), Step::Dead("no such order")]);
    stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    bus.publish(order("A-1", 7).meta("trace", "t-1")).await.unwrap();
    for _ in 0..3 {
        bus.settle().await;
        bus.clock().advance(Duration::from_secs(1));
    }
    let letter = bus.dead_letters().get(&id(0)).await.unwrap();
    let event = letter.event.as_ref().unwrap();
    assert_eq!(event.typed::<Number>().unwrap().payload(), &Number { n: 7 });
    assert_eq!(event.encoded(100).unwrap().bytes.as_ref(), br#"{"n":7}"#);
    assert_eq!((event.key().unwrap().as_str(), event.metadata().get("trace")), ("A-1", Some("t-1")));
    assert_eq!((letter.attempt_count, letter.reason.as_str()), (3, "no such order"));
    let errors: Vec<_> = letter.attempts.iter().map(|attempt| attempt.error.as_str()).collect();
    assert!(
        errors[0] == "no connection" && errors[1].contains("oh") && errors[2] == "no such order",
        "{errors:?}"
    );
    assert!(letter.attempts[0].at < letter.attempts[1].at && letter.state == DeadLetterState::Waiting);
    bus.finish().await;
}

#[tokio::test]
async fn letters_are_found_by_subscription_topic_error_and_time_page_by_page() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    let errors = ["timed out", "no such order", "timed out", "no such order", "timed out"];
    let script = Script::new(errors.map(Step::Dead));
    stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    bus.subscribe("orders.#").durable("mail").to(recorder.scripted(&Script::default())).await.unwrap();
    let mut times = Vec::new();
    for n in 0..5 {
        let topic = if n < 3 { "orders.created" } else { "orders.paid" };
        bus.publish(number(topic, n)).await.unwrap();
        bus.settle().await;
        times.push(busway_engine::Clock::utc(&clock));
        clock.advance(Duration::from_secs(10));
    }
    let found = async |selection: Selection| {
        let page = bus.dead_letters().list(&selection).await.unwrap();
        page.letters.iter().map(|letter| letter.id.position.offset).collect::<Vec<_>>()
    };
    assert_eq!(found(Selection::all()).await, [0, 1, 2, 3, 4]);
    assert_eq!(found(Selection::all().subscription("mail")).await, [] as [u64; 0]);
    assert_eq!(found(Selection::all().text("timed")).await, [0, 2, 4]);
    assert_eq!(found(Selection::all().topics("orders.paid").unwrap()).await, [3, 4]);
    assert_eq!(found(Selection::all().from(times[1]).until(times[3])).await, [1, 2]);
    let both = Selection::all().subscription("stock").topics("+.created").unwrap().text("no such");
    assert_eq!(found(both).await, [1]);
    let first = bus.dead_letters().list(&Selection::all().limit(2)).await.unwrap();
    assert_eq!(found(Selection::all().limit(2).start(first.next.unwrap())).await, [2, 3]);
    let unknown = bus.dead_letters().list(&Selection::all().subscription("nobody")).await;
    assert!(matches!(unknown, Err(DeadLetterError::UnknownSubscription { .. })));
    bus.finish().await;
}

#[tokio::test]
async fn a_redriven_letter_is_a_replay_with_fresh_attempts_for_its_subscription_only() {
    let dir = dir();
    let bus = open(&dir).await;
    let (recorder, script) = with_letters(&bus, 2).await;
    let other = Recorder::<Number>::new();
    bus.subscribe("orders.#").durable("other").to(other.handler()).await.unwrap();
    script.push(Step::Fail("no connection"));
    let operation = bus.dead_letters().by("ann").redrive(&id(0), Redrive::default()).await.unwrap();
    assert_eq!(
        (operation.letters, operation.by.as_str(), operation.kind),
        (1, "ann", OperationKind::Redrive)
    );
    bus.settle().await;
    let again = bus.dead_letters().redrive(&id(0), Redrive::default()).await.unwrap_err();
    assert!(matches!(again, DeadLetterError::AlreadyRedriven { .. }), "{again}");
    assert!(matches!(bus.dead_letters().discard(&id(0)).await, Err(DeadLetterError::AlreadyRedriven { .. })));
    bus.clock().advance(Duration::from_secs(1));
    bus.settle().await;
    let deliveries = recorder.deliveries();
    let seen: Vec<_> = deliveries.iter().map(|it| (it.offset(), it.attempt(), it.is_replay())).collect();
    assert_eq!(seen, [(Some(0), 1, true), (Some(0), 2, true)]);
    assert_eq!((other.count(), left(&bus).await), (0, vec![1]));
    assert_eq!(bus.stats().durable("stock").unwrap().replayed, 1);
    let gone = bus.dead_letters().redrive(&id(0), Redrive::default()).await.unwrap_err();
    assert!(matches!(gone, DeadLetterError::Unknown { .. }) && !gone.is_transient(), "{gone}");
    bus.finish().await;
}

#[tokio::test]
async fn a_letter_that_is_given_up_again_has_the_new_attempts_behind_the_old_ones() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Fail("no connection"));
    stock(&bus).retry(Retry::never()).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, [0]).await;
    bus.settle().await;
    for attempts in 2..=18 {
        bus.dead_letters().redrive(&id(0), Redrive::default()).await.unwrap();
        bus.settle().await;
        let letter = bus.dead_letters().get(&id(0)).await.unwrap();
        let kept = usize::try_from(attempts.min(16)).unwrap();
        assert_eq!((letter.attempt_count, letter.attempts.len()), (attempts, kept), "the last 16");
        assert_eq!(letter.state, DeadLetterState::Waiting);
    }
    bus.finish().await;
}

#[tokio::test]
async fn a_redrive_is_behind_what_runs_of_its_lane() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let gate = busway_testkit::Gate::default();
    let script = Script::new([Step::Dead("no such order"), Step::Wait(gate.clone())]);
    stock(&bus).concurrency(8).to(recorder.scripted(&script)).await.unwrap();
    for n in 0..3 {
        bus.publish(order("A-1", n)).await.unwrap();
    }
    recorder.wait_for(2).await;
    // The lane goes on when its event is decided; the letter is there when that is stored.
    while bus.dead_letters().count("stock").await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    bus.dead_letters().redrive(&id(0), Redrive::default()).await.unwrap();
    crate::world::turns().await;
    assert_eq!(recorder.count(), 2, "1 runs: nothing else of its lane does");
    gate.open();
    bus.settle().await;
    recorder.assert_payloads(&numbers([0, 1, 0, 2]));
    bus.finish().await;
}

#[tokio::test]
async fn a_redriven_letter_survives_a_restart_and_the_retention_of_its_stream() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = open_on(&clock, &dir).await;
    with_letters(&bus, 1).await;
    bus.finish().await;
    let bus = open_on(&clock, &dir).await;
    // Nobody is there who could have it.
    bus.dead_letters().redrive(&id(0), Redrive::default()).await.unwrap();
    bus.finish().await;
    let bus = open_on(&clock, &dir).await;
    let letter = bus.dead_letters().get(&id(0)).await.unwrap();
    assert!(matches!(letter.state, DeadLetterState::Redriven { .. }));
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&numbers([0]));
    assert!(recorder.deliveries()[0].is_replay() && left(&bus).await.is_empty());
    bus.finish().await;
}

#[tokio::test]
async fn an_edited_letter_is_given_as_edited_and_the_original_is_kept_beside_it() {
    let dir = dir();
    let bus = open(&dir).await;
    let (recorder, _) = with_letters(&bus, 1).await;
    bus.dead_letters().edit(&id(0), br#"{"n":42}"#.to_vec()).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&numbers([42]));
    let letter = bus.dead_letters().get(&id(0)).await.unwrap();
    assert!(matches!(letter.state, DeadLetterState::Handled { .. }), "{letter:?}");
    let payload = |event: &busway_event::AnyEvent| event.typed::<Number>().unwrap().payload().n;
    assert_eq!((payload(letter.event.as_ref().unwrap()), payload(letter.edited.as_ref().unwrap())), (0, 42));
    let again = bus.dead_letters().edit(&id(0), b"{}".to_vec()).await.unwrap_err();
    assert!(matches!(again, DeadLetterError::AlreadyHandled { .. }), "{again}");
    bus.dead_letters().discard(&id(0)).await.unwrap();
    assert!(left(&bus).await.is_empty());
    let too_large = vec![b' '; 2 << 20];
    publish(&bus, [9]).await;
    bus.settle().await;
    let unknown = bus.dead_letters().edit(&id(1), too_large).await.unwrap_err();
    assert!(matches!(unknown, DeadLetterError::Unknown { .. }), "{unknown}");
    bus.finish().await;
}

#[tokio::test]
async fn a_request_is_carried_out_once_and_its_name_stands_for_one_thing() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = open_on(&clock, &dir).await;
    let (recorder, script) = with_letters(&bus, 3).await;
    for _ in 0..3 {
        script.push(Step::Dead("still no such order"));
    }
    let selection = || Selection::all().subscription("stock");
    let redrive = async |bus: &TestBus| {
        let letters = bus.dead_letters().request("ticket-7");
        letters.redrive(selection(), Redrive::default().unlimited().never_stop()).await
    };
    let first = redrive(&bus).await.unwrap();
    assert_eq!((first.letters, first.repeated), (3, false));
    bus.settle().await;
    assert_eq!((recorder.count(), left(&bus).await.len()), (3, 3), "they were given up again");
    let again = redrive(&bus).await.unwrap();
    assert_eq!((again.letters, again.repeated, again.number), (3, true, first.number));
    let other = bus.dead_letters().request("ticket-7").discard(&id(0)).await.unwrap_err();
    assert!(matches!(&other, DeadLetterError::RequestTaken { kind: "redrive", .. }), "{other}");
    bus.finish().await;
    let bus = open_on(&clock, &dir).await;
    assert!(redrive(&bus).await.unwrap().repeated, "over restarts too");
    let trail = bus.dead_letters().operations(None, 10).await.unwrap();
    let said: Vec<_> = trail.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with("redrive of 3 letters by ") && said[0].ends_with("(subscription stock)"),
        "{said:?}"
    );
    assert!(trail[0].ended.is_some());
    bus.finish().await;
}

#[tokio::test]
async fn a_redrive_goes_at_its_pace_and_stops_when_the_same_error_keeps_coming_back() {
    let dir = dir();
    let bus = open(&dir).await;
    let (recorder, _) = with_letters(&bus, 30).await;
    let script = Script::default().then(Step::Dead("order 17 is unknown"));
    // Another handler from now on: it fails in the same way for each.
    bus.finish().await;
    let bus = open(&dir).await;
    stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    let letters = bus.dead_letters();
    let redrive = letters.redrive(Selection::all(), Redrive::default().per_second(10).stop_after(5));
    tokio::pin!(redrive);
    let mut moved_by_second = Vec::new();
    let operation = loop {
        tokio::select! {
            biased;
            operation = &mut redrive => break operation.unwrap(),
            // What was given again has come to its end before the clock goes on.
            () = bus.settle() => {}
        }
        if bus.clock().advance_to_next() {
            moved_by_second.push(recorder.count());
        }
    };
    assert_eq!(operation.stopped.as_deref(), Some("dead: order 17 is unknown"), "{operation}");
    assert!((5..=7).contains(&operation.letters), "{operation}");
    bus.settle().await;
    assert_eq!(left(&bus).await.len(), 30, "none is lost");
    assert!(moved_by_second.windows(2).all(|pair| pair[1] - pair[0] <= 1), "{moved_by_second:?}");
    bus.finish().await;
}

#[tokio::test]
async fn discarded_letters_are_gone_and_old_ones_expire() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = open_on(&clock, &dir).await;
    with_letters(&bus, 4).await;
    bus.dead_letters().discard(&id(2)).await.unwrap();
    assert_eq!(left(&bus).await, [0, 1, 3]);
    assert!(matches!(bus.dead_letters().discard(&id(2)).await, Err(DeadLetterError::Unknown { .. })));
    bus.finish().await;
    clock.advance(Duration::from_secs(3_601));
    let bus = open_on(&clock, &dir).await;
    let policy = DeadLetterPolicy::keep().expire_after(Duration::from_secs(3_600));
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Dead("no such order"));
    stock(&bus).dead_letters(policy).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, [9]).await;
    bus.settle().await;
    crate::world::ends(async {
        while left(&bus).await != [4] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let trail = bus.dead_letters().operations(None, 10).await.unwrap();
    let expired = &trail[0];
    assert_eq!((expired.kind, expired.by.as_str(), expired.letters), (OperationKind::Expire, "busway", 3));
    bus.finish().await;
}

#[tokio::test]
async fn a_wall_clock_that_is_ahead_for_a_while_lets_no_letters_expire() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    let policy = DeadLetterPolicy::keep().expire_after(Duration::from_secs(7_200));
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Dead("no such order")]);
    let _stock = stock(&bus).dead_letters(policy).to(recorder.scripted(&script)).await.unwrap();
    let began = clock.utc();
    publish(&bus, [0]).await;
    bus.settle().await;
    // The next look sees a clock that is a day ahead.
    clock.advance(Duration::from_secs(3_601));
    clock.set_utc(clock.utc().saturating_add(Duration::from_secs(86_400)));
    publish(&bus, [1]).await;
    bus.settle().await;
    clock.set_utc(began.saturating_add(Duration::from_secs(3_601)));
    clock.advance(Duration::from_secs(3_601));
    publish(&bus, [2]).await;
    bus.settle().await;
    crate::world::ends(async {
        while !left(&bus).await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let trail = bus.dead_letters().operations(None, 10).await.unwrap();
    let [expired] = &trail[..] else { panic!("{trail:?}") };
    assert!(expired.begun < began.saturating_add(Duration::from_secs(7_210)), "by a clock that was ahead");
    bus.finish().await;
}

#[tokio::test]
async fn what_a_subscription_discards_is_counted_and_settled() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Dead("no such order")]);
    let builder = stock(&bus).dead_letters(DeadLetterPolicy::discard());
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    bus.publish(Event::new("orders.created", busway_event::Raw::from("{}"))).await.unwrap();
    publish(&bus, [1, 2]).await;
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!((stats.dead, stats.discarded, stats.done), (2, 2, 1), "{stats}");
    assert_eq!(subscription.lag().events, 0);
    assert!(left(&bus).await.is_empty());
    let described = bus.describe().to_string();
    assert!(described.contains("dead_letters = discarded (subscription)"), "{described}");
    bus.finish().await;
}
