//! A member's hands, without a broker.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::headers::Headers;
use crate::message::with;
use crate::ticket::Heard;

const LIMITS: Limits = Limits { in_flight: 4, gap: 8, events: 12, bytes: 1 << 20, retries: 6 };

fn place() -> Place {
    Place { topic: Arc::from("orders"), partition: 0 }
}

fn desk(filter: &str) -> Desk {
    let mut desk = Desk::new(Filter::new(filter).unwrap(), LIMITS);
    desk.assign(place(), Kind::Stream, 0, Vec::new());
    desk
}

fn record(offset: i64, key: Option<&'static str>) -> Record {
    let headers = [("ce_specversion", "1.0"), ("ce_source", "/tests"), ("ce_type", "t"), ("ce_id", "1")];
    let subject = ("ce_subject", "orders.created");
    let all = headers.into_iter().chain([subject]);
    let headers = all.fold(rdkafka::message::OwnedHeaders::new(), |headers, (name, value)| {
        with(headers, name, value.as_bytes())
    });
    Record {
        topic: Arc::from("orders"),
        partition: 0,
        offset,
        key: key.map(|key| Bytes::from_static(key.as_bytes())),
        value: Some(Bytes::from_static(b"x")),
        headers: Arc::new(Headers::of(headers.as_borrowed())),
        timestamp: Some(1_000),
    }
}

fn offsets(taken: &[Received]) -> Vec<u64> {
    taken.iter().map(|taken| taken.offset.unwrap()).collect()
}

fn arrived(desk: &mut Desk, record: Record, due: Option<Instant>, attempt: u32, is_meant: bool) -> bool {
    arrival(desk, record, due, attempt, is_meant).is_kept
}

fn arrival(desk: &mut Desk, record: Record, due: Option<Instant>, attempt: u32, is_meant: bool) -> Arrival {
    let event = record.event();
    let place = Place { topic: Arc::clone(&record.topic), partition: record.partition };
    desk.arrived(&place, record, event, due, attempt, is_meant)
}

const WAIT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn no_more_is_out_than_may_be_and_what_is_not_settled_in_time_is_another_delivery() {
    let (mut desk, now) = (desk("#"), Instant::now());
    (0..6).for_each(|offset| assert!(arrived(&mut desk, record(offset, None), None, 1, true)));
    let first = desk.take(100, now, now + WAIT);
    assert_eq!(offsets(&first), [0, 1, 2, 3]);
    assert!(desk.take(100, now, now + WAIT).is_empty());
    assert!(desk.renew(first[1].id, now + 3 * WAIT));
    assert_eq!(desk.next_due(), Some(now + WAIT));
    let later = now + WAIT;
    let again = desk.take(100, later, later + WAIT);
    assert_eq!(offsets(&again), [0, 2, 3]);
    assert!(again.iter().all(|again| again.attempt.get() == 2));
    assert!(desk.done(first[0].id).is_none(), "that delivery is none any more");
    assert!(desk.done(first[1].id).is_some() && desk.done(again[0].id).is_some());
}

#[tokio::test]
async fn what_is_put_off_holds_its_key_back_and_what_is_given_back_is_not_charged() {
    let (mut desk, now) = (desk("#"), Instant::now());
    for (offset, key) in [(0, Some("a")), (1, Some("b")), (2, Some("a")), (3, None)] {
        arrived(&mut desk, record(offset, key), None, 1, true);
    }
    let first = desk.take(1, now, now + WAIT);
    assert!(desk.put_off(first[0].id, Some(now + WAIT)));
    let others = desk.take(100, now, now + 9 * WAIT);
    assert_eq!(offsets(&others), [1, 3]);
    assert!(desk.put_off(others[1].id, None));
    let back = desk.take(100, now, now + 9 * WAIT);
    assert_eq!((offsets(&back), back[0].attempt.get()), (vec![3], 1));
    let due = desk.take(100, now + WAIT, now + 9 * WAIT);
    assert_eq!((offsets(&due), due[0].attempt.get()), (vec![0], 2));
    assert!(desk.take(100, now + WAIT, now + 9 * WAIT).is_empty(), "the later one waits for it");
    assert!(desk.done(due[0].id).is_some());
    assert_eq!(offsets(&desk.take(100, now + WAIT, now + 9 * WAIT)), [2]);
}

