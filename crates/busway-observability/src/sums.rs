//! Counts that go on when a subscription ends and another one takes its name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::numbers::{Kind, SubscriptionNumbers};

/// Counts of subscriptions, summed by name, kind and overflow policy; of those without a name by filter.
#[derive(Debug, Clone, Default)]
pub struct CountSums {
    sums: HashMap<Series, SubscriptionNumbers>,
}

/// What is counted together.
pub(crate) type Series = (Arc<str>, Option<String>, Kind, &'static str);

fn series(numbers: &SubscriptionNumbers) -> Series {
    let filter = numbers.name.is_empty().then(|| numbers.filter.clone());
    (Arc::clone(&numbers.name), filter, numbers.kind, numbers.policy)
}

impl CountSums {
    /// Adds what one has counted: what it measures now is left out.
    pub fn add(&mut self, numbers: &SubscriptionNumbers) {
        self.add_within(usize::MAX, numbers);
    }

    /// The same, unless there are `max` sums already and none of its own.
    pub fn add_within(&mut self, max: usize, numbers: &SubscriptionNumbers) {
        let (is_full, counts) = (self.sums.len() >= max, numbers.counts());
        match self.sums.entry(series(numbers)) {
            Entry::Occupied(mut sum) => sum.get_mut().join(&counts),
            Entry::Vacant(place) if !is_full => _ = place.insert(counts),
            Entry::Vacant(_) => {}
        }
    }

    /// The sums, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &SubscriptionNumbers> {
        self.sums.values()
    }

    pub(crate) fn by_series(&self) -> &HashMap<Series, SubscriptionNumbers> {
        &self.sums
    }
}

/// Series of subscriptions that have ended, which a bus remembers: programs may make up names without an end.
pub const PAST_SERIES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(name: &str, filter: &str, done: u64) -> SubscriptionNumbers {
        let (name, filter) = (name.into(), filter.to_owned());
        SubscriptionNumbers { name, filter, done, pending: 7, ..SubscriptionNumbers::default() }
    }

    fn sums(counts: &CountSums) -> Vec<(String, String, u64, u64)> {
        let one =
            |sum: &SubscriptionNumbers| (sum.name.to_string(), sum.filter.clone(), sum.done, sum.pending);
        let mut all: Vec<_> = counts.iter().map(one).collect();
        all.sort();
        all
    }

    #[test]
    fn a_name_is_counted_together_and_so_is_a_filter_without_one() {
        let mut counts = CountSums::default();
        for (name, filter, done) in [("a", "x", 1), ("a", "y", 2), ("", "x", 3), ("", "y", 4), ("", "x", 5)] {
            counts.add(&numbers(name, filter, done));
        }
        let of = |name: &str, filter: &str, done| (name.to_owned(), filter.to_owned(), done, 0);
        assert_eq!(sums(&counts), [of("", "x", 8), of("", "y", 4), of("a", "x", 3)]);
    }

    #[test]
    fn no_more_than_so_many_are_begun_and_those_that_are_there_go_on() {
        let mut counts = CountSums::default();
        for name in ["a", "b", "c", "a"] {
            counts.add_within(2, &numbers(name, "x", 1));
        }
        let names: Vec<_> = sums(&counts).into_iter().map(|(name, _, done, _)| (name, done)).collect();
        assert_eq!(names, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    }
}
