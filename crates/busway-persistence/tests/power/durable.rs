//! The store itself: appends in batches, settles, grows its map, empties segments, is opened anew.

use std::path::Path;
use std::sync::mpsc;

use busway_event::{AnyEvent, Event, EventId, Filter, Metadata, Raw, Stamp, Timestamp};
use busway_persistence::{ReadError, ReadLimits, Retention, Settlement, Store, StoreOptions, Stream};

use crate::random::Random;
use crate::scenario::{Acker, Scenario, Verdict};

/// From an empty directory on: also its making is played, and a judge takes no excuse.
pub(crate) const DURABLE: Scenario =
    Scenario { name: "durable", work, verify, mapped: &["lock.mdb", "busway.lock"] };

/// Small batches, so that commits, each with its two syncs, are what most of the log is.
fn work(directory: &Path, acker: &Acker) {
    let mut number = 1;
    for until in [EVENTS / 3, EVENTS] {
        let store = open(directory).unwrap();
        let subscription = join(&store);
        while number <= until {
            let batch: Vec<_> = (number..).take(batch_at(number)).collect();
            let entries = batch.iter().map(|&number| {
                let given = number.is_multiple_of(7);
                store.entry(event(number), given, at(number)).unwrap()
            });
            let (answer, answered) = mpsc::channel();
            let answer = Box::new(move |result| _ = answer.send(result));
            store.append_batch(entries.collect(), answer).map_err(|_| "busy").unwrap();
            answered.recv().unwrap().unwrap();
            batch.iter().for_each(|&number| acker.ack(number));
            number += batch.len() as u64;
            settle(&store, subscription, (number - 1).saturating_sub(BEHIND));
        }
        store.close();
    }
}

fn settle(store: &Store, subscription: u32, to: u64) {
    let settlement = Settlement { settled: vec![(0, to)], ..Settlement::default() };
    store.settle(subscription, 0, settlement, None).map_err(|_| "busy").unwrap();
}

fn verify(directory: &Path, acked: u64) -> Verdict {
    let store = match open(directory) {
        Ok(store) => store,
        Err(error) => return Verdict::Unreadable(error),
    };
    let verdict = check(&store, acked).unwrap_or_else(Verdict::Unreadable);
    if verdict != Verdict::Fine {
        return verdict;
    }
    // It goes on: free pages and segments are right too.
    let (_, next) = store.bounds(0).unwrap();
    for number in next + 1..next + 4 {
        let (answer, answered) = mpsc::channel();
        let entry = store.entry(event(number), false, at(number)).unwrap();
        store.append(entry, Box::new(move |result| _ = answer.send(result))).map_err(|_| "busy").unwrap();
        match answered.recv().unwrap() {
            Ok(stored) if stored.positions().next().unwrap().offset == number - 1 => {}
            other => return Verdict::Unreadable(format!("the next append gave {other:?}")),
        }
    }
    store.close();
    Verdict::Fine
}

fn check(store: &Store, acked: u64) -> Result<Verdict, String> {
    let (first, next) = store.bounds(0).ok_or("there is no partition")?;
    if next < acked {
        return Ok(Verdict::Lost(acked - next));
    }
    let mut from = first;
    while from < next {
        let page = store.read(0, from, None, ReadLimits::default());
        let page = page.map_err(|error: ReadError| error.to_string())?;
        for stored in &page.events {
            let expected = event(stored.offset + 1);
            let payload = |event: &AnyEvent| event.typed::<Raw>().unwrap().payload().0.clone();
            if stored.offset != from
                || stored.event.id() != expected.id()
                || payload(&stored.event) != payload(&expected)
            {
                return Err(format!("offset {from} holds another event: {:?}", stored.event));
            }
            from += 1;
        }
        if page.next != from {
            return Err(format!("the read ends at {} instead of {from}", page.next));
        }
    }
    let subscription = join_at(store);
    let cursor = subscription.places[0].cursor.clone();
    if cursor.low() > next || (subscription.known && cursor.low() < first) || cursor.run_count() > 0 {
        return Err(format!("a cursor stands at {}, the log is {first} to {next}", cursor.low()));
    }
    Ok(Verdict::Fine)
}

fn open(directory: &Path) -> Result<Store, String> {
    let stream = Stream::new("all").capture("#").retention(Retention::forever().count(WINDOW));
    let options = StoreOptions::new().stream(stream).map_bytes(256 << 10).reserve_bytes(0).tail(1, 1);
    Store::open(directory, options).map_err(|error| error.to_string())
}

fn join(store: &Store) -> u32 {
    join_at(store).number
}

fn join_at(store: &Store) -> busway_persistence::Registered {
    let (answer, answered) = mpsc::channel();
    let filter = Filter::new("#").unwrap();
    store.register("reader", &filter, vec![(0, 0)], Box::new(move |result| _ = answer.send(result)));
    answered.recv().unwrap().unwrap()
}

fn batch_at(number: u64) -> usize {
    1 + Random::new(number).below(4)
}

fn at(number: u64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + number.cast_signed())
}

/// Short ones, and every eleventh in chunks.
fn event(number: u64) -> AnyEvent {
    let mut random = Random::new(number);
    let words = if number.is_multiple_of(11) { 1_200 } else { 1 + random.below(60) };
    let payload: Vec<u8> = (0..words).flat_map(|_| random.next().to_le_bytes()).collect();
    let metadata = Metadata::draft("power", 1).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("power", &number.to_string()), at(number), &metadata);
    let draft = Event::new(format!("topic.t{}", number % 17), Raw::from(payload));
    draft.finish(&stamp).unwrap().into()
}

/// So many are acknowledged.
pub(crate) const EVENTS: u64 = 360;

/// So many of the newest events are kept, and more only while somebody needs them.
const WINDOW: u64 = 90;

/// How far the subscription stands behind the end.
const BEHIND: u64 = 20;
