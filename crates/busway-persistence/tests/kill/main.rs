//! `kill -9`, again and again, on one store: while it opens, while it appends and settles, while its map grows, while it closes.
//!
//! A child works and says what it was told is stored, a line each, into a pipe, which outlives it. Its parent kills it when it
//! has read a number of lines that chance chose, opens the store, and compares. A kill says nothing about power: the system
//! still writes what the child gave it; `tests/power` is about that. What it proves is that no moment between two calls leaves a
//! store that cannot go on.
//!
//! What it settles it counts, in one transaction with the settlement: the total is that of the settled events, exactly.
//!
//! `BUSWAY_KILL_CYCLES` sets how often (default 100), `BUSWAY_KILL_SEED` which moments.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use busway_event::{AnyEvent, Event, EventId, Filter, Metadata, Raw, Stamp, Timestamp};
use busway_persistence::{
    ReadLimits, ReadTables as _, Registered, Retention, Settlement, Store, StoreOptions, Stream, Tx,
    WriteTables as _,
};

#[test]
fn nothing_acknowledged_is_lost_doubled_or_reordered_by_kills() {
    let dir = tempfile::tempdir().unwrap();
    let cycles = number_in("BUSWAY_KILL_CYCLES").unwrap_or(100);
    let mut chance = Chance(number_in("BUSWAY_KILL_SEED").unwrap_or(0x6275_7377_6179));
    let (mut acked, mut settled) = (0, 0);
    for cycle in 0..cycles {
        let moment = Moment::choose(cycle, &mut chance);
        let said = run_and_kill(dir.path(), &moment);
        acked = said.acked.max(acked);
        settled = said.settled.max(settled);
        let found = check(dir.path(), acked, settled);
        assert_eq!(found, Ok(()), "cycle {cycle}, {moment:?}, {acked} acknowledged, {settled} settled");
    }
    assert!(acked > cycles, "the children did nothing: {acked} events in {cycles} cycles");
}

/// When a child is killed.
#[derive(Debug)]
enum Moment {
    /// When it says that it is about to open the store.
    Opening,
    /// After so many acknowledgements; every third commit or so grows the map.
    Working(u64),
    /// When it says that it is about to close the store.
    Closing,
}

impl Moment {
    fn choose(cycle: u64, chance: &mut Chance) -> Self {
        match cycle % 10 {
            3 => Self::Opening,
            7 => Self::Closing,
            _ => Self::Working(chance.below(60)),
        }
    }

    fn is_now(&self, line: &str, acks: u64) -> bool {
        match self {
            Self::Opening => line == "OPENING",
            Self::Working(after) => acks > *after,
            Self::Closing => line == "CLOSING",
        }
    }
}

#[derive(Debug, Default)]
struct Said {
    acked: u64,
    settled: u64,
}

fn run_and_kill(dir: &Path, moment: &Moment) -> Said {
    let mut child: Child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child_entry", "--ignored", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        // What a child that is not killed has found wrong.
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let (mut said, mut acks, mut is_killed) = (Said::default(), 0, false);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // The last line may be cut.
        let Ok(line) = line else { break };
        let number = |prefix| line.strip_prefix(prefix)?.strip_suffix('.')?.parse::<u64>().ok();
        if let Some(number) = number("ACK ") {
            said.acked = said.acked.max(number);
            acks += 1;
        }
        said.settled = said.settled.max(number("SETTLED ").unwrap_or(0));
        // What it says until it is dead counts: read on.
        if !is_killed && moment.is_now(&line, acks) {
            child.kill().unwrap();
            is_killed = true;
        }
    }
    child.wait().unwrap();
    said
}

fn check(dir: &Path, acked: u64, settled: u64) -> Result<(), String> {
    let store = open(dir)?;
    let (first, next) = store.bounds(0).unwrap();
    if next < acked {
        return Err(format!("{} events are lost", acked - next));
    }
    let mut from = first;
    while from < next {
        let page = store.read(0, from, None, ReadLimits::default()).map_err(|error| error.to_string())?;
        for stored in &page.events {
            if stored.offset != from || stored.event.id() != event(from + 1).id() {
                return Err(format!("offset {from} holds {:?}", stored.event));
            }
            from += 1;
        }
    }
    let low = join(&store).places[0].cursor.low();
    if low < settled || low > next || low < first {
        return Err(format!("the cursor stands at {low}; {settled} are settled, the log ends at {next}"));
    }
    let total = total(store.get(store.table("totals").unwrap(), KEY).map_err(|error| error.to_string())?);
    if total != sum_to(low) {
        return Err(format!("the total is {total}, the events up to {low} make {}", sum_to(low)));
    }
    store.close();
    Ok(())
}

