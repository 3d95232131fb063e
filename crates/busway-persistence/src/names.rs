//! Names that many events share, stored once: topics, payload types, producers.
//!
//! A record holds numbers in their place. A number is given in memory when a name is first seen, and its row is written in the
//! transaction of the first record that uses it, or an earlier one: so a record never holds a number whose name is lost. A
//! number that no commit has written is given again after a restart. 0 means that the record holds the text itself.
//!
//! Names are never forgotten, so they are bounded: beyond [`NAMES_MAX`] a new one is written into each of its records.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard};

use crate::record::Name;

/// All names of a store.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The name with the number 1, 2, …
    names: Vec<Name>,
    numbers: HashMap<Arc<str>, u32>,
    /// How many of them are on disk.
    stored: usize,
}

impl Names {
    /// The names that rows tell of, in the order of their numbers: 1, 2, …
    pub(crate) fn stored<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let names: Vec<_> = texts.map(Name::of).collect();
        let numbers = names.iter().zip(1..).map(|(name, number)| (Arc::clone(&name.text), number)).collect();
        let stored = names.len();
        Self { known: RwLock::new(Known { names, numbers, stored }) }
    }

    /// The number of a name, which it is given now if it has none; 0 when there are too many.
    pub(crate) fn number_of(&self, text: &str) -> u32 {
        if let Some(&number) = self.known.read().numbers.get(text) {
            return number;
        }
        self.add(text)
    }

    #[cold]
    fn add(&self, text: &str) -> u32 {
        let mut known = self.known.write();
        // Somebody else may have added it meanwhile.
        if let Some(&number) = known.numbers.get(text) {
            return number;
        }
        let number = match u32::try_from(known.names.len() + 1) {
            Ok(number) if known.names.len() < NAMES_MAX => number,
            _ => return 0,
        };
        let name = Name::of(text);
        known.numbers.insert(Arc::clone(&name.text), number);
        known.names.push(name);
        number
    }

    /// The names as they are now. To be let go within moments: nobody can add one meanwhile.
    pub(crate) fn look(&self) -> Look<'_> {
        Look(self.known.read())
    }

    /// The names that are not on disk yet, with their numbers. Their records are not either, unless in the same commit.
    pub(crate) fn unstored(&self) -> Vec<(u32, Arc<str>)> {
        let known = self.known.read();
        if known.stored == known.names.len() {
            return Vec::new();
        }
        let names = known.names.iter().zip(1..).skip(known.stored);
        names.map(|(name, number)| (number, Arc::clone(&name.text))).collect()
    }

    /// Notes that all names up to this number are on disk.
    pub(crate) fn note_stored(&self, number: u32) {
        let mut known = self.known.write();
        known.stored = known.stored.max(usize::try_from(number).unwrap_or(0));
    }
}

/// Names that hold still.
pub(crate) struct Look<'a>(RwLockReadGuard<'a, Known>);

impl Look<'_> {
    /// The name of a number.
    pub(crate) fn get(&self, number: u32) -> Option<&Name> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.0.names.get(at)
    }
}

/// Some 100 MB of memory when all of them are in use.
const NAMES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_is_unstored_until_it_is_noted() {
        let names = Names::stored(["a.b", "shop"].into_iter());
        assert_eq!((names.number_of("a.b"), names.number_of("shop"), names.number_of("new")), (1, 2, 3));
        assert_eq!(names.number_of("new"), 3);
        assert_eq!(names.unstored(), [(3, "new".into())]);
        names.note_stored(3);
        assert!(names.unstored().is_empty());
        let look = names.look();
        assert_eq!(look.get(1).unwrap().topic.as_ref().unwrap().as_str(), "a.b");
        assert!(look.get(0).is_none() && look.get(4).is_none());
    }
}
