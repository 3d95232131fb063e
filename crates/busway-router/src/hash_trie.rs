//! A persistent map from 64-bit hashes: a changed copy shares all but a few small arrays with its original.
//!
//! The hash array mapped trie of Bagwell (*Ideal Hash Trees*, 2001). Each branch covers five bits of the key and
//! stores only the children that exist, in the order of those bits; a bitmap tells which. Because the hash *is* the key,
//! there are no collision nodes: 64 bits are used up after 13 levels, and equal keys are one entry. What collides is the
//! caller's business (see `terminal.rs`).
//!
//! With n entries an edit copies about log32(n) arrays of at most 32 slots, so some hundred reference counts at a million
//! entries. The form is canonical: it depends on the entries alone, not on the order in which they came and went.

use std::sync::Arc;

/// A map from `u64` to `V`; `V` is cloned with the array that it stands in, so it should be a counted pointer.
pub(crate) struct HashTrie<V> {
    root: Branch<V>,
}

impl<V: Clone> HashTrie<V> {
    pub(crate) fn get(&self, key: u64) -> Option<&V> {
        let mut branch = &self.root;
        let mut shift = 0;
        loop {
            match branch.slots.get(branch.seat(key, shift).ok()?)? {
                Slot::Leaf(found, value) => return (*found == key).then_some(value),
                Slot::Branch(deeper) => branch = deeper,
            }
            shift += BITS;
        }
    }

    /// A copy in which `key` has `value`, whatever it had before.
    pub(crate) fn with(&self, key: u64, value: V) -> Self {
        Self { root: self.root.with(key, value, 0) }
    }

    /// A copy in which `key` has no value.
    pub(crate) fn without(&self, key: u64) -> Self {
        Self { root: self.root.without(key, 0) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.root.bitmap == 0
    }
}

impl<V> Default for HashTrie<V> {
    fn default() -> Self {
        Self { root: Branch { bitmap: 0, slots: Arc::default() } }
    }
}

impl<V> Clone for HashTrie<V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone() }
    }
}

/// Up to 32 children. Below the root a branch has at least two entries under it.
struct Branch<V> {
    /// Bit `i` is set if there is a child for the five-bit digit `i`.
    bitmap: u32,
    slots: Arc<[Slot<V>]>,
}

impl<V> Clone for Branch<V> {
    fn clone(&self) -> Self {
        Self { bitmap: self.bitmap, slots: Arc::clone(&self.slots) }
    }
}

#[derive(Clone)]
enum Slot<V> {
    Leaf(u64, V),
    Branch(Branch<V>),
}

impl<V> Branch<V> {
    /// Where the child for `key` stands, or where it would have to.
    fn seat(&self, key: u64, shift: u32) -> Result<usize, usize> {
        let bit = digit_bit(key, shift);
        let at = (self.bitmap & (bit - 1)).count_ones() as usize;
        if self.bitmap & bit == 0 { Err(at) } else { Ok(at) }
    }
}

impl<V: Clone> Branch<V> {
    fn with(&self, key: u64, value: V, shift: u32) -> Self {
        let at = match self.seat(key, shift) {
            Ok(at) => at,
            Err(at) => {
                let (before, after) = self.slots.split_at(at);
                let leaf = Slot::Leaf(key, value);
                let slots = before.iter().cloned().chain([leaf]).chain(after.iter().cloned()).collect();
                return Self { bitmap: self.bitmap | digit_bit(key, shift), slots };
            }
        };
        let slot = match self.slots.get(at) {
            Some(Slot::Branch(deeper)) => Slot::Branch(deeper.with(key, value, shift + BITS)),
            Some(Slot::Leaf(other, kept)) if *other != key => {
                Slot::Branch(Self::of_two((*other, kept.clone()), (key, value), shift + BITS))
            }
            Some(Slot::Leaf(..)) | None => Slot::Leaf(key, value),
        };
        self.replaced(at, &slot)
    }