#[tokio::test]
async fn a_ticket_is_heard_when_its_change_is_committed_and_never_when_the_partition_went_before() {
    let (mut desk, now) = (desk("#"), Instant::now());
    (0..3).for_each(|offset| _ = arrived(&mut desk, record(offset, None), None, 1, true));
    let taken = desk.take(100, now, now + WAIT);
    let second = desk.done(taken[1].id).unwrap();
    let changes = desk.changes(None);
    assert_eq!(changes[0].position, 0, "the first is not settled");
    let first = desk.done(taken[0].id).unwrap();
    desk.committed(&changes);
    assert_eq!((second.heard(), first.heard()), (Heard::Yes, Heard::NotYet));
    let changes = desk.changes(None);
    assert_eq!(changes[0].position, 2);
    desk.revoke(&place());
    assert_eq!((second.heard(), first.heard()), (Heard::Yes, Heard::Never));
    // Assigned again it is another: what comes late of the old one is nothing to it.
    desk.assign(place(), Kind::Stream, 0, Vec::new());
    desk.committed(&changes);
    assert!(desk.changes(None).is_empty() && desk.done(taken[2].id).is_none());
}

#[tokio::test]
async fn what_is_not_wanted_or_not_meant_or_settled_already_is_committed_unseen() {
    let mut desk = desk("orders.paid");
    assert!(!arrived(&mut desk, record(0, None), None, 1, true));
    assert_eq!(desk.changes(None)[0].position, 1);
    let mut desk = Desk::new(Filter::new("#").unwrap(), LIMITS);
    desk.assign(place(), Kind::Stream, 0, vec![1]);
    assert!(arrived(&mut desk, record(0, None), None, 1, true));
    assert!(
        !arrived(&mut desk, record(1, None), None, 1, true)
            && !arrived(&mut desk, record(2, None), None, 1, false)
    );
    assert!(!arrived(&mut desk, record(0, None), None, 1, true), "it is in hand");
    let now = Instant::now();
    assert_eq!(offsets(&desk.take(100, now, now + WAIT)), [0]);
}

#[tokio::test]
async fn partitions_are_paused_at_the_limits_and_go_on_below_them() {
    let (mut desk, now) = (desk("#"), Instant::now());
    (0..8).for_each(|offset| _ = arrived(&mut desk, record(offset, None), None, 1, true));
    assert_eq!(desk.pace(), (vec![place()], vec![]));
    assert_eq!(desk.pace(), (vec![], vec![]));
    let taken = desk.take(100, now, now + WAIT);
    for taken in &taken[1..] {
        desk.done(taken.id);
    }
    assert_eq!(desk.pace(), (vec![], vec![]), "the first keeps the gap open");
    desk.done(taken[0].id);
    assert_eq!(desk.pace(), (vec![], vec![place()]));
    assert!(!desk.is_pausing());
}

#[tokio::test]
async fn nobody_waits_for_room_while_another_partition_has_some() {
    let (mut desk, other) = (desk("#"), Place { partition: 1, ..place() });
    desk.assign(other.clone(), Kind::Stream, 0, Vec::new());
    (0..8).for_each(|offset| assert!(arrived(&mut desk, record(offset, None), None, 1, true)));
    assert!(desk.is_at_limit(&place()) && !desk.is_at_limit(&other) && !desk.is_full());
    for offset in 0..4 {
        let record = Record { partition: 1, ..record(offset, None) };
        assert!(arrived(&mut desk, record, None, 1, true));
    }
    assert!(desk.is_full(), "there are as many as both may have together");
    assert_eq!(desk.pace(), (vec![place(), other], vec![]));
    assert!(!desk.is_full(), "what is paused needs nobody who waits");
}

fn retries(tier: &str) -> Place {
    Place { topic: Arc::from(format!("orders.retry.{tier}")), partition: 0 }
}

#[tokio::test]
async fn what_waits_in_topics_of_retries_holds_up_nothing_of_the_stream() {
    let (mut desk, now) = (desk("#"), Instant::now());
    let tiers = ["1s", "10s", "60s"].map(retries);
    for place in &tiers {
        desk.assign(place.clone(), Kind::Retries, 0, Vec::new());
        for offset in 0..6 {
            let record = Record { topic: Arc::clone(&place.topic), ..record(offset, None) };
            assert!(arrived(&mut desk, record, Some(now + WAIT), 2, true));
        }
    }
    let mut paused = desk.pace().0;
    paused.sort_by(|one, other| one.topic.len().cmp(&other.topic.len()).then(one.cmp(other)));
    assert_eq!(paused, tiers, "each has as many as it may, and the stream goes on");
    (0..4).for_each(|offset| assert!(arrived(&mut desk, record(offset, None), None, 1, true)));
    assert_eq!((desk.take(100, now, now + 9 * WAIT).len(), desk.pace()), (4, (vec![], vec![])));
}

