//! Looks at a store and compares what it says with what was stored.

use std::fs;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Mutex};

use busway_event::{AnyEvent, Raw};
use busway_persistence::{LetterKey, ReadError, ReadLimits, Store};

use crate::store::{
    AUDITED, DONE, EVENTS, TABLE, VALUES, WAITING, audited, done, due, event, join, letter, open, parked,
    runs, value, waiting,
};

/// What a damaged store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is there, and right.
    Truth,
    /// It does not open, or its subscription cannot be read.
    Refused(String),
    /// So many records are named as damaged; all others are there, and right.
    Named(u64),
    /// It says something that is not so, and no error.
    Wrong(String),
    /// The process that looked at it was ended.
    Signal(String),
}

impl Verdict {
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Truth => "truth",
            Self::Refused(_) => "refused",
            Self::Named(_) => "named",
            Self::Wrong(_) => "wrong",
            Self::Signal(_) => "signal",
        }
    }

    pub(crate) fn read(line: &str) -> Option<Self> {
        let words = line.strip_prefix(MARK)?;
        let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
        Some(match word {
            "truth" => Self::Truth,
            "refused" => Self::Refused(rest.to_owned()),
            "named" => Self::Named(rest.parse().ok()?),
            _ => Self::Wrong(rest.to_owned()),
        })
    }
}

/// The child's half: judges the folders that `list` names, one a line.
pub(crate) fn judge_all(list: &Path) {
    // The test harness has begun a line of its own.
    println!();
    let said = Arc::new(Mutex::new(String::new()));
    let says = Arc::clone(&said);
    panic::set_hook(Box::new(move |panic| *says.lock().unwrap() = panic.to_string()));
    for folder in fs::read_to_string(list).unwrap().lines() {
        let verdict = panic::catch_unwind(AssertUnwindSafe(|| judge(Path::new(folder))));
        let verdict =
            verdict.unwrap_or_else(|_| Verdict::Wrong(format!("it panics: {}", said.lock().unwrap())));
        let rest = match &verdict {
            Verdict::Truth => String::new(),
            Verdict::Named(count) => count.to_string(),
            Verdict::Refused(words) | Verdict::Wrong(words) | Verdict::Signal(words) => {
                words.replace('\n', "; ")
            }
        };
        println!("{MARK}{} {rest}", verdict.word());
    }
}

/// Why a look at a store ends before all of it was seen.
enum End {
    /// It says something that is not so.
    Wrong(String),
    /// It says that it cannot be read.
    Refused(String),
}

impl From<String> for End {
    fn from(wrong: String) -> Self {
        Self::Wrong(wrong)
    }
}

fn judge(folder: &Path) -> Verdict {
    let store = match open(folder) {
        Ok(store) => store,
        Err(error) => return Verdict::Refused(error),
    };
    match look(&store) {
        Ok(0) => Verdict::Truth,
        Ok(named) => Verdict::Named(named),
        Err(End::Wrong(wrong)) => Verdict::Wrong(wrong),
        Err(End::Refused(why)) => Verdict::Refused(why),
    }
}

/// How much is named as damaged.
fn look(store: &Store) -> Result<u64, End> {
    let mut seen = Seen::default();
    let subscription = cursor(store)?;
    let (first, next) = store.bounds(0).ok_or("there is no partition".to_owned())?;
    if next != EVENTS || first > EVENTS / 2 {
        return Err(format!("the log goes from {first} to {next}").into());
    }
    seen.named += records(store, (0, first..next), event)?;
    let ledger = store.bounds(1).ok_or("there is no ledger".to_owned())?;
    if ledger != (0, AUDITED) {
        return Err(format!("the ledger goes from {} to {}", ledger.0, ledger.1).into());
    }
    seen.named += records(store, (1, 0..AUDITED), audited)?;
    seen.letter(store, subscription)?;
    seen.schedule(store)?;
    seen.done(store, subscription)?;
    seen.table(store)?;
    let verified = read(store.verify())?.map_err(|corrupt| format!("verifying stops: {corrupt}"))?;
    if verified.is_sound() && (seen.named > 0 || !seen.missing.is_empty()) {
        let missing = seen.missing.join(", ");
        return Err(format!("{} are damaged, {missing} not there, and all is sound", seen.named).into());
    }
    Ok(verified.damaged_count)
}

/// What was read, or that it is damaged; an error when the tree itself is.
fn read<T>(result: Result<T, ReadError>) -> Result<Result<T, String>, End> {
    match result {
        Ok(read) => Ok(Ok(read)),
        Err(ReadError::Corrupt(corrupt)) => Ok(Err(corrupt.to_string())),
        Err(ReadError::Storage { reason, .. }) => Err(End::Refused(reason)),
        Err(error) => Err(End::Wrong(error.to_string())),
    }
}

/// Checks where the subscription stands, and says its number.
fn cursor(store: &Store) -> Result<u32, End> {
    let mut registered = join(store).map_err(End::Refused)?;
    if !registered.known {
        return Err("the subscription is forgotten".to_owned().into());
    }
    let place = registered.places.remove(0);
    let (low, above) = runs();
    if place.cursor.low() != low || !place.cursor.runs().eq(above) {
        return Err(format!("the cursor stands at {:?}", place.cursor).into());
    }
    if place.parked != parked() {
        return Err(format!("{:?} are parked", place.parked).into());
    }
    Ok(registered.number)
}

