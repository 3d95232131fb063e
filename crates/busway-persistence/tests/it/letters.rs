//! Dead letters: they are found, given again, edited and let go, and everything that is known of them outlives the process.

use std::sync::mpsc;

use busway_event::{Event, Filter, Metadata, Raw, Stamp};
use busway_persistence::{
    Attempt, DeadLetter, LetterKey, LetterQuery, LetterRequest, LetterState, Operated, OperationKind,
    Progressed, RequestError, Retention, Settlement, Store, Stream,
};

use crate::world::{Waiting, at, dir, entry, event, id, number_of, one, open, options};

const ALL: LetterKey = LetterKey { subscription: 1, partition: 0, offset: 0 };

pub(crate) fn letter(offset: u64) -> DeadLetter {
    let at = at(i64::try_from(offset).unwrap());
    let attempts = vec![Attempt { at, error: "no connection".to_owned() }].into();
    let reason = format!("given up after 1 attempts: error {}", offset % 3);
    DeadLetter { offset, at, reason, handler: "reserve".to_owned(), attempts, attempt_count: 1 }
}

/// A subscription that gave up the events of these offsets.
pub(crate) fn with_letters(store: &Store, count: u64) -> u32 {
    let topics = ["orders.created", "orders.paid"];
    let entries = (0..count).map(|n| entry(store, topics[usize::try_from(n % 2).unwrap()], n));
    store.put_all(entries.collect()).unwrap();
    let number = store.join("stock", "#", vec![(0, 0)]).unwrap().number;
    give_up(store, number, 0..count);
    number
}

pub(crate) fn give_up(store: &Store, number: u32, offsets: std::ops::Range<u64>) {
    store
        .decide(number, Settlement { dead: offsets.map(letter).collect(), ..Settlement::default() })
        .unwrap();
}

fn keys(store: &Store, query: &LetterQuery) -> Vec<u64> {
    store.letters(query, ALL, 100).unwrap().letters.iter().map(|letter| letter.key.offset).collect()
}

fn request(kind: OperationKind, name: &str, letters: &[LetterKey]) -> LetterRequest {
    LetterRequest {
        request: name.to_owned(),
        kind,
        by: "ann".to_owned(),
        selection: "some".to_owned(),
        at: at(100),
        letters: letters.iter().map(|key| (*key, 7)).collect(),
        is_strict: true,
        parked_max: Vec::new(),
        edited: None,
        expected: None,
        end: Progressed::Done,
    }
}

fn operate(store: &Store, request: LetterRequest) -> Result<Operated, RequestError> {
    let (answer, answered) = mpsc::channel();
    store.operate(request, Box::new(move |result| answer.send(result).unwrap()));
    answered.recv().unwrap()
}

pub(crate) const fn key(subscription: u32, offset: u64) -> LetterKey {
    LetterKey { subscription, partition: 0, offset }
}

