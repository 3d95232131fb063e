//! `kill -9` between attempt, effect, dead letter and cursor, and in the middle of a redrive: nothing is lost, and what was settled is not done again.
//!
//! A child says what it attempts and does, a line each, before the store can know. Its parent kills it behind a line that chance chose and looks into
//! the store: an event that is settled and is no dead letter was done.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use busway_engine::{Bus, Redrive, Selection, StartAt, Stream};
use busway_event::{Event, Filter, Raw};
use busway_middleware::{Delivery, Outcome, Permanent};
use busway_persistence::{LetterKey, LetterQuery, Store, StoreOptions};
use busway_reliability::Retry;

use crate::child::number_of;
use crate::{Chance, follow_lines, number_in, say};

#[test]
#[ignore = "the entry of the children, which are told where the store is"]
fn letters_child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let number = |variable| env::var(variable).ok().map(|text| text.parse::<u64>().unwrap());
    let plan = Plan {
        first: number(FIRST).unwrap_or(0),
        publishes: number(PUBLISHES).unwrap_or(0),
        fails: number(FAILS).is_some(),
        redrives: number(REDRIVES),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(live(Path::new(&dir), plan));
}

/// What a child is to do.
#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    first: u64,
    publishes: u64,
    /// Every third event fails for good, every third one twice.
    fails: bool,
    /// It redrives everything under one request, so many a second.
    redrives: Option<u64>,
}

async fn live(dir: &Path, plan: Plan) {
    let bus = Bus::open(dir).stream(stream()).store_reserve_bytes(0).start().await.unwrap();
    let handler = move |event: Event<Raw>, delivery: Delivery| {
        let (number, attempt) = (number_of(&event.payload().0), delivery.attempt());
        say(&format!("ATTEMPT {number}."));
        let outcome = match number % 3 {
            0 if plan.fails => Outcome::failed(Permanent("no such order")),
            1 if plan.fails && attempt < 3 => Outcome::failed("no connection"),
            _ => {
                say(&format!("DONE {number}."));
                Outcome::Done
            }
        };
        std::future::ready(outcome)
    };
    let reader = bus.subscribe("orders.#").durable("reader").start_at(StartAt::Earliest).concurrency(4);
    reader.retry(Retry::constant(Duration::from_millis(2))).to(handler).await.unwrap();
    for number in plan.first..plan.first + plan.publishes {
        let draft = Event::new("orders.created", Raw::from(number.to_be_bytes().to_vec()));
        let receipt = bus.publish(draft.key(format!("key-{}", number % 7))).await.unwrap();
        say(&format!("ACK {number} {}.", receipt.position.unwrap().offset));
    }
    if let Some(per_second) = plan.redrives {
        let how = Redrive::default().per_second(u32::try_from(per_second).unwrap()).never_stop();
        let operation = bus.dead_letters().request("all").redrive(Selection::all(), how).await.unwrap();
        say(&format!("MOVED {}.", operation.letters));
    }
    // What is parked comes back by itself when it is due.
    while bus.stats().durable("reader").unwrap().parked > 0 {
        bus.idle().await;
        tokio::task::yield_now().await;
    }
    bus.idle().await;
    say("IDLE.");
    let report = bus.shutdown(Duration::from_secs(10)).await;
    assert!(report.is_drained(), "{report}");
}

/// What was said, over all lives.
#[derive(Debug, Default)]
struct Heard {
    /// Offsets of acknowledged events, by number.
    acknowledged: BTreeMap<u64, u64>,
    done: BTreeMap<u64, u64>,
    /// Events that are settled and no letters, as the store said before this life.
    over: BTreeSet<u64>,
    moved: Option<u64>,
    wrong: Vec<String>,
}

impl Heard {
    fn hear(&mut self, line: &str) {
        let numbers = |rest: &str| -> Option<Vec<u64>> {
            rest.strip_suffix('.')?.split(' ').map(|word| word.parse().ok()).collect()
        };
        let said = |word: &str| line.strip_prefix(word).and_then(numbers);
        if let Some([number, offset]) = said("ACK ").as_deref() {
            self.acknowledged.insert(*number, *offset);
        }
        if let Some([number]) = said("ATTEMPT ").as_deref()
            && self.over.contains(number)
        {
            self.wrong.push(format!("{number} was settled, and is attempted again"));
        }
        if let Some([number]) = said("DONE ").as_deref() {
            *self.done.entry(*number).or_default() += 1;
        }
        if let Some([letters]) = said("MOVED ").as_deref() {
            self.moved = Some(*letters);
        }
    }

    /// Looks into the store: each event is unsettled, parked, a letter, or done.
    fn compare(&mut self, dir: &Path) -> Seen {
        assert!(self.wrong.is_empty(), "{:?}", self.wrong);
        let seen = look(dir);
        for (number, offset) in &self.acknowledged {
            let is_settled = seen.settled.contains(offset);
            let is_letter = seen.letters.contains(offset);
            assert!(is_settled || !is_letter, "{number} is a letter, and is not settled");
            let waits = seen.parked.contains(offset) || is_letter;
            if is_settled && !waits {
                assert!(
                    self.done.contains_key(number),
                    "{number} is lost: settled, no letter, and never done"
                );
                self.over.insert(*number);
            }
        }
        let lone: Vec<_> = seen.redriven.iter().filter(|offset| !seen.letters.contains(offset)).collect();
        assert!(lone.is_empty(), "on their way without a letter: {lone:?}");
        seen
    }
}

