//! Values under numbers that count up, in the least memory that finds one by its number at once.
//!
//! A value lies in the slot that the lowest bits of its number name. A new one is given the next number whose slot is free; as no more than half of the slots are taken, that is one of the
//! next few, and nearly always the next, for the oldest values go first. When half of them are taken there are twice as many: two numbers that differ in the lower bits still do
//! in one bit more. So what is kept grows with what is there at once, however long one of the values stays.

/// See the module.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    /// None, or a power of two.
    places: Vec<Option<(u64, T)>>,
    taken: usize,
    next: u64,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), taken: 0, next: 0 }
    }
}

impl<T> Slots<T> {
    pub(crate) const fn len(&self) -> usize {
        self.taken
    }

    /// Keeps a value under a number that none had before, and that is higher than all of them.
    pub(crate) fn insert(&mut self, value: T) -> u64 {
        if self.taken * 2 >= self.places.len() {
            self.grow();
        }
        loop {
            let number = self.next;
            self.next += 1;
            if let Some(slot) = self.slot(number)
                && slot.is_none()
            {
                *slot = Some((number, value));
                self.taken += 1;
                return number;
            }
        }
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        match self.slot(number)? {
            Some((there, value)) if *there == number => Some(value),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let (_, value) = self.slot(number)?.take_if(|(there, _)| *there == number)?;
        self.taken -= 1;
        Some(value)
    }

    /// In no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten().map(|(_, value)| value)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        for slot in &mut self.places {
            if slot.take_if(|(_, value)| !keep(value)).is_some() {
                self.taken -= 1;
            }
        }
    }

    /// Takes all values out, in the order in which they came.
    pub(crate) fn take(&mut self) -> Vec<T> {
        let mut all: Vec<_> = std::mem::take(&mut self.places).into_iter().flatten().collect();
        self.taken = 0;
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, value)| value).collect()
    }

    fn slot(&mut self, number: u64) -> Option<&mut Option<(u64, T)>> {
        let last = self.places.len().checked_sub(1)?;
        let lowest = usize::try_from(number & u64::try_from(last).unwrap_or(u64::MAX)).ok()?;
        self.places.get_mut(lowest)
    }

    fn grow(&mut self) {
        let count = (self.places.len() * 2).max(SLOTS_MIN);
        let before = std::mem::take(&mut self.places);
        self.places.resize_with(count, || None);
        for (number, value) in before.into_iter().flatten() {
            if let Some(slot) = self.slot(number) {
                *slot = Some((number, value));
            }
        }
    }
}

const SLOTS_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_that_stays_for_long_makes_nothing_grow() {
        let mut slots = Slots::default();
        let stays = slots.insert('s');
        for _ in 0..1_000 {
            let number = slots.insert('g');
            assert_eq!(slots.remove(number), Some('g'));
            assert_eq!(slots.remove(number), None);
        }
        assert_eq!((slots.places.len(), slots.len()), (SLOTS_MIN, 1));
        assert_eq!(slots.get_mut(stays).copied(), Some('s'));
    }

    proptest! {
        #[test]
        fn values_are_found_as_in_a_map(steps in prop::collection::vec((0_u8..8, any::<prop::sample::Index>()), 0..400)) {
            let (mut slots, mut model, mut all) = (Slots::default(), BTreeMap::new(), vec![u64::MAX]);
            for (count, (step, which)) in steps.into_iter().enumerate() {
                let number = *which.get(&all);
                match step {
                    0..4 => {
                        let number = slots.insert(count);
                        prop_assert!(all.iter().skip(1).all(|before| *before < number));
                        all.push(number);
                        model.insert(number, count);
                    }
                    4..6 => prop_assert_eq!(slots.remove(number), model.remove(&number)),
                    6 => prop_assert_eq!(slots.get_mut(number), model.get_mut(&number)),
                    _ => {
                        let keep = |value: &usize| *value % 3 != count % 3;
                        slots.retain(keep);
                        model.retain(|_, value| keep(value));
                    }
                }
                prop_assert_eq!(slots.len(), model.len());
                let mut there: Vec<_> = slots.iter().copied().collect();
                there.sort_unstable();
                prop_assert!(there.iter().eq(model.values()));
                prop_assert!(slots.places.len() <= SLOTS_MIN.max(4 * all.len()));
            }
            prop_assert_eq!(slots.take(), model.into_values().collect::<Vec<_>>());
            prop_assert_eq!((slots.len(), slots.iter().count()), (0, 0));
        }
    }
}
