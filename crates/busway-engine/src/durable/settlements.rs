//! Settlements that were decided and have not been given to the store yet.

use crate::idempotency::KeyDone;
use busway_persistence::{DeadLetter, Parked, Settlement};

/// Of one partition. All of it goes to the store in one commit: later decisions about an event come behind earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Settlements {
    gathered: Settlement,
    /// Whether the end of an attempt is among them.
    has_decided: bool,
}

impl Settlements {
    /// The offsets from `start` to `end`, the end excluded, are finished.
    pub(crate) fn settled(&mut self, start: u64, end: u64) {
        self.has_decided |= start < end;
        self.passed(start, end);
    }

    /// The same of offsets that the subscription does not want, or that are gone.
    pub(crate) fn passed(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        // Events finish nearly in order: most runs join the one before.
        match self.gathered.settled.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => self.gathered.settled.push((start, end)),
        }
    }

    pub(crate) fn parked(&mut self, parked: Parked) {
        self.has_decided = true;
        self.parked_behind(parked);
    }

    /// Nothing was attempted: an earlier one of its lane is parked, or it waits for its channel or its key.
    pub(crate) fn parked_behind(&mut self, parked: Parked) {
        self.gathered.parked.push(parked);
    }

    pub(crate) fn released(&mut self, offset: u64) {
        self.has_decided = true;
        self.gathered.released.push(offset);
    }

    pub(crate) fn discarded(&mut self, offset: u64) {
        self.has_decided = true;
        self.gathered.discarded.push(offset);
    }

    pub(crate) fn dead(&mut self, letter: DeadLetter) {
        self.has_decided = true;
        self.gathered.dead.push(letter);
    }

    /// The idempotency key of an event whose handler was done: in the same settlement as the decision about that.
    pub(crate) fn key_done(&mut self, KeyDone { key, keys_max }: KeyDone) {
        self.gathered.done.keys.push(key);
        self.gathered.done.keys_max = keys_max;
    }

    /// How many there are: each is some bytes of a commit.
    pub(crate) const fn len(&self) -> usize {
        let Settlement { settled, parked, released, discarded, dead, .. } = &self.gathered;
        settled.len() + parked.len() + released.len() + discarded.len() + dead.len()
    }

    /// See [`decided`].
    pub(crate) fn decided(&self) -> u64 {
        if self.has_decided { decided(&self.gathered) } else { 0 }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.gathered.is_empty()
    }

    /// All of them, to be stored.
    pub(crate) fn take(&mut self) -> Option<Settlement> {
        let mut gathered = std::mem::take(&mut self.gathered);
        // The next one has about as many keys: room for them at once, for they would be moved again and again.
        self.gathered.done.keys.reserve(gathered.done.keys.len().min(KEYS_AHEAD));
        gathered.settled = joined(gathered.settled);
        gathered.passes_only = !std::mem::take(&mut self.has_decided);
        (!gathered.is_empty()).then_some(gathered)
    }

    /// Puts back what the store did not take, before what was decided since.
    pub(crate) fn put_back(&mut self, mut settlement: Settlement) {
        let since = std::mem::take(&mut self.gathered);
        self.has_decided |= !settlement.passes_only;
        settlement.settled.extend(since.settled);
        settlement.parked.extend(since.parked);
        settlement.released.extend(since.released);
        settlement.discarded.extend(since.discarded);
        settlement.dead.extend(since.dead);
        settlement.done.extend(since.done);
        self.gathered = settlement;
    }
}

/// How many events are finished with a settlement, those counted in with them that lie between and are not wanted.
pub(super) fn decided(settlement: &Settlement) -> u64 {
    let Settlement { settled, released, discarded, dead, passes_only, .. } = settlement;
    let settled: u64 = settled.iter().map(|(start, end)| end.saturating_sub(*start)).sum();
    let others = released.len() + discarded.len() + dead.len();
    if *passes_only { 0 } else { settled.saturating_add(others as u64) }
}

/// Room that is made for keys before there are any: 24 bytes each.
const KEYS_AHEAD: usize = 8_192;

/// The same offsets in as few runs as there can be.
fn joined(mut runs: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    runs.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(runs.len().min(64));
    for (start, end) in runs {
        match joined.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use busway_event::Timestamp;
    use busway_persistence::Attempts;

    use super::*;

    #[test]
    fn runs_are_joined_and_what_comes_back_comes_first() {
        let mut settlements = Settlements::default();
        assert!(settlements.is_empty() && settlements.take().is_none());
        settlements.passed(7, 8);
        let passed = settlements.take().unwrap();
        assert!(passed.passes_only);
        settlements.put_back(passed);
        assert!(settlements.take().unwrap().passes_only);
        settlements.settled(4, 4);
        assert_eq!((settlements.is_empty(), settlements.len()), (true, 0));
        for offset in [3, 1, 0, 5, 4] {
            settlements.settled(offset, offset + 1);
        }
        let taken = settlements.take().unwrap();
        assert!(taken.settled == [(0, 2), (3, 6)] && !taken.passes_only);
        let parked = |attempt_count| Parked {
            offset: 9,
            due: Timestamp::from_nanos(0),
            lane: 1,
            attempts: Attempts::NONE,
            attempt_count,
        };
        settlements.parked(parked(2));
        settlements.released(9);
        settlements.put_back(Settlement { parked: vec![parked(1)], ..taken });
        let again = settlements.take().unwrap();
        assert!(!again.passes_only);
        assert_eq!(again.settled, [(0, 2), (3, 6)]);
        assert_eq!(again.parked, [parked(1), parked(2)], "the later row is written last");
        assert_eq!(again.released, [9]);
    }
}
