//! What operators do with letters that are damaged, edited or old, and what the trail says of it.

use std::time::Duration;

use busway_engine::{DeadLetterError, DeadLetterPolicy, Selection};
use busway_testkit::{ManualClock, Recorder, Script, Step, TestBus};

use super::redrives::{id, with_letters};
use super::{dir, numbers, open_on, stock};
use crate::world::{Number, ends};

#[tokio::test]
async fn a_damaged_letter_is_named_and_discarded() {
    let (dir, clock) = (dir(), ManualClock::new());
    with_letters(&clock, &dir, 3).await;
    let file = dir.path().join("data.mdb");
    let mut bytes = std::fs::read(&file).unwrap();
    let reason = b"no such order";
    // The attempts' errors come behind the reason: the first text of each row.
    let places: Vec<usize> = bytes
        .windows(reason.len())
        .enumerate()
        .filter(|(_, found)| found == reason)
        .map(|(at, _)| at)
        .collect();
    let first = places.first().unwrap();
    bytes[*first] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let bus = open_on(&clock, &dir).await;
    let page = bus.dead_letters().list(&Selection::all()).await.unwrap();
    assert_eq!((page.letters.len(), page.damaged.len()), (2, 1));
    let sound: Vec<u64> = page.letters.iter().map(|letter| letter.id.position.offset).collect();
    let damaged = (0..3).find(|offset| !sound.contains(offset)).unwrap();
    let error = bus.dead_letters().get(&id(damaged)).await.unwrap_err();
    assert!(matches!(error, DeadLetterError::Read(_)), "{error}");
    assert_eq!(page.damaged[0].id, id(damaged));
    bus.dead_letters().discard(&id(damaged)).await.unwrap();
    let page = bus.dead_letters().list(&Selection::all()).await.unwrap();
    assert_eq!((page.letters.len(), page.damaged.len()), (2, 0));
    assert_eq!(bus.dead_letters().count("stock").await.unwrap(), 2);
    bus.finish().await;
}

#[tokio::test]
async fn an_edited_letter_that_its_subscription_discards_is_gone_and_not_handled() {
    let (dir, clock) = (dir(), ManualClock::new());
    with_letters(&clock, &dir, 1).await;
    let bus = open_on(&clock, &dir).await;
    let (recorder, script) = (Recorder::<Number>::new(), Script::default().then(Step::Dead("still not")));
    let builder = stock(&bus).dead_letters(DeadLetterPolicy::discard());
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    bus.dead_letters().edit(&id(0), br#"{"n":42}"#.to_vec()).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&numbers([42]));
    let letter = bus.dead_letters().get(&id(0)).await;
    assert!(matches!(letter, Err(DeadLetterError::Unknown { .. })), "{letter:?}");
    assert_eq!((subscription.stats().discarded, subscription.stats().replayed), (1, 0));
    assert_eq!(bus.dead_letters().count("stock").await.unwrap(), 0);
    bus.finish().await;
}

#[tokio::test]
async fn an_expiry_that_is_cut_short_is_said_to_have_ended() {
    let (dir, clock) = (dir(), ManualClock::new());
    with_letters(&clock, &dir, 9_000).await;
    clock.advance(Duration::from_secs(3_601));
    let policy = DeadLetterPolicy::keep().expire_after(Duration::from_secs(3_600));
    let trail = async |bus: &TestBus| bus.dead_letters().operations(None, 10).await.unwrap();
    let (recorder, mut lives) = (Recorder::<Number>::new(), 0);
    loop {
        let bus = open_on(&clock, &dir).await;
        stock(&bus).dead_letters(policy).to(recorder.handler()).await.unwrap();
        // It is shut down as soon as a part of it is done.
        let is_all = ends(async {
            loop {
                let left = bus.dead_letters().count("stock").await.unwrap();
                if left < 9_000 - lives {
                    break left == 0;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        bus.finish().await;
        lives += 4_096;
        if is_all {
            break;
        }
    }
    let bus = open_on(&clock, &dir).await;
    let trail = trail(&bus).await;
    assert!(trail.iter().all(|operation| operation.ended.is_some()), "{trail:?}");
    assert_eq!(trail.iter().map(|operation| operation.letters).sum::<u64>(), 9_000);
    bus.finish().await;
}

#[tokio::test]
async fn who_does_something_has_a_name_of_a_bounded_length() {
    let (dir, clock) = (dir(), ManualClock::new());
    with_letters(&clock, &dir, 1).await;
    let bus = open_on(&clock, &dir).await;
    let error = bus.dead_letters().by("a".repeat(129)).discard(&id(0)).await.unwrap_err();
    assert!(error.to_string().contains("129 bytes"), "{error}");
    let error = bus.dead_letters().request("a".repeat(129)).discard(&id(0)).await.unwrap_err();
    assert!(error.to_string().contains("129 bytes"), "{error}");
    let error = bus.dead_letters().discard(Selection::all().text("a".repeat(2_000))).await.unwrap_err();
    assert!(error.to_string().contains("bytes"), "{error}");
    assert!(bus.dead_letters().operations(None, 10).await.unwrap().is_empty());
    let operation = bus.dead_letters().by("a".repeat(128)).discard(&id(0)).await.unwrap();
    assert_eq!(operation.by.len(), 128);
    bus.finish().await;
}
