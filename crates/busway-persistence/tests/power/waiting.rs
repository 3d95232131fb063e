//! The store's schedule and an audit stream: events wait, are taken back, fire into the log, and every commit may be the last.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc;

use busway_event::{AnyEvent, Event, EventId, Metadata, Raw, Stamp, Timestamp};
use busway_persistence::{Audit, ReadLimits, Store, StoreOptions, Stream};

use crate::random::Random;
use crate::scenario::{Acker, Scenario, Verdict};

pub(crate) const WAITING: Scenario =
    Scenario { name: "waiting", work, verify, mapped: &["lock.mdb", "busway.lock"] };

/// Two of three wait, a while each; some of those are taken back; what is due goes into the log.
fn work(directory: &Path, acker: &Acker) {
    let mut number = 1;
    for until in [EVENTS / 2, EVENTS] {
        let store = open(directory).unwrap();
        while number <= until {
            let batch: Vec<_> = (number..).take(1 + Random::new(number).below(3)).collect();
            let (answer, answered) = mpsc::channel();
            let answer = Box::new(move |result| _ = answer.send(result));
            let entries = batch.iter().map(|&number| {
                let entry = store.entry(event(number), true, at(number)).unwrap();
                if number.is_multiple_of(3) { entry } else { entry.wait_until(due(number), None) }
            });
            store.append_batch(entries.collect(), answer).map_err(|_| "busy").unwrap();
            answered.recv().unwrap().unwrap();
            batch.iter().for_each(|&number| acker.ack(number));
            number += batch.len() as u64;
            if let Some(&back) = batch.iter().find(|number| is_taken_back(**number)) {
                let (answer, answered) = mpsc::channel();
                store.unschedule(id(back), Box::new(move |result| _ = answer.send(result)));
                answered.recv().unwrap().unwrap();
            }
            let (answer, answered) = mpsc::channel();
            store.fire(at(number), at(number), 4, None, Box::new(move |result| _ = answer.send(result)));
            answered.recv().unwrap().unwrap();
        }
        store.close();
    }
}

fn verify(directory: &Path, acked: u64) -> Verdict {
    let store = match open(directory) {
        Ok(store) => store,
        Err(error) => return Verdict::Unreadable(error),
    };
    let verdict = check(&store, acked).unwrap_or_else(Verdict::Unreadable);
    store.close();
    verdict
}

fn check(store: &Store, acked: u64) -> Result<Verdict, String> {
    let mut published = BTreeSet::new();
    for stream in ["ledger", "orders"] {
        for partition in store.partitions(stream).ok_or("there is no stream")? {
            let (mut from, next) = store.bounds(partition).ok_or("there is no partition")?;
            while from < next {
                let page = store.read(partition, from, None, ReadLimits::default());
                let page = page.map_err(|error| error.to_string())?;
                for stored in &page.events {
                    if !published.insert(stored.event.id()) {
                        return Err(format!("{} is there twice", stored.event.id()));
                    }
                }
                from = page.next;
            }
        }
    }
    let page = store.scheduled(usize::MAX).map_err(|error| error.to_string())?;
    let waiting: BTreeSet<EventId> = page.events.iter().map(|event| event.id).collect();
    if let Some(both) = waiting.intersection(&published).next() {
        return Err(format!("{both} waits, and is there"));
    }
    let verified = store.verify().map_err(|error| error.to_string())?;
    if !verified.is_sound() || !page.damaged.is_empty() || !verified.audits.iter().all(|audit| audit.checked)
    {
        return Err(format!("{verified:?}, {:?}", page.damaged));
    }
    let is_there = |number: &u64| published.contains(&id(*number)) || waiting.contains(&id(*number));
    let lost = (1..=acked).filter(|number| !is_there(number) && !is_taken_back(*number)).count() as u64;
    Ok(if lost == 0 { Verdict::Fine } else { Verdict::Lost(lost) })
}

fn open(directory: &Path) -> Result<Store, String> {
    let audit = Audit::forever().heads(7, std::time::Duration::from_secs(60));
    let options = StoreOptions::new()
        .stream(Stream::new("orders").capture("orders.#").partitions(2))
        .stream(Stream::new("ledger").capture("ledger.#").audit(audit));
    let options = options.map_bytes(256 << 10).reserve_bytes(0).tail(1, 1);
    Store::open(directory, options).map_err(|error| error.to_string())
}

fn event(number: u64) -> AnyEvent {
    let metadata = Metadata::draft("power", 1).build().unwrap();
    let stamp = Stamp::new(id(number), at(number), &metadata);
    let topic = if number.is_multiple_of(2) { "orders.expired" } else { "ledger.booked" };
    let bytes = 1 + Random::new(number).below(400);
    Event::new(topic, Raw::from(vec![7; bytes])).finish(&stamp).unwrap().into()
}

fn id(number: u64) -> EventId {
    EventId::foreign("power", &number.to_string())
}

/// By the time of the event: a second each.
fn at(number: u64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + number.cast_signed() * 1_000_000_000)
}

/// After up to forty others.
fn due(number: u64) -> Timestamp {
    at(number + 1 + Random::new(number).below(40) as u64)
}

/// Of those that wait.
const fn is_taken_back(number: u64) -> bool {
    !number.is_multiple_of(3) && number.is_multiple_of(7)
}

const EVENTS: u64 = 240;
