//! Reading: from memory and from disk the same.

use busway_event::{EventId, Filter};
use busway_persistence::{Position, ReadError, ReadLimits, Store, StoreOptions, Stream};

use crate::world::{Waiting, at, dir, entry, event, event_with_id, id, number_of, one, open, options};

fn filled(store: &Store, topics: &[&str], count: u64) {
    let batch = (0..count).map(|number| {
        let topic = topics[usize::try_from(number).unwrap() % topics.len()];
        store.entry(event(topic, number, 8), false, at(0)).unwrap()
    });
    store.put_all(batch.collect()).unwrap();
}

#[test]
fn memory_and_disk_give_the_same_events() {
    let dir = dir();
    let store = open(dir.path(), one().tail(10, 1 << 20));
    filled(&store, &["a.b", "c"], 100);
    let from_disk = store.page(0, 20, None).unwrap();
    assert_eq!(from_disk.events.len(), 80);
    let from_memory = store.page(0, 95, None).unwrap();
    assert_eq!(from_memory.events.len(), 5);
    for stored in from_memory.events {
        let other = from_disk.events.iter().find(|other| other.offset == stored.offset).unwrap();
        assert_eq!((stored.event.header(), stored.appended), (other.event.header(), other.appended));
        assert_eq!(number_of(&stored.event), number_of(&other.event));
    }
}

#[test]
fn a_filter_leaves_events_out_and_the_read_goes_on_behind_them() {
    let dir = dir();
    let store = open(dir.path(), one().tail(10, 1 << 20));
    filled(&store, &["a.b", "c", "a.d"], 300);
    let filter = Filter::new("a.#").unwrap();
    let limits = ReadLimits { events: 7, bytes: 1 << 20 };
    let (mut from, mut numbers) = (0, Vec::new());
    while from < 300 {
        let page = store.read(0, from, Some(&filter), limits).unwrap();
        assert!(page.events.len() <= 10);
        assert!(page.next > from);
        numbers.extend(page.events.iter().map(|stored| number_of(&stored.event)));
        from = page.next;
    }
    assert!(numbers.into_iter().eq((0..300).filter(|number| number % 3 != 1)));
    assert_eq!(store.page(0, 300, None).unwrap().next, 300, "nothing is there yet");
}

#[test]
fn single_events_are_read_wherever_they_lie_in_the_order_in_which_they_are_asked_for() {
    let dir = dir();
    let streams = [Stream::new("one").capture("a.#"), Stream::new("other").capture("c")];
    let options = streams.into_iter().fold(options().tail(10, 1 << 20), StoreOptions::stream);
    let store = open(dir.path(), options);
    filled(&store, &["a.b", "c"], 100);
    let places = [(0, 3), (1, 49), (0, 50), (0, 49), (1, 0), (0, 0), (2, 0), (0, 3)];
    let places = places.map(|(partition, offset)| Position { partition, offset });
    let found = store.read_each(&places);
    let numbers: Vec<Option<(u64, u64)>> = found
        .iter()
        .map(|found| {
            let found = found.as_ref().ok()?.as_ref()?;
            Some((found.offset, number_of(&found.event)))
        })
        .collect();
    let wanted =
        [Some((3, 6)), Some((49, 99)), None, Some((49, 98)), Some((0, 1)), Some((0, 0)), None, Some((3, 6))];
    assert_eq!(numbers, wanted);
    assert!(matches!(found[2], Ok(None)), "it is not there yet");
    assert!(matches!(found[6], Err(ReadError::UnknownPartition { partition: 2 })));
}

#[test]
fn a_read_is_bounded_in_bytes_and_gives_at_least_one_event() {
    let dir = dir();
    let store = open(dir.path(), one().tail(1, 1 << 20));
    let batch = (0..20).map(|number| store.entry(event("a", number, 10_000), false, at(0)).unwrap());
    store.put_all(batch.collect()).unwrap();
    let page = store.read(0, 0, None, ReadLimits { events: 100, bytes: 35_000 }).unwrap();
    assert_eq!(page.events.len(), 4);
    let page = store.read(0, 4, None, ReadLimits { events: 100, bytes: 1 }).unwrap();
    assert_eq!((page.events.len(), page.next), (1, 5));
    assert_eq!(number_of(&page.events[0].event), 4, "a payload in chunks comes back whole");
}

