//! Looks at a store and compares what it says with what was stored.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use busway_event::{AnyEvent, Raw};
use busway_persistence::{ReadError, ReadLimits, Store};

use crate::store::{EVENTS, event, join, open, parked, runs};

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
    for folder in fs::read_to_string(list).unwrap().lines() {
        let verdict = panic::catch_unwind(AssertUnwindSafe(|| judge(Path::new(folder))));
        let verdict = verdict.unwrap_or_else(|_| Verdict::Wrong("it panics".to_owned()));
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

fn judge(folder: &Path) -> Verdict {
    let store = match open(folder) {
        Ok(store) => store,
        Err(error) => return Verdict::Refused(error),
    };
    match look(&store) {
        Ok(verdict) => verdict,
        Err(wrong) => Verdict::Wrong(wrong),
    }
}

/// # Errors
/// What is not so.
fn look(store: &Store) -> Result<Verdict, String> {
    let place = match join(store) {
        Ok(registered) if !registered.known => return Err("the subscription is forgotten".to_owned()),
        Ok(mut registered) => registered.places.remove(0),
        Err(error) => return Ok(Verdict::Refused(error)),
    };
    let (low, above) = runs();
    if place.cursor.low() != low || !place.cursor.runs().eq(above) {
        return Err(format!("the cursor stands at {:?}", place.cursor));
    }
    if place.parked != parked() {
        return Err(format!("{:?} are parked", place.parked));
    }
    let (first, next) = store.bounds(0).ok_or("there is no partition")?;
    if next != EVENTS || first > EVENTS / 2 {
        return Err(format!("the log goes from {first} to {next}"));
    }
    let mut named = 0;
    let mut from = first;
    while from < next {
        match store.read(0, from, None, ReadLimits::default()) {
            Ok(page) => {
                for stored in &page.events {
                    if stored.offset != from || !is_same(&stored.event, &event(from)) {
                        return Err(format!("offset {from} holds {:?} at {}", stored.event, stored.offset));
                    }
                    from += 1;
                }
                if page.events.is_empty() || page.next != from {
                    return Err(format!("the read ends at {} instead of {from}", page.next));
                }
            }
            Err(ReadError::Corrupt(corrupt)) if corrupt.place == format!("record {from} of partition 0") => {
                named += 1;
                from += 1;
            }
            // The tree itself: nothing can be read there, and that is said.
            Err(ReadError::Storage { reason, .. }) => return Ok(Verdict::Refused(reason)),
            Err(ReadError::Corrupt(corrupt)) if !corrupt.place.starts_with("record ") => {
                return Ok(Verdict::Refused(corrupt.to_string()));
            }
            Err(error) => return Err(format!("at {from}: {error}")),
        }
    }
    Ok(if named == 0 { Verdict::Truth } else { Verdict::Named(named) })
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
