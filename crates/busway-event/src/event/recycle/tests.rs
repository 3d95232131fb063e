//! Envelopes that come back, and what must not come back with them.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::*;
use crate::id::EventId;
use crate::metadata::Metadata;
use crate::priority::Priority;
use crate::timestamp::Timestamp;

static ALIVE: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug, Serialize, Deserialize)]
struct Counted(u8);

impl Counted {
    fn new(value: u8) -> Self {
        ALIVE.fetch_add(1, Ordering::SeqCst);
        Self(value)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

impl EventType for Counted {
    const NAME: &'static str = "counted";
}

#[derive(Debug, Serialize, Deserialize)]
struct Plain(u8);

impl EventType for Plain {
    const NAME: &'static str = "plain";
}

fn address(event: &AnyEvent) -> *const u8 {
    Arc::as_ptr(&event.inner).cast()
}

struct Desk {
    metadata: Metadata,
    topic: Topic,
}

impl Desk {
    fn new() -> Self {
        let metadata = Metadata::draft("test", 1).build().unwrap();
        Self { metadata, topic: Topic::new("a.b").unwrap() }
    }

    fn stamp(&self, nanos: i64) -> Stamp<'_> {
        Stamp::new(EventId::foreign("test", &nanos.to_string()), Timestamp::from_nanos(nanos), &self.metadata)
    }

    fn event<T: EventType>(&self, envelopes: &mut Envelopes<T>, payload: T, nanos: i64) -> AnyEvent {
        let made = envelopes.any_event(&Cell::new(None), &self.topic, payload, &self.stamp(nanos));
        made.map_err(|refused| refused.1).unwrap()
    }
}

#[test]
fn memory_comes_back_and_the_payload_goes_when_the_event_is_let_go() {
    let (desk, mut envelopes, mut spent) = (Desk::new(), Envelopes::new(), Spent::new());
    let first = desk.event(&mut envelopes, Counted::new(1), 1);
    let place = address(&first);
    first.encoded(64).unwrap();
    spent.put(first);
    assert_eq!(ALIVE.load(Ordering::SeqCst), 0, "dropped at once, not when the memory is used again");
    spent.flush();
    let second = desk.event(&mut envelopes, Counted::new(2), 2);
    assert_eq!(address(&second), place);
    assert_eq!((second.time().as_nanos(), second.id()), (2, desk.stamp(2).id));
    assert_eq!(second.encoded(64).unwrap().bytes, &b"2"[..], "nothing is left of the first");
    assert_eq!(second.typed::<Counted>().unwrap().payload().0, 2);
}

#[test]
fn nothing_of_an_earlier_event_is_left_in_the_next() {
    let (desk, mut envelopes, mut spent) = (Desk::new(), Envelopes::new(), Spent::new());
    let rich = Event::new("x.y.z", Plain(1)).key("k").priority(Priority::P0).meta("tenant", "acme");
    let rich = rich.ttl(std::time::Duration::from_secs(1));
    let rich: AnyEvent =
        rich.finish_in(&desk.stamp(1), &mut envelopes).map_err(|(_, reason)| reason).unwrap().into();
    let place = address(&rich);
    spent.put(rich);
    spent.flush();
    let plain = desk.event(&mut envelopes, Plain(2), 2);
    let fresh = Event::new("a.b", Plain(2)).finish(&desk.stamp(2)).unwrap();
    assert_eq!(address(&plain), place);
    assert_eq!(plain.header(), fresh.header());
}

#[test]
fn an_event_that_is_held_elsewhere_is_not_touched() {
    let (desk, mut envelopes, mut spent) = (Desk::new(), Envelopes::new(), Spent::new());
    let event = desk.event(&mut envelopes, Plain(1), 1);
    let kept = event.clone();
    spent.put(event);
    spent.flush();
    let next = desk.event(&mut envelopes, Plain(2), 2);
    assert_ne!(address(&next), address(&kept));
    assert_eq!(kept.typed::<Plain>().unwrap().payload().0, 1);
}

#[test]
fn a_publisher_keeps_a_bounded_number_and_a_gone_one_none() {
    let (desk, mut envelopes, mut spent) = (Desk::new(), Envelopes::new(), Spent::new());
    let events: Vec<_> = (0..2 * KEPT_MAX).map(|_| desk.event(&mut envelopes, Plain(1), 1)).collect();
    let late = desk.event(&mut envelopes, Plain(1), 1);
    events.into_iter().for_each(|event| spent.put(event));
    spent.flush();
    assert!(matches!(&*envelopes.home.shelf.lock(), Shelf::Open(kept) if kept.len() == KEPT_MAX));
    let home = Arc::downgrade(&envelopes.home);
    drop(envelopes);
    spent.put(late);
    drop(spent);
    assert!(home.upgrade().is_none(), "no envelope holds its home, and the home none of them");
}

#[test]
fn each_publisher_gets_its_own_back_and_too_many_are_given_back_early() {
    let (desk, mut spent) = (Desk::new(), Spent::new());
    let mut publishers: Vec<_> = (0..2 * HOMES_MAX).map(|_| Envelopes::new()).collect();
    let places: Vec<_> = publishers
        .iter_mut()
        .map(|envelopes| {
            let event = desk.event(envelopes, Plain(1), 1);
            let place = address(&event);
            spent.put(event);
            assert!(spent.batches.len() <= HOMES_MAX);
            place
        })
        .collect();
    spent.flush();
    for (envelopes, place) in publishers.iter_mut().zip(places) {
        assert_eq!(address(&desk.event(envelopes, Plain(2), 2)), place);
    }
}

fn empty(event: Event<Plain>) -> Empty {
    event.into_empty().unwrap()
}

#[test]
fn an_envelope_of_the_same_form_says_what_is_new() {
    let desk = Desk::new();
    let form = Form::new(&desk.topic, &desk.metadata, 64);
    let moment = |nanos: i64| {
        let Stamp { id, time, .. } = desk.stamp(nanos);
        Moment { id, time }
    };
    let mut envelopes = Envelopes::new();
    let first = envelopes.event(&desk.topic, Plain(0), &desk.stamp(0)).map_err(|_| ()).unwrap();
    let mut event = empty(first).fill(&form, Plain(1), &moment(1)).unwrap();
    for (nanos, key) in [(2, None), (3, Some("k")), (4, None), (5, Some("l")), (6, Some("m")), (7, None)] {
        let payload = Plain(u8::try_from(nanos).unwrap());
        event = match key {
            None => empty(event).fill(&form, payload, &moment(nanos)).unwrap(),
            Some(key) => {
                let key = Key::new(key).unwrap();
                empty(event).fill_keyed(&form, key, payload, &moment(nanos)).unwrap()
            }
        };
        assert_eq!((i64::from(event.payload().0), event.time().as_nanos()), (nanos, nanos));
        assert_eq!((event.id(), event.key().map(Key::as_str)), (moment(nanos).id, key));
        assert_eq!((event.topic(), event.metadata().producer()), (&desk.topic, "test"));
    }
}

#[test]
fn whoever_writes_something_else_into_an_envelope_takes_its_form_away() {
    let desk = Desk::new();
    let (form, other) = (Form::new(&desk.topic, &desk.metadata, 64), Topic::new("x.y").unwrap());
    let Stamp { id, time, .. } = desk.stamp(1);
    let moment = Moment { id, time };
    let mut envelopes = Envelopes::<Plain>::new();
    let first = envelopes.event(&desk.topic, Plain(0), &desk.stamp(0)).map_err(|_| ()).unwrap();
    let event = empty(first).fill(&form, Plain(1), &moment).unwrap();
    // By the way of a payload without a draft.
    let last = Cell::new(Some(empty(event)));
    let event = envelopes.any_event(&last, &other, Plain(2), &desk.stamp(2)).map_err(|_| ()).unwrap();
    assert_eq!(*event.topic(), other);
    let event = Empty::of(event).unwrap().fill(&form, Plain(3), &moment).unwrap();
    assert_eq!((event.topic(), event.payload().0), (&desk.topic, 3));
    // By the way of a draft.
    envelopes.free.extend(typed(empty(event).0));
    let draft = Event::new(&other, Plain(4)).priority(Priority::P0).ttl(std::time::Duration::from_secs(1));
    let event = draft.finish_in(&desk.stamp(4), &mut envelopes).map_err(|(_, reason)| reason).unwrap();
    assert!(envelopes.free.is_empty(), "its envelope is that of the events before");
    let event = empty(event).fill(&form, Plain(5), &moment).unwrap();
    assert_eq!((event.topic(), event.priority(), event.ttl()), (&desk.topic, Priority::default(), None));
    // And by another form.
    let event = empty(event).fill(&Form::new(&other, &desk.metadata, 64), Plain(6), &moment).unwrap();
    let event = empty(event).fill(&form, Plain(7), &moment).unwrap();
    assert_eq!((event.topic(), event.payload().0), (&desk.topic, 7));
    // Also where the form finds an envelope at its publisher's, or none.
    for (n, keyed) in [(8, Some("k")), (9, None)] {
        let key = keyed.map(|key| Key::new(key).unwrap());
        let event = envelopes.of_form(&form, key, Plain(n), &moment).into_typed::<Plain>().unwrap();
        assert_eq!((event.payload().0, event.id(), event.time()), (n, moment.id, moment.time));
        assert_eq!((event.topic(), event.key().map(Key::as_str)), (&desk.topic, keyed));
        envelopes.free.extend(typed(empty(event).0));
    }
    assert_eq!(envelopes.free.len(), 1, "the second one was made in the envelope of the first");
}
