//! Where keys lie, by their hashes: what tells a new key from a million others.
//!
//! A table with open addressing and linear probing (Knuth, The Art of Computer Programming, volume 3, section 6.4). A million keys do not fit into a processor's caches, so what counts is how
//! often somebody waits for a line of memory. There are two arrays:
//!
//! * **Marks**, a byte a place: eight bits of a hash, or zero. A look reads these, and of a hundred new keys 98 are known by them alone. They are an eighth of what there is, so that
//!   they lie in a cache where the entries do not. A mark that is another key's costs a look at its entry, and never more.
//! * **Entries**, eight bytes a place: half of a hash, and a number. They are read where a mark says so.
//!
//! A line of either is in no near cache, and who writes one under a lock waits for it when the lock is let go. So keys are *late*: they lie in a short list that every look goes through, and get
//! their places, and those that are gone lose theirs, when there are [`LATE_MAX`] of them. Then their lines are fetched all at the same time, which takes a tenth of one after the other.

use std::hint::black_box;

/// See the module.
#[derive(Debug)]
pub(super) struct Places {
    /// Zero: nobody. As many as a power of two.
    marks: Vec<u8>,
    /// As many; zero where nobody is.
    entries: Vec<u64>,
    late: Late,
    /// Entries that nobody asks for any more, and that have, or will have, a place still.
    gone: Vec<u64>,
    /// Without those that are gone.
    len: usize,
}

/// Keys that have no place yet. Halves lie by themselves: a look at all of them is a few steps of a processor that compares several at once.
#[derive(Debug, Default)]
struct Late {
    halves: Vec<u32>,
    numbers: Vec<u32>,
}

impl Late {
    #[inline]
    fn find(&self, half: Half, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        // As a rule it is not, and this compares several at once.
        if !self.halves.contains(&half.0) {
            return None;
        }
        let mut both = self.halves.iter().zip(&self.numbers);
        both.find(|&(other, number)| *other == half.0 && is_it(*number)).map(|(_, number)| *number)
    }
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

    /// The highest bits: a place is found by the lowest.
    #[inline]
    const fn mark(self) -> u8 {
        match (self.0 >> 24) as u8 {
            0 => 1,
            mark => mark,
        }
    }
}

impl Places {
    pub(super) fn new() -> Self {
        let (marks, entries) = (vec![0; PLACES_MIN], vec![0; PLACES_MIN]);
        Self { marks, entries, late: Late::default(), gone: Vec::new(), len: 0 }
    }

    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The number of a key whose half this is, and that `is_it` says yes to. It is asked for keys that are gone too.
    #[inline]
    pub(super) fn find(&self, half: Half, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(half.0);
        loop {
            let mark = self.mark(at);
            if mark == 0 {
                return self.late.find(half, is_it);
            }
            if mark == half.mark() {
                let entry = self.entry(at);
                if half.is_in(entry) && is_it(number(entry)) {
                    return Some(number(entry));
                }
            }
            at = self.next(at);
        }
    }

    /// Enters a key that is not there.
    #[inline]
    pub(super) fn insert(&mut self, half: Half, number: u32) {
        if self.late.halves.len() >= LATE_MAX {
            self.catch_up();
        }
        self.late.halves.push(half.0);
        self.late.numbers.push(number);
        self.len += 1;
    }

    /// A key that is there is gone: nobody asks for its number any more.
    #[inline]
    pub(super) fn forget(&mut self, half: Half, number: u32) {
        if self.gone.len() >= LATE_MAX {
            self.catch_up();
        }
        self.gone.push(half.with(number));
        self.len -= 1;
    }

    /// Forgets all, and gives back what it took.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Whether all have room, those that are late and those that are gone too.
    const fn has_room(&self) -> bool {
        (self.len + self.gone.len()) * 8 <= self.marks.len() * 5
    }

    /// Gives those that are late a place, and takes out what is gone.
    #[cold]
    fn catch_up(&mut self) {
        while !self.has_room() {
            self.grow();
        }
        let Late { mut halves, mut numbers } = std::mem::take(&mut self.late);
        // No line is asked for behind another one: the processor fetches as many at once as it can.
        let homes = halves.iter().copied().chain(self.gone.iter().map(|&entry| half_of(entry)));
        let lines = homes.map(|half| self.home(half)).map(|at| u64::from(self.mark(at)) ^ self.entry(at));
        black_box(lines.fold(0, |all, line| all ^ line));
        // Late ones first: one of them may be gone.
        for (half, number) in halves.drain(..).zip(numbers.drain(..)) {
            let at = self.mark_for(Half(half));
            self.set(at, Half(half).with(number));
        }
        self.late = Late { halves, numbers };
        while let Some(entry) = self.gone.pop() {
            self.remove(entry);
        }
    }

