//! Care: which event has killed the members before, told from what they could not say any more.
//!
//! A member that dies commits nothing. So whoever is assigned a partition first commits that it has *taken it up*, and takes that back when it leaves; what stands there of others is how often
//! members have died of it without progress. From the second death on, a span of events from the position on is handed over one at a time, with nothing else out at the
//! member, each behind a commit that *charges* the event with it. The charge is taken away as soon as somebody says what became of the event: what is left are those that nobody has outlived, and
//! the charges of an event are its attempts.
//!
//! Events that were out together are charged with nothing: of the first two deaths nobody knows whose they are.
//!
//! # The span
//! It is as long as what a member may have out, and twice as long with each death more, up to the limit of the gap: beyond that nothing is ever out. Nor does it go beyond the log's end of when
//! the partition was taken up: nobody has died of what came later. A position that has got to its end is progress, and the deaths before are forgotten; so they are at once where nothing was left.
//!
//! # When commits fail
//! An event is not handed over alone before its charge is committed, nor anything else before it is known that a charge was taken away: none is charged for another. That a partition was
//! taken up is tried once; where it was not heard, that death does not count. Where the broker refuses the commits of one partition for good, that partition waits alone: an event of
//! it that was outlived may be charged once more, should its member die of another.

use std::collections::BTreeMap;

/// What is committed of it beside a position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// How often the partition was taken up since its last progress, and not left.
    pub(crate) taken: u32,
    /// From this position on there was progress.
    pub(crate) until: i64,
    /// How often events were handed over alone of which nobody said what became of them.
    pub(crate) charges: Vec<(i64, u32)>,
}

/// What a member knows of a partition. Nothing, by default, where it is not known where the group stands: then nothing is counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Care {
    /// Deaths of those who had it before.
    deaths: u32,
    /// Whether this member is to be counted: until it leaves.
    is_counted: bool,
    until: i64,
    /// How far progress is from a position that is progress itself.
    span: i64,
    charges: BTreeMap<i64, u32>,
    /// The last that was charged here.
    alone: Option<i64>,
}

/// How many events may be out of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) least: u64,
    pub(crate) most: u64,
}

impl Care {
    /// A partition is taken up at a position, of which that was said. What lies behind the `end` of its log has come since the last death.
    pub(crate) fn take_up(position: i64, said: Said, span: Span, end: Option<i64>) -> Self {
        let said = if position < said.until { said } else { Said::default() };
        let least = span.least.min(span.most);
        let doubled = said.taken.saturating_sub(DEATHS).min(u64::BITS - 1);
        let long = least.saturating_mul(1 << doubled).min(span.most);
        let offsets = |events| i64::try_from(events).unwrap_or(i64::MAX);
        Self {
            deaths: said.taken,
            is_counted: true,
            until: end.into_iter().fold(position.saturating_add(offsets(long)), i64::min),
            span: offsets(least),
            charges: said.charges.into_iter().filter(|(offset, _)| *offset >= position).collect(),
            alone: None,
        }
    }

    /// What is to be committed with a position.
    pub(crate) fn said(&self, position: i64) -> Said {
        let own = u32::from(self.is_counted);
        if position >= self.until {
            return Said { taken: own, until: position.saturating_add(self.span), charges: Vec::new() };
        }
        let charges = self.charges.range(position..).map(|(offset, times)| (*offset, *times)).collect();
        Said { taken: self.deaths.saturating_add(own), until: self.until, charges }
    }

    /// Whether some events are to be handed over alone.
    pub(crate) const fn is_needed(&self) -> bool {
        self.deaths >= DEATHS
    }

    /// Whether this one is.
    pub(crate) const fn is_for(&self, offset: i64) -> bool {
        self.is_needed() && offset < self.until
    }

    /// The last that was charged here, until somebody says what became of it.
    pub(crate) const fn alone(&self) -> Option<i64> {
        self.alone
    }

    pub(crate) fn charges(&self, offset: i64) -> u32 {
        self.charges.get(&offset).copied().unwrap_or(0)
    }

    /// It is about to be handed over alone.
    pub(crate) fn charge(&mut self, offset: i64) {
        let times = self.charges.entry(offset).or_default();
        *times = times.saturating_add(1);
        self.alone = Some(offset);
        if self.charges.len() > CHARGES_MAX {
            // The least of the others: what kills has more than that sooner or later.
            let others = self.charges.iter().filter(|(at, _)| **at != offset);
            let least = others.min_by_key(|(_, times)| **times).map(|(at, _)| *at);
            least.and_then(|at| self.charges.remove(&at));
        }
    }

