//! How priorities share a subscription: weighted, and nobody starves.
//!
//! Weighted round robin with credits. A round gives each priority as many credits as its weight. The most urgent priority
//! that has a credit and an event goes next and pays one credit. When no priority with credits has an event, a new round
//! begins at once, so that no capacity is left idle while anything waits.

use std::num::NonZeroU32;

use busway_event::Priority;

/// Decides from which priority the next event is taken.
///
/// While all four priorities have events waiting, each gets exactly its weight of every round: with the default weights
/// 8 : 4 : 2 : 1 of every 15. What a priority does not use goes to the others. A priority with an event waiting is
/// served at the latest after two rounds of the others, whatever their load.
///
/// Within a round the urgent go first. State is four counters; nothing is allocated.
///
/// ```
/// # use busway_event::Priority;
/// # use busway_router::Share;
/// let mut share = Share::default();
/// let mut waiting = [0, 2, 0, 1];
/// let mut next = || share.take(|priority| {
///     let left = waiting.get_mut(priority.index())?;
///     *left = usize::checked_sub(*left, 1)?;
///     Some(())
/// });
/// assert_eq!(next(), Some((Priority::P1, ())));
/// assert_eq!(next(), Some((Priority::P1, ())));
/// assert_eq!(next(), Some((Priority::P3, ())));
/// assert_eq!(next(), None);
/// ```
#[derive(Debug, Clone)]
pub struct Share {
    weights: [NonZeroU32; 4],
    credits: [u32; 4],
}

impl Share {
    /// Shares by `weights`, the most urgent priority first.
    ///
    /// Only their ratio and their sum matter: the sum is the length of a round, so large weights make for long turns.
    pub fn new(weights: [NonZeroU32; 4]) -> Self {
        Self { weights, credits: weights.map(NonZeroU32::get) }
    }

    /// Takes the next event, by asking priorities in turn until one has something.
    ///
    /// `poll` is asked at most once a priority; `None` from it means that nothing waits there. The answer is `None` only if
    /// all four had nothing, and the next call then begins a new round.
    pub fn take<V>(&mut self, mut poll: impl FnMut(Priority) -> Option<V>) -> Option<(Priority, V)> {
        let solvent = self.credits.map(|credits| credits > 0);
        if let Some(taken) = self.take_from(solvent, &mut poll) {
            return Some(taken);
        }
        self.credits = self.weights.map(NonZeroU32::get);
        self.take_from(solvent.map(|asked| !asked), &mut poll)
    }

    fn take_from<V>(
        &mut self,
        ask: [bool; 4],
        poll: &mut impl FnMut(Priority) -> Option<V>,
    ) -> Option<(Priority, V)> {
        for ((priority, credits), ask) in Priority::ALL.into_iter().zip(&mut self.credits).zip(ask) {
            if ask && let Some(value) = poll(priority) {
                *credits -= 1;
                return Some((priority, value));
            }
        }
        None
    }
}

/// 8 : 4 : 2 : 1.
impl Default for Share {
    fn default() -> Self {
        Self::new(WEIGHTS)
    }
}

/// Each priority gets twice the share of the next, and the lowest one in fifteen.
const WEIGHTS: [NonZeroU32; 4] = {
    let one = NonZeroU32::MIN;
    [one.saturating_add(7), one.saturating_add(3), one.saturating_add(1), one]
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(share: &mut Share, waiting: &mut [u32; 4]) -> Option<Priority> {
        let poll = |priority: Priority| {
            let left = &mut waiting[priority.index()];
            *left = left.checked_sub(1)?;
            Some(())
        };
        share.take(poll).map(|(priority, ())| priority)
    }

    fn served(share: &mut Share, waiting: &mut [u32; 4], takes: u32) -> [u32; 4] {
        let mut served = [0; 4];
        for _ in 0..takes {
            if let Some(priority) = take(share, waiting) {
                served[priority.index()] += 1;
            }
        }
        served
    }

    #[test]
    fn under_full_load_each_round_is_shared_exactly_by_weight() {
        let mut share = Share::default();
        let mut waiting = [1_000; 4];
        for _ in 0..50 {
            assert_eq!(served(&mut share, &mut waiting, 15), [8, 4, 2, 1]);
        }
        let weights = [1, 5, 1, 3].map(|weight| NonZeroU32::new(weight).unwrap());
        assert_eq!(served(&mut Share::new(weights), &mut [1_000; 4], 100), [10, 50, 10, 30]);
    }

    #[test]
    fn what_one_does_not_use_goes_to_the_others() {
        assert_eq!(served(&mut Share::default(), &mut [0, 0, 0, 100], 100), [0, 0, 0, 100]);
        assert_eq!(served(&mut Share::default(), &mut [900, 0, 0, 900], 90), [80, 0, 0, 10]);
    }

    #[test]
    fn nothing_waiting_is_none_and_asks_each_once() {
        let mut share = Share::default();
        served(&mut share, &mut [1_000; 4], 11);
        let mut asked = [0; 4];
        let nothing = share.take(|priority| -> Option<()> {
            asked[priority.index()] += 1;
            None
        });
        assert_eq!((nothing, asked), (None, [1; 4]));
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        let mut share = Share::new([NonZeroU32::MAX; 4]);
        assert_eq!(take(&mut share, &mut [0, 0, 1, 0]), Some(Priority::P2));
        assert_eq!(take(&mut share, &mut [0; 4]), None);
    }

    proptest! {
        #[test]
        fn something_is_taken_if_and_only_if_something_waits(mut waiting in prop::array::uniform4(0..20_u32)) {
            let mut share = Share::default();
            for _ in 0..waiting.iter().sum() {
                prop_assert!(take(&mut share, &mut waiting).is_some());
            }
            prop_assert_eq!(take(&mut share, &mut waiting), None);
        }

        #[test]
        fn whoever_waits_is_served_within_two_rounds(
            before in prop::collection::vec(prop::array::uniform4(0..3_u32), 0..40),
            arrivals in prop::collection::vec(prop::array::uniform3(0..3_u32), 30..31),
        ) {
            // Any history, then one P3 event among arrivals of the others that somebody else chose.
            let mut share = Share::default();
            for mut waiting in before {
                take(&mut share, &mut waiting);
            }
            let mut waiting = [0, 0, 0, 1];
            let position = arrivals.into_iter().position(|[p0, p1, p2]| {
                waiting = [p0, p1, p2, waiting[3]];
                take(&mut share, &mut waiting) == Some(Priority::P3)
            });
            prop_assert!(position.is_some_and(|position| position < 29), "{position:?}");
        }
    }
}