#[test]
fn letters_are_found_by_what_is_asked_for_and_page_by_page() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 10);
    let query = LetterQuery::default;
    assert_eq!(keys(&store, &query()), (0..10).collect::<Vec<_>>());
    assert_eq!(keys(&store, &LetterQuery { text: Some("error 2".to_owned()), ..query() }), [2, 5, 8]);
    let paid = Some(Filter::new("+.paid").unwrap());
    assert_eq!(keys(&store, &LetterQuery { topics: paid, ..query() }), [1, 3, 5, 7, 9]);
    let timed = LetterQuery { from: Some(at(3)), until: Some(at(6)), ..query() };
    assert_eq!(keys(&store, &timed), [3, 4, 5]);
    assert_eq!(keys(&store, &LetterQuery { subscriptions: vec![number], ..query() }).len(), 10);
    assert_eq!(keys(&store, &LetterQuery { subscriptions: vec![number + 1], ..query() }), [0_u64; 0]);
    let (mut from, mut found) = (Some(ALL), Vec::new());
    while let Some(start) = from {
        let page = store.letters(&query(), start, 3).unwrap();
        assert!(page.letters.len() <= 3);
        found.extend(page.letters.iter().map(|letter| number_of(&letter.event.as_ref().unwrap().event)));
        from = page.next;
    }
    assert_eq!(found, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_page_ends_when_it_has_looked_at_many_and_goes_on_where_it_was() {
    let dir = dir();
    let store = open(dir.path(), one().map_bytes(64 << 20));
    let count = 70_000;
    for first in (0..count).step_by(10_000) {
        let entries = (first..first + 10_000).map(|n| entry(&store, "a", n)).collect();
        store.put_all(entries).unwrap();
    }
    let number = store.join("stock", "#", vec![(0, 0)]).unwrap().number;
    for first in (0..count).step_by(10_000) {
        give_up(&store, number, first..first + 10_000);
    }
    let rare = LetterQuery { from: Some(at(69_999)), ..LetterQuery::default() };
    let (mut pages, mut from, mut found) = (0, Some(ALL), 0);
    while let Some(start) = from {
        let page = store.letters(&rare, start, 100).unwrap();
        (pages, found, from) = (pages + 1, found + page.letters.len(), page.next);
    }
    assert_eq!((found, pages), (1, 3), "a letter is two rows; a page looks at 65,536");
}

#[test]
fn what_is_redriven_is_parked_until_it_has_come_to_its_end() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 3);
    let moved =
        operate(&store, request(OperationKind::Redrive, "r", &[key(number, 0), key(number, 1)])).unwrap();
    assert_eq!((moved.operation.letters, moved.letters.len()), (2, 2));
    store.close();

    let store = open(dir.path(), one());
    let found = store.join("stock", "#", vec![(0, 0)]).unwrap();
    let place = &found.places[0];
    assert_eq!(
        (place.redriven.clone(), place.parked.len(), place.parked[0].attempt_count),
        (vec![0, 1], 2, 0)
    );
    assert_eq!(number_of(&store.redriven_event(key(number, 1)).unwrap().unwrap().event), 1);
    let again = operate(&store, request(OperationKind::Redrive, "s", &[key(number, 0)])).unwrap_err();
    assert_eq!(again, RequestError::AlreadyRedriven { letter: key(number, 0) });
    // One is handled, the other is given up again.
    store.decide(number, Settlement { released: vec![0], ..Settlement::default() }).unwrap();
    give_up(&store, number, 1..2);
    assert_eq!(keys(&store, &LetterQuery::default()), [1, 2]);
    let left = store.letter(key(number, 1)).unwrap().unwrap();
    assert_eq!(
        (left.letter.attempt_count, left.letter.attempts.len(), left.state),
        (2, 2, LetterState::Waiting)
    );
    assert!(store.join("stock", "#", vec![(0, 0)]).unwrap().places[0].parked.is_empty());
    assert_eq!(store.dead_letter_count(number), 2);
    let gone = operate(&store, request(OperationKind::Discard, "t", &[key(number, 0)])).unwrap_err();
    assert_eq!(gone, RequestError::NoDeadLetter { letter: key(number, 0) });
}

#[test]
fn a_redriven_letter_does_not_hold_the_log_and_its_bytes_are_the_letters_own() {
    let dir = dir();
    let stream = || Stream::new("all").capture("#").retention(Retention::forever().count(100));
    let store = open(dir.path(), options().stream(stream()));
    let number = with_letters(&store, 1);
    for n in 1..2_000 {
        store.put(entry(&store, "a", n)).unwrap();
        store.decide(number, Settlement { settled: vec![(n, n + 1)], ..Settlement::default() }).unwrap();
        if n == 1_000 {
            operate(&store, request(OperationKind::Redrive, "r", &[key(number, 0)])).unwrap();
        }
    }
    let (first, _) = store.bounds(0).unwrap();
    assert!(first > 1_000, "the log begins at {first}");
    assert_eq!(number_of(&store.redriven_event(key(number, 0)).unwrap().unwrap().event), 0);
    give_up(&store, number, 0..1);
    let letter = store.letter(key(number, 0)).unwrap().unwrap();
    assert_eq!(number_of(&letter.event.unwrap().event), 0, "the copy outlives the log");
}