#[test]
fn what_is_not_there_is_an_error_that_says_so() {
    let dir = dir();
    let store = open(dir.path(), options().stream(Stream::new("s").capture("a")));
    assert!(matches!(store.page(1, 0, None), Err(ReadError::UnknownPartition { partition: 1 })));
    let unknown = store.entry(event("b", 1, 8), false, at(0)).unwrap_err();
    assert_eq!(unknown.to_string(), "the store has no stream \"b\"; declare it when the store is opened");
    store.put(entry(&store, "a", 0)).unwrap();
    assert_eq!(store.bounds(0), Some((0, 1)));
    assert_eq!(store.bounds(1), None);
}

#[test]
fn an_event_is_found_by_its_id_and_by_when_it_was_taken() {
    let dir = dir();
    let store = open(dir.path(), one());
    let made = |number: u64| {
        let millis = 1_700_000_000_000 + number * 1_000;
        let time = uuid::Timestamp::from_unix_time(millis / 1_000, 0, 0, 0);
        EventId::new(uuid::Uuid::new_v7(time))
    };
    let ids: Vec<_> = (0..200).map(made).collect();
    for (id, number) in ids.iter().zip(0..) {
        let event = event_with_id("a", number, *id);
        store.put(store.entry(event, false, at(number.cast_signed())).unwrap()).unwrap();
    }
    let given = store.put(store.entry(event("a", 7, 8), true, at(500)).unwrap()).unwrap();
    assert_eq!(store.lookup(ids[42]).unwrap().map(|position| position.offset), Some(42));
    assert_eq!(store.lookup(id(7)).unwrap(), Some(given));
    assert_eq!(store.lookup(made(300)).unwrap(), None);
    assert_eq!(store.lookup(id(8)).unwrap(), None);
    assert_eq!(store.offset_at(0, at(42)).unwrap(), 42);
    assert_eq!(store.offset_at(0, at(-5)).unwrap(), 0);
    assert_eq!(store.offset_at(0, at(201)).unwrap(), 200);
    assert_eq!(store.offset_at(0, at(501)).unwrap(), 201);
    assert_eq!(store.verify().unwrap().events, 201);
}

/// An id that was made at this time.
fn made(second: i64) -> EventId {
    let second = u64::try_from(1_700_000_000 + second).unwrap();
    EventId::new(uuid::Uuid::new_v7(uuid::Timestamp::from_unix_time(second, 0, 0, 0)))
}

/// Each time by less than begins a segment, and more than that together.
#[test]
fn an_event_is_found_by_its_id_though_the_clock_was_set_back_before_a_restart_and_behind_it() {
    let dir = dir();
    let mut ids = Vec::new();
    for seconds in [&[500, 1_000, 900][..], &[800], &[700], &[600; 20]] {
        let store = open(dir.path(), one());
        for second in seconds {
            ids.push(made(*second));
            let event = event_with_id("a", 1, ids[ids.len() - 1]);
            store.put(store.entry(event, false, at(*second)).unwrap()).unwrap();
        }
        for (id, offset) in ids.iter().zip(0..) {
            assert_eq!(store.lookup(*id).unwrap().map(|place| place.offset), Some(offset), "{seconds:?}");
        }
        store.close();
    }
}

/// Clocks that were ahead for a while: by little, by more than a lookup allows for, and in a block that is longer than what is looked at at once.
#[test]
fn an_event_is_found_by_its_id_wherever_the_clock_was() {
    let dir = dir();
    let store = open(dir.path(), one());
    // The id says when it was made, and so does the event; with what `ahead` says both do so by a clock that was ahead.
    let mut ids = Vec::new();
    let mut put = |count: u64, second: i64, by_id: i64| {
        let mut batch = Vec::new();
        for _ in 0..count {
            let id = made(by_id);
            let event = event_with_id("a", 1, id);
            batch.push(store.entry(event, false, at(second)).unwrap());
            ids.push(id);
        }
        store.put_all(batch).unwrap();
    };
    let (some, many) = (10, 20_000);
    put(some, 0, 0);
    for ahead in [100, 86_400] {
        put(many, ahead, ahead);
        put(some, 1, 1);
        // Threads that published meanwhile go on behind what they had.
        put(some, 2, ahead);
    }
    put(some, 200, 200);
    let find = |store: &Store, offset: usize| {
        let found = store.lookup(ids[offset]).unwrap().map(|place| place.offset);
        assert_eq!(found, u64::try_from(offset).ok());
    };
    for offset in [5, 15, 10_000, 20_009, 20_015, 20_025, 20_035, 30_000, 40_035, 40_045, 40_055] {
        find(&store, offset);
    }
    assert_eq!(store.lookup(made(1)).unwrap(), None);
    assert_eq!(store.lookup(made(86_400)).unwrap(), None);
    store.close();
    let store = open(dir.path(), one());
    for offset in [15, 30_000, 40_045] {
        find(&store, offset);
    }
}