#[tokio::test]
async fn a_log_that_was_made_anew_is_read_from_its_beginning() {
    let (mut desk, now) = (desk("#"), Instant::now());
    desk.assign(place(), Kind::Stream, 5_000, Vec::new());
    assert!(arrived(&mut desk, record(5_000, None), None, 1, true));
    let taken = desk.take(100, now, now + WAIT);
    let ticket = desk.done(taken[0].id).unwrap();
    let changes = desk.changes(None);
    let anew = arrival(&mut desk, record(4_900, None), None, 1, true);
    assert_eq!(anew, Arrival { is_kept: true, is_anew: true }, "what is there now is an event");
    // What was settled of the old one is nothing to it.
    desk.committed(&changes);
    assert_eq!((ticket.heard(), desk.changes(None)), (Heard::Never, vec![]));
    let taken = desk.take(100, now, now + WAIT);
    assert_eq!(offsets(&taken), [4_900]);
    assert!(desk.done(taken[0].id).is_some());
    assert_eq!(desk.changes(None)[0].position, 4_901);
}

#[tokio::test]
async fn what_no_commit_can_say_is_not_said_to_be_heard() {
    let (mut desk, now) = (desk("#"), Instant::now());
    let far = i64::try_from(crate::gap::LIMIT_MAX).unwrap();
    for offset in [0, 1, far] {
        assert!(arrived(&mut desk, record(offset, None), None, 1, true));
    }
    let taken = desk.take(100, now, now + WAIT);
    let (near, beyond) = (desk.done(taken[1].id).unwrap(), desk.done(taken[2].id).unwrap());
    desk.committed(&desk.changes(None));
    assert_eq!((near.heard(), beyond.heard()), (Heard::Yes, Heard::NotYet));
    assert!(desk.done(taken[0].id).is_some());
    desk.committed(&desk.changes(None));
    assert_eq!(beyond.heard(), Heard::Yes);
}

/// A member's desk at a partition of which that was said, with six events.
fn taken_up(said: Said) -> Desk {
    let mut desk = desk("#");
    desk.take_up(&place(), said, None);
    (0..6).for_each(|offset| assert!(arrived(&mut desk, record(offset, None), None, 1, true)));
    desk
}

/// The broker hears of all there is to hear, and what it is told of the partition.
fn heard(desk: &mut Desk) -> Said {
    let (changes, last) = (desk.changes(None), desk.last_serial());
    desk.committed(&changes);
    desk.open(last);
    let Change { position, metadata, .. } = &changes[0];
    crate::mark::read(*position, metadata).unwrap().care
}

#[tokio::test]
async fn nothing_is_handed_over_before_it_was_tried_to_say_that_a_partition_is_taken_up() {
    let (mut desk, now) = (taken_up(Said::default()), Instant::now());
    assert!(desk.take(100, now, now + WAIT).is_empty() && desk.is_awaiting());
    // Tried, and not heard.
    desk.open(desk.last_serial());
    assert_eq!(offsets(&desk.take(100, now, now + WAIT)), [0, 1, 2, 3]);
    assert_eq!((heard(&mut desk).taken, desk.is_awaiting()), (1, false));
    // A member that leaves does not count.
    desk.leave(&[place()]);
    assert_eq!(heard(&mut desk).taken, 0);
}

/// Each member dies as soon as it is handed the third event: after two deaths it is alone, and charged with each more.
#[tokio::test]
async fn what_kills_its_members_is_found_among_others_and_nothing_else_is_charged() {
    let (now, mut said) = (Instant::now(), Said::default());
    for life in 0..8 {
        let mut desk = taken_up(said);
        said = heard(&mut desk);
        loop {
            let taken = desk.take(100, now, now + WAIT);
            if let [alone] = &taken[..] {
                let charges =
                    said.charges.iter().find(|(offset, _)| *offset == 2).map_or(0, |(_, times)| *times);
                let is_third = alone.offset == Some(2);
                assert_eq!(alone.attempt.get(), if is_third { charges } else { 1 }, "life {life}");
            }
            assert!(life < 2 || taken.len() <= 1, "life {life}: {taken:?}");
            if taken.iter().any(|taken| taken.offset == Some(2)) {
                break;
            }
            // The first waits for an hour: the position never moves.
            for taken in &taken {
                assert!(desk.put_off(taken.id, Some(now + 3_600 * WAIT)));
            }
            said = heard(&mut desk);
        }
    }
    assert_eq!((said.taken, said.charges), (8, vec![(2, 6)]));
}