    /// Takes an entry out. Those behind it close up, so that a look may end at the first place that is empty.
    fn remove(&mut self, gone: u64) {
        let mut hole = self.home(half_of(gone));
        while self.entry(hole) != gone {
            if self.mark(hole) == 0 {
                return;
            }
            hole = self.next(hole);
        }
        let mut at = self.next(hole);
        loop {
            let entry = self.entry(at);
            if entry == 0 {
                break;
            }
            let from_home = self.distance(self.home(half_of(entry)), at);
            if from_home >= self.distance(hole, at) {
                self.move_to(hole, (self.mark(at), entry));
                hole = at;
            }
            at = self.next(at);
        }
        self.move_to(hole, (0, 0));
    }

    #[cold]
    fn grow(&mut self) {
        let twice = self.entries.len() * 2;
        self.marks = vec![0; twice];
        for entry in std::mem::replace(&mut self.entries, vec![0; twice]) {
            if entry != 0 {
                let at = self.mark_for(Half(half_of(entry)));
                self.set(at, entry);
            }
        }
    }

    /// Marks the first place that is empty.
    #[inline]
    fn mark_for(&mut self, half: Half) -> usize {
        let mut at = self.home(half.0);
        while self.mark(at) != 0 {
            at = self.next(at);
        }
        if let Some(mark) = self.marks.get_mut(at) {
            *mark = half.mark();
        }
        at
    }

    /// Where a look for it begins. The lowest bit is always one.
    #[inline]
    const fn home(&self, half: u32) -> usize {
        (half >> 1) as usize & (self.marks.len() - 1)
    }

    #[inline]
    const fn next(&self, at: usize) -> usize {
        (at + 1) & (self.marks.len() - 1)
    }

    const fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.marks.len() - 1)
    }

    #[inline]
    fn mark(&self, at: usize) -> u8 {
        self.marks.get(at).copied().unwrap_or_default()
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

    fn move_to(&mut self, at: usize, (moved, entry): (u8, u64)) {
        self.set(at, entry);
        if let Some(mark) = self.marks.get_mut(at) {
            *mark = moved;
        }
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half of an entry")]
const fn number(entry: u64) -> u32 {
    entry as u32
}

#[inline]
const fn half_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

/// Before the first key.
const PLACES_MIN: usize = 16;
/// Half a kilobyte that a look goes through, and some microseconds when they are given their places.
const LATE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Halves that meet, have marks in common, and lie at the end of the table.
        #[test]
        fn the_table_and_a_map_agree(steps in prop::collection::vec((0_u64..160, any::<bool>(), any::<u32>()), 1..400)) {
            let (mut places, mut map) = (Places::new(), BTreeMap::<u64, u32>::new());
            let half = |key: u64| Half::of(!(key / 2) << 33);
            let found = |places: &Places, map: &BTreeMap<u64, u32>, key: u64| {
                // What is gone may be asked for, and is nobody's.
                places.find(half(key), |number| u64::from(number % 160) == key && map.get(&key) == Some(&number))
            };
            for (key, is_removed, number) in steps {
                // Numbers are of one key each.
                let number = number / 160 * 160 + u32::try_from(key).unwrap();
                prop_assert_eq!(found(&places, &map, key), map.get(&key).copied());
                if let Some(before) = map.remove(&key) {
                    places.forget(half(key), before);
                }
                if !is_removed {
                    places.insert(half(key), number);
                    map.insert(key, number);
                }
                prop_assert_eq!(places.len(), map.len());
                for (&key, &number) in &map {
                    prop_assert_eq!(found(&places, &map, key), Some(number));
                }
            }
            places.catch_up();
            let marked = places.marks.iter().filter(|mark| **mark != 0).count();
            let entered = places.entries.iter().filter(|entry| **entry != 0).count();
            prop_assert_eq!((marked, entered), (map.len(), map.len()), "nothing is left of what is gone");
        }
    }

    #[test]
    fn a_new_key_is_known_by_marks_alone_but_for_two_in_a_hundred() {
        let mut places = Places::new();
        let half = |number: u32| Half::of(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (0..300_000).for_each(|number| places.insert(half(number), number));
        let looks_at_entries = |number: u32| {
            let mut at = places.home(half(number).0);
            let mut looks = 0;
            while places.mark(at) != 0 {
                looks += u32::from(places.mark(at) == half(number).mark());
                at = places.next(at);
            }
            looks
        };
        let looks: u32 = (1_000_000..1_100_000).map(looks_at_entries).sum();
        assert!(looks < 2_000, "{looks} looks at entries for 100,000 new keys");
    }
}
