//! Holds what the child said against the store that it left.

use std::collections::BTreeMap;
use std::path::Path;

use busway_event::{AnyEvent, Raw};
use busway_persistence::{ReadLimits, Store};

use crate::trial::Failing;
use crate::work::{MARK, event, join, open, publish, settle};

/// # Errors
/// What does not fit.
pub(crate) fn judge(dir: &Path, lines: &[String], failing: Option<Failing>) -> Result<(), String> {
    answers_fit(lines, failing)?;
    let store = open(dir)?;
    let verified = store.verify().map_err(|error| error.to_string())?;
    if !verified.is_sound() {
        return Err(format!("{verified:?}"));
    }
    let numbers = numbers(&store)?;
    events_fit(&store, &numbers, lines)?;
    decisions_fit(&store, lines)?;
    // It goes on.
    let (_, next) = store.bounds(0).ok_or("there is no partition")?;
    publish(&store, 1_000_000);
    let (_, end) = store.bounds(0).ok_or("there is no partition")?;
    settle(&store, join(&store).map_err(|error| error.to_string())?.number, end);
    store.close();
    let again = open(dir)?;
    match (again.bounds(0), numbers_from(&again, next)?.into_values().collect::<Vec<_>>()) {
        (Some((_, end)), added) if end == next + 3 && added == [1_000_000, 1_000_001, 1_000_002] => Ok(()),
        other => Err(format!("it ended at {next}, and after three more: {other:?}")),
    }
}

/// What was said must be what the documentation says of such a failure.
fn answers_fit(lines: &[String], failing: Option<Failing>) -> Result<(), String> {
    let is_success = |line: &str| {
        ["REGISTERED ", "ACK ", "SETTLED ", "PARKED ", "COUNTED "].iter().any(|word| line.starts_with(word))
    };
    let Some(fault) = lines.iter().position(|line| line.starts_with("FAULT ")) else {
        let failed = lines.iter().find(|line| {
            ["NOT ", "REFUSED ", "UNKNOWN ", "UNSETTLED ", "UNCOUNTED "]
                .iter()
                .any(|word| line.starts_with(word))
        });
        return match failed {
            Some(line) => Err(format!("nothing failed, and: {line}")),
            None => Ok(()),
        };
    };
    let (before, after) = lines.split_at(fault);
    if let Some(line) =
        before.iter().find(|line| line.starts_with("UNKNOWN ") || line.starts_with("REFUSED "))
    {
        return Err(format!("nothing had failed yet, and: {line}"));
    }
    // Other files hold nothing that an acknowledgement depends on; what is opened anew was looked at anew.
    let opened = after.iter().position(|line| line == "OPENING").unwrap_or(after.len());
    let (here, _) = after.split_at(opened);
    let is_data = here.first().is_some_and(|line| line == "FAULT data.mdb");
    let acknowledged = here.iter().find(|line| is_success(line));
    let is_refused_as_full =
        here.iter().any(|line| line.contains("StorageFull") || line.contains("bytes free"));
    match (failing, is_data, acknowledged) {
        (Some(Failing::Broken | Failing::Short), true, Some(line)) => {
            Err(format!("acknowledged after a failure: {line}"))
        }
        (Some(Failing::Full), true, _) if here.iter().any(|line| line == "OPENED") => {
            Err("opened on a disk that was full meanwhile".to_owned())
        }
        // What adds is refused as that, and the store goes on; or it stands still as after any other failure.
        (Some(Failing::Full), true, Some(line)) if !is_refused_as_full && line.starts_with("ACK") => {
            Err(format!("acknowledged after a full disk that refused nothing: {line}"))
        }
        _ => Ok(()),
    }
}

/// The number of the event at each offset.
fn numbers(store: &Store) -> Result<BTreeMap<u64, u64>, String> {
    numbers_from(store, store.bounds(0).ok_or("there is no partition")?.0)
}

