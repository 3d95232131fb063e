//! What is known of the events: where receipts said that they lie, where they were found, which were handled.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use busway_event::Raw;
use busway_persistence::{ReadLimits, Store, StoreOptions};

use crate::child::{KEYS, number_of, stream};

/// Partition and offset.
type Place = (u32, u64);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Account {
    acknowledged: BTreeMap<u64, Place>,
    /// Found in the store at some time.
    stored: BTreeMap<u64, Place>,
    handled: BTreeSet<u64>,
    /// The last one of each key that was handled in this run.
    last: BTreeMap<u64, u64>,
    /// What was said that must not be.
    wrong: Vec<String>,
}

impl Account {
    pub(crate) fn begin_run(&mut self) {
        self.last.clear();
    }

    /// A line of the child's. One that was cut has no full stop.
    pub(crate) fn hear(&mut self, line: &str) {
        let numbers = |rest: &str| -> Option<Vec<u64>> {
            rest.strip_suffix('.')?.split(' ').map(|word| word.parse().ok()).collect()
        };
        if let Some([number, partition, offset]) = line.strip_prefix("ACK ").and_then(numbers).as_deref() {
            self.acknowledged.insert(*number, (u32::try_from(*partition).unwrap(), *offset));
        }
        if let Some([number]) = line.strip_prefix("HANDLED ").and_then(numbers).as_deref() {
            self.hear_handled(*number);
        }
    }

    fn hear_handled(&mut self, number: u64) {
        let key = number % KEYS;
        if let Some(before) = self.last.insert(key, number).filter(|before| *before >= number) {
            self.wrong.push(format!("{number} of key {key} was handled behind {before}"));
        }
        // An earlier one of its key that is handled for the first time now was overtaken.
        let is_new = self.handled.insert(number);
        let later = self.handled.range(number + 1..).find(|later| **later % KEYS == key);
        if let Some(later) = later.filter(|_| is_new) {
            self.wrong.push(format!("{number} of key {key} was handled after {later} had been"));
        }
    }

    /// Opens the store and compares.
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn compare(&mut self, dir: &Path) -> Result<(), String> {
        if !self.wrong.is_empty() {
            return Err(self.wrong.join("\n"));
        }
        let options = StoreOptions::new().stream(stream()).reserve_bytes(0);
        let store = Store::open(dir, options).map_err(|error| error.to_string())?;
        for partition in store.partitions("orders").ok_or("there is no stream")? {
            let (first, next) = store.bounds(partition).ok_or("there is no partition")?;
            let found = read(&store, partition, first, next)?;
            self.fits(partition, first, &found)?;
            self.stored.extend(found.iter().map(|(&offset, &number)| (number, (partition, offset))));
        }
        store.close();
        Ok(())
    }

    fn fits(&self, partition: u32, first: u64, found: &BTreeMap<u64, u64>) -> Result<(), String> {
        let known = self.acknowledged.iter().chain(&self.stored);
        let here = known.filter(|(_, (at, offset))| *at == partition && *offset >= first);
        for (number, (_, offset)) in here {
            if found.get(offset) != Some(number) {
                let there = found.get(offset);
                return Err(format!(
                    "{number} was at {partition}/{offset}, and there is {there:?}; the log begins at {first}"
                ));
            }
        }
        for key in 0..KEYS {
            let numbers: Vec<u64> = found.values().copied().filter(|number| number % KEYS == key).collect();
            if !numbers.is_sorted_by(|one, next| one < next) {
                return Err(format!("events of key {key} are doubled or in another order: {numbers:?}"));
            }
        }
        let elsewhere = |number: &&u64| self.stored.get(number).is_some_and(|(at, _)| *at != partition);
        match found.values().find(elsewhere) {
            Some(number) => Err(format!("{number} is there twice")),
            None => Ok(()),
        }
    }

    /// # Errors
    /// Which are not.
    pub(crate) fn all_are_handled(&self) -> Result<(), String> {
        let all = self.acknowledged.keys().chain(self.stored.keys());
        let unhandled: Vec<_> = all.filter(|number| !self.handled.contains(number)).collect();
        if unhandled.is_empty() { Ok(()) } else { Err(format!("never handled: {unhandled:?}")) }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.len() as u64
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, stored, handled, .. } = self;
        let (receipts, stored, handled) = (acknowledged.len(), stored.len(), handled.len());
        write!(f, "{receipts} receipts, {stored} events found, {handled} handled")
    }
}

/// The number of the event at each offset, of which none may be missing.
fn read(store: &Store, partition: u32, first: u64, next: u64) -> Result<BTreeMap<u64, u64>, String> {
    let (mut found, mut from) = (BTreeMap::new(), first);
    while from < next {
        let page =
            store.read(partition, from, None, ReadLimits::default()).map_err(|error| error.to_string())?;
        for stored in &page.events {
            if stored.offset != from {
                return Err(format!("offset {} follows {from}", stored.offset));
            }
            found.insert(from, number_of(&stored.event.typed::<Raw>().unwrap().payload().0));
            from += 1;
        }
        if page.next != from {
            return Err(format!("the read ends at {} instead of {from}", page.next));
        }
    }
    Ok(found)
}