#[test]
fn what_is_edited_is_given_and_the_original_is_kept_as_handled() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 1);
    // Larger than a page: in chunks.
    let metadata = Metadata::draft("test", 1).build().unwrap();
    let payload = Raw::from(format!("{:020000}", 42).into_bytes());
    let edited = Event::new("orders.created", payload).finish(&Stamp::new(id(0), at(0), &metadata)).unwrap();
    let edited = Some(Box::new(store.entry(edited.into(), false, at(0)).unwrap()));
    let request = LetterRequest { edited, ..request(OperationKind::Edit, "e", &[key(number, 0)]) };
    operate(&store, request).unwrap();
    assert_eq!(number_of(&store.redriven_event(key(number, 0)).unwrap().unwrap().event), 42);
    store.decide(number, Settlement { released: vec![0], ..Settlement::default() }).unwrap();
    store.close();
    let store = open(dir.path(), one());
    let letter = store.letter(key(number, 0)).unwrap().unwrap();
    assert!(matches!(letter.state, LetterState::Handled { .. }), "{letter:?}");
    assert_eq!((number_of(&letter.event.unwrap().event), number_of(&letter.edited.unwrap())), (0, 42));
    let again = operate(&store, self::request(OperationKind::Redrive, "f", &[key(number, 0)])).unwrap_err();
    assert_eq!(again, RequestError::AlreadyHandled { letter: key(number, 0) });
    operate(&store, self::request(OperationKind::Discard, "g", &[key(number, 0)])).unwrap();
    assert!(store.letter(key(number, 0)).unwrap().is_none());
    assert_eq!(store.dead_letter_count(number), 0);
}

#[test]
fn an_operation_goes_on_where_it_was_and_is_carried_out_once() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 4);
    let part = |offsets: &[u64], expected, end| {
        let letters: Vec<_> = offsets.iter().map(|offset| key(number, *offset)).collect();
        LetterRequest { expected, end, ..request(OperationKind::Discard, "r", &letters) }
    };
    let begun = operate(&store, part(&[0, 1], None, Progressed::To(key(number, 2)))).unwrap().operation;
    assert_eq!((begun.letters, begun.ended, begun.next), (2, None, Some(key(number, 2))));
    store.close();
    let store = open(dir.path(), one());
    let found = store.operation("r").unwrap();
    assert_eq!(found, Some(begun.clone()));
    let stale = operate(&store, part(&[2], None, Progressed::Done)).unwrap_err();
    assert_eq!(stale, RequestError::OperationMoved { request: "r".to_owned() });
    let ended = operate(&store, part(&[2, 3], found, Progressed::Done)).unwrap().operation;
    assert_eq!((ended.letters, ended.number, ended.ended), (4, begun.number, Some(at(100))));
    let over = operate(&store, part(&[], Some(ended.clone()), Progressed::Done)).unwrap_err();
    assert_eq!(over, RequestError::OperationMoved { request: "r".to_owned() });
    operate(&store, request(OperationKind::Discard, "none", &[])).unwrap();
    let trail = store.operations(u64::MAX, 10).unwrap();
    assert_eq!(trail.iter().map(|operation| operation.number).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(store.operations(2, 10).unwrap(), [ended]);
    for name in [String::new(), "x".repeat(129)] {
        let refused = operate(&store, request(OperationKind::Discard, &name, &[])).unwrap_err();
        assert!(matches!(refused, RequestError::OperationName { .. }), "{refused}");
    }
}