    /// Somebody says what became of it. Whether it was charged with anything.
    pub(crate) fn outlived(&mut self, offset: i64) -> bool {
        self.alone = self.alone.filter(|alone| *alone != offset);
        self.charges.remove(&offset).is_some()
    }

    /// It is given back, and was not attempted. Whether it was charged for that.
    pub(crate) fn given_back(&mut self, offset: i64) -> bool {
        if self.alone != Some(offset) {
            return false;
        }
        self.alone = None;
        let left = self.charges(offset).saturating_sub(1);
        match left {
            0 => _ = self.charges.remove(&offset),
            left => _ = self.charges.insert(offset, left),
        }
        true
    }

    /// The member leaves, and has died of nothing. Whether it was counted.
    pub(crate) fn leave(&mut self) -> bool {
        if let Some(alone) = self.alone {
            self.given_back(alone);
        }
        std::mem::take(&mut self.is_counted)
    }
}

/// After so many deaths without progress events are handed over alone, as in the embedded store.
const DEATHS: u32 = 2;
/// Events that are charged at a time: they have to find room beside a position ([`mark`](crate::mark)).
pub(crate) const CHARGES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { least: 4, most: 12 };

    fn after(deaths: u32) -> Said {
        (0..deaths).fold(Said::default(), |said, _| Care::take_up(7, said, SPAN, None).said(7))
    }

    #[test]
    fn two_deaths_without_progress_make_careful_and_each_more_for_longer() {
        let span = |deaths| {
            let care = Care::take_up(7, after(deaths), SPAN, None);
            (7..99).filter(|offset| care.is_for(*offset)).count()
        };
        assert_eq!([0, 1, 2, 3, 4, 90].map(span), [0, 0, 4, 8, 12, 12]);
    }

    #[test]
    fn progress_forgets_the_deaths_and_a_clean_end_is_none() {
        let mut care = Care::take_up(7, after(5), SPAN, None);
        assert_eq!(care.said(18).taken, 6);
        assert_eq!(care.said(19), Said { taken: 1, until: 23, charges: vec![] });
        assert!(care.leave() && !care.leave());
        assert_eq!((care.said(18).taken, care.said(19).taken), (5, 0));
        // Who comes later than that knows of none.
        assert!(!Care::take_up(19, after(5), SPAN, None).is_needed());
    }

    #[test]
    fn a_charge_stays_until_somebody_says_what_became_of_it() {
        let mut care = Care::take_up(7, after(2), SPAN, None);
        care.charge(8);
        let mut next = Care::take_up(7, care.said(7), SPAN, None);
        assert_eq!((next.charges(7), next.charges(8)), (0, 1));
        // One before it is charged too, and is outlived.
        next.charge(7);
        assert!(next.outlived(7) && !next.outlived(7));
        next.charge(8);
        assert_eq!(next.said(8).charges, [(8, 2)]);
        assert!(!next.given_back(9) && next.given_back(8) && !next.given_back(8));
        next.charge(8);
        next.leave();
        assert_eq!(next.said(8).charges, [(8, 1)], "a member that leaves has not died of what it has");
    }

    #[test]
    fn no_more_are_charged_than_find_room() {
        let mut care = Care::take_up(0, Said { taken: 2, until: 99, charges: vec![(0, 3)] }, SPAN, None);
        (1..40).for_each(|offset| care.charge(offset));
        let charges = care.said(0).charges;
        assert_eq!((charges.len(), charges[0], charges[CHARGES_MAX - 1]), (CHARGES_MAX, (0, 3), (39, 1)));
    }

    #[test]
    fn where_nobody_knows_where_the_group_stands_nothing_is_counted() {
        let mut care = Care::default();
        assert_eq!((care.said(9).taken, care.is_for(0), care.leave()), (0, false, false));
    }

    #[test]
    fn deaths_are_forgotten_when_all_is_settled_that_was_there_however_little() {
        let mut care = Care::take_up(7, after(1), SPAN, Some(9));
        assert_eq!((care.said(8).taken, care.said(9).taken), (2, 1));
        care.leave();
        assert_eq!(care.said(9).taken, 0);
        // Who dies where nothing was left has died of nothing that is there.
        let idle = (0..9).fold(Said::default(), |said, _| Care::take_up(9, said, SPAN, Some(9)).said(9));
        assert_eq!(idle.taken, 1);
        // What came since is not alone.
        let care = Care::take_up(7, after(3), SPAN, Some(9));
        assert_eq!([7, 8, 9].map(|offset| care.is_for(offset)), [true, true, false]);
    }
}