#[test]
#[ignore = "the entry of the children, which are told where the store is"]
fn child_entry() {
    let Some(dir) = env::var_os(CHILD) else { return };
    say("OPENING");
    let store = open(Path::new(&dir)).unwrap();
    let subscription = join(&store).number;
    let totals = store.table("totals").unwrap();
    let mut number = store.bounds(0).unwrap().1 + 1;
    let last = number + EVENTS;
    while number < last {
        let (answer, answered) = mpsc::channel();
        for number in number..number + IN_FLIGHT {
            let answer = answer.clone();
            let entry = store.entry(event(number), number.is_multiple_of(5), at(number)).unwrap();
            let done = Box::new(move |result: Result<_, _>| answer.send((number, result.is_ok())).unwrap());
            store.append(entry, done).map_err(|_| "busy").unwrap();
        }
        drop(answer);
        for (number, is_stored) in answered {
            assert!(is_stored);
            say(&format!("ACK {number}."));
        }
        number += IN_FLIGHT;
        let settled = number - 1 - IN_FLIGHT;
        let said = Box::new(move |result: Result<_, _>| {
            assert!(result.is_ok());
            say(&format!("SETTLED {settled}."));
        });
        // Adds what is settled now to what was before, wherever that stood.
        let work = move |tx: &mut Tx<'_>| {
            let before = total(tx.get_bytes(totals, KEY)?);
            let counted = total(tx.get_bytes(totals, COUNTED)?);
            tx.put_bytes(totals, KEY, &(before + sum_to(settled) - sum_to(counted)).to_be_bytes())?;
            tx.put_bytes(totals, COUNTED, &settled.to_be_bytes())?;
            tx.settle(subscription, 0, Settlement { settled: vec![(0, settled)], ..Settlement::default() });
            Ok(())
        };
        store.transact(Box::new(work), said).unwrap();
    }
    say("CLOSING");
    store.close();
}

fn say(line: &str) {
    // One call, so that a line is whole or missing.
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn open(dir: &Path) -> Result<Store, String> {
    let stream = Stream::new("all").capture("#").retention(Retention::forever().count(500));
    let options =
        StoreOptions::new().stream(stream).table("totals").map_bytes(128 << 10).reserve_bytes(0).tail(1, 1);
    Store::open(dir, options).map_err(|error| error.to_string())
}

fn join(store: &Store) -> Registered {
    let (answer, answered) = mpsc::channel();
    let filter = Filter::new("#").unwrap();
    store.register("reader", &filter, vec![(0, 0)], Box::new(move |result| _ = answer.send(result)));
    answered.recv().unwrap().unwrap()
}

/// The sum of the numbers of the first events.
const fn sum_to(count: u64) -> u64 {
    count * (count + 1) / 2
}

fn total(bytes: Option<Vec<u8>>) -> u64 {
    bytes.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

const KEY: &[u8] = b"total";
const COUNTED: &[u8] = b"counted";

fn at(number: u64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + i64::try_from(number).unwrap())
}

/// Its size makes the map grow in nearly every cycle: it begins small each time.
fn event(number: u64) -> AnyEvent {
    let payload = vec![u8::try_from(number % 251).unwrap(); usize::try_from(number % 13 * 700).unwrap()];
    let metadata = Metadata::draft("kill", 1).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("kill", &number.to_string()), at(number), &metadata);
    Event::new("a.b", Raw::from(payload)).finish(&stamp).unwrap().into()
}

fn number_in(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Splitmix64 (Steele, Lea, Flood 2014): any seed will do.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

const CHILD: &str = "BUSWAY_KILL_CHILD";
/// Events of a child that is not killed before.
const EVENTS: u64 = 80;
const IN_FLIGHT: u64 = 8;