/// Compares records with the events that they were made of: all are there, or named.
fn records(
    store: &Store,
    (partition, offsets): (u32, Range<u64>),
    event: fn(u64) -> AnyEvent,
) -> Result<u64, End> {
    let (mut named, mut from) = (0, offsets.start);
    while from < offsets.end {
        match store.read(partition, from, None, ReadLimits::default()) {
            Ok(page) => {
                for stored in &page.events {
                    if stored.offset != from || !is_same(&stored.event, &event(from)) {
                        return Err(
                            format!("offset {from} holds {:?} at {}", stored.event, stored.offset).into()
                        );
                    }
                    from += 1;
                }
                if page.events.is_empty() || page.next != from {
                    return Err(format!("the read ends at {} instead of {from}", page.next).into());
                }
            }
            Err(ReadError::Corrupt(corrupt))
                if corrupt.place == format!("record {from} of partition {partition}") =>
            {
                named += 1;
                from += 1;
            }
            // The tree itself: nothing can be read there, and that is said.
            Err(ReadError::Storage { reason, .. }) => return Err(End::Refused(reason)),
            Err(ReadError::Corrupt(corrupt)) if !corrupt.place.starts_with("record ") => {
                return Err(End::Refused(corrupt.to_string()));
            }
            Err(error) => return Err(format!("at {from}: {error}").into()),
        }
    }
    Ok(named)
}

/// What is found beside the log. Where a key is damaged nothing is found under the right one: a verification has to tell of it.
#[derive(Default)]
struct Seen {
    named: u64,
    missing: Vec<String>,
}

impl Seen {
    fn letter(&mut self, store: &Store, subscription: u32) -> Result<(), End> {
        let right = letter();
        let key = LetterKey { subscription, partition: 0, offset: right.offset };
        match read(store.letter(key))? {
            Ok(Some(stored)) if stored.letter != right => {
                return Err(format!("the letter is {:?}", stored.letter).into());
            }
            Ok(Some(stored)) => match stored.event {
                Ok(event_of) if !is_same(&event_of.event, &event(right.offset)) => {
                    return Err(format!("the letter's event is {:?}", event_of.event).into());
                }
                Ok(_) => {}
                Err(_) => self.named += 1,
            },
            Ok(None) => self.missing.push("the letter".to_owned()),
            Err(_) => self.named += 1,
        }
        Ok(())
    }

    fn schedule(&mut self, store: &Store) -> Result<(), End> {
        let Ok(page) = read(store.scheduled(1_000))? else {
            self.named += 1;
            return Ok(());
        };
        self.named += page.damaged.len() as u64;
        for found in &page.events {
            let is_right = |number: u64| found.id == waiting(number).id() && found.due == due(number);
            if !(0..WAITING).any(is_right) {
                return Err(format!("what waits is {found:?}").into());
            }
        }
        if (page.events.len() as u64) < WAITING {
            self.missing.push("an event that waits".to_owned());
        }
        Ok(())
    }

    fn done(&mut self, store: &Store, subscription: u32) -> Result<(), End> {
        let Ok(found) = read(store.done_keys(subscription))? else {
            self.named += 1;
            return Ok(());
        };
        let right: Vec<_> = (0..DONE).flat_map(|row| done(row).keys).collect();
        match found.iter().all(|key| right.contains(key)) {
            true if found.len() < right.len() => self.missing.push("keys that are done".to_owned()),
            true => {}
            false => return Err(format!("{found:?} are done").into()),
        }
        Ok(())
    }

    /// Value by value, and all of them at once.
    fn table(&mut self, store: &Store) -> Result<(), End> {
        let table = store.table(TABLE).ok_or("there is no table".to_owned())?;
        for (key, right) in (0..VALUES).map(value) {
            match read(store.get(table, &key))? {
                Ok(Some(found)) if found != right => return Err(format!("{key:?} is {found:?}").into()),
                Ok(Some(_)) => {}
                Ok(None) => self.missing.push(format!("{key:?}")),
                Err(_) => self.named += 1,
            }
        }
        match read(store.range(table, .., 1_000))? {
            Ok(found) if found.iter().any(|entry| !(0..VALUES).map(value).any(|right| right == *entry)) => {
                return Err(format!("the table holds {found:?}").into());
            }
            Ok(found) if (found.len() as u64) < VALUES => {
                self.missing.push("what the table holds".to_owned());
            }
            Ok(_) => {}
            Err(_) => self.named += 1,
        }
        Ok(())
    }
}

fn is_same(one: &AnyEvent, other: &AnyEvent) -> bool {
    let payload = |event: &AnyEvent| event.typed::<Raw>().unwrap().payload().0.clone();
    one.id() == other.id()
        && one.topic() == other.topic()
        && one.key() == other.key()
        && one.time() == other.time()
        && one.metadata() == other.metadata()
        && payload(one) == payload(other)
}

/// Begins a line with a verdict.
const MARK: &str = "verdict: ";
