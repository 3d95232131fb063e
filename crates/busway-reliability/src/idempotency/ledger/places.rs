//! Where keys lie, by their hashes: what tells a new key from a million others.
//!
//! A table with open addressing and linear probing (Knuth, The Art of Computer Programming, volume 3, section 6.4), of eight bytes a place: half of a key's hash, and its
//! number. A million keys do not fit into a processor's caches, so what counts is how many lines of memory a look takes. Here it is one, and who then enters the
//! key finds it at hand; tables whose marks lie beside their entries take a second one, for whose sake each event waited some hundred nanoseconds.

/// See the module.
#[derive(Debug)]
pub(super) struct Places {
    /// Zero: nobody. As many as a power of two.
    entries: Vec<u64>,
    len: usize,
}

/// Half of a key's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Half(u32);

impl Half {
    #[inline]
    pub(super) const fn of(hash: u64) -> Self {
        // Never zero, so that no entry is.
        Self((hash >> 32) as u32 | 1)
    }

    #[inline]
    const fn with(self, number: u32) -> u64 {
        (self.0 as u64) << 32 | number as u64
    }

    #[inline]
    const fn is_in(self, entry: u64) -> bool {
        (entry >> 32) as u32 == self.0
    }
}

impl Places {
    pub(super) fn new() -> Self {
        Self { entries: vec![0; PLACES_MIN], len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The place of a key whose half this is, and whose number `is_it` says yes to; and the number.
    #[inline]
    pub(super) fn find(&self, half: Half, is_it: impl Fn(u32) -> bool) -> Option<(usize, u32)> {
        let mut at = self.home(half.0);
        loop {
            let entry = self.entry(at);
            if entry == 0 {
                return None;
            }
            if half.is_in(entry) && is_it(number(entry)) {
                return Some((at, number(entry)));
            }
            at = self.next(at);
        }
    }

    /// Gives what is at a place another number.
    pub(super) fn renumber(&mut self, at: usize, half: Half, number: u32) {
        self.set(at, half.with(number));
    }

    /// Enters a key that is not there.
    pub(super) fn insert(&mut self, half: Half, number: u32) {
        if (self.len + 1) * 8 > self.entries.len() * 5 {
            self.grow();
        }
        self.put(half.with(number));
        self.len += 1;
    }

    /// Takes out what is at a place. Entries behind it close up, so that a look may end at the first place that is empty.
    pub(super) fn remove(&mut self, at: usize) {
        let (mut hole, mut at) = (at, self.next(at));
        loop {
            let entry = self.entry(at);
            if entry == 0 {
                break;
            }
            let from_home = self.distance(self.home((entry >> 32) as u32), at);
            if from_home >= self.distance(hole, at) {
                self.set(hole, entry);
                hole = at;
            }
            at = self.next(at);
        }
        self.set(hole, 0);
        self.len -= 1;
    }

    /// Forgets all, and gives back what it took.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    #[cold]
    fn grow(&mut self) {
        let twice = vec![0; self.entries.len() * 2];
        for entry in std::mem::replace(&mut self.entries, twice) {
            if entry != 0 {
                self.put(entry);
            }
        }
    }

    fn put(&mut self, entry: u64) {
        let mut at = self.home((entry >> 32) as u32);
        while self.entry(at) != 0 {
            at = self.next(at);
        }
        self.set(at, entry);
    }

    /// Where a look for it begins. The lowest bit is always one.
    #[inline]
    const fn home(&self, half: u32) -> usize {
        (half >> 1) as usize & (self.entries.len() - 1)
    }

    #[inline]
    const fn next(&self, at: usize) -> usize {
        (at + 1) & (self.entries.len() - 1)
    }

    const fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.entries.len() - 1)
    }

    #[inline]
    fn entry(&self, at: usize) -> u64 {
        self.entries.get(at).copied().unwrap_or_default()
    }

    #[inline]
    fn set(&mut self, at: usize, entry: u64) {
        if let Some(place) = self.entries.get_mut(at) {
            *place = entry;
        }
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half of an entry")]
const fn number(entry: u64) -> u32 {
    entry as u32
}

/// Before the first key.
const PLACES_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Halves that meet, and lie at the end of the table.
        #[test]
        fn the_table_and_a_map_agree(steps in prop::collection::vec((0_u64..40, any::<bool>(), any::<u32>()), 1..200)) {
            let (mut places, mut map) = (Places::new(), BTreeMap::<u64, u32>::new());
            let half = |key: u64| Half::of(!(key / 2) << 33);
            for (key, is_removed, number) in steps {
                // Numbers are of one key each.
                let number = number / 40 * 40 + u32::try_from(key).unwrap();
                let found = places.find(half(key), |number| u64::from(number % 40) == key);
                prop_assert_eq!(found.map(|(_, number)| number), map.get(&key).copied());
                match (found, is_removed) {
                    (Some((at, _)), true) => {
                        places.remove(at);
                        map.remove(&key);
                    }
                    (Some((at, _)), false) => {
                        places.renumber(at, half(key), number);
                        map.insert(key, number);
                    }
                    (None, true) => {}
                    (None, false) => {
                        places.insert(half(key), number);
                        map.insert(key, number);
                    }
                }
                prop_assert_eq!(places.len(), map.len());
                for (&key, &number) in &map {
                    let found = places.find(half(key), |number| u64::from(number % 40) == key);
                    prop_assert_eq!(found.map(|(_, number)| number), Some(number));
                }
            }
        }
    }
}
