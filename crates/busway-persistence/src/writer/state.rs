//! What the writer knows: the segments of each partition, and where each subscription stands.
//!
//! A batch may be applied more than once, when the map has to grow or the disk is full, and parts of it may be refused in between. So
//! nothing of an attempt may be left when the next one begins. Logs are changed in a copy, which takes their place when the commit has
//! succeeded. Subscriptions and their positions are changed in place, because sets of a million parked events are not copied for
//! each batch, and every change is noted so that it can be undone.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use busway_event::Timestamp;

use super::records::InHand;
use crate::attendance::Attendances;
use crate::audit::{AuditHead, Runs, Tip};
use crate::cursor::Cursor;
use crate::dead::Counts;
use crate::done::DoneLogs;
use crate::schedule::Waiting;
use crate::segment::Log;
use crate::shared::Shared;

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    /// By the number of the partition.
    pub(crate) logs: Vec<Log>,
    subscriptions: HashMap<String, Subscription>,
    /// By subscription and partition.
    pub(super) positions: HashMap<At, Position>,
    /// What waits to be published later.
    waiting: Waiting,
    /// Ends of the chains of audit streams, by partition.
    pub(crate) tips: BTreeMap<u32, Tip>,
    /// When somebody last did something for each subscription.
    pub(crate) attendances: Attendances,
    /// How many dead letters there are.
    pub(crate) letters: Counts,
    /// Rows of keys that are done.
    pub(super) done: DoneLogs,
    pub(crate) staged: Staged,
    /// The latest time that an event or a caller brought. Retention goes by it, within [bounds](crate::aging).
    pub(crate) now: Timestamp,
}

/// A subscription and a partition, by their numbers.
pub(crate) type At = (u32, u32);

/// A durable subscription.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) number: u32,
    pub(crate) filter: String,
}

/// Where a subscription stands in a partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position {
    pub(crate) cursor: Cursor,
    /// Offsets of events that failed and wait.
    pub(crate) parked: BTreeSet<u64>,
    /// Offsets of dead letters that were given again and wait: not among the parked ones. Their events lie with the letters, so the log is not held
    /// for them.
    pub(crate) redriven: BTreeSet<u64>,
}

impl Position {
    /// The lowest offset that it needs the event of, in a log that begins at `first`: what is before that is gone, though it is not settled
    /// until the subscription was told.
    fn needs(&self, first: u64) -> u64 {
        let parked = self.parked.range(first..).next().copied().unwrap_or(u64::MAX);
        parked.min(self.cursor.next_unsettled(first))
    }

    /// Whether an event of it waits.
    pub(super) fn waits(&self, offset: u64) -> bool {
        self.parked.contains(&offset) || self.redriven.contains(&offset)
    }
}

/// What a batch has changed and no commit has stored.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    logs: BTreeMap<u32, Log>,
    waiting: Option<Waiting>,
    /// Segments whose row has to be written.
    pub(super) touched: BTreeSet<(u32, u16)>,
    /// What was added to chains.
    pub(crate) runs: Runs,
    /// Heads that were made.
    pub(crate) heads: Vec<AuditHead>,
    /// Positions whose row has to be written, and how they were.
    moved: HashMap<At, Before>,
    /// Subscriptions that were made or removed, and what they were.
    renamed: Vec<(String, Option<Subscription>)>,
    /// The number up to which names were written.
    pub(super) names: u32,
    /// By partition.
    pub(super) in_hand: BTreeMap<u32, InHand>,
    /// Dead letters of the subscriptions that some came to or left.
    pub(super) letters: BTreeMap<u32, u64>,
    /// The latest time that this batch brought: unlike that of the state it comes back when the clock does.
    pub(crate) now: Option<Timestamp>,
    /// Dead letters that came, by subscription: places that were reserved are taken.
    pub(super) buried: BTreeMap<u32, u64>,
}

/// A position before a batch.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// `None`: it was not there.
    position: Option<Cursor>,
    /// Each change of what is parked, in order: the offset, and whether it was parked before.
    parked: Vec<(u64, bool)>,
    /// The same of what was redriven.
    pub(super) redriven: Vec<(u64, bool)>,
}

impl State {
    pub(crate) fn new(
        logs: Vec<Log>,
        subscriptions: HashMap<String, Subscription>,
        positions: HashMap<At, Position>,
        waiting: Waiting,
    ) -> Self {
        let now = logs.iter().filter_map(|log| Some(log.newest()?.last_at)).max().unwrap_or_default();
        let tips = BTreeMap::new();
        let (attendances, letters) = (Attendances::default(), Counts::default());
        let (done, staged) = (DoneLogs::default(), Staged::default());
        Self { logs, subscriptions, positions, waiting, tips, attendances, letters, done, staged, now }
    }