/// Offsets, as the store has them.
#[derive(Debug, Default)]
struct Seen {
    settled: BTreeSet<u64>,
    parked: BTreeSet<u64>,
    redriven: BTreeSet<u64>,
    letters: BTreeSet<u64>,
}

fn look(dir: &Path) -> Seen {
    let store = Store::open(dir, StoreOptions::new().stream(stream()).reserve_bytes(0)).unwrap();
    let (answer, answered) = mpsc::channel();
    let done = Box::new(move |result| answer.send(result).unwrap());
    store.register("reader", &Filter::new("orders.#").unwrap(), vec![(0, 0)], done);
    let place = answered.recv().unwrap().unwrap().places.remove(0);
    let (_, next) = store.bounds(0).unwrap();
    let page = store.letters(&LetterQuery::default(), LetterKey::first_of(1), 10_000).unwrap();
    assert!(page.next.is_none() && page.damaged.is_empty(), "{page:?}");
    let seen = Seen {
        settled: (0..next).filter(|offset| place.cursor.is_settled(*offset)).collect(),
        parked: place.parked.iter().map(|row| row.offset).collect(),
        redriven: place.redriven.into_iter().collect(),
        letters: page.letters.iter().map(|letter| letter.key.offset).collect(),
    };
    store.close();
    seen
}

/// Runs a child and kills it behind so many lines; says whether it came to its end before.
fn run(dir: &Path, plan: Plan, kill_behind: Option<u64>, heard: &mut Heard) -> bool {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "letters::letters_child", "--ignored", "--nocapture"]).env(DIR, dir);
    let numbers = [
        (FIRST, Some(plan.first)),
        (PUBLISHES, Some(plan.publishes)),
        (FAILS, plan.fails.then_some(1)),
        (REDRIVES, plan.redrives),
    ];
    for (variable, number) in numbers {
        if let Some(number) = number {
            command.env(variable, number.to_string());
        }
    }
    follow_lines(command.stderr(Stdio::null()), kill_behind, |line| heard.hear(line))
}

#[test]
fn kills_between_attempt_effect_dead_letter_and_cursor_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cycles = number_in("BUSWAY_KILL_CYCLES").unwrap_or(40);
    let mut chance = Chance(number_in("BUSWAY_KILL_SEED").unwrap_or(0x6c65_7474_6572));
    let mut heard = Heard::default();
    for cycle in 0..cycles {
        let plan = Plan { first: cycle * 100, publishes: 20, fails: true, redrives: None };
        run(dir.path(), plan, Some(1 + chance.below(90)), &mut heard);
        heard.compare(dir.path());
    }
    let letters = heard.compare(dir.path()).letters.len();
    assert!(letters > 0 && heard.acknowledged.len() as u64 > cycles, "the children did nothing");
    // What failed for good succeeds now, and is redriven.
    run(dir.path(), Plan { redrives: Some(10_000), ..Plan::default() }, None, &mut heard);
    let seen = heard.compare(dir.path());
    assert_eq!((seen.letters.len(), seen.parked.len()), (0, 0));
    let undone: Vec<_> =
        heard.acknowledged.keys().filter(|number| !heard.done.contains_key(number)).collect();
    assert!(undone.is_empty(), "never done: {undone:?}");
    println!("{cycles} kills, {letters} letters, {} events", heard.acknowledged.len());
}

#[test]
fn a_redrive_that_is_interrupted_by_kills_neither_loses_nor_doubles() {
    let dir = tempfile::tempdir().unwrap();
    let mut chance = Chance(number_in("BUSWAY_KILL_SEED").unwrap_or(0x7265_6472_6976));
    let mut heard = Heard::default();
    run(dir.path(), Plan { publishes: 300, fails: true, ..Plan::default() }, None, &mut heard);
    let letters = heard.compare(dir.path()).letters.len() as u64;
    assert_eq!(letters, 100);
    let plan = Plan { redrives: Some(100), ..Plan::default() };
    let mut kills = 0;
    // Far enough for a life to store something of what it has handled at once.
    while !run(dir.path(), plan, Some(10 + chance.below(60)), &mut heard) {
        heard.compare(dir.path());
        kills += 1;
        assert!(kills < 100, "it gets nowhere");
    }
    assert!(kills > 2, "only {kills} kills");
    let seen = heard.compare(dir.path());
    assert_eq!((seen.letters.len(), seen.parked.len()), (0, 0));
    assert_eq!(heard.moved, Some(letters), "each was moved once, over all lives");
    let undone: Vec<_> =
        heard.acknowledged.keys().filter(|number| !heard.done.contains_key(number)).collect();
    assert!(undone.is_empty(), "never done: {undone:?}");
    let doubled = heard.done.values().filter(|count| **count > 1).count() as u64;
    println!("{kills} kills, {doubled} of {letters} done again for want of a stored settlement");
}

fn stream() -> Stream {
    Stream::new("orders").capture("orders.#")
}

const DIR: &str = "BUSWAY_LETTERS_DIR";
const FIRST: &str = "BUSWAY_LETTERS_FIRST";
const PUBLISHES: &str = "BUSWAY_LETTERS_PUBLISHES";
const FAILS: &str = "BUSWAY_LETTERS_FAILS";
const REDRIVES: &str = "BUSWAY_LETTERS_REDRIVES";