#[test]
fn one_letter_that_is_not_fit_stops_a_strict_request_and_is_left_out_of_another() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 2);
    let both = [key(number, 0), key(number, 17)];
    let refused = operate(&store, request(OperationKind::Redrive, "r", &both)).unwrap_err();
    assert_eq!(refused, RequestError::NoDeadLetter { letter: both[1] });
    assert!(store.operation("r").unwrap().is_none(), "nothing was done, and nothing is in the trail");
    let loose = LetterRequest { is_strict: false, ..request(OperationKind::Redrive, "r", &both) };
    assert_eq!(operate(&store, loose).unwrap().letters, [(both[0], 7)]);
}

#[test]
fn places_for_letters_are_exact_and_their_count_outlives_the_process() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 3);
    assert!(!store.reserve_dead_letter(number, 3));
    assert!(store.reserve_dead_letter(number, 5) && store.reserve_dead_letter(number, 5));
    assert!(!store.reserve_dead_letter(number, 5), "two are on their way");
    store.put_all((3..5).map(|n| entry(&store, "a", n)).collect()).unwrap();
    give_up(&store, number, 3..4);
    assert!(!store.reserve_dead_letter(number, 5), "one is stored, the other is still on its way");
    give_up(&store, number, 4..5);
    assert!(!store.reserve_dead_letter(number, 5) && store.reserve_dead_letter(number, 6));
    store.close();
    let store = open(dir.path(), one());
    assert_eq!(store.dead_letter_count(number), 5);
    assert!(!store.reserve_dead_letter(number, 5));
}

#[test]
fn a_seek_gives_redriven_events_again_and_leaves_their_letters() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 2);
    operate(&store, request(OperationKind::Redrive, "r", &[key(number, 1)])).unwrap();
    store.go_to(number, 0).unwrap();
    let place = store.join("stock", "#", vec![(0, 0)]).unwrap().places.remove(0);
    assert_eq!((place.cursor.low(), place.parked.len(), place.redriven.len()), (0, 0, 0));
    assert_eq!(store.letter(key(number, 1)).unwrap().unwrap().state, LetterState::Waiting);
}

#[test]
fn a_removed_subscription_leaves_its_letters_and_its_name() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 1);
    operate(&store, request(OperationKind::Redrive, "r", &[key(number, 0)])).unwrap();
    store.leave("stock").unwrap();
    assert_eq!(store.removed_subscriptions().unwrap(), [(number, "stock".to_owned())]);
    let other = store.join("stock", "#", vec![(0, 0)]).unwrap().number;
    assert_ne!(other, number);
    let letter = store.letter(key(number, 0)).unwrap().unwrap();
    assert_eq!(letter.state, LetterState::Waiting);
    let refused = operate(&store, request(OperationKind::Redrive, "s", &[key(number, 0)])).unwrap_err();
    assert_eq!(refused, RequestError::UnknownSubscription { number });
}

#[test]
fn a_number_is_not_given_to_another_subscription_when_its_letters_are_gone() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 1);
    store.leave("stock").unwrap();
    operate(&store, request(OperationKind::Discard, "d", &[key(number, 0)])).unwrap();
    assert_eq!(store.removed_subscriptions().unwrap(), [(number, "stock".to_owned())]);
    assert_ne!(
        store.join("other", "#", vec![(0, 0)]).unwrap().number,
        number,
        "its name is remembered with it"
    );
}

#[test]
fn what_its_subscription_was_sent_back_before_comes_by_itself_and_is_not_redriven() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 2);
    store.go_to(number, 1).unwrap();
    let refused = operate(&store, request(OperationKind::Redrive, "r", &[key(number, 1)])).unwrap_err();
    assert_eq!(refused, RequestError::AlreadyRedriven { letter: key(number, 1) });
    operate(&store, request(OperationKind::Redrive, "s", &[key(number, 0)])).unwrap();
}

