//! What the writer knows of dead letters: how many there are, and which are given again.

use std::collections::{BTreeMap, BTreeSet};

use super::state::{At, State, note, set};
use crate::shared::Shared;

impl State {
    /// Notes that a dead letter is given again, or has come to its end; says whether it was given before.
    pub(crate) fn redrive(&mut self, at: At, offset: u64, is_redriven: bool) -> bool {
        let Some(position) = self.positions.get_mut(&at) else { return false };
        if position.redriven.is_empty() && !is_redriven {
            return false;
        }
        let before = note(&mut self.staged, at, position);
        let was_redriven = set(&mut position.redriven, offset, is_redriven);
        before.redriven.push((offset, was_redriven));
        was_redriven
    }

    /// How many events of a subscription are parked, dead letters that are given again among them.
    pub(crate) fn parked_of(&self, subscription: u32) -> usize {
        let its_own = self.positions.iter().filter(|((number, _), _)| *number == subscription);
        its_own.map(|(_, position)| position.parked.len() + position.redriven.len()).sum()
    }

    /// How many dead letters a subscription has, as this batch has it.
    pub(crate) fn letters(&self, subscription: u32) -> u64 {
        let staged = self.staged.letters.get(&subscription);
        staged.or_else(|| self.letters.letters.get(&subscription)).copied().unwrap_or(0)
    }

    pub(crate) fn set_letters(&mut self, subscription: u32, letters: u64) {
        self.staged.letters.insert(subscription, letters);
    }

    /// Places that were reserved for dead letters of a subscription are taken.
    pub(super) fn buried(&mut self, subscription: u32, letters: usize) {
        *self.staged.buried.entry(subscription).or_default() += letters as u64;
    }

    /// The counts that have to be written; `None` when none has changed. All of them, while none is stored.
    pub(crate) fn changed_letters(&self) -> Option<BTreeMap<u32, u64>> {
        let staged = &self.staged.letters;
        let all = self.letters.letters.iter().filter(|_| !self.letters.is_stored);
        let all = all.map(|(&number, &letters)| (number, letters));
        (!staged.is_empty())
            .then(|| all.chain(staged.iter().map(|(&number, &letters)| (number, letters))).collect())
    }

    /// The batch is stored.
    pub(super) fn keep_letters(
        &mut self,
        shared: &Shared,
        letters: BTreeMap<u32, u64>,
        buried: &BTreeMap<u32, u64>,
    ) {
        self.letters.is_stored |= !letters.is_empty();
        let changed: BTreeSet<u32> = letters.keys().chain(buried.keys()).copied().collect();
        for number in changed {
            // Once each: who has letters that came has places that are taken too.
            let taken = buried.get(&number).copied().unwrap_or(0);
            shared.rooms.note(number, letters.get(&number).copied(), taken);
        }
        self.letters.letters.extend(letters);
    }
}