#[tokio::test]
async fn what_is_alone_is_handed_over_when_nothing_else_is_out_and_its_charge_is_heard() {
    let now = Instant::now();
    let mut desk = taken_up(Said { taken: 2, until: 9, charges: Vec::new() });
    desk.assign(other(), Kind::Stream, 0, Vec::new());
    arrived(&mut desk, Record { partition: 1, ..record(0, None) }, None, 1, true);
    // The partition is not open yet, and the other is.
    let others = desk.take(100, now, now + WAIT);
    assert_eq!(others.len(), 1);
    heard(&mut desk);
    assert!(desk.take(100, now, now + WAIT).is_empty() && !desk.is_urgent());
    assert!(desk.done(others[0].id).is_some());
    assert!(desk.take(100, now, now + WAIT).is_empty() && desk.is_urgent() && !desk.is_urgent());
    assert!(desk.take(100, now, now + WAIT).is_empty(), "nobody has heard of it");
    assert_eq!(heard(&mut desk).charges, [(0, 1)]);
    let alone = desk.take(100, now, now + WAIT);
    assert_eq!((offsets(&alone), alone[0].attempt.get()), (vec![0], 1));
    // Given back it is not charged, and nothing is handed over before that is heard.
    assert!(desk.put_off(alone[0].id, None));
    assert!(desk.take(100, now, now + WAIT).is_empty() && !desk.is_urgent() && desk.is_awaiting());
    assert_eq!(heard(&mut desk).charges, []);
    // Behind the span nothing is alone.
    for _ in 0..4 {
        assert!(desk.take(100, now, now + WAIT).is_empty());
        heard(&mut desk);
        let alone = desk.take(100, now, now + WAIT);
        assert!(desk.done(alone[0].id).is_some());
        heard(&mut desk);
    }
    assert_eq!(offsets(&desk.take(100, now, now + WAIT)), [4, 5]);
}

fn other() -> Place {
    Place { partition: 1, ..place() }
}

/// A desk at two partitions: of the first two members have died, with one event in it; the other has one too.
fn careful_beside_another() -> Desk {
    let mut desk = desk("#");
    desk.take_up(&place(), Said { taken: 2, until: 9, charges: Vec::new() }, None);
    desk.assign(other(), Kind::Stream, 0, Vec::new());
    desk.take_up(&other(), Said::default(), None);
    arrived(&mut desk, record(0, None), None, 1, true);
    heard(&mut desk);
    desk
}

#[tokio::test]
async fn nothing_is_handed_over_beside_one_that_is_alone_also_of_other_partitions() {
    let (mut desk, now) = (careful_beside_another(), Instant::now());
    assert!(desk.take(100, now, now + WAIT).is_empty());
    heard(&mut desk);
    let alone = desk.take(100, now, now + WAIT);
    assert_eq!(offsets(&alone), [0]);
    arrived(&mut desk, Record { partition: 1, ..record(0, None) }, None, 1, true);
    assert!(desk.take(100, now, now + WAIT).is_empty());
    // Its time is over: it is alone once more.
    let later = now + WAIT;
    assert!(desk.take(100, later, later + WAIT).is_empty());
    heard(&mut desk);
    let again = desk.take(100, later, later + WAIT);
    assert_eq!(again.iter().map(|one| one.partition).collect::<Vec<_>>(), [Some(0)]);
    assert!(desk.done(again[0].id).is_some());
    heard(&mut desk);
    let others = desk.take(100, later, later + WAIT);
    assert_eq!(others.iter().map(|one| one.partition).collect::<Vec<_>>(), [Some(1)]);
}

#[tokio::test]
async fn a_partition_whose_commits_are_refused_holds_up_no_other_while_it_is_careful() {
    let (mut desk, now) = (careful_beside_another(), Instant::now());
    arrived(&mut desk, Record { partition: 1, ..record(0, None) }, None, 1, true);
    assert!(desk.take(100, now, now + WAIT).is_empty(), "its charge is on its way");
    desk.refused(&[place()]);
    let others = desk.take(100, now, now + WAIT);
    assert_eq!(others.iter().map(|one| one.partition).collect::<Vec<_>>(), [Some(1)]);
    assert!(desk.done(others[0].id).is_some());
    assert!(desk.take(100, now, now + WAIT).is_empty(), "nobody has heard that it is charged");
    // Then it is heard all the same.
    heard(&mut desk);
    let alone = desk.take(100, now, now + WAIT);
    assert_eq!(alone.iter().map(|one| one.partition).collect::<Vec<_>>(), [Some(0)]);
    assert!(desk.done(alone[0].id).is_some());
    // That it has killed nobody is refused, too.
    arrived(&mut desk, Record { partition: 1, ..record(1, None) }, None, 1, true);
    assert!(desk.take(100, now, now + WAIT).is_empty());
    desk.refused(&[place()]);
    assert_eq!(desk.take(100, now, now + WAIT).len(), 1);
}