    fn without(&self, key: u64, shift: u32) -> Self {
        let Ok(at) = self.seat(key, shift) else { return self.clone() };
        match self.slots.get(at) {
            Some(Slot::Branch(deeper)) => {
                let smaller = deeper.without(key, shift + BITS);
                match &*smaller.slots {
                    // The last entry of a branch moves up, so that no chain of single children stays behind.
                    [Slot::Leaf(other, kept)] => self.replaced(at, &Slot::Leaf(*other, kept.clone())),
                    _ => self.replaced(at, &Slot::Branch(smaller)),
                }
            }
            Some(Slot::Leaf(found, _)) if *found == key => {
                let others = self.slots.iter().enumerate().filter(|(index, _)| *index != at);
                Self {
                    bitmap: self.bitmap & !digit_bit(key, shift),
                    slots: others.map(|(_, slot)| slot.clone()).collect(),
                }
            }
            _ => self.clone(),
        }
    }

    fn replaced(&self, at: usize, slot: &Slot<V>) -> Self {
        let slots = self.slots.iter().enumerate();
        let slots = slots.map(|(index, old)| if index == at { slot.clone() } else { old.clone() }).collect();
        Self { bitmap: self.bitmap, slots }
    }

    /// The smallest branch that tells two different keys apart.
    fn of_two(one: (u64, V), two: (u64, V), shift: u32) -> Self {
        let bits = (digit_bit(one.0, shift), digit_bit(two.0, shift));
        let slots = if bits.0 == bits.1 {
            vec![Slot::Branch(Self::of_two(one, two, shift + BITS))]
        } else {
            let (low, high) = if bits.0 < bits.1 { (one, two) } else { (two, one) };
            vec![Slot::Leaf(low.0, low.1), Slot::Leaf(high.0, high.1)]
        };
        Self { bitmap: bits.0 | bits.1, slots: slots.into() }
    }
}

/// The bit of `key`'s digit at `shift`. Two keys that agree in all digits are equal, so `shift` stays below 64.
fn digit_bit(key: u64, shift: u32) -> u32 {
    1 << (key >> shift & 31)
}

/// Five bits a level: 32 children fill a bitmap of one word and keep the copied arrays small.
const BITS: u32 = 5;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The entries below a branch, and a check of what every branch promises.
    fn entries<V: Clone>(branch: &Branch<V>, root: bool) -> Vec<(u64, V)> {
        assert_eq!(branch.bitmap.count_ones() as usize, branch.slots.len());
        let mut all = Vec::new();
        for slot in branch.slots.iter() {
            match slot {
                Slot::Leaf(key, value) => all.push((*key, value.clone())),
                Slot::Branch(deeper) => all.extend(entries(deeper, false)),
            }
        }
        assert!(root || all.len() >= 2, "a branch below the root tells keys apart");
        all
    }

    /// Keys that agree in many digits, up to all but the highest.
    fn any_key() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..40_u64,
            (0..4_u64).prop_map(|n| n << 62),
            (0..64_u32).prop_map(|n| 1 << n),
            any::<u64>()
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds_and_its_copies_stay_as_they_were(
            edits in prop::collection::vec((any_key(), prop::option::weighted(0.6, any::<u16>())), 0..200)
        ) {
            let mut model = BTreeMap::new();
            let mut trie = HashTrie::default();
            let mut past = Vec::new();
            for (key, value) in edits {
                past.push((trie.clone(), model.clone()));
                if let Some(value) = value {
                    model.insert(key, value);
                    trie = trie.with(key, value);
                } else {
                    model.remove(&key);
                    trie = trie.without(key);
                }
            }
            past.push((trie, model));
            for (trie, model) in past {
                let mut all = entries(&trie.root, true);
                all.sort_unstable();
                prop_assert_eq!(all, model.clone().into_iter().collect::<Vec<_>>());
                for (key, value) in &model {
                    prop_assert_eq!(trie.get(*key), Some(value));
                    prop_assert_eq!(trie.get(key ^ 1 << 63), model.get(&(key ^ 1 << 63)));
                }
                prop_assert_eq!(trie.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn an_edit_copies_a_path_and_shares_the_rest() {
        let full = (0..32_768_u64).fold(HashTrie::default(), |trie, key| trie.with(key, Arc::new(key)));
        let edited = full.with(5, Arc::new(0));
        let shared = full.root.slots.iter().zip(edited.root.slots.iter()).filter(|pair| match pair {
            (Slot::Branch(old), Slot::Branch(new)) => Arc::ptr_eq(&old.slots, &new.slots),
            _ => false,
        });
        assert_eq!(shared.count(), 31);
    }
}