    /// A batch begins, begins again, or is given up: what it did is undone.
    pub(super) fn begin(&mut self) {
        self.attendances.begin();
        self.done.begin();
        let Staged { moved, renamed, .. } = std::mem::take(&mut self.staged);
        for (at, Before { position, parked, redriven }) in moved {
            let Some(cursor) = position else {
                self.positions.remove(&at);
                continue;
            };
            let now = self.positions.entry(at).or_default();
            now.cursor = cursor;
            undo(&mut now.parked, parked);
            undo(&mut now.redriven, redriven);
        }
        for (name, before) in renamed.into_iter().rev() {
            match before {
                Some(before) => self.subscriptions.insert(name, before),
                None => self.subscriptions.remove(&name),
            };
        }
    }

    /// The batch is stored. Gives back the heads that it made.
    pub(super) fn keep(&mut self, shared: &Shared) -> Vec<AuditHead> {
        let Staged { logs, names, waiting, runs, heads, letters, buried, .. } =
            std::mem::take(&mut self.staged);
        self.keep_letters(shared, letters, &buried);
        self.waiting = waiting.unwrap_or(self.waiting);
        self.attendances.keep();
        self.done.keep();
        self.tips.extend(runs.into_iter().map(|(partition, run)| (partition, run.tip)));
        for (partition, log) in logs {
            shared.note_log(partition, &log);
            if let Some(place) = index(partition).and_then(|at| self.logs.get_mut(at)) {
                *place = log;
            }
        }
        shared.names.note_stored(names);
        heads
    }

    /// The log of a partition as this batch has it, to be changed.
    pub(super) fn log_mut(&mut self, partition: u32) -> Option<&mut Log> {
        let Self { logs, staged, .. } = self;
        match staged.logs.entry(partition) {
            Entry::Occupied(log) => Some(log.into_mut()),
            Entry::Vacant(place) => Some(place.insert(logs.get(index(partition)?)?.clone())),
        }
    }

    /// The log of a partition as this batch has it.
    pub(super) fn log(&self, partition: u32) -> Option<&Log> {
        self.staged.logs.get(&partition).or_else(|| self.logs.get(index(partition)?))
    }

    /// What waits to be published later, as this batch has it.
    pub(crate) fn waiting(&self) -> &Waiting {
        self.staged.waiting.as_ref().unwrap_or(&self.waiting)
    }

    /// The same, to be changed.
    pub(crate) fn waiting_mut(&mut self) -> &mut Waiting {
        self.staged.waiting.get_or_insert(self.waiting)
    }

    /// An event of so many bytes has left the schedule.
    pub(crate) fn waits_no_longer(&mut self, bytes: u64) {
        let waiting = self.waiting_mut();
        waiting.events = waiting.events.saturating_sub(1);
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
    }

    /// A caller or an event says what time it is.
    pub(crate) fn time_is(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.staged.now = self.staged.now.max(Some(now));
    }

    /// The lowest offset of a partition that some subscription needs; the log's end when none does.
    pub(super) fn needed_from(&self, partition: u32) -> u64 {
        let first = self.log(partition).map_or(0, Log::first);
        let positions = self.positions.iter().filter(|((_, at), _)| *at == partition);
        let lowest = positions.map(|(_, position)| position.needs(first)).min();
        lowest.unwrap_or_else(|| self.log(partition).map_or(0, Log::next))
    }

    pub(super) fn subscription(&self, name: &str) -> Option<&Subscription> {
        self.subscriptions.get(name)
    }

    /// Whether a subscription bears the number.
    pub(crate) fn has_subscription(&self, number: u32) -> bool {
        self.subscriptions.values().any(|known| known.number == number)
    }

    /// The numbers of all subscriptions.
    pub(crate) fn subscription_numbers(&self) -> Vec<u32> {
        self.subscriptions.values().map(|known| known.number).collect()
    }

    /// The numbers of the subscriptions that have something left to do.
    pub(crate) fn with_work(&self) -> HashSet<u32> {
        let bounds = |partition: u32| self.log(partition).map_or((0, 0), |log| (log.first(), log.next()));
        let has_work = |((_, partition), position): &(&At, &Position)| {
            let (first, end) = bounds(*partition);
            position.needs(first) < end
        };
        let with_work = self.positions.iter().filter(has_work);
        with_work.map(|((number, _), _)| *number).collect()
    }

    /// Time counts from now on for those of whom nothing is known: from a store of before that was kept.
    pub(super) fn attend_unknown(&mut self) {
        let Self { subscriptions, attendances, now, .. } = self;
        if attendances.known() >= subscriptions.len() {
            return;
        }
        for known in subscriptions.values() {
            if attendances.of(known.number).is_none() {
                attendances.attend(known.number, *now, None);
            }
        }
    }

    /// A number that no subscription has.
    pub(super) fn free_number(&self) -> u32 {
        let used = self.subscriptions.values().map(|known| known.number);
        used.chain(self.positions.keys().map(|(number, _)| *number)).max().unwrap_or(0) + 1
    }