fn numbers_from(store: &Store, mut from: u64) -> Result<BTreeMap<u64, u64>, String> {
    let (_, next) = store.bounds(0).ok_or("there is no partition")?;
    let mut numbers = BTreeMap::new();
    while from < next {
        let page = store.read(0, from, None, ReadLimits::default()).map_err(|error| error.to_string())?;
        for stored in &page.events {
            let payload = |event: &AnyEvent| event.typed::<Raw>().unwrap().payload().0.clone();
            let bytes = payload(&stored.event);
            let number = bytes
                .first_chunk()
                .map(|number| u64::from_be_bytes(*number))
                .ok_or("an event is too short")?;
            let expected = event(number);
            if stored.offset != from || stored.event.id() != expected.id() || bytes != payload(&expected) {
                return Err(format!("offset {from} holds another event: {:?}", stored.event));
            }
            numbers.insert(from, number);
            from += 1;
        }
        if page.next != from {
            return Err(format!("the read ends at {} instead of {from}", page.next));
        }
    }
    Ok(numbers)
}

fn events_fit(store: &Store, numbers: &BTreeMap<u64, u64>, lines: &[String]) -> Result<(), String> {
    let (first, _) = store.bounds(0).ok_or("there is no partition")?;
    let said = |word: &'static str| {
        lines.iter().filter_map(move |line| {
            let mut words = line.strip_prefix(word)?.split(' ');
            Some((words.next()?.parse::<u64>().ok()?, words.next().and_then(|word| word.parse::<u64>().ok())))
        })
    };
    for (number, offset) in said("ACK ") {
        let offset = offset.ok_or("an acknowledgement says where")?;
        if offset >= first && numbers.get(&offset) != Some(&number) {
            return Err(format!(
                "event {number} was acknowledged at {offset}, and there is {:?}",
                numbers.get(&offset)
            ));
        }
    }
    let stored: Vec<u64> = numbers.values().copied().collect();
    if !stored.is_sorted_by(|one, next| one < next) {
        return Err(format!("events are doubled or in another order: {stored:?}"));
    }
    match said("REFUSED ").find(|(number, _)| stored.contains(number)) {
        Some((number, _)) => Err(format!("event {number} was refused, and it is there")),
        None => Ok(()),
    }
}

fn decisions_fit(store: &Store, lines: &[String]) -> Result<(), String> {
    let place = join(store).map_err(|error| error.to_string())?.places.remove(0);
    let last = |words: &[&str]| {
        let number =
            |line: &String| words.iter().find_map(|word| line.strip_prefix(word)?.parse::<u64>().ok());
        lines.iter().filter_map(number).max()
    };
    let low = place.cursor.low();
    let (first, next) = store.bounds(0).ok_or("there is no partition")?;
    if last(&["SETTLED ", "COUNTED "]).is_some_and(|settled| low < settled) || low > next {
        return Err(format!("the cursor stands at {low}, of {first} to {next}"));
    }
    let mark = store
        .get(store.table("marks").ok_or("there is no table")?, MARK)
        .map_err(|error| error.to_string())?;
    let mark = mark.map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
    let (counted, tried) = (last(&["COUNTED "]), last(&["COUNTING "]));
    if mark != counted && mark != tried {
        return Err(format!("the mark is {mark:?}; {counted:?} was stored, {tried:?} was tried"));
    }
    if mark.is_some_and(|mark| mark > low) {
        return Err(format!("the mark is {mark:?}, and the cursor of the same transaction stands at {low}"));
    }
    let parked: Vec<u64> = place.parked.iter().map(|parked| parked.offset).collect();
    let (stored, tried) = (last(&["PARKED "]), last(&["PARKING "]));
    match parked.last().copied() {
        newest if newest == stored || newest == tried => Ok(()),
        newest => Err(format!("{newest:?} is parked; {stored:?} was stored, {tried:?} was tried")),
    }
}