#[test]
fn a_page_of_large_letters_ends_by_its_bytes() {
    let dir = dir();
    let store = open(dir.path(), one().map_bytes(64 << 20));
    for n in 0..40 {
        let large = store.entry(event("a", n, 60_000), false, at(0)).unwrap();
        store.put(large).unwrap();
    }
    let number = store.join("stock", "#", vec![(0, 0)]).unwrap().number;
    give_up(&store, number, 0..40);
    let (mut from, mut found) = (Some(ALL), Vec::new());
    while let Some(start) = from {
        let page = store.letters(&LetterQuery::default(), start, 100).unwrap();
        assert!((1..=17).contains(&page.letters.len()), "{}", page.letters.len());
        found.extend(page.letters.iter().map(|letter| letter.key.offset));
        from = page.next;
    }
    assert_eq!(found, (0..40).collect::<Vec<_>>());
}

#[test]
fn letters_for_which_there_is_no_room_are_left_and_the_operation_goes_on_there() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 3);
    let letters = [0, 1, 2].map(|offset| key(number, offset));
    let bounded = |name: &str, is_strict, parked_max| LetterRequest {
        is_strict,
        parked_max: vec![(number, parked_max)],
        ..request(OperationKind::Redrive, name, &letters)
    };
    let refused = operate(&store, bounded("r", true, 2)).unwrap_err();
    assert_eq!(refused, RequestError::TooManyParked { letter: letters[2] });
    let part = operate(&store, bounded("r", false, 2)).unwrap();
    assert_eq!((part.letters.len(), part.no_room), (2, Some(letters[2])));
    assert_eq!((part.operation.next, part.operation.ended), (Some(letters[2]), None));
    let again = LetterRequest { expected: Some(part.operation), ..bounded("r", false, 2) };
    let part = operate(&store, again).unwrap();
    assert_eq!((part.letters.len(), part.no_room), (0, Some(letters[2])), "two are on their way");
    store.decide(number, Settlement { released: vec![0], ..Settlement::default() }).unwrap();
    let again = LetterRequest { expected: Some(part.operation), ..bounded("r", false, 2) };
    let part = operate(&store, again).unwrap();
    assert_eq!((part.letters.len(), part.operation.letters, part.no_room), (1, 3, None));
}

#[test]
fn places_that_a_life_of_a_subscription_has_not_used_are_free_in_the_next() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 1);
    assert!(store.reserve_dead_letter(number, 2) && !store.reserve_dead_letter(number, 2));
    // What it decided is never stored: it has failed. It begins again.
    store.join("stock", "#", vec![(0, 0)]).unwrap();
    assert!(store.reserve_dead_letter(number, 2));
}

#[test]
fn the_trail_keeps_so_many_operations_and_no_more() {
    let dir = dir();
    let store = open(dir.path(), one().map_bytes(64 << 20));
    let (answer, answered) = mpsc::channel();
    for n in 0..10_100_u64 {
        let answer = answer.clone();
        let mut request = request(OperationKind::Discard, &n.to_string(), &[]);
        if n == 7 {
            // Not at its end, however many come behind it.
            request.end = Progressed::To(ALL);
        }
        store.operate(request, Box::new(move |result| answer.send(result.is_ok()).unwrap()));
    }
    drop(answer);
    assert_eq!(answered.iter().filter(|is_ok| *is_ok).count(), 10_100);
    let (mut before, mut count) = (u64::MAX, 0);
    loop {
        let page = store.operations(before, 1_000).unwrap();
        let Some(last) = page.last() else { break };
        (before, count) = (last.number, count + page.len());
    }
    assert_eq!((before, count), (8, 10_001));
    let under_way = store.operation("7").unwrap();
    assert!(under_way.as_ref().is_some_and(|operation| operation.ended.is_none()), "{under_way:?}");
    assert!(store.operation("99").unwrap().is_none() && store.operation("100").unwrap().is_some());
    let last = LetterRequest { expected: under_way, ..request(OperationKind::Discard, "7", &[]) };
    assert!(operate(&store, last).unwrap().operation.ended.is_some());
    operate(&store, request(OperationKind::Discard, "next", &[])).unwrap();
    assert!(store.operation("7").unwrap().is_none(), "it has come to its end, and is as old as those");
}