    /// Makes, replaces or removes a subscription.
    pub(super) fn name_subscription(&mut self, name: &str, subscription: Option<Subscription>) {
        let before = match subscription {
            Some(subscription) => self.subscriptions.insert(name.to_owned(), subscription),
            None => self.subscriptions.remove(name),
        };
        self.staged.renamed.push((name.to_owned(), before));
    }

    pub(crate) fn position(&self, at: At) -> Option<&Position> {
        self.positions.get(&at)
    }

    /// The partitions in which a subscription stands.
    pub(super) fn partitions_of(&self, subscription: u32) -> Vec<u32> {
        let its_own = self.positions.keys().filter(|(number, _)| *number == subscription);
        its_own.map(|(_, partition)| *partition).collect()
    }

    /// Makes a position, unless there is one.
    pub(super) fn place(&mut self, at: At, start: u64) -> &Position {
        if !self.positions.contains_key(&at) {
            self.staged.moved.entry(at).or_default();
            self.positions.insert(at, Position { cursor: Cursor::at(start), ..Position::default() });
        }
        self.positions.entry(at).or_default()
    }

    /// Removes a position.
    pub(super) fn leave(&mut self, at: At) {
        let Some(position) = self.positions.remove(&at) else { return };
        let before = note(&mut self.staged, at, &position);
        // As if each had been let go one by one.
        before.parked.extend(position.parked.iter().map(|&offset| (offset, true)));
        before.redriven.extend(position.redriven.iter().map(|&offset| (offset, true)));
    }

    /// Moves a cursor.
    pub(super) fn move_cursor(&mut self, at: At, change: impl FnOnce(&mut Cursor)) {
        let Some(position) = self.positions.get_mut(&at) else { return };
        note(&mut self.staged, at, position);
        change(&mut position.cursor);
    }

    /// Parks an event, or lets it go; says whether it was parked.
    pub(super) fn park(&mut self, at: At, offset: u64, is_parked: bool) -> bool {
        let Some(position) = self.positions.get_mut(&at) else { return false };
        // A dead letter that was given again has failed again: it waits as what it is.
        if is_parked && position.redriven.contains(&offset) {
            return true;
        }
        let before = note(&mut self.staged, at, position);
        let was_parked = set(&mut position.parked, offset, is_parked);
        before.parked.push((offset, was_parked));
        was_parked
    }

    /// Positions whose row has to be written.
    pub(super) fn moved(&self) -> impl Iterator<Item = (At, &Position)> {
        self.staged.moved.keys().filter_map(|at| Some((*at, self.positions.get(at)?)))
    }
}

/// How a position was when the batch began.
pub(super) fn note<'a>(staged: &'a mut Staged, at: At, position: &Position) -> &'a mut Before {
    let before = || Before { position: Some(position.cursor.clone()), ..Before::default() };
    staged.moved.entry(at).or_insert_with(before)
}

/// Puts an offset into a set or takes it out; says whether it was in it.
pub(super) fn set(offsets: &mut BTreeSet<u64>, offset: u64, is_in: bool) -> bool {
    match is_in {
        true => !offsets.insert(offset),
        false => offsets.remove(&offset),
    }
}

/// Takes changes of a set back.
fn undo(offsets: &mut BTreeSet<u64>, changes: Vec<(u64, bool)>) {
    for (offset, was_in) in changes.into_iter().rev() {
        set(offsets, offset, was_in);
    }
}

fn index(partition: u32) -> Option<usize> {
    usize::try_from(partition).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_batch_did_to_subscriptions_is_undone() {
        let mut state = State::new(Vec::new(), HashMap::new(), HashMap::new(), Waiting::default());
        let known = Subscription { number: 1, filter: "#".to_owned() };
        state.name_subscription("known", Some(known.clone()));
        state.place((1, 0), 5);
        state.park((1, 0), 7, true);
        std::mem::take(&mut state.staged);

        state.name_subscription("new", Some(Subscription { number: 2, ..known }));
        state.name_subscription("known", None);
        state.place((2, 0), 9);
        state.park((2, 0), 10, true);
        state.move_cursor((1, 0), |cursor| cursor.settle(5, 9));
        assert!(state.park((1, 0), 7, false) && !state.park((1, 0), 8, true));
        assert_eq!(state.needed_from(0), 8);
        state.begin();
        assert!(state.subscription("new").is_none() && state.position((2, 0)).is_none());
        assert_eq!(state.subscription("known").unwrap().number, 1);
        let position = state.position((1, 0)).unwrap();
        assert_eq!(
            (position.cursor.clone(), position.parked.iter().copied().collect::<Vec<_>>()),
            (Cursor::at(5), vec![7])
        );
        assert_eq!(state.moved().count(), 0);
    }
}
